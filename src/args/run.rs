//! `rbuild run`: raw arguments to settings. The invariant: whatever depends on the image (its user, entry point, directory) stays
//! open here, whatever does not is valid.

use runner::{Mounts, Program, RunRequest, UsernsMode};

use super::build::NetworkArg;
use super::capabilities;
use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;

const EXAMPLES: &str = "\
Examples:
  rbuild run hello                                     the image's user is you outside
  rbuild run -v ./data:/data hello --verbose           a directory, and arguments for the program
  rbuild run --userns nomap --entrypoint /bin/sh app   a user that is nobody outside

Exit code: the program's own, 128 + n after signal n, or 125 (not started), 126 (not executable), 127 (not found).";

/// Arguments of `rbuild run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "rbuild run [OPTIONS] IMAGE [ARGUMENT]...")]
pub(crate) struct RunArgs {
    /// A name, an id, or the beginning of an id; then arguments for the program
    // One list: options after the image are the program's, which clap does for a list only.
    #[arg(
        value_name = "IMAGE [ARGUMENT]",
        required = true,
        trailing_var_arg = true
    )]
    words: Vec<String>,
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    isolation: IsolationArgs,
    #[command(flatten)]
    files: FileArgs,
    /// Say more about what is done; twice for everything
    // Takes the place of the global option of the same id, whose `-v` means a volume here, as in docker and podman.
    #[arg(long, action = clap::ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
}

/// What runs.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Process")]
struct ProcessArgs {
    /// Run this program instead of the image's; empty: none, the first argument is the program
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set a variable; NAME alone takes it from the environment; repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Of an index, run the image for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<image::Platform>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
}

/// What it may do.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Isolation")]
struct IsolationArgs {
    /// How ids are mapped: keep-id[:uid=N,gid=N], nomap or host [default: keep-id for the image's user, nomap for root]
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// The network [default: pasta where it is installed, else none]
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "default",
        hide_default_value = true
    )]
    network: NetworkArg,
    /// Give the program a capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability, or ALL; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
}

/// What it sees.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Files")]
struct FileArgs {
    /// Show a file or directory of this machine inside; repeatable
    #[arg(short, long = "volume", value_name = "SOURCE:TARGET[:ro]")]
    volumes: Vec<String>,
    /// Put an empty directory in memory there; repeatable
    #[arg(long, value_name = "TARGET[:size=BYTES,mode=OCTAL]")]
    tmpfs: Vec<String>,
    /// Make the image's files read-only
    #[arg(long)]
    read_only: bool,
}

/// A container, validated. What the network is, and where relative volumes are, depends on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunSettings {
    /// What is asked of the runner.
    pub request: RunRequest,
    /// `--network`, still to be chosen in the request.
    pub network: NetworkArg,
}

impl RunArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// The first argument that makes no sense, by name.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<RunSettings, Failure> {
        let mut words = self.words.into_iter();
        let request = RunRequest {
            image: words.next().unwrap_or_default(),
            platform: self.process.platform.clone(),
            program: self.process.settings(words.collect(), here)?,
            mounts: self.files.settings()?,
            userns: match &self.isolation.userns {
                Some(text) => text.parse().map_err(misused)?,
                None => UsernsMode::Default,
            },
            cap_add: capabilities("--cap-add", self.isolation.cap_add)?,
            cap_drop: capabilities("--cap-drop", self.isolation.cap_drop)?,
            ..RunRequest::default()
        };
        Ok(RunSettings {
            request,
            network: self.isolation.network,
        })
    }
}

impl ProcessArgs {
    fn settings(self, args: Vec<String>, here: &Surroundings) -> Result<Program, Failure> {
        let mut env = Vec::new();
        for text in &self.env {
            match text.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    env.push((name.to_owned(), value.to_owned()))
                }
                None if !text.is_empty() => {
                    env.extend(here.variable(text)?.map(|value| (text.clone(), value)))
                }
                _ => {
                    return Err(Failure::usage(format!(
                        "-e {text}: expected NAME=VALUE or NAME"
                    )));
                }
            }
        }
        if let Some(workdir) = self.workdir.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(Failure::usage(format!(
                "-w {workdir}: the directory must be absolute"
            )));
        }
        Ok(Program {
            args,
            entrypoint: self.entrypoint,
            env,
            workdir: self.workdir,
            user: self.user,
        })
    }
}

