//! From expanded options to what a mount is.
//!
//! Invariant: an option that a type of mount does not take is an error, never ignored.

use super::{MountError, MountKey, MountSpec, Sharing};
use crate::path;

/// The mount that options (each at most once) describe.
pub(super) fn spec(values: Vec<(MountKey, String)>) -> Result<MountSpec, MountError> {
    Options { values }.into_spec()
}

/// Expanded options, each taken once by the type of mount that knows it; what is left at the end belongs to no one.
struct Options {
    values: Vec<(MountKey, String)>,
}

impl Options {
    fn into_spec(mut self) -> Result<MountSpec, MountError> {
        let kind = self
            .take(MountKey::Type)
            .map_or_else(|| "bind".to_owned(), |kind| kind.to_ascii_lowercase());
        let (kind, spec) = match kind.as_str() {
            "bind" => ("bind", self.bind()?),
            "cache" => ("cache", self.cache()?),
            "tmpfs" => ("tmpfs", self.tmpfs()?),
            "secret" => ("secret", self.secret()?),
            "ssh" => ("ssh", self.ssh()?),
            _ => {
                let expected = "one of bind, cache, tmpfs, secret and ssh";
                return Err(MountError::Value {
                    key: "type",
                    value: kind,
                    expected,
                });
            }
        };
        match self.values.first() {
            Some((key, _)) => Err(MountError::NotForType {
                key: key.name(),
                kind,
            }),
            None => Ok(spec),
        }
    }

    fn bind(&mut self) -> Result<MountSpec, MountError> {
        let bind = MountSpec::Bind {
            target: self.target("bind")?,
            source: self
                .take(MountKey::Source)
                .unwrap_or_else(|| "/".to_owned()),
            from: self.take(MountKey::From),
            writable: self.writable()?.unwrap_or(false),
        };
        self.labels()?;
        self.propagation()?;
        Ok(bind)
    }

    fn cache(&mut self) -> Result<MountSpec, MountError> {
        let target = self.target("cache")?;
        let cache = MountSpec::Cache {
            id: self
                .take(MountKey::Id)
                .unwrap_or_else(|| path::clean(&target)),
            target,
            source: self.take(MountKey::Source),
            from: self.take(MountKey::From),
            sharing: self.sharing()?,
            mode: self.mode(0o755)?,
            uid: self.number(MountKey::Uid)?,
            gid: self.number(MountKey::Gid)?,
            read_only: !self.writable()?.unwrap_or(true),
        };
        self.labels()?;
        Ok(cache)
    }

    fn tmpfs(&mut self) -> Result<MountSpec, MountError> {
        let target = self.target("tmpfs")?;
        let size = match self.take(MountKey::Size) {
            None => None,
            Some(value) => match parse_size(&value) {
                Some(size) => Some(size),
                None => {
                    return Err(MountError::Value {
                        key: "size",
                        value,
                        expected: "a size such as 64m",
                    });
                }
            },
        };
        let mode = self.octal(MountKey::TmpfsMode, 0o1777)?;
        Ok(MountSpec::Tmpfs { target, size, mode })
    }

    /// Steps run under the caller's own SELinux label, which files of the store have too: there is nothing to relabel.
    fn labels(&mut self) -> Result<(), MountError> {
        self.one_of(
            MountKey::Relabel,
            &["true", "shared", "private"],
            "shared or private",
        )
    }

    /// Only what is so anyway can be asked for.
    fn propagation(&mut self) -> Result<(), MountError> {
        self.one_of(
            MountKey::Propagation,
            &["true", "private", "rprivate"],
            "private, which is how all mounts of a step are",
        )
    }

    fn one_of(
        &mut self,
        key: MountKey,
        accepted: &[&str],
        expected: &'static str,
    ) -> Result<(), MountError> {
        match self.take(key) {
            Some(value) if !accepted.contains(&value.as_str()) => Err(MountError::Value {
                key: key.name(),
                value,
                expected,
            }),
            _ => Ok(()),
        }
    }

