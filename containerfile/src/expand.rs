//! Words to values: variables, operators, quote removal, word splitting.
//!
//! Invariant: what a variable holds is never expanded again, so expansion ends; nesting and the size of the result are bounded.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::ast::EscapeChar;

mod pattern;
mod word;

pub use pattern::PatternError;
use word::Expander;

/// Deeper nesting of `${a:-${b:-…}}` is refused: every level is a stack frame.
const MAX_DEPTH: usize = 64;

/// A longer result is refused: `ENV b=$a$a` repeated doubles each time.
const MAX_LENGTH: usize = 16 << 20;

/// How a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A word of an instruction: quotes are removed.
    Word,
    /// The content of a heredoc of `COPY` or `ADD`: quotes are text, and the escape character is `\` whatever the directive says.
    Heredoc,
}

/// A value, and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The value.
    pub text: String,
    /// The variables that were looked up and found.
    pub used: BTreeSet<String>,
    /// The variables that were looked up and not found.
    pub unset: BTreeSet<String>,
}

/// Values after word splitting, and where they came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordsExpansion {
    /// The values.
    pub words: Vec<String>,
    /// The variables that were looked up and found.
    pub used: BTreeSet<String>,
    /// The variables that were looked up and not found.
    pub unset: BTreeSet<String>,
}

/// Why a word has no value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ExpandError {
    /// A quote without its partner.
    #[error("find the {0} that closes the quote")]
    UnclosedQuote(char),
    /// `${` without `}`.
    #[error("find the }} that closes a substitution")]
    UnclosedBrace,
    /// `${v/p` without the second `/`.
    #[error("find the second / of a replacement")]
    MissingSlash,
    /// `${}`, `${:x}`, `${{`.
    #[error("find a variable's name after ${{")]
    BadSubstitution,
    /// An operator that there is none.
    #[error("understand the operator {0:?} of a substitution")]
    UnknownOperator(String),
    /// `${v:?message}` on a variable that is unset or empty.
    #[error("expand {name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message, or why there is none.
        message: String,
    },
    /// A backslash before a character that needs none.
    #[error("understand the pattern {pattern:?}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: PatternError,
    },
    /// Too many `${` inside one another.
    #[error("nest substitutions deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Too long a value.
    #[error("expand to more than {MAX_LENGTH} bytes")]
    TooLong,
}

/// Expands a word to one value.
///
/// # Errors
///
/// When the word is malformed, or says with `?` that a variable must be set.
pub fn expand(
    word: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    escape: EscapeChar,
    mode: Mode,
) -> Result<Expansion, ExpandError> {
    let mut expander = Expander::new(word, lookup, escape, mode);
    let text = expander.run(None, false)?.text;
    Ok(Expansion {
        text,
        used: expander.used,
        unset: expander.unset,
    })
}

/// Expands a word and splits the result at blanks that were neither quoted nor escaped.
///
/// # Errors
///
/// As [`expand`].
pub fn expand_words(
    word: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    escape: EscapeChar,
) -> Result<WordsExpansion, ExpandError> {
    let mut expander = Expander::new(word, lookup, escape, Mode::Word);
    let words = expander.run(None, false)?.into_words();
    Ok(WordsExpansion {
        words,
        used: expander.used,
        unset: expander.unset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "FOO" => "xxyy",
            "PATHS" => "/a/foo/b/c.txt",
            "STARS" => "a***yy*",
            "EMPTY" => "",
            "DOLLAR" => "$FOO",
            "NEEDLE" => "/?/",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn value(word: &str) -> Result<String, ExpandError> {
        expand(word, &lookup, EscapeChar::Backslash, Mode::Word).map(|expansion| expansion.text)
    }

    #[test]
    fn operators_do_what_buildkit_does() {
        for (word, expected) in [
            ("${FOO-a} ${EMPTY-b} ${NONE-c}", "xxyy  c"),
            ("${FOO:-a} ${EMPTY:-b} ${NONE:-c}", "xxyy b c"),
            ("${FOO+a} ${EMPTY+b} ${NONE+c}", "a b "),
            ("${FOO:+a} ${EMPTY:+b} ${NONE:+c}", "a  "),
            ("${FOO#x}${FOO##*x}${FOO%y}${FOO%%y*}", "xyyyyxxyxx"),
            ("${FOO#}${FOO##}${FOO%}", "xxyyxxyyxxyy"),
            (r"${STARS%%\**\*}", "a"),
            (
                "${PATHS/$NEEDLE//} ${PATHS//$NEEDLE//}",
                "/foo/b/c.txt /foo/c.txt",
            ),
            (r"${PATHS//\//\/}", r"\/a\/foo\/b\/c.txt"),
            ("${FOO/$EMPTY/w}${FOO///}", "wxxyyxxyy"),
            ("$DOLLAR", "$FOO"),
        ] {
            assert_eq!(value(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn malformed_words_say_what_is_wrong() {
        assert_eq!(
            value("${FOO:#x}"),
            Err(ExpandError::UnknownOperator(":#".to_owned()))
        );
        assert_eq!(value("${FOO//x}"), Err(ExpandError::MissingSlash));
        assert_eq!(value("${FOO/x/y"), Err(ExpandError::UnclosedBrace));
        assert!(matches!(
            value(r"${FOO#\x}"),
            Err(ExpandError::Pattern { .. })
        ));
        let required = ExpandError::Required {
            name: "NONE".to_owned(),
            message: "say xxyy".to_owned(),
        };
        assert_eq!(value("${NONE:?say $FOO}"), Err(required));
    }

    #[test]
    fn a_heredoc_keeps_its_quotes_and_loses_its_escapes() {
        let body = "\"foo\" 'bar' $FOO \\$FOO \\\\ ${NONE}\n";
        let expansion =
            expand(body, &lookup, EscapeChar::Backtick, Mode::Heredoc).expect("well-formed");
        assert_eq!(expansion.text, "\"foo\" 'bar' xxyy $FOO \\ \n");
        assert_eq!((expansion.used.len(), expansion.unset.len()), (1, 1));
    }

    #[test]
    fn what_was_looked_up_is_reported_and_positional_parameters_are_not() {
        let expansion = expand(
            "${NONE:-$FOO}$1$@",
            &lookup,
            EscapeChar::Backslash,
            Mode::Word,
        )
        .expect("well-formed");
        assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["FOO"]);
        assert_eq!(expansion.unset.into_iter().collect::<Vec<_>>(), ["NONE"]);
    }

    #[test]
    fn the_backtick_escapes_when_it_is_chosen() {
        let expansion =
            expand(r"c:\a`$FOO", &lookup, EscapeChar::Backtick, Mode::Word).expect("well-formed");
        assert_eq!(expansion.text, r"c:\a$FOO");
    }
}
