//! How registries are spoken to. The invariant: TLS is verified with every registry that is not named as insecure, and nothing
//! is insecure by itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::{Authority, Credentials, Registries, RegistryOptions};

use crate::failure::{Failure, Kind};
use crate::surroundings::{AuthFiles, Surroundings};

/// Options of commands that talk to registries.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct RegistryArgs {
    /// The file with credentials [env: REGISTRY_AUTH_FILE] [default: podman's, then docker's]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Credentials for the one registry that is meant; --authfile has them for several
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with = "authfile")]
    creds: Option<String>,
    /// Trust the certificate authorities in this directory's *.crt files too, for registries and for ADD
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Speak plain HTTP to this registry; repeatable
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,
    /// How often a request that failed is made again
    #[arg(long, value_name = "N", default_value_t = 3)]
    retry: u32,
    /// How long to wait before the second try, as in 500ms, 2s or 1m; it doubles [default: 500ms]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retry_delay: Option<Duration>,
    /// Podman's and buildah's flag; false is refused in favour of --insecure-registry
    #[arg(long, value_name = "BOOL", hide = true, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    tls_verify: bool,
}

/// How registries are spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistrySettings {
    /// Where credentials may be.
    pub auth: AuthFiles,
    /// `--creds`.
    pub creds: Option<Credentials>,
    /// `--cert-dir`.
    pub authorities: Vec<Authority>,
    /// `certs.d`, by registry.
    pub own_authorities: BTreeMap<String, Vec<Authority>>,
    /// `registries.conf`.
    pub registries: Registries,
    /// Registries (`HOST[:PORT]`) that are spoken to in plain HTTP.
    pub insecure: Vec<String>,
    /// How often one request is made.
    pub tries: u32,
    /// The wait before the second one.
    pub backoff: Duration,
}

impl RegistrySettings {
    /// Where a name is, without mirrors.
    ///
    /// # Errors
    /// When registries.conf blocks it, or says nonsense.
    pub(crate) fn own_endpoint(&self, name: &image::Reference) -> Result<image::Endpoint, Failure> {
        self.registries
            .own_endpoint(name)
            .map_err(|error| Failure::new(Kind::Registry, error))
    }

    /// As the registry client takes them.
    pub(crate) fn options(&self) -> RegistryOptions {
        RegistryOptions {
            insecure: self.insecure.clone(),
            authorities: self.authorities.clone(),
            own_authorities: self.own_authorities.clone(),
            registries: self.registries.clone(),
            tries: self.tries,
            backoff: self.backoff,
            ..RegistryOptions::default()
        }
    }
}

/// What all files of registries.conf(5) say.
fn registries(here: &Surroundings) -> Result<Registries, Failure> {
    let mut registries = Registries::default();
    for path in here.registries_files() {
        let read = std::fs::read_to_string(&path).map_err(anyhow::Error::new);
        read.and_then(|text| Ok(registries.add(&text)?))
            .map_err(|error| {
                Failure::new(
                    Kind::Host,
                    error.context(format!("read {}", path.display())),
                )
            })?;
    }
    Ok(registries)
}

/// The authorities of each registry, certs.d(5). Whoever cannot read one of them does without it: then TLS refuses the registry.
fn own_authorities(here: &Surroundings) -> BTreeMap<String, Vec<Authority>> {
    let mut found: BTreeMap<String, Vec<Authority>> = BTreeMap::new();
    for directory in here.certs_dirs() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let registry = entry.file_name().to_string_lossy().into_owned();
            let mut certificates = certificates(&entry.path()).unwrap_or_default();
            certificates.sort();
            let read = |path: PathBuf| Authority::from_pem(std::fs::read(path).ok()?).ok();
            let all = certificates.into_iter().filter_map(read);
            found.entry(registry).or_default().extend(all);
        }
    }
    found
}

