//! Pulling images from registries and pushing them. Beside [`crate::fetch`] the only module of this project that opens sockets.
//!
//! `documents` is the session with a repository and its small documents, `download` and `layers` bring blobs, `push` sends them,
//! `login` and `challenge` decide who is told a secret. tokio stays inside; callers see blocking functions.
//!
//! Invariant: a document is parsed, and a layer gets its name, only when its digest is the one that was asked for; after the
//! first answer everything goes by digest. What is pushed gets its tag last, when all that it refers to is there.

mod body;
mod challenge;
mod documents;
mod download;
mod layers;
mod login;
mod push;
mod referrers;
mod remote;
pub(crate) mod retry;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::pin;
use std::time::Duration;

use crate::auth::Credentials;
use crate::authority::{Authority, certificates};
use crate::digest::{Digest, ParseDigestError};
use crate::export::ExportError;
use crate::image::{BlobError, Image, ImageError};
use crate::ingest::{LayerError, LayerObserver};
use crate::json::DocumentError;
use crate::manifest::{Descriptor, Document};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registries::{Endpoint, Registries};
use crate::signature::SignError;
use crate::stop::{Stop, Stopped};
use crate::store::{Store, StoreError};

pub(crate) use challenge::{is_inside, same_place};
use documents::Session;
pub use login::check_login;
pub use push::push;
pub use referrers::referrers;
pub use remote::Remote;

/// How a registry is talked to.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Registries (`HOST[:PORT]`) that are asked by plain HTTP. Nothing is insecure by itself, not even loopback.
    pub insecure: Vec<String>,
    /// Whom to trust beside the system's certificate authorities.
    pub authorities: Vec<Authority>,
    /// Whom to trust with one registry (`HOST[:PORT]`) alone.
    pub own_authorities: BTreeMap<String, Vec<Authority>>,
    /// Where names are looked for; heeded by those who ask, not by what is asked.
    pub registries: Registries,
    /// Token servers (`HOST[:PORT]`) on other hosts than their registry that may see a password.
    pub allowed_realms: Vec<String>,
    /// How often one request is tried.
    pub tries: u32,
    /// The wait before the second try; it doubles.
    pub backoff: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long nothing may arrive.
    pub stall_timeout: Duration,
    /// How many layers are transferred at the same time.
    pub parallel: usize,
    /// Ends the transfer early.
    pub stop: Stop,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            authorities: Vec::new(),
            own_authorities: BTreeMap::new(),
            registries: Registries::default(),
            allowed_realms: Vec::new(),
            tries: 4,
            backoff: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            parallel: 3,
            stop: Stop::default(),
        }
    }
}

impl RegistryOptions {
    /// The options for one of a name's endpoints.
    #[must_use]
    pub fn at(&self, endpoint: &Endpoint) -> Self {
        let mut options = self.clone();
        if endpoint.insecure {
            options
                .insecure
                .push(endpoint.reference.registry().to_owned());
        }
        options
    }

    /// Whom to trust with a registry, as the HTTP client takes them.
    fn certificates_for(
        &self,
        reference: &Reference,
    ) -> Result<Vec<reqwest::Certificate>, RegistryError> {
        let own = self.own_authorities.get(reference.registry());
        let all: Vec<Authority> = own
            .into_iter()
            .flatten()
            .chain(&self.authorities)
            .cloned()
            .collect();
        certificates(&all).map_err(|error| RegistryError::Setup(error.into()))
    }
}

/// What happens during a pull or a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferEvent {
    /// The name means this manifest.
    Resolved {
        /// The manifest of the platform.
        digest: Digest,
    },
    /// A layer is already where it is to go.
    LayerReused {
        /// The blob.
        digest: Digest,
    },
    /// A layer begins, or begins again.
    LayerStarted {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// More of a layer is there.
    LayerProgress {
        /// The blob.
        digest: Digest,
        /// How much of this try.
        bytes: u64,
    },
    /// A layer is complete and verified.
    LayerDone {
        /// The blob.
        digest: Digest,
    },
    /// A request is tried again.
    Retrying {
        /// What is transferred.
        subject: String,
        /// Why the last try failed.
        reason: String,
        /// How long is waited.
        wait: Duration,
    },
}

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the registry.
    Pull,
    /// To the registry.
    Push,
}

/// One thing on its way: reads as "fetch layer x from host" or "push layer x to host".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Which way.
    pub direction: Direction,
    /// What.
    pub subject: String,
    /// The registry.
    pub host: String,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, preposition) = match self.direction {
            Direction::Pull => ("fetch", "from"),
            Direction::Push => ("push", "to"),
        };
        write!(f, "{verb} {} {preposition} {}", self.subject, self.host)
    }
}

