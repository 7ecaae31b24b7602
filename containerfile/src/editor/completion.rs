//! What can be written at a place: instructions, flags and some of their values, stages, variables.
//!
//! Invariant: the text behind the cursor does not matter, so an answer is the same in a finished file and in one that ends there.

mod cursor;
mod scope;

use crate::flags::Takes;
use crate::instructions::known_flags;
use crate::source::Span;
use crate::statement::{KEYWORDS, Keyword};

use super::{hover, manual};
use cursor::{Cursor, Place};
use scope::Scope;

/// What a completion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionKind {
    /// An instruction, or a word of one.
    Keyword,
    /// A flag.
    Flag,
    /// A value of a flag.
    Value,
    /// A stage.
    Stage,
    /// A build argument or an environment variable.
    Variable,
}

/// One thing that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What it is called.
    pub label: String,
    /// What it is.
    pub kind: CompletionKind,
    /// A few words about it.
    pub detail: String,
    /// A page about it, in Markdown; may be empty.
    pub page: String,
    /// The text that it takes the place of: what was begun.
    pub replaces: Span,
    /// The text to put there.
    pub text: String,
}

/// What can be written at the byte `at`, which is where the cursor stands.
#[must_use]
pub fn completions(text: &str, at: usize) -> Vec<Completion> {
    let at = text.floor_char_boundary(at);
    let cursor = Cursor::find(&text[..at]);
    let scope = Scope::of(&cursor);
    if matches!(cursor.place, Place::Nowhere) {
        return Vec::new();
    }
    if let Some(variable) = cursor.variable() {
        let closed = text[at..].starts_with('}');
        return variables(&scope, variable, !closed);
    }
    match &cursor.place {
        Place::Keyword { written, inner } => {
            instructions(*written, &text[written.start()..at], *inner)
        }
        Place::Flag { keyword, written } => flags(*keyword, *written),
        Place::FlagValue {
            keyword,
            flag,
            value,
        } => values(&scope, *keyword, flag, *value, &text[value.start()..at]),
        Place::Word {
            keyword,
            index,
            written,
        } => {
            let mut all = words(&scope, *keyword, *index, *written);
            if *index == 0 && matches!(&text[written.start()..at], "" | "-") {
                all.extend(flags(*keyword, *written));
            }
            all
        }
        Place::Heredoc | Place::Nowhere => Vec::new(),
    }
}

fn completion(kind: CompletionKind, label: &str, detail: &str, replaces: Span) -> Completion {
    Completion {
        label: label.to_owned(),
        kind,
        detail: detail.to_owned(),
        page: String::new(),
        replaces,
        text: label.to_owned(),
    }
}

/// In the case that was begun; an inner one is behind ONBUILD.
fn instructions(written: Span, begun: &str, inner: bool) -> Vec<Completion> {
    let lower = begun.starts_with(|first: char| first.is_ascii_lowercase());
    let possible = |keyword: &Keyword| {
        !inner
            || !matches!(
                keyword,
                Keyword::From | Keyword::Onbuild | Keyword::Maintainer
            )
    };
    let all = KEYWORDS.iter().filter(|(_, keyword)| possible(keyword));
    all.map(|(name, keyword)| {
        let usage = manual::instruction(*keyword).usage;
        let mut one = completion(CompletionKind::Keyword, name, usage, written);
        one.page = hover::instruction(*keyword);
        if lower {
            one.text = name.to_ascii_lowercase();
        }
        one
    })
    .collect()
}

fn flags(keyword: Keyword, written: Span) -> Vec<Completion> {
    let known = known_flags(keyword).iter();
    known
        .map(|(name, takes)| {
            let detail = manual::flag(keyword, name).unwrap_or_default();
            let label = format!("--{name}");
            let mut one = completion(CompletionKind::Flag, &label, detail, written);
            if *takes != Takes::Bool {
                one.text.push('=');
            }
            one
        })
        .collect()
}

fn variables(scope: &Scope, variable: cursor::Variable, close: bool) -> Vec<Completion> {
    let all = scope.variables.iter();
    all.map(|(name, detail)| {
        let mut one = completion(CompletionKind::Variable, name, detail, variable.name);
        if variable.braced && close {
            one.text.push('}');
        }
        one
    })
    .collect()
}

