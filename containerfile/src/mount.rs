//! `RUN --mount=...`: the options as written, and what they mean once variables are expanded.
//!
//! Invariant: a [`MountSpec`] holds only options that its type knows, with defaults filled in; an option that would have no effect
//! never gets there.

use serde::Serialize;
use thiserror::Error;

use crate::ast::{EscapeChar, Word};
use crate::expand::{self, ExpandError};
use crate::path;
use crate::source::Span;
use crate::suggest::suggestion;

/// One `--mount`, as written: comma-separated options, not yet expanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The whole flag.
    pub span: Span,
    /// The options in order; of repeated ones the last counts.
    pub options: Vec<MountOption>,
}

impl Mount {
    /// The raw value of an option (the last one written); an option without `=` has the value `true`.
    #[must_use]
    pub fn option(&self, key: MountKey) -> Option<&Word> {
        self.options
            .iter()
            .rev()
            .find(|option| option.key == key)
            .map(|option| &option.value)
    }
}

/// One option of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountOption {
    /// Which.
    pub key: MountKey,
    /// Its value; `true` when there was no equals sign.
    pub value: Word,
    /// The whole option.
    pub span: Span,
}

/// The options that mounts know; aliases are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the option of its name")]
pub enum MountKey {
    Type,
    /// `target`, `dst` or `destination`.
    Target,
    /// `source` or `src`.
    Source,
    /// Never expanded.
    From,
    Id,
    Sharing,
    Mode,
    Uid,
    Gid,
    Required,
    /// `ro` or `readonly`.
    ReadOnly,
    /// `rw` or `readwrite`.
    ReadWrite,
    Size,
    Env,
}

/// How builds that run at the same time share a cache mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// All use it at once.
    #[default]
    Shared,
    /// Each gets its own when it is in use.
    Private,
    /// One waits for the other.
    Locked,
}

/// A mount, expanded and checked; defaults are filled in. Paths are as written: relative targets are relative to `WORKDIR`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MountSpec {
    /// Files of the context, a stage or an image; writes are thrown away.
    Bind {
        /// Where.
        target: String,
        /// Which directory or file of `from`; `/` by default.
        source: String,
        /// A stage, index, image or named context; the build context when absent.
        from: Option<String>,
        /// Whether it may be written (and the writes forgotten).
        writable: bool,
    },
    /// A directory that outlives builds.
    Cache {
        /// Where.
        target: String,
        /// Its name; the cleaned target by default.
        id: String,
        /// Which directory of `from` seeds it.
        source: Option<String>,
        /// What seeds it.
        from: Option<String>,
        /// How parallel builds share it.
        sharing: Sharing,
        /// The mode of a fresh directory; 0755 by default.
        mode: u32,
        /// The owner of a fresh directory.
        uid: u32,
        /// The group of a fresh directory.
        gid: u32,
        /// Whether it may not be written.
        read_only: bool,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Where.
        target: String,
        /// The limit in bytes.
        size: Option<u64>,
    },
    /// A secret as a file, an environment variable or both.
    Secret {
        /// Its name.
        id: String,
        /// The file; `None` when only an environment variable is wanted.
        target: Option<String>,
        /// The environment variable.
        env: Option<String>,
        /// Whether the build fails without it.
        required: bool,
        /// The file's mode; 0400 by default.
        mode: u32,
        /// The file's owner.
        uid: u32,
        /// The file's group.
        gid: u32,
    },
    /// An agent socket.
    Ssh {
        /// Its name; `default` by default.
        id: String,
        /// Where; the builder chooses when absent.
        target: Option<String>,
        /// Whether the build fails without it.
        required: bool,
        /// The socket's mode; 0600 by default.
        mode: u32,
        /// The socket's owner.
        uid: u32,
        /// The socket's group.
        gid: u32,
    },
}

