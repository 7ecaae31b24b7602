//! Flags of `build` about RUN: what steps get, and what they may use. The invariant: every value is checked here, and a secret is
//! named but not read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use builder::{Agent, Dns, HOST_GATEWAY, RunSettings, Volume};

use super::super::secret::{SecretSource, secret};
use super::super::size::size;
use super::super::ulimit::ulimit;
use super::super::{capabilities, csv};
use super::agents::agents;
use super::userns::userns;
use super::volume::volume;
use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// What RUN steps get.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "RUN steps")]
pub(super) struct StepArgs {
    /// A secret for RUN --mount=type=secret; repeatable
    #[arg(
        long = "secret",
        value_name = "id=NAME[,src=FILE|,env=VARIABLE]",
        help = "A secret for RUN --mount=type=secret, or for a server (HTTP_AUTH_TOKEN_HOST, HTTP_AUTH_HEADER_HOST, GIT_AUTH_TOKEN[.HOST], GIT_AUTH_HEADER[.HOST]): a file, or a variable of the environment; repeatable"
    )]
    secrets: Vec<String>,
    /// An agent for RUN --mount=type=ssh: SSH_AUTH_SOCK's, a socket, or key files; repeatable
    #[arg(long = "ssh", value_name = "ID[=SOCKET|=KEY[,KEY]]")]
    ssh: Vec<String>,
    /// Show a file or directory of this machine in RUN, your files as nobody's (65534) unless --userns keep-id is given; repeatable
    #[arg(long = "volume", value_name = "SOURCE:TARGET[:ro]")]
    volumes: Vec<String>,
    /// Make one user and group of RUN you, so that your files in a --volume are theirs and new files there are yours [default: your own ids]
    #[arg(long, value_name = "keep-id[:uid=UID,gid=GID]")]
    userns: Option<String>,
    /// Set a variable in every stage and in the image; NAME alone takes it from the environment; repeatable
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Leave a variable out of the image; repeatable
    #[arg(long = "unsetenv", value_name = "NAME")]
    unset_env: Vec<String>,
    /// Leave a label of the base image out of the image; repeatable
    #[arg(long = "unsetlabel", value_name = "NAME")]
    unset_labels: Vec<String>,
    /// A line of /etc/hosts in RUN; host-gateway: the address of this machine; repeatable
    #[arg(long = "add-host", value_name = "NAME:ADDRESS|NAME:host-gateway")]
    hosts: Vec<String>,
    /// A DNS server for RUN, or `none`: keep the image's /etc/resolv.conf; repeatable
    #[arg(long = "dns", value_name = "ADDRESS")]
    dns: Vec<String>,
    /// A domain to search names in; `.`: none; repeatable
    #[arg(long = "dns-search", value_name = "DOMAIN")]
    dns_searches: Vec<String>,
    /// An option of resolv.conf; repeatable
    #[arg(long = "dns-option", value_name = "OPTION")]
    dns_options: Vec<String>,
    /// The size of /dev/shm in RUN [default: 64m]
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// A limit for each process of RUN, such as nofile=1024:2048; repeatable
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    ulimits: Vec<String>,
    /// Give RUN a capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability from RUN, or ALL; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
}

/// What RUN steps get, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepSettings {
    /// What is part of a step's key.
    pub run: RunSettings,
    /// `--secret`, still to be read.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`.
    pub ssh: BTreeMap<String, Agent>,
    /// `--volume`.
    pub volumes: Vec<Volume>,
    /// `--dns` and its relatives.
    pub dns: Dns,
    /// `--env`.
    pub env: Vec<(String, String)>,
    /// `--unsetenv`.
    pub unset_env: Vec<String>,
    /// `--unsetlabel`.
    pub unset_labels: Vec<String>,
}

