//! `rbuild test`: arguments. The invariant: they are complete as clap leaves them, so arguments and settings are one type here; files
//! that are named are still to be read.

use std::path::PathBuf;
use std::time::Duration;

use super::build::NetworkArg;

const EXAMPLES: &str = "\
Examples:
  rbuild test app                                     will it run rootless? Every way to run it is tried
  rbuild test app serve --port 8080                   the same with arguments for its program
  rbuild test --config tests.yaml app                 structure tests, as container-structure-test has them
  rbuild test --health app                            its HEALTHCHECK goes green, and red when the service stops
  rbuild test --drill --format junit app > app.xml    with attempts to get out of the container

Exit codes: 0 nothing failed, 1 something failed, 2 usage or a test file with mistakes, 3 host not ready.";

/// Arguments of `rbuild test`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "rbuild test [OPTIONS] IMAGE [ARGUMENT]...")]
pub(crate) struct TestArgs {
    /// A name, an id, or the beginning of an id; then arguments for the program
    #[arg(
        value_name = "IMAGE [ARGUMENT]",
        required = true,
        trailing_var_arg = true
    )]
    pub words: Vec<String>,
    /// Run the structure tests of this file, YAML or JSON, instead of the readiness report; repeatable
    #[arg(short, long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// With --config: the readiness report too
    #[arg(long, requires = "config")]
    pub readiness: bool,
    /// Only see whether the image's HEALTHCHECK works
    #[arg(long, conflicts_with_all = ["config", "readiness", "drill"])]
    pub health: bool,
    /// Also try to get out of the container
    #[arg(long)]
    pub drill: bool,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: TestFormat,
    /// Of an index, test the image for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<image::Platform>,
    /// A service must run for so long; one that exposes ports has ten times this to listen at them
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub wait: Duration,
    /// Set a variable for the program; NAME alone takes it from the environment; repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Mount a directory or file of this machine, as for `rbuild run`; repeatable
    #[arg(short, long, value_name = "HOST:CONTAINER[:OPTIONS]")]
    pub volume: Vec<String>,
    /// The network that the program has
    #[arg(long, value_enum, value_name = "MODE", default_value = "none")]
    pub network: NetworkArg,
    /// Say more about what is done; twice for everything
    // Takes the place of the global option of the same id, whose `-v` means a volume here, as for `run`.
    #[arg(long, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TestFormat {
    /// For people.
    Text,
    /// For programs; fields are only ever added.
    Json,
    /// JUnit's XML.
    Junit,
    /// Annotations of GitHub's workflows.
    Github,
}

/// A time of a millisecond to an hour.
fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse::<f64>().ok();
    let time = time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let range = Duration::from_millis(1)..=Duration::from_hours(1);
    let wrong = || "it is a number of seconds from 0.001 to 3600".to_owned();
    time.filter(|time| range.contains(time)).ok_or_else(wrong)
}

impl TestArgs {
    /// The image.
    pub(crate) fn image(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Arguments for its program.
    pub(crate) fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Command, tests::parse};

    #[test]
    fn what_follows_the_image_belongs_to_the_program() {
        let command = parse("test -c a.yaml -v /a:/b app --format x")
            .unwrap()
            .command;
        let Command::Test(args) = command else {
            panic!("{command:?}")
        };
        assert_eq!(
            (args.image(), args.arguments()),
            ("app", &["--format".into(), "x".into()][..])
        );
        assert_eq!(args.volume, ["/a:/b"]);
        assert!(parse("test --health -c a app").is_err());
        assert!(parse("test --readiness app").is_err());
        assert!(parse("test").is_err());
        for wait in ["-1", "0", "inf", "NaN", "soon", "3601"] {
            assert!(parse(&format!("test --wait={wait} app")).is_err(), "{wait}");
        }
    }
}
