//! A logical line cut into keyword, flags, arguments and heredocs: what all instructions have in common.
//!
//! Invariant: nothing here depends on what an instruction means, only on how BuildKit's line parser cuts its text.

use crate::ast::{EscapeChar, Flag, Heredoc, Span, Spanned, Word};
use crate::diagnostics::Diagnostic;
use crate::extensions::Extension;
use crate::heredoc::{self, Opening};
use crate::lines::{Fragment, Lines};
use crate::suggest::suggestion;
use crate::words;

/// The instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
}

pub(crate) const KEYWORDS: [(&str, Keyword); 18] = [
    ("ADD", Keyword::Add),
    ("ARG", Keyword::Arg),
    ("CMD", Keyword::Cmd),
    ("COPY", Keyword::Copy),
    ("ENTRYPOINT", Keyword::Entrypoint),
    ("ENV", Keyword::Env),
    ("EXPOSE", Keyword::Expose),
    ("FROM", Keyword::From),
    ("HEALTHCHECK", Keyword::Healthcheck),
    ("LABEL", Keyword::Label),
    ("MAINTAINER", Keyword::Maintainer),
    ("ONBUILD", Keyword::Onbuild),
    ("RUN", Keyword::Run),
    ("SHELL", Keyword::Shell),
    ("STOPSIGNAL", Keyword::Stopsignal),
    ("USER", Keyword::User),
    ("VOLUME", Keyword::Volume),
    ("WORKDIR", Keyword::Workdir),
];

impl Keyword {
    pub(crate) fn find(written: &str) -> Option<Self> {
        KEYWORDS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(written))
            .map(|&(_, keyword)| keyword)
    }

    /// The keyword in upper case.
    pub(crate) fn name(self) -> &'static str {
        KEYWORDS
            .iter()
            .find(|&&(_, keyword)| keyword == self)
            .map_or("", |&(name, _)| name)
    }

    fn may_open_heredocs(self) -> bool {
        matches!(self, Self::Add | Self::Copy | Self::Run)
    }
}

/// A logical line, cut.
#[derive(Clone)]
pub(crate) struct Statement<'l> {
    pub(crate) line: Fragment<'l>,
    pub(crate) keyword: Fragment<'l>,
    pub(crate) flags: Vec<Flag>,
    /// What is left, without blanks at its ends.
    pub(crate) args: Fragment<'l>,
}

impl<'l> Statement<'l> {
    /// Cuts a logical line.
    pub(crate) fn split(line: Fragment<'l>) -> Self {
        let (keyword, rest) = words::split_first(line);
        let (flags, args) = flags(rest);
        Self {
            line,
            keyword,
            flags,
            args: args.trim(),
        }
    }

    pub(crate) fn name(&self) -> Option<Keyword> {
        Keyword::find(self.keyword.text())
    }

    /// Which instruction it is; an unknown one is an error.
    pub(crate) fn known(&self, diagnostics: &mut Vec<Diagnostic>) -> Option<Keyword> {
        let name = self.name();
        if name.is_none() {
            diagnostics.push(unknown_instruction(self.keyword));
        }
        name
    }

    /// The statement that an `ONBUILD` holds.
    pub(crate) fn inner(&self) -> Self {
        Self::split(self.args)
    }

    /// The heredocs that the arguments open, and the arguments that they are in (the inner ones of an `ONBUILD`).
    pub(crate) fn heredocs(&self) -> (Fragment<'l>, Vec<Opening>) {
        if self.name() == Some(Keyword::Onbuild) {
            let inner = self.inner();
            return (inner.args, inner.own_heredocs());
        }
        (self.args, self.own_heredocs())
    }

    fn own_heredocs(&self) -> Vec<Opening> {
        let possible =
            self.name().is_some_and(Keyword::may_open_heredocs) && self.args.text().contains("<<");
        if !possible || matches!(words::json(self.args), words::Json::Strings(_)) {
            return Vec::new();
        }
        heredoc::openings(self.args.text())
    }
}

