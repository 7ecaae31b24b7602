//! What a build may use of the machine, handed in by the command line. The invariant: the library finds nothing of this by
//! itself; no environment, home directory or clock is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::{Authority, Credentials, Reference, RegistryOptions, Store};
use sandbox::SessionPlan;

use crate::cancel::{Cancel, Watched};
use crate::remote::GitProgram;
use crate::settings::Secret;

/// Finds the credentials for an image.
pub type FindCredentials<'h> =
    dyn Fn(&Reference) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> + 'h;

/// Decides how a session can be had, at the first step that needs one.
pub type FindSession<'h> =
    dyn Fn() -> Result<SessionPlan, Box<dyn std::error::Error + Send + Sync>> + 'h;

/// Decides how the session is had that unpacks what was built; none where nothing can be executed, which is no failure then.
pub type FindUnpacking<'h> = dyn Fn() -> Option<SessionPlan> + Sync + 'h;

/// What fetching from elsewhere may use.
pub struct Reach<'h> {
    /// Where the content goes.
    pub store: &'h Store,
    /// Ends it.
    pub cancel: &'h Cancel,
    /// The caller's proxy settings.
    pub proxies: Vec<(String, String)>,
    /// Whom to trust beside the system's certificate authorities.
    pub authorities: Vec<Authority>,
    /// The program that fetches repositories, where there is one.
    pub git: Option<GitProgram>,
    /// `--secret`, by id: some are for servers.
    pub secrets: &'h BTreeMap<String, Secret>,
}

impl Reach<'_> {
    /// Has a cancellation end what goes into and out of the store.
    pub(crate) fn stop_when_cancelled(&self) -> Watched<'_> {
        let stop = self.store.stop().clone();
        self.cancel.watch(move || stop.ask())
    }
}

/// The machine as a build sees it.
pub struct Host<'h> {
    /// The local store.
    pub store: &'h Store,
    /// Asked only by builds that need a session.
    pub session: &'h FindSession<'h>,
    /// Asked only by builds whose image is to be ready to run and was made without a session.
    pub unpacking: &'h FindUnpacking<'h>,
    /// Asked only by builds that need a registry.
    pub credentials: &'h FindCredentials<'h>,
    /// How registries are talked to.
    pub registries: &'h RegistryOptions,
    /// Directories of programs, in which emulators of foreign processors are looked for.
    pub program_dirs: Vec<PathBuf>,
    /// Ends the build.
    pub cancel: &'h Cancel,
    /// The caller's proxy settings, visible to RUN without being part of a step.
    pub proxy_env: Vec<(String, String)>,
    /// The program that fetches repositories, where there is one.
    pub git: Option<GitProgram>,
    /// `--secret`, by id: some are for servers.
    pub secrets: &'h BTreeMap<String, Secret>,
}

impl Host<'_> {
    /// What a fetch may use.
    pub(crate) fn reach(&self) -> Reach<'_> {
        Reach {
            store: self.store,
            cancel: self.cancel,
            proxies: self.proxy_env.clone(),
            authorities: self.registries.authorities.clone(),
            git: self.git.clone(),
            secrets: self.secrets,
        }
    }

    /// Has a cancellation end what goes into and out of the store, and what comes from a registry.
    pub(crate) fn stop_when_cancelled(&self) -> Watched<'_> {
        let stop = self.store.stop().clone();
        self.cancel.watch(move || stop.ask())
    }
}
