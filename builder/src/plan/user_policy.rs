//! Whether an image would run as a numeric user that is not root. Invariant: nothing counts as non-root that some runtime takes for
//! root.

use containerfile::user::{ID_MAX, Id};
use containerfile::{Diagnostic, Span};

use crate::graph::PlannedStage;

/// The line that mends most findings: distroless images' `nonroot`.
const NONROOT: &str = "USER 65532:65532";

/// What can be said about the user before the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserVerdict {
    /// Numeric, not root, with a group.
    Accepted,
    /// Numeric and not root, but the group is left to the image's passwd file: a warning.
    NoGroup(Diagnostic),
    /// Root, or something that may be taken for it.
    Refused(Diagnostic),
    /// A name: only the finished image can say whose.
    NeedsLookup(NamedUser),
}

/// A user, a group or both by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUser {
    written: String,
    place: Place,
}

/// The ids that an image's passwd and group files give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundIds {
    /// The user's.
    pub uid: u32,
    /// The named group's, else the user's own.
    pub gid: u32,
}

/// What follows once a name was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to tell: an error under `enforce`.
    pub diagnostic: Diagnostic,
    /// What `rewrite` writes instead; `None` where no numbers make it right.
    pub numbers: Option<String>,
}

/// Where the user comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    span: Span,
    /// Whether a USER of the file stands there; else it is the FROM.
    is_user: bool,
}

impl Place {
    fn of(stage: &PlannedStage) -> Self {
        let span =
            |label: &crate::step::Label| label.span.map(|(start, end)| Span::new(start, end));
        match stage.user_label.as_ref().and_then(span) {
            Some(span) => Self {
                span,
                is_user: true,
            },
            None => Self {
                span: span(&stage.from_label).unwrap_or_default(),
                is_user: false,
            },
        }
    }

    fn finding(&self, message: impl Into<String>, line: &str) -> Diagnostic {
        let origin = if self.is_user {
            ""
        } else {
            " (inherited from the base)"
        };
        let error = Diagnostic::error(self.span, format!("{}{origin}", message.into()));
        if self.is_user {
            error
                .with_help(format!("write: {line}"))
                .with_fix(self.span, line)
        } else {
            error.with_help(format!("add to the final stage: {line}"))
        }
    }
}

/// Judges the user of the final stage.
#[must_use]
pub fn check(stage: &PlannedStage) -> UserVerdict {
    let place = Place::of(stage);
    let written = stage.config.config.user.as_str();
    let refused = |message: String| UserVerdict::Refused(place.finding(message, NONROOT));
    if written.is_empty() {
        let message = if place.is_user {
            "USER is blank, so the image would run as root"
        } else {
            let message = "the final image has no USER, so it would run as root";
            let help = format!("add to the final stage: {NONROOT}");
            return UserVerdict::Refused(Diagnostic::error(place.span, message).with_help(help));
        };
        return refused(message.to_owned());
    }
    let (user, group) = match written.split_once(':') {
        Some((user, group)) => (Id::parse(user), Some(Id::parse(group))),
        None => (Id::parse(written), None),
    };
    match (user, group) {
        (Id::Malformed, _) => refused(format!(
            "USER {written:?} is neither a number nor a user name"
        )),
        (Id::Number(0), _) => refused(format!("USER {written:?} is root")),
        (Id::Name, _) if written.split(':').next() == Some("root") => {
            refused(format!("USER {written:?} is root"))
        }
        (_, Some(Id::Malformed)) => refused(format!(
            "the group of USER {written:?} is neither a number nor a name"
        )),
        (Id::Name, _) | (_, Some(Id::Name)) => UserVerdict::NeedsLookup(NamedUser {
            written: written.to_owned(),
            place,
        }),
        (Id::Number(_), Some(Id::Number(_))) => UserVerdict::Accepted,
        (Id::Number(uid), None) => {
            let mut warning = place.finding(
                format!("USER {uid} leaves the group to the image"),
                &format!("USER {uid}:{uid}"),
            );
            (warning.severity, warning.rule) = (containerfile::Severity::Warning, Some("RB105"));
            UserVerdict::NoGroup(warning)
        }
    }
}

impl NamedUser {
    /// The user, a name or digits.
    #[must_use]
    pub fn user(&self) -> &str {
        self.written
            .split_once(':')
            .map_or(&self.written, |(user, _)| user)
    }

    /// The group, a name or digits.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.written.split_once(':').map(|(_, group)| group)
    }

    /// Judges the name by what the image's passwd and group files say; `None` when they do not know it.
    #[must_use]
    pub fn decide(&self, found: Option<FoundIds>) -> Decision {
        let written = &self.written;
        match found {
            None => {
                let message = format!("USER {written:?} is a name that the image does not know");
                Decision {
                    diagnostic: self.place.finding(message, NONROOT),
                    numbers: None,
                }
            }
            Some(FoundIds { uid: 0, .. }) => {
                let message = format!("USER {written:?} is root in the image: its uid is 0");
                Decision {
                    diagnostic: self.place.finding(message, NONROOT),
                    numbers: None,
                }
            }
            Some(FoundIds { uid, gid }) if uid > ID_MAX || gid > ID_MAX => {
                let message = format!(
                    "USER {written:?} is {uid}:{gid} in the image, which no runtime can hold"
                );
                Decision {
                    diagnostic: self.place.finding(message, NONROOT),
                    numbers: None,
                }
            }
            Some(FoundIds { uid, gid }) => {
                let numbers = format!("{uid}:{gid}");
                let message = format!(
                    "USER {written:?} is a name: what starts the image cannot check that it is not root"
                );
                let diagnostic = self.place.finding(message, &format!("USER {numbers}"));
                Decision {
                    diagnostic,
                    numbers: Some(numbers),
                }
            }
        }
    }
}
