//! Flags of other builders that `rbuild build` does not have. The invariant: whoever writes one reads why it is not there, or what
//! to write instead; none of them is accepted.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;

const CACHE: &str = "the cache of steps is a part of the store and is not exported; --root names a store that stays";
const ATTESTATIONS: &str = "no attestations are made: an image is all that is written";
const IDS: &str = "RUN has the ids of the store, which are the caller's subordinate ones";
const OUTLINE: &str =
    "there are no other calls than a build; `rbuild outline` lists targets and arguments";
const LINT: &str =
    "there is no lint apart from the warnings of a build; --dry-run shows them and builds nothing";
const NOTHING_LEFT: &str = "nothing of a step is left but its result, and that is cached";

/// The flags of docker, buildx, buildah, podman and kaniko, with the reasons.
const REFUSED: &[(&str, &str)] = &[
    ("attest", ATTESTATIONS),
    ("cache-from", CACHE),
    ("cache-repo", CACHE),
    ("cache-to", CACHE),
    ("cache-ttl", CACHE),
    ("call", OUTLINE),
    ("cgroupns", "the cgroup namespace of RUN cannot be chosen"),
    ("check", LINT),
    ("device", "no device of this machine is given to RUN"),
    ("digest-file", "--metadata-file writes the digests"),
    ("force-rm", NOTHING_LEFT),
    (
        "from",
        "--build-context NAME=SOURCE replaces the base image NAME",
    ),
    ("identity-label", "no label is added to an image"),
    (
        "isolation",
        "RUN is isolated in the only way that there is, which needs no root",
    ),
    (
        "layers",
        "steps are always cached; --no-cache builds anew, --squash makes one layer",
    ),
    (
        "manifest",
        "--platform A,B with -t NAME makes the index NAME",
    ),
    ("no-push", "nothing is pushed without --push"),
    ("provenance", ATTESTATIONS),
    ("resource", "--memory, --cpus and their like limit each RUN"),
    ("rm", NOTHING_LEFT),
    ("sbom", ATTESTATIONS),
    (
        "skip-unused-stages",
        "stages that the target does not need are never built",
    ),
    (
        "source-policy-file",
        "there are no source policies; FROM NAME@sha256:... pins an image",
    ),
    ("stdin", "standard input of RUN is empty"),
    ("tar-path", "-o type=docker,dest=FILE writes an archive"),
    ("userns", IDS),
    ("userns-gid-map", IDS),
    ("userns-gid-map-group", IDS),
    ("userns-uid-map", IDS),
    ("userns-uid-map-user", IDS),
];

/// The failure to show instead of `error`, when it is about one of them.
pub(crate) fn refusal(error: &clap::Error) -> Option<Failure> {
    // The same word may mean something else to another command.
    let of_build = matches!(error.get(ContextKind::Usage), Some(ContextValue::StyledStr(usage)) if usage.to_string().contains("rbuild build"));
    if error.kind() != ErrorKind::UnknownArgument || !of_build {
        return None;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let name = flag.strip_prefix("--")?.split('=').next()?;
    let (_, reason) = REFUSED.iter().find(|(known, _)| *known == name)?;
    Some(Failure::usage(format!("--{name} is refused: {reason}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn none_of_them_is_a_flag() {
        let cli = Cli::command();
        let build = cli.find_subcommand("build").expect("it is there");
        for (name, _) in REFUSED {
            let known = build
                .get_arguments()
                .any(|arg| arg.get_long() == Some(*name));
            assert!(!known, "--{name} is there, and its line here is not needed");
        }
        assert!(REFUSED.is_sorted());
    }
}
