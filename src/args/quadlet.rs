//! `rbuild quadlet`. The invariant: a flag has the name that it has for `run`, and is checked as there.

use std::path::PathBuf;

use runner::quadlet::AutoUpdate;
use runner::service::RestartPolicy;
use runner::{Name, Publish, RequestedMount, Tmpfs};

use super::build::NetworkArg;
use super::capabilities;
use super::run::variable;
use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;

const QUADLET: &str = "\
Examples:
  rbuild quadlet web                                      what the image asks for, to standard output
  rbuild quadlet -p 8080:8080 -v ~/data:/data -o . web    ./web.container
  rbuild quadlet --podman-run web                         the command line instead
  rbuild quadlet --kube app.yaml                          a unit for a file of Kubernetes";

/// Arguments of `rbuild quadlet`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = QUADLET, override_usage = "rbuild quadlet [OPTIONS] IMAGE [ARGUMENT]...")]
pub(crate) struct QuadletArgs {
    /// A name; then arguments for the program
    #[arg(
        value_name = "IMAGE [ARGUMENT]",
        required_unless_present = "kube",
        conflicts_with = "kube",
        trailing_var_arg = true
    )]
    words: Vec<String>,
    /// The unit's name [default: the last part of the image's]
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Write the units into this directory
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Write the command line of Podman that does the same
    #[arg(long, conflicts_with_all = ["output", "kube"])]
    pub podman_run: bool,
    /// Write a .kube unit for this file of Kubernetes instead
    #[arg(long, value_name = "FILE")]
    pub kube: Option<PathBuf>,
    /// Give each named volume a .volume unit of its own
    #[arg(long, requires = "output")]
    volume_units: bool,
    /// Have Podman look for newer images: registry or local
    #[arg(long, value_enum, value_name = "WHERE")]
    auto_update: Option<AutoUpdateArg>,
    /// Lead a port of this machine to one of the container; repeatable
    #[arg(short, long, value_name = "[[ADDRESS:][PORT]:]PORT[/tcp|/udp]")]
    publish: Vec<String>,
    /// Show a file or directory of this machine inside, or a volume by its name; repeatable
    #[arg(short, long = "volume", value_name = "SOURCE|NAME:TARGET[:ro|U]")]
    volumes: Vec<String>,
    /// Put an empty directory in memory there; repeatable
    #[arg(long, value_name = "TARGET[:size=BYTES,mode=OCTAL]")]
    tmpfs: Vec<String>,
    /// Set a variable; NAME alone takes it from the environment; repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Make the image's files read-only
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    read_only: bool,
    /// How ids are mapped, in Podman's words [default: keep-id for the image's user, nomap for root]
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// Give the program a capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// The network [default: Podman's]
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "default",
        hide_default_value = true
    )]
    network: NetworkArg,
    /// The host name inside
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run this program instead of the image's
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Run the program below an init
    #[arg(long)]
    init: bool,
    /// The most memory
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// The most processes
    #[arg(long, value_name = "COUNT")]
    pids_limit: Option<u32>,
    /// Kill it when it runs so many seconds after its stop signal
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Start it again when it ends: no, on-failure or always
    #[arg(long, value_name = "POLICY", default_value = "on-failure")]
    restart: RestartPolicy,
    /// Say more about what is done; twice for everything
    // As for `run`: `-v` is a volume.
    #[arg(long, action = clap::ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum AutoUpdateArg {
    /// In its registry
    Registry,
    /// In Podman's own store
    Local,
}

/// What is asked of a unit, but for what the image says.
pub(crate) struct QuadletSettings {
    /// The image, as it was typed.
    pub image: String,
    /// `--name`.
    pub name: Option<Name>,
    /// Ports, as they were typed.
    pub publish: Vec<(String, Publish)>,
    /// `--volume`.
    pub mounts: Vec<RequestedMount>,
    /// `--tmpfs`.
    pub tmpfs: Vec<Tmpfs>,
    /// `--env`.
    pub env: Vec<(String, String)>,
    /// Arguments of the program.
    pub arguments: Vec<String>,
    /// `--cap-add`.
    pub cap_add: Vec<String>,
    /// `--network`.
    pub network: Option<String>,
    /// `--auto-update`.
    pub auto_update: Option<AutoUpdate>,
    /// What is handed on as it is.
    pub plain: Plain,
}

