//! "Did you mean": the stage that a name was probably meant to be. Invariant: at most one, and only for a slip of the hand.

/// The candidate nearest to `written`, if it is near enough; letter case does not count.
pub(super) fn nearest<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let written = written.to_ascii_lowercase();
    let tolerated = match written.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        6..=32 => 3,
        _ => return None,
    };
    let near = candidates
        .into_iter()
        .map(|candidate| (distance(&written, candidate), candidate));
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
    use super::nearest;

    #[test]
    fn a_slip_is_mended_and_a_stranger_is_not() {
        let stages = ["builder", "final"];
        assert_eq!(nearest("Bulder", stages), Some("builder"));
        assert_eq!(nearest("alpine", stages), None);
    }
}
