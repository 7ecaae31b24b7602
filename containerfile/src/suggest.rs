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

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
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
        assert_eq!(distance("", "abc"), 3);
    }
}
