//! What can be wrong with an account's subordinate ids. Invariant: every variant names the file or program it is about,
//! and those that a command can mend give that command.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{IdKind, NEEDED, SubIdRange};
use crate::preflight::shell_word;

/// Why a line of a sub-id file grants nothing that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not `owner:start:count`.
    #[error("it is not NAME:START:COUNT")]
    NotThreeFields,
    /// Start or count is no decimal number.
    #[error("start and count must be decimal numbers")]
    NotANumber,
    /// The count is 0.
    #[error("it has no ids")]
    Empty,
    /// It ends above the largest id there is.
    #[error("it runs beyond the last id, 4294967294")]
    BeyondLastId,
    /// It holds id 0.
    #[error("it covers id 0, so that a container's user would be root outside")]
    CoversRoot,
    /// It holds the id of the account itself.
    #[error("it covers the account's own id, which is mapped already")]
    CoversCaller,
}

/// Why an account has no usable subordinate ids.
#[derive(Debug, thiserror::Error)]
pub enum SubIdError {
    /// A file exists and cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// newuidmap refuses callers without an account.
    #[error("find the name of uid {uid}: neither {} nor `getent passwd {uid}` has it", passwd.display())]
    UnknownUser {
        /// The uid.
        uid: u32,
        /// The file that was searched.
        passwd: PathBuf,
    },
    /// The account's line cannot be used.
    #[error("use line {line} of {}, `{text}`: {flaw}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// No line is the account's.
    #[error(
        "find a range for {} (uid {uid}) in {}{}; add the line `{grant}`",
        grant.name, grant.path.display(), similar_hint(similar, &grant.name)
    )]
    NoRange {
        /// The account's uid.
        uid: u32,
        /// Line and owner of an entry that looks as if it was meant for the account.
        similar: Option<(usize, String)>,
        /// What would mend it; also names the file and the account.
        grant: Box<Grant>,
    },
    /// nsswitch.conf sends newuidmap to a directory service, and that has no range.
    #[error("find sub{}s of {name}: nsswitch.conf says `subid: {module}`, and `getsubids` lists none", kind.name())]
    NotInDirectory {
        /// Which ids.
        kind: IdKind,
        /// The account.
        name: String,
        /// The NSS module.
        module: String,
    },
    /// Fewer than [`NEEDED`] ids.
    #[error(
        "map image ids 0 to 65535: {} gives {} only {found} ids, so that {} {found} is the first that cannot exist; \
         add the line `{grant}`",
        grant.path.display(), grant.name, grant.kind.name()
    )]
    TooSmall {
        /// How many ids the account has, which is also the first image id that cannot be mapped.
        found: u32,
        /// What would mend it; also names the file and the account.
        grant: Box<Grant>,
    },
    /// Two accounts have ids in common.
    #[error(
        "use line {line} of {}: {}'s ids {} to {} overlap with those of {other} on line {other_line}; \
         replace it by `{grant}`",
        grant.path.display(), grant.name, range.start, range.last()
    )]
    Shared {
        /// The account's range.
        range: SubIdRange,
        /// Where that stands.
        line: usize,
        /// The other account.
        other: String,
        /// Where its range stands.
        other_line: usize,
        /// What would mend it; also names the file and the account.
        grant: Box<Grant>,
    },
    /// `getent` or `getsubids` could not be run.
    #[error("run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `getent` or `getsubids` gave no answer; the usual reason is a directory server that is away.
    #[error("get an answer from {} within {seconds} s", program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it had.
        seconds: u32,
    },
}

fn similar_hint(similar: &Option<(usize, String)>, name: &str) -> String {
    match similar {
        Some((line, owner)) => format!(" (line {line} belongs to `{owner}`, not to `{name}`)"),
        None => String::new(),
    }
}

impl SubIdError {
    /// The exact command that mends it, where there is one.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NoRange { grant, .. } | Self::TooSmall { grant, .. } => grant.command(),
            Self::Shared { grant, line, .. } => {
                let add = grant.command()?;
                let path = shell_word(&grant.path.to_string_lossy());
                Some(format!("sudo sed -i {line}d {path}\n{add}"))
            }
            Self::Malformed { path, line, .. } => {
                let file = shell_word(&path.to_string_lossy());
                Some(format!(
                    "sudo ${{EDITOR:-vi}} {file}   # line {line}: NAME:START:{NEEDED}"
                ))
            }
            Self::NotInDirectory { name, module, .. } if module == "sss" => {
                Some(format!("ipa subid-generate --owner={}", shell_word(name)))
            }
            Self::Read { path, .. } => Some(format!(
                "sudo chmod a+r {}",
                shell_word(&path.to_string_lossy())
            )),
            Self::NotInDirectory { .. }
            | Self::UnknownUser { .. }
            | Self::Run { .. }
            | Self::TimedOut { .. } => None,
        }
    }
}

/// The line that gives an account a free range. Shows as that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which ids.
    pub kind: IdKind,
    /// The file that the line belongs in.
    pub path: PathBuf,
    /// The account.
    pub name: String,
    /// A range that nobody has; none when the file leaves no room, which takes tens of thousands of entries.
    pub range: Option<SubIdRange>,
    /// Whether usermod(8) knows the account.
    pub(super) local: bool,
    /// Whether the file's last line lacks its newline, so that an appended line would be lost in it.
    pub(super) unterminated: bool,
}

impl Grant {
    /// `usermod` where it works, since it locks the files; an appended line for accounts of a directory service.
    fn command(&self) -> Option<String> {
        let range = self.range?;
        let name = shell_word(&self.name);
        if self.local && !self.unterminated {
            let flag = self.kind.name();
            return Some(format!(
                "sudo usermod --add-sub{flag}s {}-{} {name}",
                range.start,
                range.last()
            ));
        }
        let path = shell_word(&self.path.to_string_lossy());
        let line = shell_word(&self.to_string());
        Some(if self.unterminated {
            format!("{{ echo; echo {line}; }} | sudo tee -a {path}")
        } else {
            format!("echo {line} | sudo tee -a {path}")
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some(range) => write!(f, "{}:{}:{}", self.name, range.start, range.count),
            None => write!(f, "{}:START:{NEEDED}", self.name),
        }
    }
}
