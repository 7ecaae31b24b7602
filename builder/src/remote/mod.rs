//! Sources that are elsewhere: files of http servers, git repositories. The invariant: what a source is, is decided by its text alone, as in
//! BuildKit; what a step uses of it is content with a digest, in the store.

mod auth;
mod fetch;
mod git;
mod git_source;

use image::fetch::{HttpUrl, ParseHttpUrlError};
use image::{DiffId, Digest};
use serde::{Deserialize, Serialize};

pub use auth::SecretError;
pub(crate) use fetch::pin;
pub use git::{GitError, GitProgram};
pub use git_source::{GitSource, ParseGitError};

/// A source as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemoteSource {
    /// A file.
    Url {
        /// Where it is.
        url: HttpUrl,
        /// What it must be.
        checksum: Option<Digest>,
    },
    /// A commit of a repository.
    Git(GitSource),
}

impl std::fmt::Display for RemoteSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url { url, .. } => url.fmt(f),
            Self::Git(source) => source.fmt(f),
        }
    }
}

/// What a source turned out to be, in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pinned {
    /// A file.
    File {
        /// Its content.
        digest: Digest,
        /// Its name, where the destination is a directory.
        name: String,
        /// Its time, in seconds since 1970.
        mtime: i64,
    },
    /// The files of a commit.
    Tree {
        /// The commit.
        commit: String,
        /// Its files, as a layer.
        tree: DiffId,
        /// The directory of it that is meant; empty for all.
        subdir: String,
    },
}

/// As `--dry-run` shows it.
impl std::fmt::Display for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File {
                digest,
                name,
                mtime,
            } => write!(f, "{name:?} {digest} of {mtime}"),
            Self::Tree { commit, subdir, .. } => write!(f, "commit {commit} {subdir:?}"),
        }
    }
}

/// Why a text is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRemoteError {
    /// A URL that is none.
    #[error(transparent)]
    Url(#[from] ParseHttpUrlError),
    /// A repository that is none.
    #[error(transparent)]
    Git(#[from] ParseGitError),
}

/// What kind of remote source a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteKind {
    /// A git repository.
    Git,
    /// A file.
    Url,
}

impl RemoteKind {
    /// BuildKit's rules (`gitutil.ParseGitRef`, `isHTTPSource`); `None` for a path.
    #[must_use]
    pub fn of(source: &str) -> Option<Self> {
        let repository = source.split(['#', '?']).next().unwrap_or_default();
        let scp = source.split_once(':').is_some_and(|(host, _)| {
            host.split_once('@').is_some_and(|(user, host)| {
                !user.is_empty() && !user.contains('/') && !host.contains('/')
            })
        });
        let http = source.starts_with("http://") || source.starts_with("https://");
        let git = ["git://", "ssh://"]
            .iter()
            .any(|scheme| source.starts_with(scheme))
            || source.starts_with("github.com/")
            || (http && repository.ends_with(".git"));
        match (git || (scp && !http), http) {
            (true, _) => Some(Self::Git),
            (false, true) => Some(Self::Url),
            (false, false) => None,
        }
    }
}

/// A source of ADD or COPY: what could be a directory of the context (`github.com/a`) is one, as in BuildKit
/// (`IndistinguishableFromLocal`).
pub(crate) fn is_path(source: &str) -> bool {
    source.starts_with("github.com/") || RemoteKind::of(source).is_none()
}

impl RemoteSource {
    /// The remote source that a text is; `None` for a path.
    ///
    /// # Errors
    /// When it is remote, and malformed.
    pub fn parse(text: &str) -> Result<Option<Self>, ParseRemoteError> {
        match RemoteKind::of(text) {
            None => Ok(None),
            Some(RemoteKind::Git) => Ok(Some(Self::Git(GitSource::parse(text)?))),
            Some(RemoteKind::Url) => Ok(Some(Self::Url {
                url: text.parse()?,
                checksum: None,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RemoteKind::{self, Git, Url};

    #[test]
    fn remote_sources_are_told_from_paths() {
        for (source, kind) in [
            ("https://x.io/a.tar", Some(Url)),
            ("http://x.io/a", Some(Url)),
            ("https://user@x.io:1/a", Some(Url)),
            ("https://x.io/a.git#main:dir", Some(Git)),
            ("git@github.com:a/b", Some(Git)),
            ("git://x.io/a", Some(Git)),
            ("ssh://git@x.io/a", Some(Git)),
            ("github.com/a/b", Some(Git)),
            ("a.git", None),
            ("dir/user@host:1", None),
            ("file:name", None),
            ("https", None),
        ] {
            assert_eq!(RemoteKind::of(source), kind, "{source}");
            let path = kind.is_none() || source.starts_with("github.com/");
            assert_eq!(super::is_path(source), path, "{source}");
        }
    }
}
