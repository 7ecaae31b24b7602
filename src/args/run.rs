//! `rbuild run`: raw arguments to settings. The invariant: whatever depends on the image (its user, entry point, directory) stays
//! open here, whatever does not is valid; files that are named are still to be read.

mod background;
mod files;
mod isolation;
mod process;

use std::path::PathBuf;

use runner::{Publish, RunRequest};

use super::limits::{LimitArgs, LimitSettings};
use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;
pub(crate) use background::Background;
use background::BackgroundArgs;
use files::FileArgs;
pub(crate) use files::SecretFile;
pub(crate) use isolation::ContainerNetwork;
use isolation::IsolationArgs;
use process::ProcessArgs;
pub(crate) use process::variable;

const EXAMPLES: &str = "\
Examples:
  rbuild run hello                                     the image's user is you outside
  rbuild run -v ./data:/data hello --verbose           a directory, and arguments for the program
  rbuild run -p 8080:80 --read-only web                a port, and files that nothing can change
  rbuild run --userns nomap --entrypoint /bin/sh app   a user that is nobody outside
  rbuild run -d --name web --restart always web        a service; see ps, logs, exec and stop

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
    background: BackgroundArgs,
    #[command(flatten)]
    isolation: IsolationArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Instead of the program, run attempts to get out of the container, and say how each went inside and outside of it
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text",
        conflicts_with_all = ["entrypoint", "detach", "tty"]
    )]
    drill: Option<DrillFormat>,
    /// Say more about what is done; twice for everything
    // Takes the place of the global option of the same id, whose `-v` means a volume here, as in docker and podman.
    #[arg(long, action = clap::ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
}

/// How the outcome of a drill is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DrillFormat {
    /// A table.
    Text,
    /// A list of objects.
    Json,
}

/// A container, validated. What the network is, and where relative volumes are, depends on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunSettings {
    /// What is asked of the runner.
    pub request: RunRequest,
    /// `--network`, still to be chosen in the request.
    pub network: ContainerNetwork,
    /// `--publish`.
    pub publish: Vec<Publish>,
    /// `--env-file`, still to be read; `--env` comes over it.
    pub env_files: Vec<PathBuf>,
    /// `--secret`, still to be read.
    pub secrets: Vec<SecretFile>,
    /// Limits that need a cgroup.
    pub limits: LimitSettings,
    /// `--detach`.
    pub background: Option<Background>,
    /// `--drill`.
    pub drill: Option<DrillFormat>,
}

impl RunArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// The first argument that makes no sense, by name.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<RunSettings, Failure> {
        let mut words = self.words.into_iter();
        let image = words.next().unwrap_or_default();
        if self.drill.is_some() && words.len() > 0 {
            return Err(Failure::usage(
                "--drill runs its own program: there are no arguments for it",
            ));
        }
        let (mounts, secrets) = self.files.settings(here)?;
        let (platform, env_files) = (
            self.process.platform.clone(),
            self.process.env_files.clone(),
        );
        let stop = self.process.stop()?;
        let mut request = RunRequest {
            image,
            platform,
            stop,
            program: self.process.settings(words.collect(), here)?,
            mounts,
            ..RunRequest::default()
        };
        request.program.terminal = self.background.tty;
        let (network, publish) = self.isolation.settings(&mut request)?;
        Ok(RunSettings {
            request,
            network,
            publish,
            env_files,
            secrets,
            background: self.background.settings(),
            drill: self.drill,
            limits: self.limits.settings()?,
        })
    }
}

fn misused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Kind::Usage, error)
}

#[cfg(test)]
mod tests {
    use runner::UsernsMode;

