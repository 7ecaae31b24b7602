//! Pulling images from registries. Beside [`crate::fetch`] the only module of this project that opens sockets.
//!
//! Layers come through `oci-client`. The small documents (token, manifest, index, configuration) do not: it reads them without
//! a limit, gives the password to whatever host the registry names, and follows every redirect, so `documents`
//! fetches them. tokio stays inside; callers see blocking functions.
//!
//! Invariant: a document is parsed, and a layer gets its name, only when its digest is the one that was asked for; after the
//! first answer everything goes by digest.

mod challenge;
mod documents;
mod layers;
mod login;
pub(crate) mod retry;

use std::io;
use std::pin::pin;
use std::time::Duration;

use crate::auth::Credentials;
use crate::digest::{Digest, ParseDigestError};
use crate::image::{BlobError, Image, ImageError};
use crate::ingest::{LayerError, LayerObserver};
use crate::json::DocumentError;
use crate::manifest::{Descriptor, Document};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::stop::{Stop, Stopped};
use crate::store::{Store, StoreError};

pub(crate) use challenge::{is_inside, same_place};
use documents::Session;

/// How a registry is talked to.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Registries (`HOST[:PORT]`) that are asked by plain HTTP. Nothing is insecure by itself, not even loopback.
    pub insecure: Vec<String>,
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
    /// How many layers are fetched at the same time.
    pub parallel: usize,
    /// Ends the pull early.
    pub stop: Stop,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
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

/// What happens during a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullEvent {
    /// The name means this manifest.
    Resolved {
        /// The manifest of the platform.
        digest: Digest,
    },
    /// A layer is in the store already.
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
    /// More of a layer has arrived.
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
        /// What is fetched.
        subject: String,
        /// Why the last try failed.
        reason: String,
        /// How long is waited.
        wait: Duration,
    },
}

/// Why an image cannot be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// It was asked to end early.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// TLS or the runtime cannot be set up.
    #[error("set up the registry client")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection failed or stalled.
    #[error("fetch {subject} from {host}")]
    Network {
        /// What was fetched.
        subject: String,
        /// From where.
        host: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry answered with an error.
    #[error("fetch {subject} from {host}: it answered {status}{detail}")]
    Status {
        /// What was fetched.
        subject: String,
        /// From where.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it said, bounded and escaped.
        detail: String,
        /// When to try again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The registry refused, without a status that could be told.
    #[error("fetch {subject} from {host}: it refused{detail}")]
    Refused {
        /// What was fetched.
        subject: String,
        /// From where.
        host: String,
        /// What it said, bounded and escaped.
        detail: String,
    },
    /// The registry wants other credentials.
    #[error("fetch {subject} from {host}: access is denied ({hint})")]
    Denied {
        /// What was fetched.
        subject: String,
        /// From where.
        host: String,
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
    /// The challenge or token makes no sense.
    #[error("log in to {host}: {reason}")]
    Login {
        /// The registry.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// More bytes than a document may have.
    #[error("fetch {subject} from {host}: it is larger than {limit} bytes")]
    TooLarge {
        /// What was fetched.
        subject: String,
        /// From where.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// The answer is not what was asked for.
    #[error("verify {subject} from {host}: its digest is {actual}, not {expected}")]
    Mismatch {
        /// What was fetched.
        subject: String,
        /// From where.
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
}

impl From<BlobError> for PullError {
    fn from(error: BlobError) -> Self {
        Self::Image(error.into())
    }
}

/// What a pull needs to know, and who wants to hear of it.
pub struct Pull<'a> {
    /// The image.
    pub reference: &'a Reference,
    /// For which machine.
    pub platform: &'a Platform,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// How.
    pub options: &'a PullOptions,
    /// Hears what happens, from several threads.
    pub progress: &'a (dyn Fn(PullEvent) + Sync),
    /// Sees the layers as they come.
    pub observer: &'a dyn LayerObserver,
}

/// Pulls an image with its layers into the store, without a name.
///
/// # Errors
/// When it cannot be had, or is not what was asked for; then the store has no new image.
pub fn pull(pull: &Pull<'_>, store: &Store) -> Result<Image, PullError> {
    install_crypto();
    let mut session = Session::new(pull)?;
    let image = resolve_with(&mut session, pull)?;
    (pull.progress)(PullEvent::Resolved {
        digest: *image.digest(),
    });
    layers::fetch(pull, &session, &image, store)?;
    store.add_image(&image, &[])?;
    Ok(image)
}

/// Asks what a name means for a platform now: manifest and configuration, no layers, nothing stored.
///
/// # Errors
/// When it cannot be had, or is malformed.
pub fn resolve(pull: &Pull<'_>) -> Result<Image, PullError> {
    install_crypto();
    resolve_with(&mut Session::new(pull)?, pull)
}

fn resolve_with(session: &mut Session<'_>, pull: &Pull<'_>) -> Result<Image, PullError> {
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
                        .select(pull.platform)
                        .cloned()
                        .ok_or_else(|| ImageError::NoPlatform {
                            digest,
                            wanted: pull.platform.to_string(),
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

fn runtime() -> Result<tokio::runtime::Runtime, PullError> {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    built.map_err(|error: io::Error| PullError::Setup(error.into()))
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
