//! Units of Podman's Quadlet for an image (podman-systemd.unit(5)), and the command line that does the same. The invariant: both are
//! written from one list of settings, so that they cannot say different things.

mod settings;
mod text;

use std::path::PathBuf;

use image::ContainerConfig;
use thiserror::Error;

use crate::mount::{NamedVolume, Tmpfs, Volume};
use crate::name::Name;
use crate::publish::Publish;
use crate::service::RestartPolicy;
use crate::userns::Ids;
use settings::{Line, Setting, lines};

/// Why a unit cannot be written.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuadletError {
    /// A value that no unit can hold.
    #[error(
        "write {key}={value:?} into a unit: a value has no control characters, no blanks at its ends and no backslash at its end"
    )]
    Unwritable {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Podman's generator takes an empty word for the end of the list (seen with 5.4).
    #[error("write an empty argument into a unit: Quadlet would leave out all that follow it")]
    EmptyArgument,
}

/// When Podman looks for a newer image, podman-auto-update(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoUpdate {
    /// In the registry.
    Registry,
    /// In its own store.
    Local,
}

/// What is asked of a unit, beside what the image says.
#[derive(Clone, Debug)]
pub struct QuadletRequest {
    /// The unit's name, and the container's.
    pub name: Name,
    /// The image's whole name.
    pub image: String,
    /// The image's configuration.
    pub config: ContainerConfig,
    /// Whom it runs as; nobody known where the image names a user that it does not have.
    pub ids: Option<Ids>,
    /// The user where it is not the image's.
    pub user: Option<String>,
    /// In place of the image's ENTRYPOINT.
    pub entrypoint: Option<String>,
    /// In place of the image's CMD.
    pub args: Vec<String>,
    /// Variables over those of the image.
    pub env: Vec<(String, String)>,
    /// In place of the image's WORKDIR.
    pub workdir: Option<String>,
    /// Ports, as they were asked for.
    pub publish: Vec<(String, Publish)>,
    /// Directories and files of the host.
    pub volumes: Vec<Volume>,
    /// Named volumes.
    pub named: Vec<NamedVolume>,
    /// Empty file systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Whether the image's files are read-only.
    pub read_only: bool,
    /// Podman's `--userns`, where it is not what the image's user asks for.
    pub userns: Option<String>,
    /// Capabilities to have.
    pub cap_add: Vec<String>,
    /// Podman's `--network`.
    pub network: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// Whether the program is the child of an init.
    pub init: bool,
    /// The most memory, as Podman takes it.
    pub memory: Option<String>,
    /// The most processes.
    pub pids_limit: Option<u32>,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_timeout: Option<u32>,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Whether and where a newer image is looked for.
    pub auto_update: Option<AutoUpdate>,
    /// Whether volumes get units of their own.
    pub volume_units: bool,
    /// The user's home, which units call `%h`.
    pub home: Option<PathBuf>,
    /// The first port that needs no privilege on this machine, ip(7) `ip_unprivileged_port_start`.
    pub first_port: u16,
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFile {
    /// The file's name.
    pub file: String,
    /// What is in it.
    pub text: String,
}

impl QuadletRequest {
    /// The `.container` unit, and after it those of its volumes where they are asked for.
    ///
    /// # Errors
    /// A value that no unit can hold.
    pub fn units(&self) -> Result<Vec<UnitFile>, QuadletError> {
        let lines = lines(self);
        let mut text = self.head(&command(&lines, self)?);
        text.push_str(&format!(
            "[Unit]\nDescription={}\n\n[Container]\n",
            text::raw(
                "Description",
                &format!("{} in a rootless container", self.name)
            )?
        ));
        for line in &lines {
            match line {
                Line::Comment(comment) => comment
                    .lines()
                    .for_each(|line| text.push_str(&format!("# {line}\n"))),
                Line::Setting(setting) => text.push_str(&setting.unit_line()?),
            }
        }
        text.push_str(&self.tail());
        let mut units = vec![UnitFile {
            file: format!("{}.container", self.name),
            text,
        }];
        if self.volume_units {
            units.extend(settings::named(self).iter().map(|volume| UnitFile {
                file: format!("{}.volume", volume.name),
                text: format!("[Volume]\nVolumeName={}\n", volume.name),
            }));
        }
        Ok(units)
    }

    /// The command line that does the same without systemd.
    ///
    /// # Errors
    /// None but those of [`QuadletRequest::units`].
    pub fn podman_run(&self) -> Result<String, QuadletError> {
        command(&lines(self), self)
    }

    fn head(&self, command: &str) -> String {
        let name = &self.name;
        format!(
            "# Put this into ~/.config/containers/systemd/{name}.container, then:\n\
             #   systemctl --user daemon-reload && systemctl --user start {name}\n\
             # A user's services end with the last login, and start with the first; this starts them with the machine:\n\
             #   loginctl enable-linger\n\
             # `systemctl --user enable` does not work on generated services: [Install] below is what enables it.\n\
             # Without systemd:\n\
             #   {command}\n\n"
        )
    }

    fn tail(&self) -> String {
        let restart = match self.restart {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure(_) => "on-failure",
            RestartPolicy::Always | RestartPolicy::UnlessStopped => "always",
        };
        format!(
            "\n[Service]\nRestart={restart}\n\
             # The first start may have to fetch the image.\n\
             TimeoutStartSec=300\n\n\
             [Install]\n\
             # Not multi-user.target: that is the machine's, which a user's units never reach.\n\
             WantedBy=default.target\n"
        )
    }
}

/// The `.kube` unit of a file for Kubernetes.
///
/// # Errors
/// A path that no unit can hold.
pub fn kube_unit(name: &Name, yaml: &str, publish: &[String]) -> Result<UnitFile, QuadletError> {
    let mut text = format!(
        "# Put this into ~/.config/containers/systemd/{name}.kube, then:\n\
         #   systemctl --user daemon-reload && systemctl --user start {name}\n\
         #   loginctl enable-linger\n\n\
         [Unit]\nDescription={name} in rootless containers\n\n[Kube]\nYaml={}\n",
        text::raw("Yaml", yaml)?
    );
    for port in publish {
        text.push_str(&format!(
            "PublishPort={}\n",
            text::raw("PublishPort", port)?
        ));
    }
    text.push_str("\n[Install]\nWantedBy=default.target\n");
    Ok(UnitFile {
        file: format!("{name}.kube"),
        text,
    })
}

fn command(lines: &[Line], request: &QuadletRequest) -> Result<String, QuadletError> {
    let mut words = vec!["podman run -d --replace --rm".to_owned()];
    words.push(format!("--name {}", request.name));
    let mut last = Vec::new();
    for line in lines {
        let Line::Setting(setting) = line else {
            continue;
        };
        match setting.flags() {
            settings::Place::Flags(flags) => words.extend(flags),
            settings::Place::Image(image) => last.insert(0, image),
            settings::Place::Arguments(arguments) => last.extend(arguments),
        }
    }
    words.extend(last);
    Ok(words.join(" "))
}

impl Setting {
    fn unit_line(&self) -> Result<String, QuadletError> {
        Ok(format!("{}={}\n", self.key, self.unit_value()?))
    }
}

#[cfg(test)]
mod tests;
