//! What is run: command lines, `RUN` with its options, heredocs.
//!
//! Invariant: the text of a command is never expanded by the builder; the shell that gets it does that.

use std::borrow::Cow;

use serde::Serialize;

use crate::mount::Mount;
use crate::rare::Rare;
use crate::source::{Span, Spanned};
use crate::text::Text;

/// A command line of `CMD`, `ENTRYPOINT` or `HEALTHCHECK`. Never expanded by the builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// One string for the stage's `SHELL`.
    Shell(Spanned<Text>),
    /// A program and its arguments; may be empty.
    Exec(Vec<Spanned<Text>>),
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// `--mount`, in order.
    pub mounts: Rare<Mount>,
    /// `--network`.
    pub network: Option<Spanned<NetworkMode>>,
    /// `--security`.
    pub security: Option<Spanned<SecurityMode>>,
    /// `--device`, in order.
    pub devices: Rare<Device>,
    /// What to run.
    pub command: RunCommand,
}

/// What `RUN` runs. Never expanded by the builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunCommand {
    /// Text for the stage's `SHELL`; [`RunCommand::shell_text`] puts the heredocs back below it.
    Shell {
        /// The logical line.
        text: Spanned<Text>,
        /// The heredocs that it opens, in order; the shell reads them.
        heredocs: Rare<Heredoc>,
    },
    /// A heredoc alone: its content is the script, for the stage's `SHELL`, or for the interpreter after its `#!`.
    Script(Box<Heredoc>),
    /// A program and its arguments; may be empty.
    Exec(Vec<Spanned<Text>>),
}

impl RunCommand {
    /// The string that `SHELL` gets as its last argument; `None` for the exec form. A script that starts with `#!` is meant to be
    /// executed as a file instead.
    #[must_use]
    pub fn shell_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Exec(_) => None,
            Self::Script(heredoc) => Some(heredoc.content()),
            Self::Shell { text, heredocs } if heredocs.is_empty() => {
                Some(Cow::Borrowed(&text.value))
            }
            Self::Shell { text, heredocs } => {
                let mut whole = text.value.to_string();
                for heredoc in heredocs {
                    whole.push('\n');
                    whole.push_str(&heredoc.raw);
                    whole.push_str(&heredoc.name);
                }
                Some(Cow::Owned(whole))
            }
        }
    }
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heredoc {
    /// The delimiter without its quotes; the file name when it is copied to a directory.
    pub name: String,
    /// The descriptor in front of `<<`; 0 without one.
    pub fd: u32,
    /// Whether any part of the delimiter was quoted: then the content is not expanded.
    pub quoted: bool,
    /// Whether it was opened with `<<-`.
    pub strip_tabs: bool,
    /// The lines between the opening line and the terminator, with their line ends, as written.
    pub raw: Text,
    /// The opening, `<<EOF`.
    pub span: Span,
    /// The lines of `raw`.
    pub body: Span,
}

impl Heredoc {
    /// The content: the lines, without their leading tabs if it was opened with `<<-`.
    #[must_use]
    pub fn content(&self) -> Cow<'_, str> {
        if !self.strip_tabs || !self.raw.contains('\t') {
            return Cow::Borrowed(&self.raw);
        }
        Cow::Owned(
            self.raw
                .split_inclusive('\n')
                .map(|line| line.trim_start_matches('\t'))
                .collect(),
        )
    }
}

/// `RUN --network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// What the build uses.
    Default,
    /// An isolated loopback.
    None,
    /// The host's network; needs a permission.
    Host,
}

/// `RUN --security`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecurityMode {
    /// The usual restrictions.
    Sandbox,
    /// None; a rootless builder refuses it.
    Insecure,
}

/// `RUN --device=NAME[,required]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// The CDI device name or class.
    pub name: Spanned<String>,
    /// Whether the build fails without it.
    pub required: bool,
    /// The whole flag.
    pub span: Span,
}
