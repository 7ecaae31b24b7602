//! What was written: the typed tree of one Containerfile.
//!
//! Invariant: the tree holds values as they were written. Variables are not expanded and quotes not removed in any [`Word`];
//! whoever knows the environment passes words through [`expand`](crate::expand). Plain `String`s are never expanded.

use std::time::Duration;

use serde::Serialize;

mod command;

pub use self::command::{Command, Device, Heredoc, NetworkMode, Run, RunCommand, SecurityMode};
pub use crate::extensions::Extension;
pub use crate::mount::{Mount, MountKey, MountOption};
pub use crate::rare::Rare;
pub use crate::source::{Span, Spanned};
pub use crate::text::Text;

/// A word as written (continuations joined, JSON string escapes decoded), before expansion and quote removal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Word {
    /// The text to expand.
    pub raw: Text,
    /// Where it was written.
    pub span: Span,
}

impl Word {
    /// A word at a place.
    pub fn new(raw: impl Into<Text>, span: Span) -> Self {
        Self {
            raw: raw.into(),
            span,
        }
    }

    /// Whether the word may refer to a variable.
    #[must_use]
    pub fn mentions_variable(&self) -> bool {
        self.raw.contains('$')
    }
}

/// The character that continues lines and escapes in words; the `escape` directive chooses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum EscapeChar {
    /// `\`, the default.
    #[default]
    #[serde(rename = "\\")]
    Backslash,
    /// A backtick, for files full of Windows paths.
    #[serde(rename = "`")]
    Backtick,
}

impl EscapeChar {
    /// The character itself.
    #[must_use]
    pub const fn as_char(self) -> char {
        match self {
            Self::Backslash => '\\',
            Self::Backtick => '`',
        }
    }
}

/// The `# key=value` lines at the very top.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Directives {
    /// `syntax`: noted, never fetched, never run.
    pub syntax: Option<Spanned<String>>,
    /// `escape`.
    pub escape: EscapeChar,
    /// `check`: what to leave out of the build checks.
    pub check: Option<Spanned<Check>>,
}

/// The value of the `check` directive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Rules not to report, as written; `all` stands for every rule.
    pub skip: Vec<String>,
    /// Experimental rules to report.
    pub experimental: Vec<String>,
    /// Whether findings fail the build.
    pub error: bool,
}

impl Check {
    /// Whether findings of a rule are not wanted.
    #[must_use]
    pub fn skips(&self, rule: &str) -> bool {
        self.skip
            .iter()
            .any(|skipped| skipped == "all" || skipped == rule)
    }
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Containerfile {
    /// What stands at the top.
    pub directives: Directives,
    /// The `ARG` instructions before the first `FROM`; the span is that of the instruction.
    pub global_args: Vec<Spanned<Arg>>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
}

/// One stage: `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its first line.
    pub from: From,
    /// The instructions after it.
    pub instructions: Vec<Instruction>,
    /// What comments ask of rbuild for the whole stage: those above its `FROM`, then those inside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// From `FROM` to the end of the last instruction.
    pub span: Span,
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct From {
    /// The whole instruction.
    pub span: Span,
    /// The keyword.
    pub keyword: Span,
    /// `--platform`.
    pub platform: Option<Word>,
    /// `--after`: stages that must be finished before this one starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Spanned<String>>,
    /// An image, an earlier stage, or `scratch`.
    pub image: Word,
    /// The `AS` keyword.
    pub as_keyword: Option<Span>,
    /// The stage's name, folded to lower case; the span shows how it was written.
    pub name: Option<Spanned<String>>,
    /// The logical line, as in [`Instruction::text`].
    pub text: Text,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instruction {
    /// From the keyword to the end of the last line, heredocs included, without the line end.
    pub span: Span,
    /// The keyword.
    pub keyword: Span,
    /// The flags as written, in order; their typed values are in `kind`.
    pub flags: Rare<Flag>,
    /// What it does.
    pub kind: InstructionKind,
    /// What comments above it ask of rbuild.
    #[serde(skip_serializing_if = "Rare::is_empty")]
    pub extensions: Rare<Extension>,
    /// The logical line: continuations joined, comments inside them dropped, heredoc bodies not included.
    pub text: Text,
}

/// `--name` or `--name=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flag {
    /// The name, without dashes.
    pub name: Spanned<String>,
    /// The value, if there was an equals sign.
    pub value: Option<Word>,
    /// The whole flag.
    pub span: Span,
}

/// Every instruction but `FROM`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "instruction", content = "value", rename_all = "UPPERCASE")]
#[expect(
    missing_docs,
    reason = "each variant is the instruction of its name; the types say what is in it"
)]
pub enum InstructionKind {
    Add(Box<Add>),
    Arg(Arg),
    Cmd(Command),
    Copy(Box<Copy>),
    Entrypoint(Command),
    Env(Pairs),
    Expose(Vec<Word>),
    Healthcheck(Healthcheck),
    Label(Pairs),
    Maintainer(Spanned<Text>),
    Onbuild(Onbuild),
    Run(Box<Run>),
    /// The program and its arguments, at least one.
    Shell(Vec<Spanned<Text>>),
    Stopsignal(Word),
    User(Word),
    Volume(Vec<Word>),
    Workdir(Word),
}