/// Why a mount cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MountError {
    /// The comma-separated text has a misplaced quote.
    #[error("{0:?} has a quote in the middle of an option, or one that never closes")]
    Quote(String),
    /// No mount has this option.
    #[error("unknown option {option:?}{}", hint(*.nearest))]
    UnknownOption {
        /// As written.
        option: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// The option needs `=value`.
    #[error("option {0:?} needs a value")]
    NoValue(String),
    /// `from` with a variable.
    #[error("from={0} does not expand variables; name a stage with FROM … AS … instead")]
    VariableFrom(String),
    /// The expansion of a value failed.
    #[error("expand the value of {key}")]
    Expand {
        /// Which option.
        key: &'static str,
        /// Why.
        source: ExpandError,
    },
    /// A value that the option cannot have.
    #[error("{key}={value} is not {expected}")]
    Value {
        /// Which option.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An option that this type of mount has no use for.
    #[error("{key} is not an option of {kind} mounts")]
    NotForType {
        /// Which option.
        key: &'static str,
        /// The type of the mount.
        kind: &'static str,
    },
    /// A type of mount without something that it needs.
    #[error("a {kind} mount needs {what}")]
    Missing {
        /// The type of the mount.
        kind: &'static str,
        /// What it needs.
        what: &'static str,
    },
    /// Both of two options that exclude each other.
    #[error("{0} and {1} exclude each other")]
    Conflict(&'static str, &'static str),
    /// The whole root cannot be a mount point.
    #[error("target={0} is the root directory")]
    RootTarget(String),
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean {name}?"))
}

/// Every spelling of every option.
const SPELLINGS: &[(&str, MountKey)] = &[
    ("type", MountKey::Type),
    ("target", MountKey::Target),
    ("dst", MountKey::Target),
    ("destination", MountKey::Target),
    ("source", MountKey::Source),
    ("src", MountKey::Source),
    ("from", MountKey::From),
    ("id", MountKey::Id),
    ("sharing", MountKey::Sharing),
    ("mode", MountKey::Mode),
    ("uid", MountKey::Uid),
    ("gid", MountKey::Gid),
    ("required", MountKey::Required),
    ("readonly", MountKey::ReadOnly),
    ("ro", MountKey::ReadOnly),
    ("readwrite", MountKey::ReadWrite),
    ("rw", MountKey::ReadWrite),
    ("size", MountKey::Size),
    ("env", MountKey::Env),
];

impl MountKey {
    fn name(self) -> &'static str {
        SPELLINGS
            .iter()
            .find(|&&(_, key)| key == self)
            .map_or("", |&(name, _)| name)
    }
}

/// Reads the value of `--mount`. What holds no variable is checked wholly; the rest waits for [`Mount::resolve`].
pub(crate) fn parse(value: &Word, span: Span) -> Result<Mount, MountError> {
    let options = fields(value)?
        .into_iter()
        .map(option)
        .collect::<Result<Vec<_>, _>>()?;
    let mount = Mount { span, options };
    if let Some(from) = mount
        .option(MountKey::From)
        .filter(|from| from.mentions_variable())
    {
        return Err(MountError::VariableFrom(from.raw.clone()));
    }
    if !mount
        .options
        .iter()
        .any(|option| option.value.mentions_variable())
    {
        mount.resolve(&mut |word| {
            expand::expand(
                &word.raw,
                &|_| None,
                EscapeChar::default(),
                expand::Mode::Word,
            )
            .map(|expansion| expansion.text)
        })?;
    }
    Ok(mount)
}

/// The fields of one CSV record (RFC 4180). A field's place is exact unless quotes were removed from it.
fn fields(value: &Word) -> Result<Vec<Word>, MountError> {
    let misquoted = || MountError::Quote(value.raw.clone());
    let exact = value.span.end - value.span.start == value.raw.len();
    let mut fields = Vec::new();
    let mut rest = value.raw.as_str();
    loop {
        let start = value.raw.len() - rest.len();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted).ok_or_else(misquoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        let quoted = rest.starts_with('"');
        if !quoted && field.contains('"') {
            return Err(misquoted());
        }
        let end = value.raw.len() - after.len();
        let span = if exact && !quoted {
            Span::new(value.span.start + start, value.span.start + end)
        } else {
            value.span
        };
        fields.push(Word::new(field, span));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(misquoted()),
        }
    }
}

/// What stands before the closing quote, and what follows it; `""` is a quote.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}

fn option(field: Word) -> Result<MountOption, MountError> {
    let (name, value) = match field.raw.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (field.raw.as_str(), None),
    };
    let lower = name.to_ascii_lowercase();
    let Some(&(_, key)) = SPELLINGS.iter().find(|(spelling, _)| *spelling == lower) else {
        let nearest = suggestion(&lower, SPELLINGS.iter().map(|&(spelling, _)| spelling));
        return Err(MountError::UnknownOption {
            option: name.to_owned(),
            nearest,
        });
    };
    let is_switch = matches!(
        key,
        MountKey::ReadOnly | MountKey::ReadWrite | MountKey::Required
    );
    let span = field.span;
    let exact = span.end - span.start == field.raw.len();
    let value = match value {
        Some(value) if exact => Word::new(value, Span::new(span.end - value.len(), span.end)),
        Some(value) => Word::new(value, span),
        None if is_switch => Word::new("true", span),
        None => return Err(MountError::NoValue(name.to_owned())),
    };
    Ok(MountOption { key, value, span })
}

impl Mount {
    /// Expands the options and gives them their meaning. `from` is not expanded.
    ///
    /// # Errors
    ///
    /// When an expansion fails, a value is not what the option takes, or the type of mount does not have the option.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&Word) -> Result<String, ExpandError>,
    ) -> Result<MountSpec, MountError> {
        let mut options = Options::default();
        for option in &self.options {
            let value = match option.key {
                MountKey::From => option.value.raw.clone(),
                key => expand(&option.value).map_err(|source| MountError::Expand {
                    key: key.name(),
                    source,
                })?,
            };
            options.values.retain(|(key, _)| *key != option.key);
            options.values.push((option.key, value));
        }
        options.spec()
    }
}

