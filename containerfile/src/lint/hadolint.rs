//! What became of hadolint's codes (those of its version 2.15). Invariant: each code is a rule's name, or stands below with the reason.

use std::fmt::Write as _;

/// All of hadolint's own codes; those of ShellCheck are ShellCheck's.
#[rustfmt::skip]
const CODES: [&str; 72] = [
    "DL1000", "DL1001", "DL3000", "DL3001", "DL3002", "DL3003", "DL3004", "DL3006", "DL3007", "DL3008", "DL3009", "DL3010",
    "DL3011", "DL3012", "DL3013", "DL3014", "DL3015", "DL3016", "DL3018", "DL3019", "DL3020", "DL3021", "DL3022", "DL3023",
    "DL3024", "DL3025", "DL3026", "DL3027", "DL3028", "DL3029", "DL3030", "DL3032", "DL3033", "DL3034", "DL3035", "DL3036",
    "DL3037", "DL3038", "DL3040", "DL3041", "DL3042", "DL3043", "DL3044", "DL3045", "DL3046", "DL3047", "DL3048", "DL3049",
    "DL3050", "DL3051", "DL3052", "DL3053", "DL3054", "DL3055", "DL3056", "DL3057", "DL3058", "DL3059", "DL3060", "DL3061",
    "DL3062", "DL3063", "DL3064", "DL3065", "DL3066", "DL3067", "DL4000", "DL4001", "DL4003", "DL4004", "DL4005", "DL4006",
];

const PINS: &str = "archives of distributions keep only the newest version, so a pinned one fails soon: RB706 says the opposite";

/// What is no rule here, and why.
const LEFT_OUT: [(&str, &str); 9] = [
    (
        "DL1001",
        "comments that excuse are wanted, with a reason: RB001, RB002",
    ),
    ("DL3008", PINS),
    ("DL3018", PINS),
    ("DL3033", PINS),
    ("DL3037", PINS),
    ("DL3041", PINS),
    (
        "DL3047",
        "it is about the length of a log, not about the image",
    ),
    (
        "DL3059",
        "where to divide steps is a question of caching, which a text cannot answer",
    ),
    (
        "DL4001",
        "wget beside curl is a matter of taste; RB705 looks at both",
    ),
];

/// Where the rule that stands for a code says something else than hadolint does, and why. `tests/peers/hadolint` has the cases.
const DIFFERS: [(&str, &str); 20] = [
    (
        "DL3001",
        "only what needs privileges, not kill, ps, service or vim",
    ),
    ("DL3002", "only the USER of the final image"),
    (
        "DL3003",
        "only a directory that is forgotten, not `cd x && make`",
    ),
    ("DL3006", "a tag alone moves, too: a digest is wanted"),
    ("DL3007", "a tag alone moves, too: a digest is wanted"),
    ("DL3009", "a mount over the lists is enough"),
    ("DL3010", "also behind WORKDIR"),
    (
        "DL3012",
        "the one that is lost is named, not the one that counts",
    ),
    ("DL3016", "`@latest` is no version"),
    ("DL3019", "a cache that the same RUN removes is none"),
    (
        "DL3020",
        "not git repositories, and nothing that may be an archive",
    ),
    (
        "DL3022",
        "a name that is like no stage is an image or a named context",
    ),
    ("DL3035", "also `zypper update`"),
    (
        "DL3042",
        "any value of PIP_NO_CACHE_DIR turns pip's cache off",
    ),
    ("DL3046", "also `--uid=`"),
    ("DL3048", "only names of Docker's own, and blanks"),
    ("DL3057", "on by default, where the image is started"),
    (
        "DL4003",
        "the one that is lost is named, not the one that counts",
    ),
    (
        "DL4004",
        "the one that is lost is named, not the one that counts",
    ),
    (
        "DL4006",
        "only downloads; any path of a shell, and `set -o pipefail` in the script",
    ),
];

/// Where a code's rule differs.
fn differs(code: &str) -> Option<&'static str> {
    DIFFERS
        .iter()
        .find(|(own, _)| *own == code)
        .map(|(_, how)| *how)
}

/// Why a code is no rule.
fn left_out(code: &str) -> Option<&'static str> {
    LEFT_OUT
        .iter()
        .find(|(own, _)| *own == code)
        .map(|(_, why)| *why)
}

/// The table of the codes, in Markdown.
pub(super) fn table() -> String {
    let mut text = "| hadolint | here |\n|---|---|\n".to_owned();
    for code in CODES {
        let _ = match (super::rule(code), left_out(code)) {
            (Some(rule), _) => match differs(code) {
                Some(how) => writeln!(text, "| {code} | {}: {how} |", rule.id),
                None => writeln!(text, "| {code} | {} |", rule.id),
            },
            (None, why) => writeln!(
                text,
                "| {code} | left out: {} |",
                why.unwrap_or("no reason")
            ),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_a_rule_or_left_out_for_a_reason() {
        for code in CODES {
            let rule = crate::lint::rule(code);
            assert!(rule.is_some() != left_out(code).is_some(), "{code}");
            assert!(rule.is_some() || differs(code).is_none(), "{code}");
        }
        for rule in crate::lint::rules() {
            let names = std::iter::once(&rule.id).chain(rule.aliases);
            for code in names.filter(|name| name.starts_with("DL")) {
                assert!(CODES.contains(code), "{code}");
            }
        }
    }
}
