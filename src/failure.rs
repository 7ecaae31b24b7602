//! How a command fails: what is said, and with which exit code. The invariant: an error is shown here and nowhere else, once,
//! with its whole chain of causes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | a step of the build failed, the input cannot be built, or something was found |
//! | 2 | the command line cannot be understood |
//! | 3 | the host or the store is not ready for it |
//! | 4 | a registry did not do its part |
//! | 125, 126, 127 | `rbuild run`: not started, not executable, not found; any other code is the container's own |
//! | 128 + n | ended by signal n |

use std::fmt;
use std::process::ExitCode;

/// What kind of failure it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The work itself failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The host is not ready.
    Host,
    /// A registry failed.
    Registry,
    /// A code that means something by itself: a container's, or a signal's.
    Code(u8),
}

impl Kind {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Host => 3,
            Self::Registry => 4,
            Self::Code(code) => code,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    /// The message and its causes; `None` ends without a word, as after a container that failed by itself.
    error: Option<anyhow::Error>,
    /// Shown above the message: lines of a Containerfile, output of a step.
    excerpt: String,
    hints: Vec<String>,
}

impl Failure {
    /// A failure of a kind; the error says what could not be done ("failed to" is implied).
    pub(crate) fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let hints = if kind == Kind::Registry && is_about_time(&error) {
            vec!["is the clock of this machine right?".to_owned()]
        } else {
            Vec::new()
        };
        Self {
            kind,
            error: Some(error),
            excerpt: String::new(),
            hints,
        }
    }

    /// The work failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, anyhow::Error::msg(message.into()))
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, anyhow::Error::msg(message.into()))
    }

    /// The host is not ready.
    pub(crate) fn host(message: impl Into<String>) -> Self {
        Self::new(Kind::Host, anyhow::Error::msg(message.into()))
    }

    /// Ends with a code; everything was said already.
    pub(crate) const fn silent(code: u8) -> Self {
        Self {
            kind: Kind::Code(code),
            error: None,
            excerpt: String::new(),
            hints: Vec::new(),
        }
    }

    /// Adds something to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what is shown above the message.
    #[must_use]
    pub(crate) fn excerpt(mut self, text: impl AsRef<str>) -> Self {
        let text = text.as_ref().trim_end();
        if !text.is_empty() {
            self.excerpt.push_str(text);
            self.excerpt.push('\n');
        }
        self
    }

    /// The same failure with another exit code.
    #[must_use]
    pub(crate) fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        self.kind.code()
    }

    /// What to do about it.
    #[cfg(test)]
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Everything that is printed.
    pub(crate) fn text(&self) -> String {
        let mut text = self.excerpt.clone();
        if self.error.is_some() {
            text.push_str(&format!("error: {self}\n"));
        }
        for hint in &self.hints {
            text.push_str(&format!("hint: {}\n", hint.replace('\n', "\n      ")));
        }
        text
    }

    /// Prints it and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        crate::show::eprint(&self.text());
        ExitCode::from(self.code())
    }
}

/// Whether a certificate was refused for the time that it is. rustls' error is behind two libraries, so its words must do, short
/// ("Expired") or long ("certificate expired: ...").
fn is_about_time(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let text = cause.to_string().to_ascii_lowercase();
        let of_time = ["expired", "notvalidyet", "not valid yet"];
        text.contains("certificate") && of_time.iter().any(|word| text.contains(word))
    })
}

/// The chain on one line, each cause once: some errors repeat their source's text in their own.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(error) = &self.error else {
            return Ok(());
        };
        let mut said = String::new();
        for cause in error.chain() {
            let text = crate::show::escape(&cause.to_string());
            if said.is_empty() {
                said = text;
            } else if !said.contains(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
        }
        f.write_str(&said)
    }
}

impl From<image::StoreError> for Failure {
    fn from(error: image::StoreError) -> Self {
        use image::store::StoreErrorKind as Case;
        let hint = match error.kind() {
            Case::NotPrivate { path, .. } => Some(format!("chmod 700 {}", path.display())),
            Case::ForeignOwner { .. } => {
                Some("use a store of your own: --root DIR or RBUILD_ROOT=DIR".to_owned())
            }
            Case::NoImage(_) => Some("`rbuild images` lists what is there".to_owned()),
            Case::Ambiguous { .. } => Some("give more digits of the id".to_owned()),
            _ => None,
        };
        let kind = match error.kind() {
            Case::NoImage(_)
            | Case::Ambiguous { .. }
            | Case::InIndex { .. }
            | Case::Image(image::ImageError::NoPlatform { .. }) => Kind::Failed,
            _ => Kind::Host,
        };
        let failure = Self::new(kind, error);
        hint.into_iter().fold(failure, Self::hint)
    }
}

impl From<image::ParseReferenceError> for Failure {
    fn from(error: image::ParseReferenceError) -> Self {
        Self::new(Kind::Usage, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open the door")]
    struct Door(#[source] std::io::Error);

    #[test]
    fn a_chain_is_said_once_and_hints_follow() {
        let door = Door(std::io::Error::from_raw_os_error(13));
        let failure = Failure::new(Kind::Host, door)
            .hint("knock\ntwice")
            .excerpt("3 | RUN knock\n");
        assert_eq!(
            failure.text(),
            "3 | RUN knock\nerror: open the door: Permission denied (os error 13)\nhint: knock\n      twice\n"
        );
        assert_eq!(failure.code(), 3);
    }

    #[test]
    fn d24_control_characters_of_a_message_are_shown_escaped() {
        assert_eq!(
            Failure::failed("find \u{1b}[2Jx").text(),
            "error: find \\u{1b}[2Jx\n"
        );
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [
            Kind::Failed,
            Kind::Usage,
            Kind::Host,
            Kind::Registry,
            Kind::Code(130),
        ]
        .map(Kind::code);
        assert_eq!(codes, [1, 2, 3, 4, 130]);
    }
}
