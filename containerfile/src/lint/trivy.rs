//! Trivy's checks of Dockerfiles, by their numbers. Invariant: only what means the same is here.

use super::rule::Rule;

/// `DS002` and so on (aquasecurity/trivy-checks, checks/docker), and what says the same here.
const EQUAL: [(u16, &[&str]); 24] = [
    (1, &["RB701"]),
    (2, &["RB101", "RB102"]),
    (4, &["RB401"]),
    (5, &["DL3020"]),
    (6, &["DL3023"]),
    (7, &["DL4004"]),
    (8, &["DL3011"]),
    (9, &["DL3000"]),
    (10, &["RB111"]),
    (11, &["DL3021"]),
    (12, &["DL3024"]),
    (13, &["DL3003"]),
    (15, &["DL3040"]),
    (16, &["DL4003"]),
    (19, &["DL3040"]),
    (20, &["DL3040"]),
    (21, &["DL3014"]),
    (22, &["DL4000"]),
    (23, &["DL3012"]),
    (24, &["RB706"]),
    (25, &["DL3019"]),
    (26, &["RB501"]),
    (29, &["DL3015"]),
    (31, &["RB801"]),
];

/// The rules that are equal to a check: `DS002`, `DS-0002` or `AVD-DS-0002`.
pub(super) fn equal(name: &str) -> Vec<&'static Rule> {
    let name = name.to_ascii_uppercase();
    let short = name.strip_prefix("AVD-").unwrap_or(&name);
    let number = short
        .strip_prefix("DS")
        .and_then(|rest| rest.trim_start_matches('-').parse::<u16>().ok());
    let found = EQUAL.iter().find(|(own, _)| Some(*own) == number);
    found
        .iter()
        .flat_map(|(_, rules)| rules.iter())
        .filter_map(|rule| super::rule(rule))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_a_rule_in_each_spelling() {
        for (number, rules) in EQUAL {
            for name in [
                format!("DS{number:03}"),
                format!("ds-{number:04}"),
                format!("AVD-DS-{number:04}"),
            ] {
                assert_eq!(equal(&name).len(), rules.len(), "{name}");
            }
        }
        assert!(equal("AVD-KSV-0001").is_empty() && equal("DS999").is_empty());
    }
}