impl FileArgs {
    fn settings(self) -> Result<Mounts, Failure> {
        let volumes = self
            .volumes
            .iter()
            .map(|text| text.parse().map_err(misused));
        let tmpfs = self.tmpfs.iter().map(|text| text.parse().map_err(misused));
        Ok(Mounts {
            volumes: volumes.collect::<Result<_, _>>()?,
            tmpfs: tmpfs.collect::<Result<_, _>>()?,
            read_only: self.read_only,
        })
    }
}

fn misused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Kind::Usage, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, tests::parse};

    fn settings_of(line: &str) -> Result<RunSettings, Failure> {
        match parse(line)
            .unwrap_or_else(|error| panic!("{line}: {error}"))
            .command
        {
            Command::Run(args) => args.settings(&Surroundings::of(&[("V", "env")])),
            other => panic!("{line} is {other:?}"),
        }
    }

    fn settings(line: &str) -> RunSettings {
        settings_of(line).unwrap_or_else(|failure| panic!("{line}: {failure}"))
    }

    fn refused(line: &str) -> String {
        let failure = settings_of(line).expect_err(line);
        assert_eq!(failure.code(), 2, "{failure}");
        failure.to_string()
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_program() {
        let got = settings("run --read-only hello --network host -v");
        assert_eq!(got.request.image, "hello");
        assert_eq!(got.request.program.args, ["--network", "host", "-v"]);
        assert!(got.request.mounts.read_only);
        assert_eq!(got.network, NetworkArg::Default);
    }

    #[test]
    fn flags_of_the_process_reach_their_settings() {
        let got = settings("run -e A=1 -e V -e UNSET --entrypoint /bin/sh -w /work -u 5:6 hello")
            .request
            .program;
        assert_eq!(
            got.env,
            [("A".into(), "1".into()), ("V".into(), "env".into())]
        );
        assert_eq!(got.entrypoint.as_deref(), Some("/bin/sh"));
        assert_eq!(got.workdir.as_deref(), Some("/work"));
        assert_eq!(got.user.as_deref(), Some("5:6"));
        assert_eq!(
            settings("run --entrypoint= hello")
                .request
                .program
                .entrypoint
                .as_deref(),
            Some("")
        );
        for line in ["run -w rel hello", "run -e =x hello"] {
            refused(line);
        }
    }

    #[test]
    fn flags_of_isolation_and_files_reach_their_settings() {
        let got = settings(
            "run --network none --userns keep-id:uid=5 --cap-add chown --cap-drop ALL --tmpfs /tmp -v /s:/t:ro -v ./d:/d hello",
        );
        assert_eq!(got.network, NetworkArg::None);
        assert_eq!(
            got.request.userns,
            UsernsMode::KeepId {
                uid: Some(5),
                gid: None
            }
        );
        assert_eq!(got.request.cap_add, ["chown"]);
        assert_eq!(got.request.cap_drop, ["ALL"]);
        assert_eq!(got.request.mounts.tmpfs[0].target, "/tmp");
        let volumes: Vec<_> = got
            .request
            .mounts
            .volumes
            .iter()
            .map(|volume| volume.read_only)
            .collect();
        assert_eq!(volumes, [true, false]);
        assert_eq!(settings("run hello").request.userns, UsernsMode::Default);
    }

    #[test]
    fn v_is_a_volume_and_verbose_is_still_heard() {
        let got = parse("run --verbose -v /s:/t hello").unwrap();
        assert_eq!(got.global.verbose, 1);
        assert_eq!(parse("-v images").unwrap().global.verbose, 1);
        assert_eq!(parse("images -vv").unwrap().global.verbose, 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (line, word) in [
            ("run --userns auto hello", "auto"),
            ("run -v name:/t hello", "name"),
            ("run -v /s:/t:U hello", "U"),
            ("run --tmpfs tmp hello", "tmp"),
            ("run --cap-add FLY hello", "FLY"),
            ("run --cap-drop FLY hello", "FLY"),
        ] {
            assert!(refused(line).contains(word), "{line}: {}", refused(line));
        }
    }
}
