//! Flags that other builders have and rbuild has not, as one table. The invariant: none of them is ignored and none is merely
//! "unexpected": a value that asks for what is so anyway is accepted, every other one ends with what to use instead.
//!
//! docs/flags.md shows the table to people who come from another builder; a test compares the two.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;

/// A flag of another builder.
struct Flag {
    name: &'static str,
    takes: Takes,
    /// Values that ask for what is so anyway; `*` is any.
    so_anyway: &'static [&'static str],
    /// Why it is not there, and what to use instead.
    instead: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    /// `--flag`, which is `--flag=true`, or `--flag=VALUE`.
    Bool,
    /// `--flag VALUE` or `--flag=VALUE`.
    Value,
}

const fn switch(
    name: &'static str,
    so_anyway: &'static [&'static str],
    instead: &'static str,
) -> Flag {
    Flag {
        name,
        takes: Takes::Bool,
        so_anyway,
        instead,
    }
}

const fn value(
    name: &'static str,
    so_anyway: &'static [&'static str],
    instead: &'static str,
) -> Flag {
    Flag {
        name,
        takes: Takes::Value,
        so_anyway,
        instead,
    }
}

const TRUE: &[&str] = &["true", "1"];
const FALSE: &[&str] = &["false", "0"];
const CACHE: &str = "use --cache-from and --cache-to REF";
const LISTS: &str =
    "`--platform linux/amd64,linux/arm64 -t NAME` makes an index of all platforms in one build";
const PLATFORM: &str = "use --platform OS/ARCH[/VARIANT]";
const OWN: &str = "RUN always has namespaces of its own";
const OWN_WORDS: &[&str] = &["", "private", "container"];
const ATTESTED: &str = "use --sbom and --provenance";
const MAPS: &str = "image ids are the subordinate ids in order; --userns keep-id:uid=UID,gid=GID makes one of them you";
const NO_DAEMON: &str = "there is no daemon and no builder to choose; builds run in this process";

