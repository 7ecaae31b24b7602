//! Values of units and words of shells. The invariant: what a value says arrives at the program byte for byte, or is refused.
//!
//! Quadlet makes a service of a unit, and systemd replaces `%` and `$` in that service's command line (systemd.unit(5),
//! "Specifiers"; systemd.service(5), "Command lines"), so both are doubled here.

use std::fmt::Write as _;

use super::QuadletError;

/// A value that Quadlet takes as it is, to the end of its line (podman-systemd.unit(5); systemd.syntax(7)).
pub(super) fn raw(key: &str, value: &str) -> Result<String, QuadletError> {
    let blank = value.is_empty() || value.trim() != value;
    let control = value.chars().any(char::is_control);
    if blank || control || value.ends_with('\\') {
        return Err(QuadletError::Unwritable {
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }
    Ok(doubled(value))
}

/// One word of a value that Quadlet splits, in quotes where it needs them.
pub(super) fn word(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:@+".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            // One byte each: no other is a control character of ASCII.
            c if c.is_ascii_control() => drop(write!(text, "\\x{:02x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    doubled(&text)
}

fn doubled(text: &str) -> String {
    text.replace('%', "%%").replace('$', "$$")
}

/// A word for a shell.
pub(super) fn shell(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:@+%".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    if value.chars().any(char::is_control) {
        // On one line, for it stands in a comment.
        let mut text = String::from("$'");
        for c in value.chars() {
            match c {
                '\'' | '\\' => text.extend(['\\', c]),
                '\n' => text.push_str("\\n"),
                c if c.is_ascii_control() => drop(write!(text, "\\x{:02x}", u32::from(c))),
                c => text.push(c),
            }
        }
        text.push('\'');
        return text;
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_would_replace_is_doubled_and_what_it_would_split_is_quoted() {
        assert_eq!(word("plain=/a:b"), "plain=/a:b");
        assert_eq!(word(""), "\"\"");
        assert_eq!(word("a b"), "\"a b\"");
        assert_eq!(word("100% of $HOME"), "\"100%% of $$HOME\"");
        assert_eq!(word("q\"\\\n\u{7}\u{e4}"), "\"q\\\"\\\\\\n\\x07\u{e4}\"");
        assert_eq!(raw("K", "a b%c$d\"e").unwrap(), "a b%%c$$d\"e");
        for bad in ["", " a", "a ", "a\nb", "a\\", "a\0"] {
            assert!(raw("K", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn words_for_a_shell_stay_on_their_line() {
        assert_eq!(shell("a=/b"), "a=/b");
        assert_eq!(shell("it's $x"), "'it'\\''s $x'");
        assert_eq!(shell("a\nb'"), "$'a\\nb\\''");
        assert_eq!(shell(""), "''");
    }
}