impl StepArgs {
    pub(super) fn settings(self, here: &Surroundings) -> Result<StepSettings, Failure> {
        let mut secrets = BTreeMap::new();
        for text in &self.secrets {
            let (id, source) = secret(
                text,
                csv::pairs(text)
                    .map_err(|why| Failure::usage(format!("--secret {text}: {why}")))?,
                here,
            )?;
            if secrets.insert(id.clone(), source).is_some() {
                return Err(Failure::usage(format!("--secret id={id} is given twice")));
            }
        }
        let hosts = self.hosts.iter().map(|text| host(text));
        let hosts: Vec<Vec<(String, String)>> = hosts.collect::<Result<_, _>>()?;
        let shm_size = self
            .shm_size
            .as_deref()
            .map(|text| size("--shm-size", text));
        let volumes = self.volumes.iter().map(|text| volume(text));
        let ulimits = self.ulimits.iter().map(|text| ulimit(text));
        Ok(StepSettings {
            run: RunSettings {
                cap_add: capabilities("--cap-add", self.cap_add)?,
                cap_drop: capabilities("--cap-drop", self.cap_drop)?,
                hosts: hosts.concat(),
                hostname: None,
                shm_size: shm_size.transpose()?,
                ulimits: ulimits.collect::<Result<_, _>>()?,
                keep_id: match &self.userns {
                    Some(text) => userns(text, here)?,
                    None => None,
                },
            },
            secrets,
            ssh: agents(&self.ssh, here)?,
            volumes: volumes.collect::<Result<_, _>>()?,
            dns: dns(self.dns, self.dns_searches, self.dns_options)?,
            env: variables(&self.env, here)?,
            unset_env: self.unset_env,
            unset_labels: self.unset_labels,
        })
    }
}

/// `NAME:ADDRESS`, `NAME=ADDRESS`, with several names between semicolons as in Podman.
fn host(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let wrong = |why: &str| Failure::usage(format!("--add-host {text}: {why}"));
    let (names, address) = text
        .split_once(['=', ':'])
        .ok_or_else(|| wrong("expected NAME:ADDRESS"))?;
    let address = match address {
        HOST_GATEWAY => address.to_owned(),
        _ => {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            let address: Result<IpAddr, _> = address.parse();
            let address = address.map_err(|_| wrong("the address is no IP address"))?;
            address.to_string()
        }
    };
    let name = |name: &str| {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '#') {
            return Err(wrong("expected NAME:ADDRESS"));
        }
        Ok((name.to_owned(), address.clone()))
    };
    names.split(';').map(name).collect()
}

fn dns(servers: Vec<String>, searches: Vec<String>, options: Vec<String>) -> Result<Dns, Failure> {
    let untouched = servers.iter().any(|server| server == "none");
    if untouched && (servers.len() > 1 || !searches.is_empty() || !options.is_empty()) {
        return Err(Failure::usage(
            "--dns none keeps the image's /etc/resolv.conf, so no other --dns flag can be obeyed",
        ));
    }
    let servers = if untouched { Vec::new() } else { servers };
    if let Some(server) = servers
        .iter()
        .find(|server| server.parse::<IpAddr>().is_err())
    {
        return Err(Failure::usage(format!(
            "--dns {server}: it is no IP address"
        )));
    }
    for (flag, values) in [("--dns-search", &searches), ("--dns-option", &options)] {
        if let Some(value) = values
            .iter()
            .find(|value| value.is_empty() || value.contains(char::is_whitespace))
        {
            return Err(Failure::usage(format!(
                "{flag} {value:?}: expected one word"
            )));
        }
    }
    Ok(Dns {
        untouched,
        servers,
        searches,
        options,
    })
}