/// The flags, by whose they are.
const FLAGS: &[(&str, &[Flag])] = &[
    (
        "docker and buildx",
        &[
            value("attest", &[], ATTESTED),
            value(
                "call",
                &["build"],
                "`rbuild outline` lists targets and arguments, `rbuild build --check` shows findings",
            ),
            value(
                "source-policy-file",
                &[],
                "there are no source policies; FROM NAME@sha256:... pins an image",
            ),
            value("builder", &["", "default"], NO_DAEMON),
            value(
                "resource",
                &[],
                "limits are flags of their own; see `rbuild build --help`",
            ),
            switch("rm", TRUE, "nothing of a step is kept but its result"),
            switch(
                "force-rm",
                &["*"],
                "nothing of a step is kept but its result",
            ),
            switch(
                "compress",
                &["*"],
                "the context is read where it is and never sent anywhere",
            ),
        ],
    ),
    (
        "buildah and podman",
        &[
            switch(
                "layers",
                TRUE,
                "every step is cached; --no-cache builds anew, --squash makes one layer",
            ),
            value(
                "isolation",
                &["", "default", "oci", "rootless"],
                "RUN has user, mount, process and network namespaces in every mode; a build without RUN needs none",
            ),
            value("userns-uid-map", &[], MAPS),
            value("userns-gid-map", &[], MAPS),
            value("userns-uid-map-user", &[], MAPS),
            value("userns-gid-map-group", &[], MAPS),
            value(
                "device",
                &[],
                "a rootless step has no devices but null, zero, full, random, urandom, tty",
            ),
            value("manifest", &[], LISTS),
            switch("all-platforms", FALSE, LISTS),
            value("arch", &[], PLATFORM),
            value("os", &[], PLATFORM),
            value("variant", &[], PLATFORM),
            switch(
                "identity-label",
                FALSE,
                "rbuild writes no label of its own, so that another version gives the same image; use --label",
            ),
            switch(
                "save-stages",
                FALSE,
                "`--target STAGE -t NAME` makes an image of a stage, from the cache",
            ),
            switch(
                "stdin",
                FALSE,
                "standard input of RUN is empty, so that what it makes depends on the build alone",
            ),
            switch(
                "no-hosts",
                FALSE,
                "RUN has an /etc/hosts of its own, which is in no layer",
            ),
            switch(
                "no-hostname",
                FALSE,
                "RUN has an /etc/hostname of its own, which is in no layer",
            ),
            switch(
                "compat-volumes",
                FALSE,
                "what RUN writes below a VOLUME stays, as with BuildKit",
            ),
            value(
                "group-add",
                &[],
                "name the group in USER, as in USER 1000:1001",
            ),
            value("cgroupns", OWN_WORDS, OWN),
            value("ipc", OWN_WORDS, OWN),
            value("pid", OWN_WORDS, OWN),
            value("uts", OWN_WORDS, OWN),
            value("runtime", &[], "RUN needs no OCI runtime"),
            value("runtime-flag", &[], "RUN needs no OCI runtime"),
            value(
                "hooks-dir",
                &[],
                "RUN needs no OCI runtime, so there are no hooks",
            ),
            value(
                "cpp-flag",
                &[],
                "run cpp before the build: `cpp -E Containerfile.in | rbuild -f - .`",
            ),
            value(
                "layer-label",
                &[],
                "steps are no images; --label is for the image",
            ),
            switch(
                "logsplit",
                FALSE,
                "--logfile is one file; build each platform by itself for several",
            ),
            value(
                "decryption-key",
                &[],
                "encrypted images are not supported; decrypt with skopeo copy",
            ),
            value("cw", &[], "confidential workloads are not supported"),
            switch(
                "disable-compression",
                &["*"],
                "layers are packed for each output; see compression= of --output",
            ),
            switch(
                "disable-content-trust",
                &["*"],
                "what is fetched is verified by digest",
            ),
        ],
    ),
    (
        "kaniko",
        &[
            value(
                "digest-file",
                &[],
                "--metadata-file has the digest as containerimage.digest",
            ),
            value(
                "image-name-with-digest-file",
                &[],
                "--metadata-file has name and digest",
            ),
            value("tar-path", &[], "use -o type=docker,dest=FILE"),
            switch("no-push", TRUE, "without --push nothing is pushed"),
            value("destination", &[], "use -t NAME --push"),
            value("dockerfile", &[], "use -f FILE"),
            value(
                "context-sub-path",
                &[],
                "name the directory itself, or URL#ref:DIR",
            ),
            value("cache-repo", &[], CACHE),
            value(
                "cache-ttl",
                &[],
                "the cache goes by content and has no age; --no-cache builds anew, `rbuild prune` clears",
            ),
            switch("cache", TRUE, "--no-cache does without"),
            value(
                "registry-mirror",
                &[],
                "name the mirror: --build-context NAME=docker-image://MIRROR/NAME",
            ),
            value(
                "registry-map",
                &[],
                "name the other registry: --build-context NAME=docker-image://OTHER/NAME",
            ),
            switch(
                "insecure",
                FALSE,
                "--insecure-registry HOST[:PORT] names the one that is meant",
            ),
            value("push-retry", &[], "use --retry"),
            switch("single-snapshot", FALSE, "use --squash"),
            switch(
                "reproducible",
                TRUE,
                "every build is; --check-reproducible shows it",
            ),
            value(
                "ignore-path",
                &[],
                "nothing is scanned for changes, so nothing has to be left out",
            ),
        ],
    ),
];

fn flags() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().flat_map(|(_, flags)| *flags)
}

