//! The flags of one instruction against the flags that it knows.
//!
//! Invariant: no flag is ignored. One that is unknown, repeated, or of the wrong form is an error that names it.

use std::collections::HashSet;

use crate::ast::{Flag, Word};
use crate::diagnostics::Diagnostic;
use crate::suggest::suggestion;

/// What a flag takes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Takes {
    /// A value.
    Value,
    /// A value, and the flag may be repeated.
    Values,
    /// Nothing, `true` or `false`.
    Bool,
}

/// The flags that an instruction knows.
pub(crate) type Known = &'static [(&'static str, Takes)];

/// Checked flags.
pub(crate) struct Flags<'f> {
    flags: &'f [Flag],
}

impl<'f> Flags<'f> {
    /// Checks the flags; all errors are reported, and the usable flags remain usable.
    pub(crate) fn check(
        flags: &'f [Flag],
        instruction: &str,
        known: Known,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut seen = HashSet::new();
        for flag in flags {
            let name = flag.name.value.as_str();
            let repeated = !seen.insert(name);
            let problem = match known.iter().find(|(known, _)| *known == name) {
                None => Some(unknown(flag, instruction, known)),
                Some((_, takes)) => misuse(flag, *takes, repeated),
            };
            diagnostics.extend(problem);
        }
        Self { flags }
    }

    /// The value of a flag; an empty one counts as absent, as in BuildKit.
    pub(crate) fn value(&self, name: &str) -> Option<&'f Word> {
        self.values(name).next()
    }

    /// All values of a flag that may be repeated.
    pub(crate) fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'f Word> + 's {
        self.named(name)
            .filter_map(|flag| flag.value.as_ref())
            .filter(|value| !value.raw.is_empty())
    }

    /// All uses of a flag.
    pub(crate) fn named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'f Flag> + 's {
        self.flags
            .iter()
            .filter(move |flag| flag.name.value == name)
    }

    /// A boolean flag, if it was given.
    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        self.named(name).next().map(|flag| {
            flag.value
                .as_ref()
                .is_none_or(|value| value.raw.eq_ignore_ascii_case("true"))
        })
    }
}

fn unknown(flag: &Flag, instruction: &str, known: Known) -> Diagnostic {
    let name = &flag.name.value;
    let diagnostic = Diagnostic::error(flag.span, format!("{instruction} has no flag --{name}"));
    match suggestion(
        &name.to_ascii_lowercase(),
        known.iter().map(|&(known, _)| known),
    ) {
        Some(nearest) => diagnostic
            .with_help(format!("did you mean --{nearest}?"))
            .with_fix(flag.name.span, nearest),
        None if known.is_empty() => diagnostic.with_help(format!("{instruction} takes no flags")),
        None => {
            let names: Vec<String> = known
                .iter()
                .map(|(known, _)| format!("--{known}"))
                .collect();
            diagnostic.with_help(format!("{instruction} knows {}", names.join(", ")))
        }
    }
}

fn misuse(flag: &Flag, takes: Takes, repeated: bool) -> Option<Diagnostic> {
    let name = &flag.name.value;
    let value = flag
        .value
        .as_ref()
        .map(|value| value.raw.to_ascii_lowercase());
    let message = match (takes, value.as_deref()) {
        (Takes::Value | Takes::Bool, _) if repeated => format!("--{name} is given twice"),
        (Takes::Value | Takes::Values, None) => format!("--{name} needs a value: --{name}=…"),
        (Takes::Bool, Some("")) => format!("--{name} has an empty value"),
        (Takes::Bool, Some(other)) if other != "true" && other != "false" => {
            format!("--{name} is true or false, not {other:?}")
        }
        _ => return None,
    };
    Some(Diagnostic::error(flag.span, message))
}
