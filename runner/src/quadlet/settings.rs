//! The settings of a unit, decided from an image and what is asked for. The invariant: this is pure, and a setting that needs to be
//! explained comes right after its explanation.

use image::{ContainerConfig, Healthcheck};

use super::text::{raw, shell, word};
use super::{AutoUpdate, QuadletError, QuadletRequest};
use crate::mount::NamedVolume;

/// A line of the unit's main section.
pub(super) enum Line {
    Comment(String),
    Setting(Setting),
}

/// A key, its value, and the flag of `podman run` that says the same.
pub(super) struct Setting {
    pub(super) key: &'static str,
    flag: &'static str,
    value: Value,
}

enum Value {
    Raw(String),
    /// Below the user's home.
    Home(String),
    /// One word of a list.
    Word(String),
    /// The whole list.
    Words(Vec<String>),
}

/// Where a setting is in a command line.
pub(super) enum Place {
    Flags(Vec<String>),
    Image(String),
    Arguments(Vec<String>),
}

impl Setting {
    pub(super) fn unit_value(&self) -> Result<String, QuadletError> {
        Ok(match &self.value {
            Value::Raw(text) => raw(self.key, text)?,
            Value::Home(rest) => format!("%h{}", raw(self.key, rest)?),
            Value::Word(text) => word(text),
            Value::Words(words) if words.contains(&String::new()) => {
                return Err(QuadletError::EmptyArgument);
            }
            Value::Words(words) => words
                .iter()
                .map(|text| word(text))
                .collect::<Vec<_>>()
                .join(" "),
        })
    }

    pub(super) fn flags(&self) -> Place {
        let flag = |text: String| Place::Flags(vec![format!("{}={text}", self.flag)]);
        match &self.value {
            Value::Words(words) => Place::Arguments(words.iter().map(|text| shell(text)).collect()),
            Value::Word(text) if self.flag.is_empty() => Place::Flags(vec![shell(text)]),
            Value::Raw(text) if self.flag.is_empty() => Place::Image(shell(text)),
            // What units say is on, flags say by being there.
            Value::Raw(text) if text == "true" => Place::Flags(vec![self.flag.to_owned()]),
            Value::Raw(text) | Value::Word(text) => flag(shell(text)),
            Value::Home(rest) => flag(format!("\"$HOME\"{}", shell(rest))),
        }
    }
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn say(&mut self, text: impl Into<String>) {
        self.0.push(Line::Comment(text.into()));
    }

    fn set(&mut self, key: &'static str, flag: &'static str, value: impl Into<String>) {
        self.put(key, flag, Value::Raw(value.into()));
    }

    fn put(&mut self, key: &'static str, flag: &'static str, value: Value) {
        self.0.push(Line::Setting(Setting { key, flag, value }));
    }
}

/// All lines, in the order in which a reader wants them.
pub(super) fn lines(request: &QuadletRequest) -> Vec<Line> {
    let mut lines = Lines::default();
    image(request, &mut lines);
    user(request, &mut lines);
    confinement(request, &mut lines);
    ports(request, &mut lines);
    files(request, &mut lines);
    process(request, &mut lines);
    health(&request.config, &mut lines);
    lines.0
}

fn image(request: &QuadletRequest, lines: &mut Lines) {
    let local = request.image.starts_with("localhost/");
    if local {
        lines.say(
            "This image is in no registry: Podman must have it too, as after\n\
             `rbuild -o type=oci-archive,dest=app.tar . && podman load -i app.tar`.",
        );
    }
    lines.set("Image", "", &request.image);
    match request.auto_update {
        Some(AutoUpdate::Registry) if local => {
            lines.say("AutoUpdate=registry needs an image of a registry.");
        }
        Some(which) => {
            lines.say("Needs `systemctl --user enable --now podman-auto-update.timer`.");
            let which = match which {
                AutoUpdate::Registry => "registry",
                AutoUpdate::Local => "local",
            };
            // Quadlet's key makes this label of it.
            lines.set("AutoUpdate", "--label=io.containers.autoupdate", which);
        }
        None => {}
    }
}

