//! The environment and the configuration of git. The invariant: nothing of the host and of the repository is run or read, and what
//! authenticates is for one server and in no argument.

use std::collections::BTreeMap;

use image::fetch::HttpUrl;

use super::super::auth::{SecretError, of_repository};
use crate::settings::Secret;

/// git(1): nothing of the system and of the user is read, nobody is asked for a password, messages are in one language.
pub(super) const ENVIRONMENT: [(&str, &str); 8] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "/bin/false"),
    ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("LC_ALL", "C"),
];

/// The configuration: everything that could run something, or read a local file, is off.
const CONFIG: [(&str, &str); 18] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "true"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("credential.helper", ""),
    ("safe.bareRepository", "explicit"),
    ("protocol.allow", "never"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("submodule.recurse", "false"),
    ("advice.detachedHead", "false"),
    ("gc.auto", "0"),
    // Logs have the time, and several threads pack as they are scheduled.
    ("core.logAllRefUpdates", "false"),
    ("pack.threads", "1"),
    ("maintenance.auto", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
];

/// A configuration, by names and values.
pub(super) type Config = Vec<(String, String)>;

/// The URL that git is told, and the configuration for it.
pub(super) fn config_of(
    url: &str,
    secrets: &BTreeMap<String, Secret>,
) -> Result<(String, Config), SecretError> {
    let mut config: Config = CONFIG
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut set = |name: String, value: &str| config.push((name, value.to_owned()));
    // Only who asks without encryption gets answers without it: no redirect and no submodule leads from https to http.
    let plain = ["http", "git"]
        .into_iter()
        .find(|scheme| url.starts_with(&format!("{scheme}://")));
    if let Some(scheme) = plain {
        set(format!("protocol.{scheme}.allow"), "always");
    }
    let Ok(parsed) = url.parse::<HttpUrl>() else {
        return Ok((url.to_owned(), config));
    };
    // In the URL a password would be an argument of git's helpers, which everybody sees; a redirect would take the header along.
    let (bare, own) = parsed.split_credentials();
    // A secret is for the server, and so for submodules there; what the URL says is for the repository.
    let header = match of_repository(secrets, &parsed)? {
        Some(header) => Some((parsed.server(), header)),
        None => own.map(|header| (bare.clone(), header)),
    };
    if let Some((place, header)) = header {
        set(
            format!("http.{place}.extraHeader"),
            &format!("Authorization: {header}"),
        );
        set("http.followRedirects".to_owned(), "false");
    }
    Ok((bare, config))
}
