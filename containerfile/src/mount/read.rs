//! From the text of `--mount` to its options.
//!
//! Invariant: only known options come out, and `from` holds no variable.

use super::{Mount, MountError, MountKey, MountOption, REFUSED, SPELLINGS};
use crate::ast::{EscapeChar, Word};
use crate::expand;
use crate::source::Span;
use crate::suggest::suggestion;

/// Reads the value of `--mount`. What holds no variable is checked wholly; the rest waits for [`Mount::resolve`].
pub(crate) fn read(value: &Word, span: Span, escape: EscapeChar) -> Result<Mount, MountError> {
    let options = fields(value)?
        .into_iter()
        .map(option)
        .collect::<Result<Vec<_>, _>>()?;
    let mount = Mount { span, options };
    if let Some(from) = mount
        .option(MountKey::From)
        .filter(|from| from.mentions_variable())
    {
        return Err(MountError::VariableFrom(from.raw.to_string()));
    }
    if !mount
        .options
        .iter()
        .any(|option| option.value.mentions_variable())
    {
        mount.resolve(&mut |word| {
            expand::expand(&word.raw, &|_| None, escape, expand::Mode::Word)
                .map(|expansion| expansion.text)
        })?;
    }
    Ok(mount)
}

/// The fields of one CSV record (RFC 4180). A field's place is exact unless quotes were removed from it.
fn fields(value: &Word) -> Result<Vec<Word>, MountError> {
    let misquoted = || MountError::Quote(value.raw.to_string());
    let exact = value.span.end() - value.span.start() == value.raw.len();
    let mut fields = Vec::new();
    let mut rest = value.raw.as_str();
    loop {
        let start = value.raw.len() - rest.len();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted).ok_or_else(misquoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        let quoted = rest.starts_with('"');
        if !quoted && field.contains('"') {
            return Err(misquoted());
        }
        let end = value.raw.len() - after.len();
        let span = if exact && !quoted {
            Span::new(value.span.start() + start, value.span.start() + end)
        } else {
            value.span
        };
        fields.push(Word::new(field, span));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(misquoted()),
        }
    }
}

/// What stands before the closing quote, and what follows it; `""` is a quote.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}

fn option(field: Word) -> Result<MountOption, MountError> {
    let (name, value) = match field.raw.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (field.raw.as_str(), None),
    };
    let lower = name.to_ascii_lowercase();
    if let Some((_, reason)) = REFUSED.iter().find(|(spelling, _)| *spelling == lower) {
        return Err(MountError::Refused {
            option: name.to_owned(),
            reason,
        });
    }
    let Some(&(_, key)) = SPELLINGS.iter().find(|(spelling, _)| *spelling == lower) else {
        let nearest = suggestion(&lower, SPELLINGS.iter().map(|&(spelling, _)| spelling));
        return Err(MountError::UnknownOption {
            option: name.to_owned(),
            nearest,
        });
    };
    let is_switch = matches!(
        lower.as_str(),
        "z" | "private" | "rprivate" | "ro" | "readonly" | "rw" | "readwrite" | "required"
    );
    let span = field.span;
    let exact = span.end() - span.start() == field.raw.len();
    let value = match value {
        Some(value) if exact => Word::new(value, Span::new(span.end() - value.len(), span.end())),
        Some(value) => Word::new(value, span),
        None if is_switch => Word::new("true", span),
        None => return Err(MountError::NoValue(name.to_owned())),
    };
    Ok(MountOption { key, value, span })
}