/// What is handed on as it is.
pub(crate) struct Plain {
    /// `--userns`.
    pub userns: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--entrypoint`.
    pub entrypoint: Option<String>,
    /// `--workdir`.
    pub workdir: Option<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--memory`.
    pub memory: Option<String>,
    /// `--pids-limit`.
    pub pids_limit: Option<u32>,
    /// `--stop-timeout`.
    pub stop_timeout: Option<u32>,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--init`.
    pub init: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `--volume-units`.
    pub volume_units: bool,
}

impl QuadletArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// The first argument that makes no sense, by name.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<QuadletSettings, Failure> {
        let mut words = self.words.into_iter();
        let image = words.next().unwrap_or_default();
        if let Some(mode) = &self.userns {
            mode.parse::<runner::UsernsMode>().map_err(misused)?;
        }
        if let Some(name) = &self.hostname {
            runner::check_hostname(name).map_err(misused)?;
        }
        if let Some(memory) = &self.memory {
            super::size::size("--memory", memory)?;
        }
        let env = self.env.iter().map(|text| variable(text, here));
        let env: Result<Vec<_>, _> = env.collect();
        let publish = self.publish.into_iter();
        let publish = publish.map(|text| Ok((text.clone(), text.parse().map_err(misused)?)));
        Ok(QuadletSettings {
            image,
            name: self.name,
            publish: publish.collect::<Result<_, Failure>>()?,
            mounts: parsed(&self.volumes)?,
            tmpfs: parsed(&self.tmpfs)?,
            env: env?.into_iter().flatten().collect(),
            arguments: words.collect(),
            cap_add: capabilities("--cap-add", self.cap_add)?,
            network: match self.network {
                NetworkArg::Default => None,
                NetworkArg::None => Some("none".to_owned()),
                NetworkArg::Host => Some("host".to_owned()),
                NetworkArg::Pasta => Some("pasta".to_owned()),
            },
            auto_update: self.auto_update.map(|which| match which {
                AutoUpdateArg::Registry => AutoUpdate::Registry,
                AutoUpdateArg::Local => AutoUpdate::Local,
            }),
            plain: Plain {
                userns: self.userns,
                user: self.user,
                entrypoint: self.entrypoint,
                workdir: self.workdir,
                hostname: self.hostname,
                memory: self.memory,
                pids_limit: self.pids_limit,
                stop_timeout: self.stop_timeout,
                restart: self.restart,
                init: self.init,
                read_only: self.read_only,
                volume_units: self.volume_units,
            },
        })
    }

    /// `--name`, else the last part of a name.
    ///
    /// # Errors
    /// When that is no name.
    pub(crate) fn unit_name(name: Option<Name>, of: &str) -> Result<Name, Failure> {
        let last = of.rsplit('/').next().unwrap_or_default();
        let last = last.split(['@', ':', '.']).next().unwrap_or_default();
        match name {
            Some(name) => Ok(name),
            None => last
                .parse()
                .map_err(|error| misused(error).hint("--name gives the unit another")),
        }
    }

    /// `--name` and `--publish` of a .kube unit.
    pub(crate) fn for_kube(self) -> (Option<Name>, Vec<String>) {
        (self.name, self.publish)
    }
}

fn parsed<T>(texts: &[String]) -> Result<Vec<T>, Failure>
where
    T: std::str::FromStr,
    T::Err: Into<anyhow::Error>,
{
    texts
        .iter()
        .map(|text| text.parse().map_err(|error: T::Err| misused(error)))
        .collect()
}

fn misused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Kind::Usage, error)
}
