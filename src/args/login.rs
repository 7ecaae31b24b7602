//! `login` and `logout`. The invariant: a password that is given on the command line, where every user of the machine can read it,
//! is said to be unsafe.

use std::path::PathBuf;

use super::registry::{RegistryArgs, RegistrySettings, host};
use crate::failure::Failure;
use crate::surroundings::Surroundings;

const LOGIN: &str = "\
Examples:
  rbuild login registry.example                           ask for user and password
  rbuild login -u ci --password-stdin registry.example < token
  rbuild login --get-login registry.example";

/// Arguments of `rbuild login`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = LOGIN)]
pub(crate) struct LoginArgs {
    /// `HOST[:PORT]`
    #[arg(value_name = "REGISTRY", default_value = image::reference::DEFAULT_REGISTRY)]
    host: String,
    /// The user
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The password; other users of the machine can see it
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Print the user that is logged in
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

const LOGOUT: &str = "\
Examples:
  rbuild logout registry.example
  rbuild logout --all";

/// Arguments of `rbuild logout`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = LOGOUT)]
pub(crate) struct LogoutArgs {
    /// `HOST[:PORT]`
    #[arg(value_name = "REGISTRY", default_value = image::reference::DEFAULT_REGISTRY)]
    host: String,
    /// Forget the passwords of all registries
    #[arg(short, long)]
    all: bool,
    /// The file with credentials [env: REGISTRY_AUTH_FILE] [default: podman's]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

/// Where the password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PasswordSource {
    /// The command line.
    Given(String),
    /// Standard input.
    Stdin,
    /// Whoever sits at the terminal.
    Asked,
}

/// A log-in, validated.
#[derive(Clone, Debug)]
pub(crate) struct LoginSettings {
    /// The registry.
    pub host: String,
    /// The user, where one is named.
    pub username: Option<String>,
    /// The password.
    pub password: PasswordSource,
    /// Whether only the user is asked for.
    pub get_login: bool,
    /// The file that is written.
    pub file: PathBuf,
    /// How to speak to the registry.
    pub registry: RegistrySettings,
}

/// A log-out, validated.
#[derive(Clone, Debug)]
pub(crate) struct LogoutSettings {
    /// The registry; none is all of them.
    pub host: Option<String>,
    /// The file that is written.
    pub file: PathBuf,
}

/// The first of the files that are read.
fn file(registry: &crate::surroundings::AuthFiles) -> Result<PathBuf, Failure> {
    registry.candidates.first().cloned().ok_or_else(|| {
        Failure::host("there is no place for credentials: HOME is not set to an absolute path")
            .hint("name a file with --authfile FILE")
    })
}

impl LoginArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// When the registry is none, or a password comes without a user.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<LoginSettings, Failure> {
        let host = host("REGISTRY", &self.host)?;
        let password = match self.password {
            Some(password) => PasswordSource::Given(password),
            None if self.password_stdin => PasswordSource::Stdin,
            None => PasswordSource::Asked,
        };
        let registry = self.registry.settings(here)?;
        if registry.creds.is_some() {
            return Err(Failure::usage(
                "--creds: user and password are -u and --password-stdin here",
            ));
        }
        Ok(LoginSettings {
            host,
            username: self.username,
            password,
            get_login: self.get_login,
            file: file(&registry.auth)?,
            registry,
        })
    }
}

impl LogoutArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// When the registry is none.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<LogoutSettings, Failure> {
        Ok(LogoutSettings {
            host: match self.all {
                true => None,
                false => Some(host("REGISTRY", &self.host)?),
            },
            file: file(&here.auth_files(self.authfile.as_deref()))?,
        })
    }
}
