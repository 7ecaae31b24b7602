//! `RUN --mount=...`: the options as written, and what they mean once variables are expanded.
//!
//! Invariant: a [`MountSpec`] holds only options that its type knows, with defaults filled in; an option that would have no effect
//! never gets there.

use serde::Serialize;

use crate::ast::Word;
use crate::source::Span;

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