fn unknown_instruction(keyword: Fragment<'_>) -> Diagnostic {
    let written = keyword.text();
    let diagnostic = Diagnostic::error(keyword.span(), format!("unknown instruction: {written}"));
    match suggestion(
        &written.to_ascii_uppercase(),
        KEYWORDS.iter().map(|&(name, _)| name),
    ) {
        Some(name) => diagnostic
            .with_help(format!("did you mean {name}?"))
            .with_fix(keyword.span(), name),
        None => diagnostic,
    }
}

/// Cuts leading `--flag` words off. Quotes and backslashes are removed from them here, as in BuildKit, so that a value can hold
/// blanks; `--` ends the flags.
fn flags(rest: Fragment<'_>) -> (Vec<Flag>, Fragment<'_>) {
    let text = rest.text();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if !text[at..].starts_with("--") {
            return (flags, rest.from(at));
        }
        let (plain, end) = flag_word(text, at);
        if plain == "--" {
            return (flags, rest.from(end));
        }
        flags.push(flag(plain, rest.slice(at, end)));
        at = end;
    }
}

/// The word that starts at `start`, without quotes and backslashes, and its end.
fn flag_word(text: &str, start: usize) -> (String, usize) {
    let mut plain = String::new();
    let mut quote = None;
    let mut characters = text[start..].char_indices();
    while let Some((at, character)) = characters.next() {
        match quote {
            None if character.is_whitespace() => return (plain, start + at),
            None if matches!(character, '\'' | '"') => quote = Some(character),
            Some(open) if open == character => quote = None,
            _ if character == '\\' => plain.extend(characters.next().map(|(_, next)| next)),
            _ => plain.push(character),
        }
    }
    (plain, text.len())
}

fn flag(plain: String, written: Fragment<'_>) -> Flag {
    let body = written.slice(2, written.text().len());
    let name_end = body.text().find('=').unwrap_or(body.text().len());
    let (name, value) = match plain.split_once('=') {
        Some((name, value)) => {
            let written = body.from((name_end + 1).min(body.text().len()));
            let value = written.shared_or(written.span(), value);
            (name, Some(Word::new(value, written.span())))
        }
        None => (plain.as_str(), None),
    };
    let name = name.strip_prefix("--").unwrap_or(name).to_owned();
    Flag {
        name: Spanned::new(name, body.slice(0, name_end).span()),
        value,
        span: written.span(),
    }
}

/// A statement together with the heredocs below it.
pub(crate) struct Complete<'l> {
    pub(crate) statement: Statement<'l>,
    pub(crate) openings: Vec<Opening>,
    pub(crate) heredocs: Vec<Heredoc>,
    /// What comments in front of it and inside it ask for.
    pub(crate) extensions: Vec<Extension>,
    /// From the keyword to the end of the last line.
    pub(crate) span: Span,
}

/// Hands each statement of a source to `then`, in order. What comments behind the last one ask for comes back.
pub(crate) fn each(
    mut lines: Lines<'_>,
    escape: EscapeChar,
    diagnostics: &mut Vec<Diagnostic>,
    mut then: impl FnMut(&Complete<'_>, &mut Vec<Diagnostic>),
) -> Vec<Extension> {
    while let Some(line) = lines.logical(escape, diagnostics) {
        let statement = Statement::split(line.fragment());
        if statement.line.is_empty() {
            diagnostics.push(Diagnostic::error(
                line.span(),
                "a continuation with nothing to continue",
            ));
            continue;
        }
        let (args, openings) = statement.heredocs();
        let Some(heredocs) = heredoc::bodies(&openings, args, &mut lines, diagnostics) else {
            continue;
        };
        let end = if heredocs.is_empty() {
            line.span().end()
        } else {
            lines.end_of_last_line()
        };
        let span = Span::new(line.span().start(), end);
        then(
            &Complete {
                statement,
                openings,
                heredocs,
                extensions: lines.take_extensions(),
                span,
            },
            diagnostics,
        );
    }
    lines.take_extensions()
}
