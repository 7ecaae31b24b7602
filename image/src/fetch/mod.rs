//! Files from http and https URLs, into the store as blobs.
//!
//! Invariant: what is given back was hashed while it arrived, and has the digest that was asked for, if one was; a user name or
//! password of the URL, or another authorization, is shown to the URL's own scheme, host and port and to nobody else.

pub(crate) mod date;
mod transfer;
mod url;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use url::{HttpUrl, ParseHttpUrlError, basic};

pub use crate::registry::retry::is_passing;

use crate::authority::Authority;
use crate::digest::Digest;
use crate::registry::{install_crypto, retry};
use crate::stop::{Stop, Stopped};
use crate::store::{Area, Store, StoreError};
use transfer::{Client, Transfer};

/// How servers are talked to.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// How often one request is tried.
    pub tries: u32,
    /// The wait before the second try; it doubles.
    pub backoff: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long nothing may arrive.
    pub stall_timeout: Duration,
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case.
    pub proxies: Vec<(String, String)>,
    /// Whom to trust beside the system's certificate authorities.
    pub authorities: Vec<Authority>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            tries: 4,
            backoff: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            proxies: Vec::new(),
            authorities: Vec::new(),
        }
    }
}

/// What happens during a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// More has arrived.
    Progress {
        /// How much of this try.
        bytes: u64,
        /// How much it will be, if the server said so.
        total: Option<u64>,
    },
    /// The request is made again.
    Retrying {
        /// Why the last one failed.
        reason: String,
        /// How long is waited.
        wait: Duration,
    },
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It was asked to end early.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// TLS, a proxy or the runtime cannot be set up.
    #[error("set up the HTTP client")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection failed or stalled.
    #[error("fetch {url}")]
    Network {
        /// What was fetched.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered with an error.
    #[error("fetch {url}: the server answered {status}")]
    Status {
        /// What was fetched.
        url: String,
        /// The HTTP status.
        status: u16,
        /// When to try again, if it said so.
        retry_after: Option<Duration>,
    },
    /// A redirect that is not followed.
    #[error("fetch {url}: {reason}")]
    Redirect {
        /// What was fetched.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// It is another file than the one that was meant.
    #[error("verify {url}: its digest is {actual}, not {expected}")]
    Mismatch {
        /// What was fetched.
        url: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content could not be written.
    #[error("store {url}")]
    Write {
        /// What was fetched.
        url: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A file that is in the store, held there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Its content.
    pub digest: Digest,
    /// `Last-Modified`, in seconds since 1970.
    pub last_modified: Option<i64>,
    /// What the server calls this version, for asking whether there is a newer one.
    validators: Validators,
}

/// RFC 9110, 8.8: what a server said about the version that it sent, verbatim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Validators {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// One file to fetch.
pub struct Fetch<'f> {
    /// From where.
    pub url: &'f HttpUrl,
    /// What it must be.
    pub expected: Option<&'f Digest>,
    /// The value of the header `Authorization`, in place of user name and password of the URL.
    pub authorization: Option<&'f str>,
    /// How.
    pub options: &'f FetchOptions,
    /// Hears what happens.
    pub progress: &'f dyn Fn(FetchEvent),
}

/// Brings a file into the store. Nothing is asked of the server when the file is known to be what is expected, and nothing is
/// transferred when the server says that it is still what it was.
///
/// # Errors
/// When it cannot be had, or is not what was expected.
pub fn fetch(fetch: &Fetch<'_>, store: &Store) -> Result<Fetched, FetchError> {
    let known = known(fetch, store)?;
    if let (Some(known), Some(expected)) = (&known, fetch.expected)
        && known.digest == *expected
    {
        return Ok(known.clone());
    }
    install_crypto();
    let client = Client::new(fetch, store)?;
    // What is known to be wrong is fetched whole.
    let validators = known
        .as_ref()
        .filter(|_| fetch.expected.is_none())
        .map(|known| &known.validators);
    let transfer = retrying(fetch.options, store.stop(), fetch.progress, hope, || {
        client.get(validators)
    })?;
    let fetched = match (transfer, known) {
        (Transfer::Unchanged, Some(known)) => return Ok(known),
        (Transfer::Unchanged, None) => {
            return Err(FetchError::Status {
                url: fetch.url.to_string(),
                status: 304,
                retry_after: None,
            });
        }
        (Transfer::Done(fetched), _) => fetched,
    };
    if let Ok(text) = serde_json::to_vec(&fetched) {
        // Failing to remember costs a transfer, not correctness.
        let _ = store.write_derived(Area::Cache, &record(fetch), &text);
    }
    Ok(fetched)
}

/// What the URL had when it was fetched last, while the store still has it.
fn known(fetch: &Fetch<'_>, store: &Store) -> Result<Option<Fetched>, StoreError> {
    let path = store.subdir(Area::Cache).join(record(fetch));
    let known: Option<Fetched> = std::fs::read(path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    match known {
        Some(known) if store.reuse(&known.digest)? => Ok(Some(known)),
        _ => Ok(None),
    }
}

/// Named by the whole URL, its password too, and by other credentials: another user of the server may be shown another file.
fn record(fetch: &Fetch<'_>) -> String {
    let url = fetch.url.with_password();
    let name = match fetch.authorization {
        // No URL has a line end.
        Some(authorization) => Digest::of(format!("{url}\n{authorization}")),
        None => Digest::of(url),
    };
    format!("urls/{}", name.hex())
}

/// What an error says about the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hope {
    /// It fails for good.
    None,
    /// It may pass.
    Passing,
    /// It may pass, and the server says when.
    After(Duration),
}

/// Does something until it works, fails for good, or was tried as often as the options say.
///
/// # Errors
/// Those of the last try, or that the end was asked for.
pub fn retrying<T, E: std::error::Error + From<Stopped>>(
    options: &FetchOptions,
    stop: &Stop,
    progress: &dyn Fn(FetchEvent),
    hope: impl Fn(&E) -> Hope,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut backoff = options.backoff;
    let mut tried = 0;
    loop {
        tried += 1;
        let error = match attempt() {
            Err(error) if tried < options.tries => error,
            other => return other,
        };
        let wait = match hope(&error) {
            Hope::None => return Err(error),
            Hope::Passing => retry::jittered(backoff),
            Hope::After(wait) => wait,
        };
        backoff = backoff.saturating_mul(2);
        progress(FetchEvent::Retrying {
            reason: retry::with_causes(&error),
            wait,
        });
        retry::sleep(stop, wait)?;
    }
}

fn hope(error: &FetchError) -> Hope {
    match error {
        FetchError::Network { .. } => Hope::Passing,
        FetchError::Status {
            status,
            retry_after,
            ..
        } if is_passing(*status) => retry_after.map_or(Hope::Passing, Hope::After),
        _ => Hope::None,
    }
}