fn user(request: &QuadletRequest, lines: &mut Lines) {
    if let Some(user) = &request.user {
        lines.set("User", "--user", user);
    }
    match (&request.userns, request.ids) {
        (Some(mode), _) => lines.set("UserNS", "--userns", mode),
        (None, Some(ids)) if ids.uid != 0 => {
            let (uid, gid) = (ids.uid, ids.gid);
            lines.say(format!(
                "User {uid} of the image is you outside, so what it writes into volumes is yours."
            ));
            lines.set("UserNS", "--userns", format!("keep-id:uid={uid},gid={gid}"));
        }
        (None, Some(_)) => {
            lines.say(
                "The image runs as root. With nomap no user inside is you; without it root inside is you outside.",
            );
            lines.set("UserNS", "--userns", "nomap");
        }
        (None, None) => lines.say(
            "The image's USER is a name that is not in its passwd file, so there is no number for keep-id.",
        ),
    }
}

fn confinement(request: &QuadletRequest, lines: &mut Lines) {
    lines.set("DropCapability", "--cap-drop", "all");
    for capability in &request.cap_add {
        lines.set("AddCapability", "--cap-add", capability);
    }
    let flag = "--security-opt=no-new-privileges";
    lines.set("NoNewPrivileges", flag, "true");
    if request.read_only {
        lines.say(
            "/tmp, /var/tmp, /run and /dev/shm stay writable, in memory. Other places need Tmpfs= or Volume=.",
        );
        lines.set("ReadOnly", "--read-only", "true");
    }
    if let Some(limit) = request.pids_limit {
        lines.set("PidsLimit", "--pids-limit", limit.to_string());
    }
    if let Some(memory) = &request.memory {
        // There is a key since Podman 5.5 only.
        let argument = format!("--memory={memory}");
        lines.put("PodmanArgs", "", Value::Word(argument));
    }
}

fn ports(request: &QuadletRequest, lines: &mut Lines) {
    if let Some(network) = &request.network {
        lines.set("Network", "--network", network);
    }
    let own = !matches!(request.network.as_deref(), Some("host" | "none"));
    let is_root = request.ids.is_some_and(|ids| ids.uid == 0);
    let exposed = exposed(&request.config);
    let inside = request.publish.iter().map(|(_, publish)| publish.inside());
    let lowest = inside.chain(exposed.iter().map(|(port, _)| *port)).min();
    if let Some(port) = lowest.filter(|port| own && !is_root && *port < 1024) {
        lines.say(format!(
            "So that a user other than root may listen at port {port} inside, without a capability."
        ));
        let value = format!("net.ipv4.ip_unprivileged_port_start={port}");
        lines.set("Sysctl", "--sysctl", value);
    }
    for (text, publish) in &request.publish {
        let outside = publish.outside().unwrap_or(u16::MAX);
        if outside < request.first_port {
            let (first, inside) = (request.first_port, publish.inside());
            lines.say(format!(
                "Port {outside} of this machine is below net.ipv4.ip_unprivileged_port_start ({first}): the start fails until root lowers\n\
                 it in /etc/sysctl.d, or another is published, such as 8080:{inside}."
            ));
        }
        lines.set("PublishPort", "--publish", text);
    }
    for (port, transport) in exposed {
        let known = |one: &(String, crate::Publish)| one.1.inside() == port;
        if own && !request.publish.iter().any(known) {
            let host = if port < request.first_port {
                port + 8000
            } else {
                port
            };
            let transport = if transport == "tcp" {
                String::new()
            } else {
                format!("/{transport}")
            };
            lines.say(format!(
                "The image exposes a port: PublishPort={host}:{port}{transport}"
            ));
        }
    }
}

fn exposed(config: &ContainerConfig) -> Vec<(u16, String)> {
    let port = |text: &String| {
        let (port, transport) = text.split_once('/').unwrap_or((text, "tcp"));
        Some((port.parse().ok()?, transport.to_owned()))
    };
    config.exposed_ports.keys().filter_map(port).collect()
}

fn files(request: &QuadletRequest, lines: &mut Lines) {
    for volume in &request.volumes {
        let options = options(volume.read_only, volume.chown);
        let source = volume.source.display().to_string();
        let home = request.home.as_ref().map(|home| home.display().to_string());
        let below = home.and_then(|home| {
            let rest = source.strip_prefix(&home)?;
            rest.starts_with('/').then(|| rest.to_owned())
        });
        let value = match below {
            Some(rest) => Value::Home(format!("{rest}:{}{options}", volume.target)),
            None => Value::Raw(format!("{source}:{}{options}", volume.target)),
        };
        lines.say("This directory must be there before the start.");
        lines.put("Volume", "--volume", value);
    }
    for volume in named(request) {
        let unit = if request.volume_units { ".volume" } else { "" };
        let options = options(volume.read_only, volume.chown);
        let value = format!("{}{unit}:{}{options}", volume.name, volume.target);
        lines.set("Volume", "--volume", value);
    }
    for tmpfs in &request.tmpfs {
        let mut value = tmpfs.target.clone();
        let size = tmpfs.size.map(|size| format!("size={size}"));
        let mode = (tmpfs.mode != 0o1777).then(|| format!("mode={:o}", tmpfs.mode));
        let options: Vec<String> = size.into_iter().chain(mode).collect();
        if !options.is_empty() {
            value.push_str(&format!(":{}", options.join(",")));
        }
        lines.set("Tmpfs", "--tmpfs", value);
    }
}

