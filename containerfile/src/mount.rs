//! `RUN --mount=...`: the options as written, and what they mean once variables are expanded.
//!
//! Invariant: a [`MountSpec`] holds only options that its type knows, with defaults filled in; an option that would have no effect
//! never gets there.

use serde::Serialize;
use thiserror::Error;

use crate::ast::Word;
use crate::expand::ExpandError;
use crate::source::Span;

mod read;
mod resolve;

pub use resolve::parse_size;

pub(crate) use read::read;

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
    /// `size` or `tmpfs-size`.
    Size,
    /// `tmpfs-mode`.
    TmpfsMode,
    Env,
    /// `relabel`, `z` or `Z`.
    Relabel,
    /// `bind-propagation`, or the propagation alone.
    Propagation,
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
        /// Its mode; 1777 by default.
        mode: u32,
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
    /// Another builder's option, which makes no sense here.
    #[error("{option} is refused: {reason}")]
    Refused {
        /// As written.
        option: String,
        /// Why.
        reason: &'static str,
    },
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
    ("tmpfs-size", MountKey::Size),
    ("tmpfs-mode", MountKey::TmpfsMode),
    ("env", MountKey::Env),
    ("relabel", MountKey::Relabel),
    ("z", MountKey::Relabel),
    ("bind-propagation", MountKey::Propagation),
    ("private", MountKey::Propagation),
    ("rprivate", MountKey::Propagation),
];

const NOT_SHARED: &str =
    "a step's mounts are private: nothing that is mounted in it or outside of it reaches the other";

/// Options of Buildah that are understood and not done.
const REFUSED: &[(&str, &str)] = &[
    (
        "u",
        "files of bind mounts are shown as root's and never changed; cache mounts take uid= and gid=",
    ),
    ("chown", "cache, secret and ssh mounts take uid= and gid="),
    (
        "tmpcopyup",
        "a tmpfs begins empty; copy into it in the step",
    ),
    ("shared", NOT_SHARED),
    ("rshared", NOT_SHARED),
    ("slave", NOT_SHARED),
    ("rslave", NOT_SHARED),
    ("unbindable", NOT_SHARED),
    ("runbindable", NOT_SHARED),
];

impl MountKey {
    fn name(self) -> &'static str {
        SPELLINGS
            .iter()
            .find(|&&(_, key)| key == self)
            .map_or("", |&(name, _)| name)
    }
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
        let mut values: Vec<(MountKey, String)> = Vec::new();
        for option in &self.options {
            let value = match option.key {
                MountKey::From => option.value.raw.to_string(),
                key => expand(&option.value).map_err(|source| MountError::Expand {
                    key: key.name(),
                    source,
                })?,
            };
            values.retain(|(key, _)| *key != option.key);
            values.push((option.key, value));
        }
        resolve::spec(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::EscapeChar;

    fn parsed(text: &str) -> Result<Mount, MountError> {
        read(
            &Word::new(text, Span::new(0, text.len())),
            Span::new(0, text.len()),
            EscapeChar::Backslash,
        )
    }

    fn spec(text: &str) -> Result<MountSpec, MountError> {
        parsed(text)?.resolve(&mut |word| Ok(word.raw.to_string()))
    }

    #[test]
    fn s24_mount_options_are_a_closed_list() {
        for text in [
            "target=/a,bind-propagation=rshared,suid",
            "target=/a,bind-propagation=x,src=/",
            "target=/a,suid",
            "target=/a,relabel=shared=x",
            "target=/a,U",
            "target=/a,rshared",
            "type=tmpfs,target=/a,tmpcopyup",
        ] {
            assert!(
                matches!(
                    parsed(text),
                    Err(MountError::UnknownOption { .. }
                        | MountError::Refused { .. }
                        | MountError::Value { .. })
                ),
                "{text}: {:?}",
                parsed(text)
            );
        }
    }

    #[test]
    fn options_of_buildah_that_ask_for_what_is_so_are_accepted() {
        for text in [
            "target=/a,z",
            "target=/a,Z",
            "target=/a,relabel=private",
            "target=/a,bind-propagation=rprivate",
            "target=/a,private",
            "type=cache,target=/a,Z",
        ] {
            assert!(parsed(text).is_ok(), "{text}: {:?}", parsed(text));
        }
        let tmpfs = spec("type=tmpfs,target=/a,tmpfs-size=1k,tmpfs-mode=755");
        assert!(
            matches!(
                tmpfs,
                Ok(MountSpec::Tmpfs {
                    size: Some(1024),
                    mode: 0o755,
                    ..
                })
            ),
            "{tmpfs:?}"
        );
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
}