    fn secret(&mut self) -> Result<MountSpec, MountError> {
        let (id, source) = (self.take(MountKey::Id), self.take(MountKey::Source));
        let (target, env) = (self.take(MountKey::Target), self.take(MountKey::Env));
        if id.is_some() && source.is_some() {
            return Err(MountError::Conflict("id", "source"));
        }
        let base = |path: &str| {
            path::clean(path)
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let id = id
            .or(source)
            .or_else(|| target.as_deref().map(base))
            .filter(|id| !id.is_empty());
        let id = id.ok_or(MountError::Missing {
            kind: "secret",
            what: "an id or a target",
        })?;
        let target = match (target, &env) {
            (None, None) => Some(format!("/run/secrets/{}", base(&id))),
            (target, _) => target,
        };
        Ok(MountSpec::Secret {
            id,
            target,
            env,
            required: self.switch(MountKey::Required)?.unwrap_or(false),
            mode: self.mode(0o400)?,
            uid: self.number(MountKey::Uid)?,
            gid: self.number(MountKey::Gid)?,
        })
    }

    fn ssh(&mut self) -> Result<MountSpec, MountError> {
        Ok(MountSpec::Ssh {
            id: self
                .take(MountKey::Id)
                .unwrap_or_else(|| "default".to_owned()),
            target: self.take(MountKey::Target),
            required: self.switch(MountKey::Required)?.unwrap_or(false),
            mode: self.mode(0o600)?,
            uid: self.number(MountKey::Uid)?,
            gid: self.number(MountKey::Gid)?,
        })
    }

    /// The value of an option; an empty one counts as absent.
    fn take(&mut self, key: MountKey) -> Option<String> {
        let at = self.values.iter().position(|(other, _)| *other == key)?;
        Some(self.values.remove(at).1).filter(|value| !value.is_empty())
    }

    fn target(&mut self, kind: &'static str) -> Result<String, MountError> {
        let target = self.take(MountKey::Target).ok_or(MountError::Missing {
            kind,
            what: "a target",
        })?;
        if path::clean(&target) == "/" {
            Err(MountError::RootTarget(target))
        } else {
            Ok(target)
        }
    }

    fn switch(&mut self, key: MountKey) -> Result<Option<bool>, MountError> {
        // The spellings of Go's strconv.ParseBool.
        match self.take(key) {
            None => Ok(None),
            Some(value) => match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
                _ => Err(MountError::Value {
                    key: key.name(),
                    value,
                    expected: "true or false",
                }),
            },
        }
    }

    fn writable(&mut self) -> Result<Option<bool>, MountError> {
        match (
            self.switch(MountKey::ReadOnly)?,
            self.switch(MountKey::ReadWrite)?,
        ) {
            (Some(read_only), Some(writable)) if read_only == writable => {
                Err(MountError::Conflict("ro", "rw"))
            }
            (read_only, writable) => Ok(writable.or(read_only.map(|read_only| !read_only))),
        }
    }

    fn sharing(&mut self) -> Result<Sharing, MountError> {
        let Some(value) = self.take(MountKey::Sharing) else {
            return Ok(Sharing::default());
        };
        match value.to_ascii_lowercase().as_str() {
            "shared" => Ok(Sharing::Shared),
            "private" => Ok(Sharing::Private),
            "locked" => Ok(Sharing::Locked),
            _ => Err(MountError::Value {
                key: "sharing",
                value,
                expected: "one of shared, private and locked",
            }),
        }
    }

    fn mode(&mut self, default: u32) -> Result<u32, MountError> {
        self.octal(MountKey::Mode, default)
    }

    fn octal(&mut self, key: MountKey, default: u32) -> Result<u32, MountError> {
        let Some(value) = self.take(key) else {
            return Ok(default);
        };
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(&value, 8) {
            Ok(mode) if digits && mode <= 0o7777 => Ok(mode),
            _ => Err(MountError::Value {
                key: key.name(),
                value,
                expected: "an octal mode up to 7777",
            }),
        }
    }

    fn number(&mut self, key: MountKey) -> Result<u32, MountError> {
        let Some(value) = self.take(key) else {
            return Ok(0);
        };
        // u32::MAX is -1, "leave it as it is", for chown(2).
        match value.parse() {
            Ok(id) if id != u32::MAX && !value.starts_with('+') => Ok(id),
            _ => Err(MountError::Value {
                key: key.name(),
                value,
                expected: "a numeric id",
            }),
        }
    }
}

/// `64m`, `1.5g`, `512 KiB`: binary units, as go-units' `RAMInBytes`.
pub fn parse_size(text: &str) -> Option<u64> {
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    // Nine digits say more than any size means, and fit.
    let digits = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    let part = if digits.is_empty() {
        0
    } else {
        u128::from(digits.parse::<u64>().ok()?) << shift
    };
    whole.checked_add(u64::try_from(part / scale).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, size) in [
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("512 KiB", 512 << 10),
            ("7", 7),
            ("1b", 1),
        ] {
            assert_eq!(parse_size(text), Some(size), "{text}");
        }
        for text in ["", "m", "-1", "1x", "99999999999t", "1.2.3m"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
