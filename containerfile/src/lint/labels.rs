//! The forms that values of labels may have to have. Invariant: a value that a reader of the form may take is never refused.

/// What a value of a label is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelForm {
    /// Anything.
    Text,
    /// An absolute URI (RFC 3986).
    Url,
    /// A version (semver.org, 2.0.0).
    Semver,
    /// The hash of a git commit, whole or short.
    Hash,
    /// A date with a zone (RFC 3339).
    Rfc3339,
    /// A licence expression of SPDX.
    Spdx,
    /// An address (RFC 5322, without comments and quotes).
    Email,
}

/// What people write and SPDX does not know.
const NO_LICENCES: [&str; 12] = [
    "apache",
    "apache2",
    "apache-2",
    "apachev2",
    "bsd",
    "gpl",
    "gplv2",
    "gplv3",
    "gpl2",
    "gpl3",
    "lgpl",
    "proprietary",
];

impl LabelForm {
    /// All of them, with the names that projects use.
    pub const ALL: [(&'static str, Self); 7] = [
        ("text", Self::Text),
        ("url", Self::Url),
        ("semver", Self::Semver),
        ("hash", Self::Hash),
        ("rfc3339", Self::Rfc3339),
        ("spdx", Self::Spdx),
        ("email", Self::Email),
    ];

    /// The form of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(own, _)| *own == name).map(|(_, form)| *form)
    }

    /// What it is called in a sentence.
    pub(super) fn described(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Url => "a URL",
            Self::Semver => "a semantic version",
            Self::Hash => "a git hash",
            Self::Rfc3339 => "a date of RFC 3339",
            Self::Spdx => "an SPDX licence",
            Self::Email => "an email address",
        }
    }

    /// Whether a value has the form.
    #[must_use]
    pub fn fits(self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Url => is_url(value),
            Self::Semver => is_version(value),
            Self::Hash => {
                (7..=64).contains(&value.len())
                    && value.bytes().all(|byte| byte.is_ascii_hexdigit())
            }
            Self::Rfc3339 => is_date(value),
            Self::Spdx => is_licence(value),
            Self::Email => is_address(value),
        }
    }
}

fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(':') else {
        return false;
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(named)
        && !rest.is_empty()
        && rest.bytes().all(allowed)
}

fn is_version(value: &str) -> bool {
    let (rest, build) = match value.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (value, None),
    };
    let (core, pre) = match rest.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (rest, None),
    };
    let number = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'))
    };
    let identifier = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| {
            pre.split('.')
                .all(|part| identifier(part) && (!numeric(part) || number(part)))
        })
        && build.is_none_or(|build| build.split('.').all(identifier))
}

/// `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`.
pub(super) fn is_date(text: &str) -> bool {
    let shape = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text
                .bytes()
                .zip(pattern.bytes())
                .all(|(byte, wanted)| match wanted {
                    b'0' => byte.is_ascii_digit(),
                    _ => byte.eq_ignore_ascii_case(&wanted),
                })
    };
    let Some((front, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let fraction = rest
        .strip_prefix('.')
        .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let zone = fraction.unwrap_or(rest);
    let zoned = shape(zone, "z") || shape(zone, "+00:00") || shape(zone, "-00:00");
    (shape(front, "0000-00-00t00:00:00") || shape(front, "0000-00-00 00:00:00")) && zoned
}

/// The grammar of expressions; of the identifiers only how they are written, since new ones come with each version of the list.
fn is_licence(value: &str) -> bool {
    let spaced = value.replace('(', " ( ").replace(')', " ) ");
    let (mut depth, mut wants_id) = (0_i32, true);
    for word in spaced.split_whitespace() {
        match word {
            "(" if wants_id => depth += 1,
            ")" if !wants_id && depth > 0 => depth -= 1,
            "AND" | "OR" | "WITH" | "and" | "or" | "with" if !wants_id => wants_id = true,
            id if wants_id => {
                let id = id.strip_suffix('+').unwrap_or(id);
                let written = id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte));
                if !written || NO_LICENCES.contains(&id.to_ascii_lowercase().as_str()) {
                    return false;
                }
                wants_id = false;
            }
            _ => return false,
        }
    }
    !wants_id && depth == 0
}

fn is_address(value: &str) -> bool {
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    value.rsplit_once('@').is_some_and(|(local, domain)| {
        let dotted = |text: &str| !text.split('.').any(str::is_empty);
        dotted(local) && dotted(domain) && local.bytes().all(atom) && domain.bytes().all(host)
    })
}

#[cfg(test)]
mod tests {
    use super::LabelForm;

    #[test]
    fn each_form_takes_what_it_means_and_nothing_else() {
        let long = "0123456789abcdef0123456789ABCDEF01234567";
        for (form, good, bad) in [
            ("text", vec!["", "x y"], vec![]),
            (
                "url",
                vec!["https://a.example/b?c#d", "urn:x:y"],
                vec!["a.example", "http:", "http://a b"],
            ),
            (
                "semver",
                vec!["1.2.3", "1.0.0-rc.1+b.01"],
                vec!["1.2", "v1.2.3", "1.02.3", "1.2.3-", "1.2.3-01"],
            ),
            ("hash", vec!["abc1234", long], vec!["abc", "ghijklm", ""]),
            (
                "rfc3339",
                vec!["2026-11-24T00:00:00Z", "2026-11-24T00:00:00.5+01:00"],
                vec!["2026-11-24", ""],
            ),
            (
                "spdx",
                vec![
                    "MIT",
                    "Apache-2.0 OR MIT",
                    "(GPL-2.0-only WITH Classpath-exception-2.0)",
                    "LicenseRef-x",
                ],
                vec![
                    "Apache 2.0",
                    "GPLv3",
                    "MIT OR",
                    "(MIT",
                    "",
                    "MIT, BSD-3-Clause",
                ],
            ),
            (
                "email",
                vec!["a.b+c@d.example", "root@localhost"],
                vec!["a", "a@", "@b", "a b@c", "A <a@b.c>"],
            ),
        ] {
            let form = LabelForm::named(form).unwrap();
            for value in good {
                assert!(form.fits(value), "{form:?} {value:?}");
            }
            for value in bad {
                assert!(!form.fits(value), "{form:?} {value:?}");
            }
        }
        assert_eq!(LabelForm::named("number"), None);
    }
}
