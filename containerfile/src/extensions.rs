//! `# rbuild:NAME OPTION=VALUE …`: what rbuild does beyond the language, in comments that other builders pass over.
//!
//! Invariant: such a comment is understood to its last word, at a place where it has a meaning, or it is an error: an image without
//! what it asks for would only fail later.

use serde::Serialize;

use crate::ast::{InstructionKind, Span, Spanned};
use crate::diagnostics::Diagnostic;
use crate::suggest::suggestion;

/// What stands behind `rbuild:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtensionName {
    /// `closure`: the `COPY --from` below it also copies what the programs need.
    Closure,
    /// `ca-certificates`: the stage's image gets a CA bundle.
    CaCertificates,
    /// `accounts`: the stage's image gets the account of its user.
    Accounts,
}

/// One such comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// What is asked for.
    pub name: Spanned<ExtensionName>,
    /// How, in the order of writing; only options that the extension has.
    pub options: Vec<ExtensionOption>,
    /// From the `#` to the end of the line.
    pub span: Span,
}

/// `NAME=VALUE`. Values are never expanded, and hold no blanks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExtensionOption {
    /// The name.
    pub name: Spanned<String>,
    /// The value, not empty.
    pub value: Spanned<String>,
}

impl Extension {
    /// The value of an option that can be given once.
    #[must_use]
    pub fn value<'e>(&'e self, option: &'e str) -> Option<&'e Spanned<String>> {
        self.values(option).next()
    }

    /// The values of an option that can be given several times, in order.
    pub fn values<'e>(&'e self, option: &'e str) -> impl Iterator<Item = &'e Spanned<String>> + 'e {
        let given = self.options.iter();
        given
            .filter(move |given| given.name.value == option)
            .map(|given| &given.value)
    }

    /// The same, cut at commas: each part with its own place.
    #[must_use]
    pub fn list(&self, option: &str) -> Vec<Spanned<String>> {
        let mut parts = Vec::new();
        for value in self.values(option) {
            let mut at = value.span.start();
            for part in value.value.split(',') {
                let span = Span::new(at, at + part.len());
                at = span.end() + 1;
                if !part.is_empty() {
                    parts.push(Spanned::new(part.to_owned(), span));
                }
            }
        }
        parts
    }
}

/// How often an option can be given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Often,
}

/// What can be written.
struct Known {
    written: &'static str,
    name: ExtensionName,
    options: &'static [(&'static str, Times)],
    example: &'static str,
}

const KNOWN: [Known; 3] = [
    Known {
        written: "closure",
        name: ExtensionName::Closure,
        options: &[
            ("with", Times::Often),
            ("without", Times::Often),
            ("also", Times::Often),
        ],
        example: "# rbuild:closure with=RULE,… without=RULE,… also=PATH",
    },
    Known {
        written: "ca-certificates",
        name: ExtensionName::CaCertificates,
        options: &[("from", Times::Once), ("extra", Times::Often)],
        example: "# rbuild:ca-certificates from=STAGE extra=FILE",
    },
    Known {
        written: "accounts",
        name: ExtensionName::Accounts,
        options: &[("uid", Times::Once), ("name", Times::Once)],
        example: "# rbuild:accounts uid=65532 name=nonroot",
    },
];

impl ExtensionName {
    fn known(self) -> &'static Known {
        let mut all = KNOWN.iter();
        all.find(|known| known.name == self).unwrap_or(&KNOWN[0])
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.known().written
    }

    /// Whether it is about the one instruction below it; the others are about the stage that they stand in.
    #[must_use]
    pub fn is_of_instruction(self) -> bool {
        self == Self::Closure
    }
}