impl InstructionKind {
    /// The keyword in upper case.
    #[must_use]
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// `COPY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// `--from`: a stage, its index, an image or a named context; never expanded.
    pub from: Option<Box<Spanned<Text>>>,
    /// `--parents`.
    pub parents: bool,
    /// What it shares with `ADD`.
    pub transfer: Transfer,
}

/// `ADD`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Add {
    /// `--checksum`.
    pub checksum: Option<Box<Word>>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
    /// What it shares with `COPY`.
    pub transfer: Transfer,
}

/// What `COPY` and `ADD` share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// `--chown`.
    pub chown: Option<Box<Word>>,
    /// `--chmod`.
    pub chmod: Option<Box<Word>>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, in order.
    pub excludes: Rare<Word>,
    /// What to copy, at least one.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
}

/// One source of `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CopySource {
    /// A path or pattern; with `ADD` also a URL.
    Path(Word),
    /// A file written in the Containerfile.
    Heredoc(Box<Heredoc>),
}

/// The pairs of `ENV` or `LABEL`, in order, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pairs {
    /// Names and values.
    pub pairs: Vec<Pair>,
    /// Whether it was the old form `ENV name rest of line`.
    pub legacy: bool,
}

/// `name=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The name, not empty; expanded like the value.
    pub name: Word,
    /// The value.
    pub value: Word,
}

/// `ARG`, with at least one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arg {
    /// `name` or `name=default`, in order.
    pub entries: Vec<ArgEntry>,
}

/// One variable of `ARG`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArgEntry {
    /// The name, not empty; expanded like the value.
    pub name: Word,
    /// The default, if there was an equals sign.
    pub default: Option<Word>,
}

/// `HEALTHCHECK`. Never expanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Healthcheck {
    /// `NONE`: forget the base image's check.
    None,
    /// `CMD`.
    Check(Box<HealthProbe>),
}

/// A health check that is run. Zero durations and zero retries mean the default, as everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthProbe {
    /// `--interval`.
    pub interval: Option<Duration>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--start-period`.
    pub start_period: Option<Duration>,
    /// `--start-interval`.
    pub start_interval: Option<Duration>,
    /// `--retries`.
    pub retries: Option<u32>,
    /// What to run.
    pub command: Command,
}

/// `ONBUILD`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Onbuild {
    /// The trigger for the image's configuration: the inner instruction's logical line, and its heredocs below it.
    pub trigger: String,
    /// The trigger, parsed.
    pub inner: Box<Instruction>,
}