/// The `*.crt` of a directory.
fn certificates(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "crt") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The `*.crt` of a directory as in containers-certs.d(5), in the order of their names.
fn authorities(directory: &Path) -> Result<Vec<Authority>, Failure> {
    let wrong = |error: anyhow::Error| {
        Failure::new(
            Kind::Usage,
            error.context(format!("--cert-dir {}", directory.display())),
        )
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| wrong(error.into()))? {
        paths.push(entry.map_err(|error| wrong(error.into()))?.path());
    }
    paths.sort();
    let extension = |path: &Path, wanted| path.extension().is_some_and(|found| found == wanted);
    if let Some(client) = paths
        .iter()
        .find(|path| extension(path, "cert") || extension(path, "key"))
    {
        return Err(Failure::usage(format!(
            "--cert-dir {}: {} would identify you to a registry, which rbuild does not support",
            directory.display(),
            client.display()
        ))
        .hint("name a directory with *.crt alone; --authfile and --creds have credentials"));
    }
    let read = |path: &PathBuf| {
        let pem = std::fs::read(path)?;
        Authority::from_pem(pem).map_err(anyhow::Error::new)
    };
    let found: Vec<_> = paths
        .iter()
        .filter(|path| extension(path, "crt"))
        .map(|path| read(path).map_err(|error| wrong(error.context(path.display().to_string()))))
        .collect::<Result<_, _>>()?;
    match found.is_empty() {
        true => Err(Failure::usage(format!(
            "--cert-dir {}: there is no *.crt in it",
            directory.display()
        ))),
        false => Ok(found),
    }
}

/// `HOST[:PORT]` as in an image's name, whose own parser decides what a registry is.
pub(super) fn host(flag: &str, text: &str) -> Result<String, Failure> {
    let probe = format!("{text}/x").parse::<image::Reference>();
    match probe.is_ok_and(|name| name.registry() == text) {
        true => Ok(text.to_owned()),
        false => Err(Failure::usage(format!(
            "{flag} {text}: expected HOST[:PORT] as in an image's name"
        ))),
    }
}

/// What is wrong with it is said without quoting it.
pub(super) fn basic(flag: &str, text: &str) -> Result<Credentials, Failure> {
    match text.split_once(':') {
        Some((username, password)) if !username.is_empty() && !password.is_empty() => {
            Ok(Credentials::Basic {
                username: username.to_owned(),
                password: password.to_owned(),
            })
        }
        _ => Err(Failure::usage(format!("{flag}: expected USER:PASSWORD"))),
    }
}

/// `500ms`, `2s`, `1m`; a bare number counts seconds, as in podman.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 500ms, 2s or 1m");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" | "" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(u64::from(number) * 60)),
        _ => Err(wrong()),
    }
}

impl RegistryArgs {
    /// As they are when the command line has none of them.
    pub(super) fn none() -> Self {
        Self {
            retry: 3,
            tls_verify: true,
            ..Self::default()
        }
    }

    /// Validates them.
    ///
    /// # Errors
    /// When a registry is no `HOST[:PORT]`, or all of them are to be trusted blindly.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<RegistrySettings, Failure> {
        if !self.tls_verify {
            return Err(Failure::usage("--tls-verify=false would trust whoever answers for any registry")
                .hint("name the one that is meant with --insecure-registry HOST[:PORT]; it is asked by plain HTTP"));
        }
        for name in &self.insecure_registry {
            host("--insecure-registry", name)?;
        }
        Ok(RegistrySettings {
            auth: here.auth_files(self.authfile.as_deref()),
            creds: self
                .creds
                .as_deref()
                .map(|text| basic("--creds", text))
                .transpose()?,
            authorities: match &self.cert_dir {
                Some(directory) => authorities(directory)?,
                None => Vec::new(),
            },
            own_authorities: own_authorities(here),
            registries: registries(here)?,
            insecure: self.insecure_registry,
            tries: self.retry.saturating_add(1),
            backoff: self
                .retry_delay
                .unwrap_or(RegistryOptions::default().backoff),
        })
    }
}

const PULL: &str = "\
Examples:
  rbuild pull debian:bookworm-slim
  rbuild pull --insecure-registry localhost:5000 localhost:5000/app:1";

/// Arguments of `rbuild pull`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = PULL)]
pub(crate) struct PullArgs {
    /// The image's name in its registry
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The platform to fetch [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<image::Platform>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// A pull, validated.
#[derive(Clone, Debug)]
pub(crate) struct PullSettings {
    /// What to fetch.
    pub name: image::Reference,
    /// For which platform.
    pub platform: image::Platform,
    /// How to speak to the registry.
    pub registry: RegistrySettings,
}

impl PullArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// When the name is none, or an option makes no sense.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<PullSettings, Failure> {
        Ok(PullSettings {
            name: self.image.parse()?,
            platform: self.platform.unwrap_or_else(image::Platform::host),
            registry: self.registry.settings(here)?,
        })
    }
}
