//! Why a repository was not fetched, and whether another try may work. The invariant: what git said is shown bounded, without
//! control characters and without passwords.

use image::fetch::{Hope, is_passing};
use rootfs::RootError;
use rootfs::copy::CopyError;
use rootfs::layer::WriteError;
use rootfs::trees::TreesError;

use super::super::auth::SecretError;

/// Why a repository was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no program.
    #[error("fetch {url}: git is not installed (install the package git)")]
    Missing {
        /// What was to be fetched.
        url: String,
    },
    /// It did not start, or was lost.
    #[error("run git")]
    Run(#[source] std::io::Error),
    /// It was asked to end early.
    #[error("fetch {url}: it was asked to stop")]
    Stopped {
        /// What was fetched.
        url: String,
    },
    /// It said no.
    #[error("fetch {url}: git {command}: {message}")]
    Refused {
        /// What was fetched.
        url: String,
        /// Its command.
        command: String,
        /// What it said, bounded and without passwords.
        message: String,
    },
    /// It was asked to end early, while it waited for another try.
    #[error(transparent)]
    StoppedWaiting(#[from] image::Stopped),
    /// A secret for the server is none that could be shown to it.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no such branch, tag or commit.
    #[error("find {reference} in {url}")]
    NoReference {
        /// The repository.
        url: String,
        /// What was looked for.
        reference: String,
    },
    /// It is another commit than the one that was meant.
    #[error("verify {url}: its commit is {actual}, not {expected}")]
    Mismatch {
        /// The repository.
        url: String,
        /// The beginning that was asked for.
        expected: String,
        /// What it has.
        actual: String,
    },
    /// The commit has no files.
    #[error("fetch {url}: the commit has no files")]
    Empty {
        /// The repository.
        url: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] image::StoreError),
    /// There is no place for it.
    #[error(transparent)]
    Place(#[from] TreesError),
    /// The files cannot be looked at.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The files cannot be taken.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// They cannot be stored.
    #[error(transparent)]
    Layer(#[from] WriteError),
}

/// What git says when the network or the server failed, and another try may work. LC_ALL is C.
const PASSING: [&str; 16] = [
    "Could not resolve host",
    "Failed to connect",
    "Couldn't connect",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Connection closed",
    "Operation timed out",
    "Operation too slow",
    "Empty reply from server",
    "Recv failure",
    "Send failure",
    "SSL_ERROR_SYSCALL",
    "unexpected disconnect",
    "early EOF",
    "the remote end hung up unexpectedly",
];

/// What git's words say about another try: an HTTP status, where there is one, says it best.
pub(super) fn hope(error: &GitError) -> Hope {
    let GitError::Refused { message, .. } = error else {
        return Hope::None;
    };
    let status = ["returned error: ", "HTTP "].iter().find_map(|before| {
        let (_, rest) = message.split_once(before)?;
        rest.get(..3)?.parse().ok()
    });
    let passing = match status {
        Some(status) => is_passing(status),
        None => PASSING.iter().any(|words| message.contains(words)),
    };
    if passing { Hope::Passing } else { Hope::None }
}

/// The last lines of an error, harmless for a terminal.
pub(super) fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    last.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let of = |message: &str| {
            hope(&GitError::Refused {
                url: "u".into(),
                command: "fetch".into(),
                message: message.into(),
            })
        };
        for message in [
            "fatal: unable to access 'http://x/': The requested URL returned error: 503",
            "error: RPC failed; HTTP 502 curl 22; fatal: the remote end hung up unexpectedly",
            "fatal: unable to access 'http://x/': Could not resolve host: x",
            "fetch-pack: unexpected disconnect while reading sideband packet; fatal: early EOF",
        ] {
            assert_eq!(of(message), Hope::Passing, "{message}");
        }
        for message in [
            "fatal: repository 'http://x/' not found",
            "fatal: unable to access 'http://x/': The requested URL returned error: 403",
            "error: RPC failed; HTTP 403 curl 22; fatal: the remote end hung up unexpectedly",
            "fatal: could not read Username for 'http://x': terminal prompts disabled",
        ] {
            assert_eq!(of(message), Hope::None, "{message}");
        }
        assert_eq!(hope(&GitError::Empty { url: "u".into() }), Hope::None);
    }
}