/// Expanded options, each taken once by the type of mount that knows it; what is left at the end belongs to no one.
#[derive(Default)]
struct Options {
    values: Vec<(MountKey, String)>,
}

impl Options {
    fn spec(mut self) -> Result<MountSpec, MountError> {
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
        Ok(MountSpec::Bind {
            target: self.target("bind")?,
            source: self
                .take(MountKey::Source)
                .unwrap_or_else(|| "/".to_owned()),
            from: self.take(MountKey::From),
            writable: self.writable()?.unwrap_or(false),
        })
    }

    fn cache(&mut self) -> Result<MountSpec, MountError> {
        let target = self.target("cache")?;
        Ok(MountSpec::Cache {
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
        })
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
        Ok(MountSpec::Tmpfs { target, size })
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
        let Some(value) = self.take(MountKey::Mode) else {
            return Ok(default);
        };
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(&value, 8) {
            Ok(mode) if digits && mode <= 0o7777 => Ok(mode),
            _ => Err(MountError::Value {
                key: "mode",
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

/// `64m`, `1.5g`, `512KiB`: binary units, as go-units' `RAMInBytes`.
fn parse_size(text: &str) -> Option<u64> {
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

    fn parsed(text: &str) -> Result<Mount, MountError> {
        parse(
            &Word::new(text, Span::new(0, text.len())),
            Span::new(0, text.len()),
        )
    }

    fn spec(text: &str) -> Result<MountSpec, MountError> {
        parsed(text)?.resolve(&mut |word| Ok(word.raw.clone()))
    }

    #[test]
    fn s24_mount_options_are_a_closed_list() {
        for text in [
            "target=/a,bind-propagation=rshared,suid",
            "target=/a,bind-propagation=x,src=/",
            "target=/a,relabel=shared",
            "target=/a,U",
        ] {
            assert!(
                matches!(parsed(text), Err(MountError::UnknownOption { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        let bind = MountSpec::Bind {
            target: "/a".into(),
            source: "/".into(),
            from: None,
            writable: false,
        };
        assert_eq!(spec("target=/a"), Ok(bind));
        let cache = spec("type=cache,dst=/var//cache/");
        assert!(
            matches!(cache, Ok(MountSpec::Cache { ref id, mode: 0o755, read_only: false, .. }) if id == "/var/cache"),
            "{cache:?}"
        );
        let secret = spec("type=secret,id=token");
        assert!(
            matches!(secret, Ok(MountSpec::Secret { ref target, .. }) if target.as_deref() == Some("/run/secrets/token"))
        );
        let env = spec("type=secret,id=token,env=TOKEN");
        assert!(matches!(env, Ok(MountSpec::Secret { target: None, .. })));
        let named = spec("type=secret,target=/etc/key.pem");
        assert!(matches!(named, Ok(MountSpec::Secret { ref id, .. }) if id == "key.pem"));
        assert!(
            matches!(spec("type=ssh"), Ok(MountSpec::Ssh { ref id, mode: 0o600, .. }) if id == "default")
        );
    }

    #[test]
    fn options_of_another_type_are_refused() {
        for text in [
            "target=/a,uid=1",
            "type=tmpfs,target=/a,mode=755",
            "type=cache,target=/a,required",
            "type=secret,id=a,sharing=shared",
        ] {
            assert!(
                matches!(parsed(text), Err(MountError::NotForType { .. })),
                "{text}: {:?}",
                parsed(text)
            );
        }
    }

    #[test]
    fn impossible_values_are_refused_at_once_and_variables_wait() {
        for text in [
            "type=nfs,target=/a",
            "type=cache,target=/a,sharing=both",
            "type=cache,target=/a,uid=4294967295",
            "target=/a,ro=maybe",
            "type=tmpfs,target=/a,size=big",
        ] {
            assert!(
                matches!(parsed(text), Err(MountError::Value { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            parsed("target=/../"),
            Err(MountError::RootTarget(_))
        ));
        assert!(matches!(
            parsed("target=/a,from=$x"),
            Err(MountError::VariableFrom(_))
        ));
        assert!(parsed("type=$t,target=/a,uid=$u").is_ok());
    }

    #[test]
    fn quoted_options_may_hold_commas() {
        let mount = spec("type=bind,\"target=/a,b\",rw").expect("well-formed");
        assert!(
            matches!(mount, MountSpec::Bind { ref target, writable: true, .. } if target == "/a,b")
        );
        assert!(matches!(parsed("target=\"/a\""), Err(MountError::Quote(_))));
    }

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