/// Flags of other builders that were given: name and value.
#[derive(Clone, Debug, Default)]
pub(super) struct ElsewhereArgs(Vec<(&'static str, String)>);

impl ElsewhereArgs {
    /// Refuses what is not so anyway.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for (name, value) in &self.0 {
            let Some(flag) = flags().find(|flag| flag.name == *name) else {
                continue;
            };
            let so_anyway = |known: &&str| *known == "*" || known.eq_ignore_ascii_case(value);
            if flag.so_anyway.iter().any(so_anyway) {
                continue;
            }
            let given = match (flag.takes, value.as_str()) {
                (Takes::Bool, "true") => format!("--{name}"),
                (Takes::Bool, value) => format!("--{name}={value}"),
                (Takes::Value, value) => format!("--{name} {value}"),
            };
            return Err(Failure::usage(format!("{given} is not supported")).hint(flag.instead));
        }
        Ok(())
    }
}

impl clap::Args for ElsewhereArgs {
    fn augment_args(command: Command) -> Command {
        command.args(flags().map(|flag| {
            let arg = Arg::new(flag.name)
                .long(flag.name)
                .hide(true)
                .action(ArgAction::Append)
                .help(flag.instead);
            match flag.takes {
                Takes::Bool => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true"),
                Takes::Value => arg.num_args(1).allow_hyphen_values(true),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for ElsewhereArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for flag in flags() {
            let values = matches.get_many::<String>(flag.name);
            let values = values.into_iter().flatten();
            given.extend(values.map(|value| (flag.name, value.clone())));
        }
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command as Asked, tests::parse};
    use crate::surroundings::Surroundings;

    fn settings(line: &str) -> Result<(), Failure> {
        let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        match cli.command {
            Asked::Build(args) => args.settings(&Surroundings::of(&[])).map(drop),
            other => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn every_flag_of_another_builder_says_what_to_use_instead() {
        for flag in flags() {
            let line = match flag.takes {
                Takes::Bool if flag.so_anyway == TRUE => format!("build --{}=false .", flag.name),
                Takes::Bool => format!("build --{} .", flag.name),
                Takes::Value => format!("build --{} something .", flag.name),
            };
            if flag.so_anyway == ["*"] {
                settings(&line).unwrap_or_else(|failure| panic!("{line}: {failure}"));
                continue;
            }
            let failure = settings(&line).expect_err(&line);
            assert_eq!(failure.code(), 2, "{line}");
            assert!(failure.to_string().contains(flag.name), "{line}: {failure}");
            assert_eq!(failure.hints(), [flag.instead], "{line}");
        }
    }

    #[test]
    fn what_is_so_anyway_is_accepted() {
        for line in [
            "build --layers .",
            "build --layers=true --rm --force-rm=false --provenance=false --sbom false .",
            "build --isolation=rootless --identity-label=false --no-push .",
            "--provenance false .",
            "--isolation oci ctx",
        ] {
            settings(line).unwrap_or_else(|failure| panic!("{line}: {failure}"));
        }
        settings("build --isolation chroot .").expect_err("chroot");
    }

    #[test]
    fn the_document_shows_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/flags.md");
        let document = std::fs::read_to_string(path).expect("docs/flags.md");
        let mut wanted = String::new();
        for (whose, flags) in FLAGS {
            wanted += &format!("\n## Of {whose}\n\n| flag | accepted | instead |\n|---|---|---|\n");
            for flag in *flags {
                let accepted: Vec<_> = flag.so_anyway.iter().filter(|v| !v.is_empty()).collect();
                let accepted = accepted.iter().map(|v| match **v {
                    "*" => "any".to_owned(),
                    value => format!("`{value}`"),
                });
                let accepted: Vec<_> = accepted.collect();
                let instead = flag.instead.replace('|', "\\|");
                wanted += &format!(
                    "| `--{}` | {} | {instead} |\n",
                    flag.name,
                    accepted.join(", ")
                );
            }
        }
        assert!(
            document.ends_with(&wanted),
            "docs/flags.md should end with:\n{wanted}"
        );
    }
}
