//! Sizes on the command line. The invariant: units are binary, as in docker and podman (go-units, `RAMInBytes`), and nothing
//! is no size.

use crate::failure::Failure;

/// `512`, `64k`, `64m`, `1.5g`, `2GiB`; not 0.
pub(super) fn size(flag: &str, text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::usage(format!("{flag} {text}: expected a size such as 64m"));
    parse(text).filter(|size| *size > 0).ok_or_else(wrong)
}

/// One word: on a command line, a space is more likely a slip than a unit's.
fn parse(text: &str) -> Option<u64> {
    containerfile::mount::parse_size(text).filter(|_| !text.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [
            ("7", 7),
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("2GiB", 2 << 30),
            ("1KB", 1024),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1.2.3m", "99999999999t"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
