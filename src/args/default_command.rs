//! `rbuild -f Containerfile .` is `rbuild build -f Containerfile .`. The invariant: the first word that is neither an option nor
//! an option's value decides; a known command is that command, anything else is a build context.

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};

use clap::{Arg, Args as _, Command, Subcommand as _};

use super::Global;
use super::build::BuildArgs;

/// The arguments with `build` put in front when no command is named.
pub(crate) struct CommandLine {
    pub(crate) words: Vec<OsString>,
    /// Whether they most likely are those of `run`.
    pub(crate) is_run: bool,
}

impl CommandLine {
    pub(crate) fn of(mut words: Vec<OsString>) -> Self {
        let first = First::of(words.get(1..).unwrap_or_default());
        let is_run = matches!(first, First::Word(word) if word == "run");
        let is_build = matches!(first, First::Word(word) if word == "build");
        if first.wants_build() {
            words.insert(1, "build".into());
        }
        if is_build || words.get(1).is_some_and(|word| word == "build") {
            words = joined(words);
        }
        Self { words, is_run }
    }
}

/// `--sbom false`, as buildx takes it too, is `--sbom=false`: alone these flags need no value, so that they may stand before a context.
fn joined(words: Vec<OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::with_capacity(words.len());
    for word in words {
        match all.last_mut() {
            Some(last)
                if (*last == "--sbom" || *last == "--provenance")
                    && (word == "true" || word == "false") =>
            {
                last.push("=");
                last.push(word);
            }
            _ => all.push(word),
        }
    }
    all
}

/// What comes first but for options.
enum First<'a> {
    Word(&'a OsStr),
    Separator,
    Help,
    None { any_of_build: bool },
}

impl<'a> First<'a> {
    fn of(args: &'a [OsString]) -> Self {
        let options = Options::default();
        let mut any_of_build = false;
        let mut rest = args.iter();
        while let Some(word) = rest.next() {
            match options.shape(word) {
                Shape::Help => return Self::Help,
                Shape::Word => return Self::Word(word),
                Shape::Separator => return Self::Separator,
                Shape::Option {
                    of_build,
                    takes_next,
                } => {
                    any_of_build |= of_build;
                    if takes_next {
                        rest.next();
                    }
                }
            }
        }
        Self::None { any_of_build }
    }

    fn wants_build(&self) -> bool {
        match self {
            Self::Word(word) => !word.to_str().is_some_and(super::Command::has_subcommand),
            Self::Help => false,
            Self::Separator => true,
            Self::None { any_of_build } => *any_of_build,
        }
    }
}

enum Shape {
    /// A context or a command.
    Word,
    /// `--`.
    Separator,
    /// `-h`, `--help`, `-V`, `--version` before any word belong to rbuild itself.
    Help,
    /// An option; unknown ones are taken for options of `build`, whose parser will name them.
    Option { of_build: bool, takes_next: bool },
}

/// The options that may stand before any word. Those of `build` are many, so they are listed only when one is met: a start of
/// rbuild is a matter of milliseconds.
#[derive(Default)]
struct Options {
    global: OnceCell<Command>,
    build: OnceCell<Command>,
}

impl Options {
    fn shape(&self, word: &OsStr) -> Shape {
        let text = word.to_string_lossy();
        match text.as_ref() {
            "--" => Shape::Separator,
            "-h" | "--help" | "-V" | "--version" => Shape::Help,
            // A lone dash is the context "standard input".
            "-" => Shape::Word,
            long if long.starts_with("--") => {
                let name = &long[2..];
                let inline_value = name.contains('=');
                let name = name.split('=').next().unwrap_or(name);
                let (arg, of_build) = self.find(|arg| arg.get_long() == Some(name));
                Shape::Option {
                    of_build,
                    takes_next: !inline_value && arg.is_some_and(takes_value),
                }
            }
            short if short.starts_with('-') => self.short_options(&short[1..]),
            _ => Shape::Word,
        }
    }

    /// `-qf FILE`, `-fFILE`: the first option of the cluster that takes a value takes the rest of it, or the next word.
    fn short_options(&self, cluster: &str) -> Shape {
        let mut any_of_build = false;
        for (at, letter) in cluster.char_indices() {
            let (arg, of_build) = self.find(|arg| arg.get_short() == Some(letter));
            any_of_build |= of_build;
            if arg.is_some_and(takes_value) {
                let takes_next = at + letter.len_utf8() == cluster.len();
                return Shape::Option {
                    of_build: any_of_build,
                    takes_next,
                };
            }
        }
        Shape::Option {
            of_build: any_of_build,
            takes_next: false,
        }
    }

    /// The option, and whether it is one of `build` (or of nobody) rather than one of every command.
    fn find(&self, wanted: impl Fn(&Arg) -> bool) -> (Option<&Arg>, bool) {
        let global = self
            .global
            .get_or_init(|| Global::augment_args(Command::new("rbuild")));
        if let Some(arg) = global.get_arguments().find(|arg| wanted(arg)) {
            return (Some(arg), false);
        }
        let build = self
            .build
            .get_or_init(|| BuildArgs::augment_args(Command::new("build")));
        (build.get_arguments().find(|arg| wanted(arg)), true)
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && arg.get_num_args().is_none_or(|count| count.takes_values())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(line: &str) -> bool {
        let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        CommandLine::of(args.clone()).words != args
    }

    #[test]
    fn a_context_or_an_option_of_build_means_build() {
        for line in [
            "rbuild -f Containerfile .",
            "rbuild .",
            "rbuild -t run .",
            "rbuild --tag images ctx",
            "rbuild -f x",
            "rbuild --no-cache",
            "rbuild --root /s -qf images .",
            "rbuild -fimages .",
            "rbuild -",
            "rbuild -- run",
            "rbuild --file=run .",
            "rbuild --never-heard-of .",
        ] {
            assert!(inserted(line), "{line}");
        }
    }

    #[test]
    fn run_is_seen_behind_options_and_nowhere_else() {
        let is_run =
            |line: &str| CommandLine::of(line.split_whitespace().map(Into::into).collect()).is_run;
        for line in [
            "rbuild run",
            "rbuild --root /s run x",
            "rbuild -vv run -v a:b x",
        ] {
            assert!(is_run(line), "{line}");
        }
        for line in [
            "rbuild",
            "rbuild build run",
            "rbuild --root run images",
            "rbuild -- run",
            "rbuild -h run",
        ] {
            assert!(!is_run(line), "{line}");
        }
    }

    #[test]
    fn a_command_stays_a_command() {
        for line in [
            "rbuild",
            "rbuild images",
            "rbuild --root /s images",
            "rbuild -v run x",
            "rbuild --help",
            "rbuild -V",
            "rbuild build .",
            "rbuild --root build images",
            "rbuild debug ast f",
        ] {
            assert!(!inserted(line), "{line}");
        }
    }
}