    use super::*;
    use crate::args::build::NetworkArg;
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
        assert_eq!(got.network, mode(NetworkArg::Default));
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
        assert_eq!(got.network, mode(NetworkArg::None));
        assert_eq!(
            got.request.userns,
            UsernsMode::KeepId {
                uid: Some(5),
                gid: None,
                size: None,
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
    fn flags_of_podman_reach_their_settings() {
        let got = settings(
            "run --rm --init --hostname box --group-add 7 --group-add app --ulimit nofile=9:10 --shm-size 1m --stop-timeout 3 \
             --stop-signal QUIT --env-file a --env-file b --pids-limit 5 -p 127.0.0.1:80:8080/udp --uidmap 0:1:10 hello",
        );
        let request = &got.request;
        assert!(request.program.init);
        assert_eq!(request.hostname.as_deref(), Some("box"));
        assert_eq!(request.program.groups, ["7", "app"]);
        assert_eq!(request.limits.resources[0].to_string(), "nofile=9:10");
        assert_eq!(request.limits.shm_size, Some(1 << 20));
        assert_eq!(request.stop.timeout, Some(3));
        assert_eq!(request.stop.signal, "SIGQUIT".parse().ok());
        assert!(request.maps.is_some());
        assert_eq!(got.env_files, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(got.publish, ["127.0.0.1:80:8080/udp".parse().unwrap()]);
        assert!(!got.limits.run.is_default());
        assert!(settings("run hello").limits.run.is_default());
        assert_eq!(got.drill, None);
        assert_eq!(settings("run --drill hello").drill, Some(DrillFormat::Text));
        assert_eq!(
            settings("run --drill=json hello").drill,
            Some(DrillFormat::Json)
        );
        assert!(parse("run --uidmap 0:0:1 --userns host hello").is_err());
    }

    fn mode(mode: NetworkArg) -> ContainerNetwork {
        ContainerNetwork::Mode { mode, mtu: None }
    }

    #[test]
    fn a_network_may_be_another_containers_and_pastas_packets_have_a_size() {
        let network = |text: &str| parse(&format!("run --network {text} hello"));
        let of = |text: &str| settings(&format!("run --network {text} hello")).network;
        assert_eq!(of("container:web"), ContainerNetwork::Of("web".into()));
        for text in ["pasta:mtu=1280", "pasta:--mtu,1280", "pasta:-m,1280"] {
            let (mode, mtu) = (NetworkArg::Pasta, Some(1280));
            assert_eq!(of(text), ContainerNetwork::Mode { mode, mtu }, "{text}");
        }
        for bad in [
            "container:",
            "container",
            "none:mtu=1280",
            "pasta:mtu=1",
            "pasta:x",
            "bridge",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
        refused("run --network container:web -p 80 hello");
    }

    #[test]
    fn secrets_have_a_place_and_an_owner() {
        let got =
            settings("run --secret id=a,src=f --secret id=b,env=V,target=/x,mode=440,uid=5 hello");
        let [first, second] = &got.secrets[..] else {
            panic!("{got:?}")
        };
        assert_eq!(
            (first.target.as_str(), first.mode),
            ("/run/secrets/a", 0o400)
        );
        assert_eq!((second.target.as_str(), second.mode), ("/x", 0o440));
        assert_eq!(second.owner, (Some(5), None));
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
            ("run --userns container:x hello", "container:x"),
            ("run --hostname a_b! hello", "a_b!"),
            ("run --ulimit x=1 hello", "x=1"),
            ("run --stop-signal FOO hello", "FOO"),
            ("run --group-add keep-groups hello", "keep-groups"),
            ("run -p 0 hello", "--publish 0"),
            ("run --uidmap 1 hello", "\"1\""),
            ("run --drill hello arg", "--drill"),
            ("run --mount type=bind,dst=/x hello", "no source"),
            ("run --secret src=x hello", "--secret src=x"),
            ("run --secret id=a,mode=9 hello", "mode=9"),
            ("run --memory big hello", "--memory big"),
            ("run -v na@me:/t hello", "na@me"),
            ("run -v name:t hello", "\"t\""),
            ("run -v /s:/t:exec hello", "exec"),
            ("run --tmpfs tmp hello", "tmp"),
            ("run --cap-add FLY hello", "FLY"),
            ("run --cap-drop FLY hello", "FLY"),
        ] {
            assert!(refused(line).contains(word), "{line}: {}", refused(line));
        }
    }
}