/// Reads a comment line that starts at `start`; `None` when it is an ordinary comment, or wrong and reported.
pub(crate) fn read(
    line: &str,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Extension> {
    let mut words = words(line, start)?;
    let name = words.remove(0);
    let span = Span::new(
        start + line.find('#').unwrap_or_default(),
        start + line.trim_end().len(),
    );
    let Some(known) = KNOWN.iter().find(|known| known.written == name.value) else {
        diagnostics.push(unknown(&name, span));
        return None;
    };
    let before = diagnostics.len();
    let mut options: Vec<ExtensionOption> = Vec::new();
    for word in words {
        let option = option(known, word, &options, diagnostics);
        options.extend(option);
    }
    (diagnostics.len() == before).then(|| Extension {
        name: name.map(|_| known.name),
        options,
        span,
    })
}

/// The words behind `# rbuild:`, the name first.
fn words(line: &str, start: usize) -> Option<Vec<Spanned<String>>> {
    let comment = line.trim_start().strip_prefix('#')?.trim_start();
    let rest = comment.strip_prefix("rbuild:")?;
    // `# rbuild: a remark` is prose.
    if !rest.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let mut at = start + line.len() - rest.len();
    let mut words = Vec::new();
    for word in rest.split(char::is_whitespace) {
        let span = Span::new(at, at + word.len());
        if !word.is_empty() {
            words.push(Spanned::new(word.to_owned(), span));
        }
        // Every blank is cut off whole, however many bytes it has.
        at = span.end()
            + line[span.end() - start..]
                .chars()
                .next()
                .map_or(0, char::len_utf8);
    }
    Some(words)
}

fn unknown(name: &Spanned<String>, span: Span) -> Diagnostic {
    let names = KNOWN.iter().map(|known| known.written);
    let message = format!("there is no rbuild:{}", name.value);
    let found = Diagnostic::error(name.span, message);
    match suggestion(&name.value, names) {
        Some(near) => found
            .with_help(format!("did you mean {near}?"))
            .with_fix(name.span, near),
        None => {
            let all: Vec<&str> = KNOWN.iter().map(|known| known.example).collect();
            Diagnostic { span, ..found }.with_help(format!("there are: {}", all.join("; ")))
        }
    }
}

fn option(
    known: &Known,
    word: Spanned<String>,
    before: &[ExtensionOption],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ExtensionOption> {
    let help = format!("write: {}", known.example);
    let mut wrong = |span, message: String| {
        diagnostics.push(Diagnostic::error(span, message).with_help(help.as_str()));
        None
    };
    let (name, value) = match word.value.split_once('=') {
        Some((name, value)) if !value.is_empty() => (name, value),
        _ => {
            let message = format!(
                "rbuild:{} takes NAME=VALUE, not {:?}",
                known.written, word.value
            );
            return wrong(word.span, message);
        }
    };
    let place = Span::new(word.span.start(), word.span.start() + name.len());
    let Some((_, times)) = known.options.iter().find(|(option, _)| *option == name) else {
        return wrong(
            place,
            format!("rbuild:{} has no option {name:?}", known.written),
        );
    };
    if *times == Times::Once && before.iter().any(|given| given.name.value == name) {
        return wrong(place, format!("{name} can be given once"));
    }
    Some(ExtensionOption {
        name: Spanned::new(name.to_owned(), place),
        value: Spanned::new(
            value.to_owned(),
            Span::new(place.end() + 1, word.span.end()),
        ),
    })
}

/// Adds the extensions that have a meaning for an instruction, or without one for a stage; the others are reported.
pub(crate) fn add(
    to: &mut Vec<Extension>,
    extensions: Vec<Extension>,
    kind: Option<&InstructionKind>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for extension in extensions {
        let name = extension.name.value;
        if to.iter().any(|other| other.name.value == name) {
            let message = format!("a second rbuild:{} for the same thing", name.as_str());
            let second = Diagnostic::error(extension.span, message);
            diagnostics.push(second.with_help("join the two"));
        } else if let Some(misplaced) = misplaced(&extension, kind) {
            diagnostics.push(misplaced);
        } else {
            to.push(extension);
        }
    }
}

/// What copies from another stage is the only instruction that has extensions.
fn misplaced(extension: &Extension, kind: Option<&InstructionKind>) -> Option<Diagnostic> {
    let copies = matches!(kind, Some(InstructionKind::Copy(copy)) if copy.from.is_some());
    (extension.name.value.is_of_instruction() && !copies).then(|| {
        let written = extension.name.value.as_str();
        let message = format!("rbuild:{written} stands above no COPY --from");
        let help = "write it on the line above the COPY --from=STAGE that copies the program";
        Diagnostic::error(extension.span, message).with_help(help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Parsed, parse};
    use crate::source::Source;

    fn parsed(text: &str) -> Parsed {
        parse(&Source::new("Containerfile", text))
    }

    /// The messages, each with the text that it points at.
    fn wrong(text: &str) -> Vec<(String, String)> {
        let source = Source::new("Containerfile", text);
        let found = parse(&source).diagnostics;
        let told = found.iter().map(|found| {
            let place = source.slice(found.span).to_owned();
            (found.message.clone(), place)
        });
        told.collect()
    }

    #[test]
    fn a_closure_belongs_to_the_copy_below_it_with_places_to_the_byte() {
        let text = "FROM a AS b\nFROM scratch\n# rbuild:closure with=nss,locale:C.UTF-8\u{a0} also=/x also=/y\n\n# a remark\nCOPY --from=b /bin/x /x\n";
        let source = Source::new("Containerfile", text);
        let parsed = parse(&source);
        assert_eq!(parsed.diagnostics, []);
        let [extension] = &parsed.file.stages[1].instructions[0].extensions[..] else {
            panic!("one extension");
        };
        assert_eq!(extension.name.value, ExtensionName::Closure);
        let with = extension.list("with");
        let values: Vec<&str> = with.iter().map(|part| part.value.as_str()).collect();
        assert_eq!(values, ["nss", "locale:C.UTF-8"]);
        let also = extension.values("also").cloned();
        for part in with.into_iter().chain(also) {
            assert_eq!(source.slice(part.span), part.value);
        }
        assert!(source.slice(extension.span).starts_with("# rbuild:closure"));
        assert!(source.slice(extension.span).ends_with("also=/y"));
    }

    #[test]
    fn the_others_belong_to_the_stage_wherever_they_stand_in_it() {
        let text = "# rbuild:accounts uid=1\nFROM scratch AS one\n# rbuild:ca-certificates from=x\nUSER 1\nFROM scratch\nUSER 1\n# rbuild:accounts uid=2 name=n\n";
        let parsed = parsed(text);
        assert_eq!(parsed.diagnostics, []);
        let names = |stage: usize| -> Vec<(ExtensionName, usize)> {
            let of_stage = &parsed.file.stages[stage].extensions;
            let named = of_stage
                .iter()
                .map(|one| (one.name.value, one.options.len()));
            named.collect()
        };
        let (ca, accounts) = (ExtensionName::CaCertificates, ExtensionName::Accounts);
        assert_eq!(names(0), [(accounts, 1), (ca, 1)]);
        assert_eq!(names(1), [(accounts, 2)]);
    }

    #[test]
    fn inside_a_continuation_it_counts_for_that_instruction() {
        let text = "FROM a AS b\nFROM scratch\nCOPY --from=b \\\n  # rbuild:closure\n  /x /x\n";
        let parsed = parsed(text);
        assert_eq!(parsed.diagnostics, []);
        assert_eq!(parsed.file.stages[1].instructions[0].extensions.len(), 1);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let below = "COPY --from=b x /x\n";
        for (comment, message, place) in [
            ("# rbuild:closur", "there is no rbuild:closur", "closur"),
            ("#rbuild:what", "there is no rbuild:what", "#rbuild:what"),
            (
                "# rbuild:closure wiht=nss",
                "rbuild:closure has no option \"wiht\"",
                "wiht",
            ),
            (
                "# rbuild:closure with",
                "rbuild:closure takes NAME=VALUE, not \"with\"",
                "with",
            ),
            (
                "# rbuild:closure with=",
                "rbuild:closure takes NAME=VALUE, not \"with=\"",
                "with=",
            ),
            (
                "# rbuild:accounts uid=1 uid=2",
                "uid can be given once",
                "uid",
            ),
            (
                "# rbuild:closure\n# rbuild:closure",
                "a second rbuild:closure for the same thing",
                "# rbuild:closure",
            ),
        ] {
            let found = wrong(&format!("FROM scratch\n{comment}\n{below}"));
            assert_eq!(found, [(message.to_owned(), place.to_owned())], "{comment}");
        }
    }

    #[test]
    fn a_closure_above_anything_but_a_copy_from_a_stage_is_an_error() {
        for below in [
            "COPY x /x\n",
            "RUN x\n",
            "FROM scratch\n",
            "ONBUILD COPY --from=a x /x\n",
            "",
        ] {
            let found = wrong(&format!("FROM a\n# rbuild:closure\n{below}"));
            let message = "rbuild:closure stands above no COPY --from".to_owned();
            assert_eq!(found, [(message, "# rbuild:closure".to_owned())], "{below}");
        }
    }

    #[test]
    fn prose_and_heredocs_are_no_extensions() {
        let text =
            "FROM a\n# rbuild: a remark\n# see rbuild:closure\nRUN <<END\n# rbuild:what\nEND\n";
        assert_eq!(wrong(text), []);
    }
}