fn stages(scope: &Scope, replaces: Span) -> Vec<Completion> {
    let all = scope.stages.iter();
    all.map(|(name, from)| completion(CompletionKind::Stage, name, from, replaces))
        .collect()
}

fn plain(values: &[(&str, &str)], replaces: Span) -> Vec<Completion> {
    let all = values.iter();
    all.map(|(value, detail)| completion(CompletionKind::Value, value, detail, replaces))
        .collect()
}

const USER: (&str, &str) = ("65532:65532", "the usual user that is not root");

/// The values of a flag.
fn values(
    scope: &Scope,
    keyword: Keyword,
    flag: &str,
    value: Span,
    begun: &str,
) -> Vec<Completion> {
    match (keyword, flag) {
        (Keyword::Copy, "from") | (Keyword::From, "after") => stages(scope, value),
        (Keyword::Copy | Keyword::Add, "chown") => plain(&[USER], value),
        (Keyword::Run, "mount") => mount(scope, value, begun),
        (Keyword::Run, "network") => plain(
            &[
                ("none", "no network"),
                ("default", "what the build uses"),
                ("host", "the host's network"),
            ],
            value,
        ),
        (Keyword::From, "platform") => plain(
            &[
                ("$BUILDPLATFORM", "where the build runs"),
                ("$TARGETPLATFORM", "what is built for"),
                ("linux/amd64", "a fixed platform"),
                ("linux/arm64", "a fixed platform"),
            ],
            value,
        ),
        _ => {
            let known = known_flags(keyword).iter().find(|(name, _)| *name == flag);
            match known {
                Some((_, Takes::Bool)) => plain(&[("true", ""), ("false", "")], value),
                _ => Vec::new(),
            }
        }
    }
}

/// The options of `--mount`, or the values of the one that was begun last.
fn mount(scope: &Scope, value: Span, begun: &str) -> Vec<Completion> {
    let field = begun.rfind(',').map_or(0, |comma| comma + 1);
    let from = |at: usize| Span::new(value.start() + at, value.end());
    match begun[field..].split_once('=') {
        Some((key, _)) => {
            let place = from(field + key.len() + 1);
            match key {
                "from" => stages(scope, place),
                "type" => plain(
                    &[
                        ("bind", "files of the context, a stage or an image"),
                        ("cache", "a directory that the next build finds again"),
                        ("secret", "a secret, which reaches no layer"),
                        ("ssh", "the agent of ssh"),
                        ("tmpfs", "an empty directory in memory"),
                    ],
                    place,
                ),
                "sharing" => plain(&[("shared", ""), ("private", ""), ("locked", "")], place),
                _ => Vec::new(),
            }
        }
        None => plain(
            &[
                ("type=", "bind, cache, secret, ssh or tmpfs"),
                ("target=", "where it is seen"),
                ("source=", "the path in what is mounted"),
                ("from=", "a stage, an image or a named context"),
                ("id=", "the name of a secret, a cache or an agent"),
                ("sharing=", "of a cache: shared, private or locked"),
                ("mode=", "octal"),
                ("uid=", "the owner"),
                ("gid=", "the group"),
                ("env=", "the variable that a secret is in"),
                ("required", "fail without the secret or agent"),
                ("readonly", "nothing can be written"),
                ("rw", "what is written is thrown away"),
                ("size=", "of a tmpfs, in bytes"),
            ],
            from(field),
        ),
    }
}

/// What an instruction takes, apart from flags.
fn words(scope: &Scope, keyword: Keyword, index: usize, written: Span) -> Vec<Completion> {
    let keywords = |values: &[(&str, &str)]| {
        let mut all = plain(values, written);
        for one in &mut all {
            one.kind = CompletionKind::Keyword;
        }
        all
    };
    match (keyword, index) {
        (Keyword::From, 0) => {
            let mut all = stages(scope, written);
            all.extend(keywords(&[("scratch", "nothing")]));
            all
        }
        (Keyword::From, 1) => keywords(&[("AS", "gives the stage a name")]),
        (Keyword::Healthcheck, 0) => {
            keywords(&[("CMD", "a command"), ("NONE", "not even the base image's")])
        }
        (Keyword::User, 0) => plain(&[USER], written),
        (Keyword::Arg, _) => {
            let all = scope.arguments.iter();
            all.map(|(name, detail)| completion(CompletionKind::Variable, name, detail, written))
                .collect()
        }
        _ => Vec::new(),
    }
}
