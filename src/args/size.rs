//! Sizes on the command line. The invariant: units are binary, as in docker and podman (go-units, `RAMInBytes`), and nothing
//! is no size.

use crate::failure::Failure;

/// `512`, `64k`, `64m`, `1.5g`, `2GiB`; not 0.
pub(super) fn size(flag: &str, text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::usage(format!("{flag} {text}: expected a size such as 64m"));
    parse(text).filter(|size| *size > 0).ok_or_else(wrong)
}

fn parse(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    // Nine digits say more than any size means, and fit.
    let digits = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    let part = (u128::from(digits.parse::<u64>().ok()?) << shift) / scale;
    whole.checked_add(u64::try_from(part).ok()?)
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
