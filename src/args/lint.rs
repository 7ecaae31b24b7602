//! `rbuild lint`. The invariant: what it takes is complete as clap leaves it.

use std::path::PathBuf;

use clap::ValueEnum;
use containerfile::Severity;

const EXAMPLES: &str = "\
Examples:
  rbuild lint                            every Containerfile below the current directory
  rbuild lint Containerfile --fix        mend what can be mended safely
  rbuild lint --explain RB103            what a rule is about, with examples
  rbuild lint --format sarif > lint.sarif
  rbuild lint - < Containerfile          standard input
  rbuild lint --with-images              look into base images that are in the store, too
  rbuild lint --image app                examine a built image: its files, libraries, certificates, owners

Exit codes: 0 nothing as bad as --fail-on, 1 something, or a file that cannot be read, 2 usage.
What is no text, or larger than 16 MiB, is a finding (RB000).";

/// Arguments of `rbuild lint`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LintArgs {
    /// Files, directories to look for Containerfiles in, or `-` for standard input [default: .]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Read standard input, as the path `-` does
    #[arg(long, conflicts_with = "paths")]
    pub stdin: bool,
    /// Do not have ShellCheck examine the scripts of RUN, where it is installed
    #[arg(long, conflicts_with_all = ["list", "explain", "image"])]
    pub no_shellcheck: bool,
    /// Look into the base images that are in the store, and say which are not
    #[arg(long, conflicts_with_all = ["list", "explain", "image"])]
    pub with_images: bool,
    /// Where a base image is that FROM calls NAME: `oci-layout:DIR[:TAG]`, whose layers are taken into the store, or docker-image://REFERENCE
    #[arg(long, value_name = "NAME=SOURCE", requires = "with_images")]
    pub build_context: Vec<String>,
    /// Examine a built image instead: a name, an id, or the beginning of an id; oci-layout:DIR for one that is not in the store
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["paths", "stdin", "fix", "diff", "list", "explain"])]
    pub image: Vec<String>,
    /// Of an index, examine the image for this platform; look for base images for it [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["list", "explain"])]
    pub platform: Option<image::Platform>,
    /// How to write the findings
    #[arg(long, value_enum, default_value = "tty", conflicts_with_all = ["list", "explain", "diff"])]
    pub format: LintFormat,
    /// Exit with code 1 for findings at least as bad as this
    #[arg(long, value_enum, value_name = "SEVERITY", default_value = "warning")]
    pub fail_on: FailOn,
    /// Change the files as the findings say, and report what is left
    #[arg(long, conflicts_with_all = ["stdin", "diff"])]
    pub fix: bool,
    /// Print what --fix would change instead of the findings
    #[arg(long)]
    pub diff: bool,
    /// Take this configuration instead of the nearest .rbuild.toml above each file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Leave out the findings that this file has
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write all findings to a file for --baseline, and report none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "diff", "fix", "format", "fail_on"])]
    pub write_baseline: Option<PathBuf>,
    /// Print the page of a rule; other linters' names will do
    #[arg(long, value_name = "RULE", conflicts_with_all = ["paths", "stdin", "fix", "diff", "list", "config", "baseline", "write_baseline", "fail_on"])]
    pub explain: Option<String>,
    /// List the rules
    #[arg(long, conflicts_with_all = ["paths", "stdin", "fix", "diff", "config", "baseline", "write_baseline", "fail_on"])]
    pub list: bool,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    /// With the lines that they are about
    Tty,
    /// One line each
    Plain,
    /// One object
    Json,
    /// SARIF 2.1.0, with fixes
    Sarif,
    /// Checkstyle's XML
    Checkstyle,
    /// Issues of Code Climate, each ended by a NUL byte
    Codeclimate,
    /// GitLab's code quality report
    Gitlab,
    /// JUnit's XML, one test case for each file
    Junit,
    /// FILE:LINE:COLUMN: as compilers write
    Gnu,
    /// Commands that make annotations in GitHub's workflows
    Github,
}

/// What makes the command fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Errors only
    Error,
    /// Warnings and errors
    Warning,
    /// Any finding
    Info,
    /// Nothing
    None,
}

impl FailOn {
    /// Whether a finding of this severity fails.
    pub(crate) fn fails(self, severity: Severity) -> bool {
        match self {
            Self::Error => severity >= Severity::Error,
            Self::Warning => severity >= Severity::Warning,
            Self::Info => true,
            Self::None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::args::tests::parse;

    #[test]
    fn options_that_would_be_ignored_are_refused() {
        for line in [
            "lint --stdin Containerfile",
            "lint --stdin --fix",
            "lint --fix --diff",
            "lint --explain RB103 Containerfile",
            "lint --list --fix",
            "lint --list --format json",
            "lint --diff --format json",
            "lint --list --config x",
            "lint --write-baseline x --fix",
            "lint --image app Containerfile",
            "lint --image app --fix",
            "lint --image app --with-images",
            "lint --list --platform linux/arm64",
            "lint --build-context a=oci-layout:b",
            "lint --write-baseline x --fail-on none",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in [
            "lint",
            "lint --diff -",
            "lint a b --fix --fail-on none --format sarif",
            "lint --explain DL3006",
            "lint --image a --image b --format json",
            "lint --with-images --platform linux/arm64 a",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