/// Why an image cannot be pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It was asked to end early.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// TLS or the runtime cannot be set up.
    #[error("set up the registry client")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection failed or stalled.
    #[error("{exchange}")]
    Network {
        /// What was transferred.
        exchange: Exchange,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry answered with an error.
    #[error("{exchange}: it answered {status}{detail}")]
    Status {
        /// What was transferred.
        exchange: Exchange,
        /// The HTTP status.
        status: u16,
        /// What it said, bounded and escaped.
        detail: String,
        /// When to try again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The registry wants other credentials.
    #[error("{exchange}: access is denied ({hint})")]
    Denied {
        /// What was transferred.
        exchange: Exchange,
        /// What to do.
        hint: &'static str,
    },
    /// The token server is not one that may see the password.
    #[error(
        "log in to {host}: its token server {realm} is another host; allow it by name to send the password there"
    )]
    ForeignRealm {
        /// The registry.
        host: String,
        /// The token server.
        realm: String,
    },
    /// The place that the registry names for an upload is none to send anything to.
    #[error("{exchange}: {reason}")]
    Upload {
        /// What was transferred.
        exchange: Exchange,
        /// What is wrong.
        reason: String,
    },
    /// The upload is not known any more: it took too long, or another part of the registry was asked.
    #[error("{exchange}: the registry has forgotten the upload")]
    Forgotten {
        /// What was transferred.
        exchange: Exchange,
    },
    /// The challenge or token makes no sense.
    #[error("log in to {host}: {reason}")]
    Login {
        /// The registry.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// What is listed as a tag breaks the grammar.
    #[error("list tags of {host}: it lists one that is no tag")]
    NoTag {
        /// The registry.
        host: String,
    },
    /// More bytes than a document may have.
    #[error("{exchange}: it is larger than {limit} bytes")]
    TooLarge {
        /// What was transferred.
        exchange: Exchange,
        /// The limit.
        limit: u64,
    },
    /// The answer is not what was asked for.
    #[error("verify {subject} from {host}: its digest is {actual}, not {expected}")]
    Mismatch {
        /// What was transferred.
        subject: String,
        /// The registry.
        host: String,
        /// What was asked for or announced.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A header holds no digest.
    #[error("read the digest that {host} announced")]
    Header {
        /// The registry.
        host: String,
        /// Why.
        source: ParseDigestError,
    },
    /// A document is malformed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The image is malformed or not for this platform.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer was refused.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A blob cannot be made ready.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<BlobError> for RegistryError {
    fn from(error: BlobError) -> Self {
        Self::Image(error.into())
    }
}

/// Who speaks to which repository, and how.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The image's name.
    pub reference: &'a Reference,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// How.
    pub options: &'a RegistryOptions,
    /// Hears what happens, from several threads.
    pub progress: &'a (dyn Fn(TransferEvent) + Sync),
}

/// What a pull needs to know.
pub struct Pull<'a> {
    /// Whom to ask for what.
    pub access: Access<'a>,
    /// For which machine.
    pub platform: &'a Platform,
    /// Sees the layers as they come.
    pub observer: &'a dyn LayerObserver,
}

/// Pulls an image with its layers into the store, without a name.
///
/// # Errors
/// When it cannot be had, or is not what was asked for; then the store has no new image.
pub fn pull(pull: &Pull<'_>, store: &Store) -> Result<Image, RegistryError> {
    install_crypto();
    let mut session = Session::new(pull.access, Direction::Pull)?;
    let image = resolve_with(&mut session, pull.platform)?;
    (pull.access.progress)(TransferEvent::Resolved {
        digest: *image.digest(),
    });
    layers::fetch(pull, &session.pass(), image.layers(), store)?;
    store.add_image(&image, &[])?;
    Ok(image)
}

/// Asks what a name means for a platform now: manifest and configuration, no layers, nothing stored.
///
/// # Errors
/// When it cannot be had, or is malformed.
pub fn resolve(pull: &Pull<'_>) -> Result<Image, RegistryError> {
    install_crypto();
    resolve_with(
        &mut Session::new(pull.access, Direction::Pull)?,
        pull.platform,
    )
}

fn resolve_with(session: &mut Session<'_>, platform: &Platform) -> Result<Image, RegistryError> {
    const DEPTH: usize = 3;
    let mut wanted: Option<Descriptor> = None;
    for _ in 0..DEPTH {
        let (bytes, digest, declared) = session.manifest(wanted.as_ref())?;
        match Document::parse(&bytes, declared.as_ref())? {
            Document::Manifest(manifest) => {
                let config = session.config(&manifest.config)?;
                return Ok(Image::from_parts(bytes, config)?);
            }
            Document::Index(index) => {
                let entry =
                    index
                        .select(platform)
                        .cloned()
                        .ok_or_else(|| ImageError::NoPlatform {
                            digest,
                            wanted: platform.to_string(),
                            offered: index.platforms().join(", "),
                        })?;
                wanted = Some(entry);
            }
        }
    }
    Err(ImageError::TooDeep(wanted.map_or_else(|| Digest::of(""), |entry| entry.digest)).into())
}

/// ring for the whole process; whoever came first stays.
pub(crate) fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn runtime() -> Result<tokio::runtime::Runtime, RegistryError> {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    built.map_err(|error: io::Error| RegistryError::Setup(error.into()))
}

/// The result of `work`, or the end as soon as it is asked for.
pub(crate) async fn unless_stopped<T, E: From<Stopped>>(
    stop: &Stop,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    const LOOK: Duration = Duration::from_millis(50);
    let mut work = pin!(work);
    loop {
        if stop.is_asked() {
            return Err(Stopped.into());
        }
        if let Ok(done) = tokio::time::timeout(LOOK, work.as_mut()).await {
            return done;
        }
    }
}
