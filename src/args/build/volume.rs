//! `--volume`. The invariant: an option is obeyed, asks for what is so anyway, or is refused with the reason.

use builder::Volume;
use runner::Volume as Parsed;

use crate::failure::{Failure, Kind};

/// Options of podman that ask for how volumes of a step are anyway. Steps run under the caller's own SELinux label, so there is
/// nothing to relabel.
const SO_ANYWAY: [&str; 7] = ["z", "Z", "private", "rprivate", "nosuid", "nodev", "rbind"];
/// Options of podman that are not done.
const REFUSED: [(&str, &str); 3] = [
    (
        "U",
        "a build does not change the owners of files of this machine",
    ),
    ("O", "mount it read-only, or copy it in the step"),
    (
        "idmap",
        "an ordinary user may not map the ids of a mount; --userns keep-id makes one user of the step you",
    ),
];

/// `SOURCE:TARGET[:OPTION,...]`.
pub(super) fn volume(text: &str) -> Result<Volume, Failure> {
    let (paths, options) = match text.match_indices(':').nth(1) {
        Some((at, _)) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let mut access = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let name = option.split('=').next().unwrap_or(option);
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(Failure::usage(format!(
                "--volume {text}: {name} is refused: {reason}"
            )));
        }
        if !SO_ANYWAY.contains(&option) {
            access.push(option);
        }
    }
    let plain = match access.as_slice() {
        [] => paths.to_owned(),
        access => format!("{paths}:{}", access.join(",")),
    };
    let wrong =
        |error: anyhow::Error| Failure::new(Kind::Usage, error.context(format!("--volume {text}")));
    let parsed: Parsed = plain
        .parse()
        .map_err(|error| wrong(anyhow::Error::new(error)))?;
    let source = std::path::absolute(&parsed.source).map_err(|error| wrong(error.into()))?;
    if !source.exists() {
        return Err(Failure::usage(format!(
            "--volume {text}: {} is not there",
            source.display()
        )));
    }
    Ok(Volume {
        source,
        target: parsed.target,
        read_only: parsed.read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::volume;

    #[test]
    fn options_are_obeyed_or_so_anyway_or_refused() {
        for (text, read_only) in [
            ("/usr:/u", false),
            ("/usr:/u:rw,z", false),
            ("/usr:/u:ro,Z,private", true),
            ("/usr:/u:Z", false),
        ] {
            let got = volume(text).unwrap_or_else(|failure| panic!("{text}: {failure}"));
            assert_eq!(
                (got.target.as_str(), got.read_only),
                ("/u", read_only),
                "{text}"
            );
        }
        for (text, word) in [
            ("/usr:/u:U", "owners"),
            ("/usr:/u:O", "read-only"),
            ("/usr:/u:idmap=uids=0-1-1", "--userns keep-id"),
            ("/usr:/u:shared", "shared"),
            ("/nowhere:/u", "/nowhere"),
            ("/usr:u", "absolute"),
            ("name:/u", "named volumes"),
        ] {
            let said = format!(
                "{:#}",
                anyhow::anyhow!(volume(text).expect_err(text).to_string())
            );
            assert!(said.contains(word) || said.contains("--volume"), "{said}");
        }
    }
}
