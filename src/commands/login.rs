//! `rbuild login` and `logout`. The invariant: a password is noted only after the registry has accepted it, and is never shown.

use image::registry::{self, Access};
use image::{AuthError, Credentials, Reference, auth};

use crate::args::login::{LoginSettings, LogoutSettings, PasswordSource};
use crate::failure::{Failure, Kind};
use crate::surroundings::{secret_line, stdin_is_terminal};
use crate::{credentials, show, stdout};

/// Notes a password that the registry accepts.
pub(super) fn log_in(settings: &LoginSettings) -> Result<(), Failure> {
    // The registry stands for all of its repositories.
    let name: Reference = format!("{}/any", settings.host).parse()?;
    if settings.get_login {
        return who(settings, &name);
    }
    let username = match &settings.username {
        Some(username) => username.clone(),
        None => ask("user", false)?,
    };
    let password = match &settings.password {
        PasswordSource::Given(password) => {
            show::note(
                "other users of this machine can see a password of the command line: use --password-stdin",
            );
            password.clone()
        }
        PasswordSource::Stdin => line()?,
        PasswordSource::Asked => ask("password", true)?,
    };
    if username.is_empty() || password.is_empty() || username.contains(':') {
        return Err(Failure::usage(
            "a user (without a colon) and a password are needed",
        ));
    }
    let given = Credentials::Basic {
        username: username.clone(),
        password: password.clone(),
    };
    let endpoint = settings.registry.own_endpoint(&name)?;
    registry::check_login(Access {
        reference: &endpoint.reference,
        credentials: &given,
        options: &settings.registry.options().at(&endpoint),
        progress: &|_| (),
    })
    .map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("log in to {}", settings.host));
        Failure::new(Kind::Registry, error)
    })?;
    auth::log_in(
        &settings.file,
        &settings.host,
        (&username, &password),
        &credentials::tell,
    )
    .map_err(failed)?;
    show::note(&format!("logged in to {} as {username}", settings.host));
    Ok(())
}

fn who(settings: &LoginSettings, name: &Reference) -> Result<(), Failure> {
    match super::transfer::of_name(&settings.registry, name)? {
        Credentials::Basic { username, .. } => stdout::print(&format!("{username}\n")),
        Credentials::IdentityToken(_) => stdout::print("<token>\n"),
        Credentials::Anonymous => Err(Failure::failed(format!(
            "nobody is logged in to {}",
            settings.host
        ))),
    }
}

/// A line of whoever sits at the terminal.
fn ask(what: &str, secret: bool) -> Result<String, Failure> {
    if !stdin_is_terminal() {
        return Err(
            Failure::usage(format!("there is no terminal to ask for a {what}"))
                .hint("-u USER --password-stdin reads the password from standard input"),
        );
    }
    show::eprint(&format!("{what}: "));
    if !secret {
        let mut text = String::new();
        let read = std::io::stdin().read_line(&mut text);
        read.map_err(|error| Failure::failed(format!("read the {what}: {error}")))?;
        return Ok(text.trim_end().to_owned());
    }
    let line = line();
    show::eprint("\n");
    line
}

fn line() -> Result<String, Failure> {
    secret_line().map_err(|error| Failure::failed(format!("read the password: {error}")))
}

/// Forgets passwords.
pub(super) fn log_out(settings: &LogoutSettings) -> Result<(), Failure> {
    let Some(host) = &settings.host else {
        for gone in auth::log_out_of_all(&settings.file).map_err(failed)? {
            show::note(&format!("logged out of {gone}"));
        }
        return Ok(());
    };
    match auth::log_out(&settings.file, host, &credentials::tell).map_err(failed)? {
        true => {
            show::note(&format!("logged out of {host}"));
            Ok(())
        }
        false => Err(Failure::failed(format!(
            "nobody is logged in to {host} in {}",
            settings.file.display()
        ))),
    }
}

fn failed(error: AuthError) -> Failure {
    Failure::new(Kind::Failed, error)
}