fn variables(texts: &[String], here: &Surroundings) -> Result<Vec<(String, String)>, Failure> {
    let mut variables = Vec::new();
    for text in texts {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                variables.push((name.to_owned(), value.to_owned()));
            }
            None if !text.is_empty() => {
                variables.extend(here.variable(text)?.map(|value| (text.clone(), value)));
            }
            _ => {
                return Err(Failure::usage(format!(
                    "--env {text}: expected NAME=VALUE or NAME"
                )));
            }
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::super::BuildSettings;
    use super::*;
    use crate::args::{Command, tests::parse};

    fn settings_of(line: &str) -> Result<StepSettings, Failure> {
        let here = Surroundings::of(&[("V", "env"), ("token", "x")]);
        match parse(line)
            .unwrap_or_else(|error| panic!("{line}: {error}"))
            .command
        {
            Command::Build(args) => args
                .settings(&here)
                .map(|BuildSettings { steps, .. }| steps),
            other => panic!("{line} is {other:?}"),
        }
    }

    fn settings(line: &str) -> StepSettings {
        settings_of(line).unwrap_or_else(|failure| panic!("{line}: {failure}"))
    }

    fn refused(line: &str) -> String {
        let failure = settings_of(line).expect_err(line);
        assert_eq!(failure.code(), 2, "{failure}");
        failure.to_string()
    }

    #[test]
    fn secrets_are_files_or_variables_as_in_buildkit() {
        let source = |text: &str| {
            let mut found = settings(&format!("build --secret {text} .")).secrets;
            found.pop_first().expect("one").1
        };
        let (file, variable) = (
            |path: &str| SecretSource::File(path.into()),
            |name: &str| SecretSource::Variable(name.into()),
        );
        assert_eq!(source("id=a,src=f"), file("f"));
        assert_eq!(source("id=a,source=f,type=file"), file("f"));
        assert_eq!(source("type=env,id=a,src=V"), variable("V"));
        assert_eq!(source("id=a,env=V"), variable("V"));
        assert_eq!(source("id=token"), variable("token"));
        assert_eq!(source("id=other"), file("other"));
        assert_eq!(source("id=other,type=env"), variable("other"));
        assert_eq!(source("id=a,\"src=f,g\""), file("f,g"));
        for (line, word) in [
            ("src=f", "id=NAME"),
            ("id=a,src=f,env=V", "either"),
            ("id=a,typ=file", "typ"),
            ("id=a,type=vault", "vault"),
            ("id=a,id=b", "twice"),
            ("id=a --secret id=a", "twice"),
        ] {
            let text = refused(&format!("build --secret {line} ."));
            assert!(text.contains("--secret") && text.contains(word), "{text}");
        }
    }

    #[test]
    fn flags_of_hosts_and_resolvers_reach_their_settings() {
        let got = settings(
            "build --add-host a:10.0.0.1 --add-host b;c=fd00::1 --add-host d:[::1] --dns 10.0.0.53 \
             --dns-search x.example --dns-option ndots:2 .",
        );
        let hosts = got.run.hosts.iter().map(|(n, a)| format!("{n} {a}"));
        assert_eq!(
            hosts.collect::<Vec<_>>(),
            ["a 10.0.0.1", "b fd00::1", "c fd00::1", "d ::1"]
        );
        assert_eq!(got.dns.servers, ["10.0.0.53"]);
        assert_eq!(got.dns.searches, ["x.example"]);
        assert_eq!(got.dns.options, ["ndots:2"]);
        assert!(settings("build --dns none .").dns.untouched);
        for (line, word) in [
            ("--add-host a", "NAME:ADDRESS"),
            ("--add-host a:b", "IP address"),
            ("--add-host :10.0.0.1", "NAME:ADDRESS"),
            ("--dns example.org", "--dns example.org"),
            ("--dns none --dns 10.0.0.1", "--dns none"),
        ] {
            let text = refused(&format!("build {line} ."));
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn flags_of_limits_and_capabilities_reach_their_settings() {
        let got = settings(
            "build --shm-size 2m --ulimit nofile=10:20 --ulimit core=0 --ulimit nproc=-1 --cap-add NET_RAW \
             --cap-drop all .",
        )
        .run;
        assert_eq!(got.shm_size, Some(2 << 20));
        let limits = got.ulimits.iter().map(ToString::to_string);
        assert_eq!(
            limits.collect::<Vec<_>>(),
            ["nofile=10:20", "core=0:0", "nproc=unlimited:unlimited"]
        );
        assert_eq!((got.cap_add.len(), got.cap_drop.len()), (1, 1));
        for (line, word) in [
            ("--shm-size big", "--shm-size"),
            ("--shm-size 0", "--shm-size"),
            ("--ulimit files=1", "files"),
            ("--ulimit nofile", "SOFT"),
            ("--ulimit nofile=2:1", "above"),
            ("--cap-add FLY", "FLY"),
        ] {
            let text = refused(&format!("build {line} ."));
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn variables_come_from_the_line_or_the_environment() {
        let got = settings("build --env A=1 --env V --env UNSET --unsetenv B --unsetlabel c .");
        assert_eq!(
            got.env,
            [("A".into(), "1".into()), ("V".into(), "env".into())]
        );
        assert_eq!(
            (got.unset_env, got.unset_labels),
            (vec!["B".to_owned()], vec!["c".to_owned()])
        );
        assert!(refused("build --env =x .").contains("--env"));
    }
}
