//! Flags of `run` about what the container may do: ids, network, capabilities, limits of each process.

use std::str::FromStr;

use runner::{ContainerLimits, MapRequest, Publish, RunRequest};

use super::super::build::NetworkArg;
use super::super::capabilities;
use super::super::size::size;
use super::super::ulimit::ulimit;
use super::misused;
use crate::failure::Failure;

/// What it may do.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Isolation")]
pub(super) struct IsolationArgs {
    /// How ids are mapped: keep-id[:uid=N,gid=N,size=N], nomap, host or auto[:size=N] [default: keep-id for the image's user, nomap for root]
    #[arg(long, value_name = "MODE", conflicts_with_all = ["uidmap", "gidmap"])]
    userns: Option<String>,
    /// Map user ids, where 0 is you and 1 your first subordinate id; @ stands before an id of this machine, + before a line that changes those before it; repeatable
    #[arg(long, value_name = "INSIDE:FROM[:AMOUNT]")]
    uidmap: Vec<String>,
    /// Map group ids [default: as user ids]; repeatable
    #[arg(long, value_name = "INSIDE:FROM[:AMOUNT]")]
    gidmap: Vec<String>,
    /// The network: none, host, pasta[:mtu=BYTES] or container:NAME [default: pasta where it is installed, else none]
    #[arg(
        long,
        value_name = "MODE",
        default_value = "default",
        hide_default_value = true
    )]
    network: ContainerNetwork,
    /// Lead a port of this machine to one of the container; repeatable
    #[arg(
        short,
        long,
        value_name = "[[ADDRESS:][PORT]:]PORT[/tcp|/udp]",
        help = "Lead a port, or a range of ports, of this machine into the container; repeatable"
    )]
    publish: Vec<String>,
    /// The host name inside [default: the beginning of the image's id]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Give the program a capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability, or ALL; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// A limit for each process, such as nofile=1024:2048; repeatable
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    ulimits: Vec<String>,
    /// The size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
}

/// `--network` of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerNetwork {
    /// One of its own, or the host's.
    Mode {
        /// Which.
        mode: NetworkArg,
        /// The size of its packets, of pasta only.
        mtu: Option<u16>,
    },
    /// That of a container in the background.
    Of(String),
}

impl FromStr for ContainerNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mode, options) = text.split_once(':').unwrap_or((text, ""));
        if mode == "container" && !options.is_empty() {
            return Ok(Self::Of(options.to_owned()));
        }
        let known = <NetworkArg as clap::ValueEnum>::from_str(mode, false)
            .map_err(|_| "it is none, host, pasta, pasta:mtu=BYTES or container:NAME".to_owned())?;
        // Podman hands words between commas to pasta.
        let value = options
            .strip_prefix("mtu=")
            .or(options.strip_prefix("--mtu,"));
        let mtu = value
            .or(options.strip_prefix("-m,"))
            .map(str::parse)
            .transpose();
        match mtu {
            Ok(None) if options.is_empty() => Ok(Self::Mode {
                mode: known,
                mtu: None,
            }),
            // The least that IPv4 asks for, RFC 791; passt(1) takes up to 65520.
            Ok(Some(mtu @ 68..=65_520)) if known == NetworkArg::Pasta => Ok(Self::Mode {
                mode: known,
                mtu: Some(mtu),
            }),
            _ => Err("the one option is mtu=BYTES of pasta, from 68 to 65520".to_owned()),
        }
    }
}

impl IsolationArgs {
    /// Fills its part of the request in; returns what still depends on the machine.
    pub(super) fn settings(
        self,
        request: &mut RunRequest,
    ) -> Result<(ContainerNetwork, Vec<Publish>), Failure> {
        let lines = |texts: &[String]| {
            let lines = texts.iter().map(|text| text.parse().map_err(misused));
            lines.collect::<Result<Vec<_>, _>>()
        };
        if let Some(text) = &self.userns {
            request.userns = text.parse().map_err(misused)?;
        }
        if !self.uidmap.is_empty() || !self.gidmap.is_empty() {
            request.maps = Some(MapRequest::new(lines(&self.uidmap)?, lines(&self.gidmap)?));
        }
        request.cap_add = capabilities("--cap-add", self.cap_add)?;
        request.cap_drop = capabilities("--cap-drop", self.cap_drop)?;
        if let Some(name) = self.hostname.as_deref() {
            runner::check_hostname(name).map_err(misused)?;
        }
        request.hostname = self.hostname;
        let ulimits = self.ulimits.iter().map(|text| ulimit(text));
        let shm_size = self.shm_size.as_deref();
        request.limits = ContainerLimits {
            resources: ulimits.collect::<Result<_, _>>()?,
            shm_size: shm_size.map(|text| size("--shm-size", text)).transpose()?,
            cgroup: None,
        };
        let publish = self
            .publish
            .iter()
            .map(|text| text.parse().map_err(misused));
        let publish: Vec<Publish> = publish.collect::<Result<_, _>>()?;
        match &self.network {
            ContainerNetwork::Mode {
                mode: NetworkArg::None | NetworkArg::Host,
                ..
            } if !publish.is_empty() => Err(Failure::usage(
                "--publish leads into a network of the container's own: --network none has none, and host needs no port led to it",
            )),
            ContainerNetwork::Of(name) if !publish.is_empty() => Err(Failure::usage(format!(
                "--publish leads into a network of the container's own: publish the ports of {name} where it is started"
            ))),
            _ => Ok((self.network, publish)),
        }
    }
}
