//! The network namespace that the steps of one build share, and the pasta process that connects it. The invariant: the
//! namespace belongs to the session's user namespace, holds no listener of the host, and goes when the session goes.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::failure::{During, SetupFailure};
use crate::sys;

/// Where the step's resolver sends its queries; pasta forwards them to the host's own resolver, passt(1) `--dns-forward`.
pub const DNS_FORWARD: &str = "169.254.1.1";

/// Where the host is reached by a step that may; pasta translates it to the host's own address, passt(1) `--map-guest-addr`. The
/// address is podman's (containers-common, libnetwork/pasta).
pub const HOST_GATEWAY: &str = "169.254.1.2";

/// The device through which pasta exchanges packets with a namespace.
const TUN: &str = "/dev/net/tun";

/// A protocol whose ports can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the protocol of its name")]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// passt(1), `--tcp-ports` and `--udp-ports`.
    fn options(self, forwards: &[Forward]) -> Vec<String> {
        let option = match self {
            Self::Tcp => "--tcp-ports",
            Self::Udp => "--udp-ports",
        };
        let own = forwards.iter().filter(|forward| forward.transport == self);
        let mut options: Vec<String> = own
            .flat_map(|forward| [option.to_owned(), forward.to_string()])
            .collect();
        if options.is_empty() {
            options.extend([option, "none"].map(str::to_owned));
        }
        options
    }
}

/// One port of this machine that leads to a port of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The protocol.
    pub transport: Transport,
    /// The address of this machine; all of them where there is none.
    pub address: Option<IpAddr>,
    /// The port of this machine.
    pub outside: u16,
    /// The port in the namespace.
    pub inside: u16,
}

/// As passt(1) takes it.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address}/")?;
        }
        write!(f, "{}:{}", self.outside, self.inside)
    }
}

/// Why there is no network.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The namespace could not be made.
    #[error("make a network namespace")]
    Namespace(#[source] SetupFailure),
    /// pasta could not be started.
    #[error("start {program}")]
    Start {
        /// Its path.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// pasta failed, and the device that it needs cannot be opened.
    #[error("open {TUN}, which {program} needs")]
    Device {
        /// Path of pasta.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// pasta ended with an error.
    #[error("connect the network with {program}: {message}")]
    Connect {
        /// Its path.
        program: String,
        /// What it printed.
        message: String,
    },
}

/// A network namespace with a connection to the outside.
#[derive(Debug)]
pub struct SharedNetwork {
    namespace: OwnedFd,
}

impl SharedNetwork {
    /// Makes the namespace and starts pasta for it. `place` is a file to be made in a directory of the session's; the ports of
    /// `forwards` lead into it, and `extra` are additional options of pasta.
    ///
    /// # Errors
    /// What the kernel refused, or what pasta printed.
    pub fn start(
        pasta: &Path,
        place: &Path,
        forwards: &[Forward],
        extra: &[String],
    ) -> Result<Self, NetworkError> {
        // unshare(2) of a network namespace concerns the calling thread alone: a short-lived one makes it.
        let namespace = std::thread::scope(|scope| scope.spawn(make_namespace).join())
            .unwrap_or_else(|_| Err(SetupFailure::new("run a thread", nix::errno::Errno::EAGAIN)))
            .map_err(NetworkError::Namespace)?;
        give_path(&namespace, place).map_err(NetworkError::Namespace)?;
        connect(pasta, place, forwards, extra)?;
        Ok(Self { namespace })
    }

    /// A handle for [`crate::NetworkSpec::Shared`].
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// Whether what comes from the host's own loopback through a forwarded port looks as if it came from the namespace's (S74). pasta
/// can do without since October 2024, and has an option to go back since then.
pub fn confuses_loopback(pasta: &Path) -> bool {
    let output = Command::new(pasta)
        .arg("--help")
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        let said = [output.stdout, output.stderr].concat();
        !String::from_utf8_lossy(&said).contains("--host-lo-to-ns-lo")
    })
}

fn make_namespace() -> Result<OwnedFd, SetupFailure> {
    unshare(CloneFlags::CLONE_NEWNET).during(|| "create a network namespace".into())?;
    sys::loopback_up().during(|| "bring the loopback interface up".into())?;
    // A step's user namespace does not own this network namespace, so its CAP_NET_BIND_SERVICE means nothing here.
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    match std::fs::write(path, "0") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other.during(|| format!("write {path}"))?,
    }
    File::open("/proc/thread-self/ns/net")
        .map(OwnedFd::from)
        .during(|| "open the network namespace".into())
}

/// Binds the namespace to a file: pasta gives up most of its power before it opens the namespace, and with it the right to
/// look into another process's /proc/PID/fd. The mount is seen in the session only and ends with it.
fn give_path(namespace: &OwnedFd, place: &Path) -> Result<(), SetupFailure> {
    let here = || format!("bind the network namespace to {}", place.display());
    File::create(place).during(here)?;
    let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
    rustix::mount::mount_bind(source.as_str(), place).during(here)
}

fn connect(
    pasta: &Path,
    namespace: &Path,
    forwards: &[Forward],
    extra: &[String],
) -> Result<(), NetworkError> {
    let program = pasta.display().to_string();
    // pasta goes to the background once the namespace is connected.
    let output = Command::new(pasta)
        .args([
            "--config-net",
            "--quiet",
            "--no-map-gw",
            "--dns-forward",
            DNS_FORWARD,
        ])
        .args(["--tcp-ns", "none", "--udp-ns", "none"])
        .args(
            Transport::ALL
                .iter()
                .flat_map(|transport| transport.options(forwards)),
        )
        .args(extra)
        .arg("--netns")
        .arg(namespace)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|source| NetworkError::Start {
            program: program.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    // pasta's own message does not say which file it could not open.
    if let Err(source) = File::options().read(true).write(true).open(TUN) {
        return Err(NetworkError::Device { program, source });
    }
    let printed = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let message = if printed.is_empty() {
        output.status.to_string()
    } else {
        printed
    };
    Err(NetworkError::Connect { program, message })
}
