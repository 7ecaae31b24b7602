//! "Did you mean": the nearest known name.
//!
//! Invariant: at most one suggestion, and only for a name that is a plausible slip of the hand.

/// The candidate nearest to `written`, if it is near enough.
#[must_use]
pub fn suggestion<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let tolerated = match written.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        // Nothing that anybody mistypes is longer; a long word would only cost time.
        6..=32 => 3,
        _ => return None,
    };
    let near = candidates
        .into_iter()
        .map(|candidate| (distance(written, candidate), candidate));
    near.filter(|&(distance, candidate)| distance <= tolerated && distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, in which two neighbours that changed places are one slip (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, left) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, &right) in b.iter().enumerate() {
            let substituted = row[j] + usize::from(left != right);
            let mut least = substituted.min(row[j + 1] + 1).min(next[j] + 1);
            if j > 0 && last == Some(right) && b[j - 1] == left {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        (before, row) = (row, next);
        last = Some(left);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_mended_and_a_stranger_is_not() {
        let names = ["COPY", "RUN", "ENTRYPOINT"];
        assert_eq!(suggestion("COPPY", names), Some("COPY"));
        assert_eq!(suggestion("ENTYRPOINT", names), Some("ENTRYPOINT"));
        assert_eq!(suggestion("INSTALL", names), None);
        assert_eq!(suggestion("chwon", ["chmod", "chown"]), Some("chown"));
        for (a, b, expected) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("ab", "ba", 1),
            ("ca", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