fn options(read_only: bool, chown: bool) -> String {
    let all: Vec<&str> = [(read_only, "ro"), (chown, "U")]
        .into_iter()
        .filter_map(|(wanted, word)| wanted.then_some(word))
        .collect();
    if all.is_empty() {
        return String::new();
    }
    format!(":{}", all.join(","))
}

/// The named volumes, and one for each VOLUME of the image that nothing else is mounted at.
pub(super) fn named(request: &QuadletRequest) -> Vec<NamedVolume> {
    let mut all = request.named.clone();
    for path in request.config.volumes.keys() {
        let path = path.trim_end_matches('/');
        let same = |target: &str| target.trim_end_matches('/') == path;
        let covered = all.iter().any(|volume| same(&volume.target))
            || request.volumes.iter().any(|volume| same(&volume.target))
            || request.tmpfs.iter().any(|tmpfs| same(&tmpfs.target));
        let last = path.rsplit('/').next().unwrap_or_default();
        let name = format!("{}-{last}", request.name).parse();
        if let Ok(name) = name
            && path.starts_with('/')
            && !covered
        {
            all.push(NamedVolume {
                name,
                target: path.to_owned(),
                read_only: false,
                chown: false,
                copy: true,
            });
        }
    }
    all
}

fn process(request: &QuadletRequest, lines: &mut Lines) {
    if let Some(hostname) = &request.hostname {
        lines.set("HostName", "--hostname", hostname);
    }
    if request.init {
        lines.set("RunInit", "--init", "true");
    }
    if let Some(entrypoint) = &request.entrypoint {
        lines.set("Entrypoint", "--entrypoint", entrypoint);
    }
    if let Some(workdir) = &request.workdir {
        lines.set("WorkingDir", "--workdir", workdir);
    }
    if let Some(seconds) = request.stop_timeout {
        lines.set("StopTimeout", "--stop-timeout", seconds.to_string());
    }
    for (key, value) in &request.env {
        let value = Value::Word(format!("{key}={value}"));
        lines.put("Environment", "--env", value);
    }
    if !request.args.is_empty() {
        lines.put("Exec", "", Value::Words(request.args.clone()));
    }
}

/// Images in OCI's format have no health check for Podman, so it is written out.
fn health(config: &ContainerConfig, lines: &mut Lines) {
    let Some(check) = &config.healthcheck else {
        return;
    };
    let Some(command) = health_command(check, lines) else {
        return;
    };
    lines.set("HealthCmd", "--health-cmd", command);
    let times = [
        ("HealthInterval", "--health-interval", check.interval),
        ("HealthTimeout", "--health-timeout", check.timeout),
        (
            "HealthStartPeriod",
            "--health-start-period",
            check.start_period,
        ),
    ];
    for (key, flag, nanoseconds) in times {
        if nanoseconds > 0 {
            lines.set(key, flag, format!("{}ms", nanoseconds / 1_000_000));
        }
    }
    if check.retries > 0 {
        lines.set(
            "HealthRetries",
            "--health-retries",
            check.retries.to_string(),
        );
    }
    lines.say("A container that became unhealthy ends, and Restart= starts it again.");
    lines.set("HealthOnFailure", "--health-on-failure", "kill");
}

/// Podman's rules (specgenutil, `makeHealthCheckFromCli`): a list of several words is executed; what begins with CMD is split at blanks
/// and executed; all else is a shell's.
fn health_command(check: &Healthcheck, lines: &mut Lines) -> Option<String> {
    match check.test.split_first() {
        Some((kind, [program])) if kind == "CMD" && !program.contains(char::is_whitespace) => {
            Some(format!("CMD {program}"))
        }
        Some((kind, words)) if kind == "CMD" && words.len() > 1 => {
            serde_json::to_string(words).ok()
        }
        Some((kind, [command])) if kind == "CMD-SHELL" => {
            lines.say("Needs /bin/sh in the image: HEALTHCHECK CMD [\"program\", ...] does not.");
            Some(command.clone())
        }
        _ => None,
    }
}
