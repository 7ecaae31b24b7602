//! Who `USER` names. Invariant: only digits without any decoration count as a number (S43: runtimes have taken `+0`, ` 0`, `4294967296`
//! or `-1` for root).

/// Runtimes keep ids in an `int`: what does not fit has become root before (CVE-2024-40635).
pub const ID_MAX: u32 = i32::MAX as u32;

/// One side of `USER USER:GROUP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// Digits, not more than [`ID_MAX`].
    Number(u32),
    /// What useradd(8) takes for a name.
    Name,
    /// Neither.
    Malformed,
}

impl Id {
    /// Reads one side.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.bytes().all(|byte| byte == b'0') && !text.is_empty() {
            return Self::Number(0);
        }
        let digit = |byte: u8| byte.is_ascii_digit();
        if text.starts_with(|first: char| ('1'..='9').contains(&first)) && text.bytes().all(digit) {
            let number = text.parse().ok().filter(|&number: &u32| number <= ID_MAX);
            return number.map_or(Self::Malformed, Self::Number);
        }
        // useradd(8): what starts with a digit, a sign or a blank is no name.
        let first = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let stem = text.strip_suffix('$').unwrap_or(text);
        let rest = stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if first && rest && text.len() <= 256 {
            Self::Name
        } else {
            Self::Malformed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s43_only_plain_digits_are_numbers() {
        for (text, id) in [
            ("0", Id::Number(0)),
            ("000", Id::Number(0)),
            ("65532", Id::Number(65532)),
            ("2147483647", Id::Number(ID_MAX)),
            ("2147483648", Id::Malformed),
            ("4294967296", Id::Malformed),
            ("4294967295", Id::Malformed),
            ("01000", Id::Malformed),
            ("0x0", Id::Malformed),
            ("+0", Id::Malformed),
            ("-1", Id::Malformed),
            (" 0", Id::Malformed),
            ("0 ", Id::Malformed),
            ("", Id::Malformed),
            ("٠", Id::Malformed),
            ("1a", Id::Malformed),
            ("a\nb", Id::Malformed),
            ("a:b", Id::Malformed),
            ("nobody", Id::Name),
            ("_apt", Id::Name),
            ("host$", Id::Name),
        ] {
            assert_eq!(Id::parse(text), id, "{text:?}");
        }
    }
}
