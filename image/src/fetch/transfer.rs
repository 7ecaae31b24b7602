//! One GET, its redirects, and its body into the store.
//!
//! Invariant: every hop is decided here, not by the HTTP library: credentials go to the first place only, and no hop leads from
//! https to http or from outside to the inside of the network.

use std::io::Write as _;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, DATE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RETRY_AFTER,
};
use reqwest::{NoProxy, Proxy, Response, StatusCode, Url, redirect};
use tokio::runtime::Runtime;

use super::url::without_credentials;
use super::{Fetch, FetchError, FetchEvent, FetchOptions, Fetched, Validators, date};
use crate::authority::certificates;
use crate::registry::{is_inside, retry, same_place, unless_stopped};
use crate::store::Store;

/// As curl's default for `--location` in scripts is 50 and browsers have 20, but nobody honest needs more than a few.
const REDIRECTS_MAX: usize = 10;

/// What a GET came to.
pub(super) enum Transfer {
    /// The file is what it was.
    Unchanged,
    /// The file is in the store.
    Done(Fetched),
}

/// An HTTP client for one URL.
pub(super) struct Client<'f> {
    fetch: &'f Fetch<'f>,
    store: &'f Store,
    runtime: Runtime,
    client: reqwest::Client,
}

impl<'f> Client<'f> {
    pub(super) fn new(fetch: &'f Fetch<'f>, store: &'f Store) -> Result<Self, FetchError> {
        let setup = |error: Box<dyn std::error::Error + Send + Sync>| FetchError::Setup(error);
        let options = fetch.options;
        let authorities =
            certificates(&options.authorities).map_err(|error| setup(error.into()))?;
        // The library would read the environment's proxies by itself.
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_merge(authorities)
            .redirect(redirect::Policy::none())
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.stall_timeout)
            .referer(false)
            .user_agent(concat!("rbuild/", env!("CARGO_PKG_VERSION")));
        for proxy in proxies(options).map_err(|error| setup(error.into()))? {
            builder = builder.proxy(proxy);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Ok(Self {
            fetch,
            store,
            runtime: runtime.map_err(|error| setup(error.into()))?,
            client: builder.build().map_err(|error| setup(error.into()))?,
        })
    }

    /// Fetches the file; with validators, only if it is another one now.
    pub(super) fn get(&self, validators: Option<&Validators>) -> Result<Transfer, FetchError> {
        let work = async {
            let response = self.answer(validators).await?;
            let status = response.status();
            if status == StatusCode::NOT_MODIFIED && validators.is_some() {
                return Ok(Transfer::Unchanged);
            }
            if !status.is_success() {
                let wait = text(response.headers(), &RETRY_AFTER);
                let now = text(response.headers(), &DATE);
                return Err(FetchError::Status {
                    url: self.shown(),
                    status: status.as_u16(),
                    retry_after: retry::retry_after(wait.as_deref(), now.as_deref()),
                });
            }
            self.store_body(response).await.map(Transfer::Done)
        };
        self.runtime
            .block_on(unless_stopped(self.store.stop(), work))
    }

    /// Follows redirects up to the answer.
    async fn answer(&self, validators: Option<&Validators>) -> Result<Response, FetchError> {
        let mut at = self.fetch.url.url().clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(&at, validators).await?;
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(target) = text(response.headers(), &LOCATION).filter(|_| is_redirect) else {
                return Ok(response);
            };
            at = self.redirected(&at, &target)?;
        }
        Err(self.refused("there are too many redirects"))
    }

    fn redirected(&self, from: &Url, target: &str) -> Result<Url, FetchError> {
        let to = from
            .join(target)
            .map_err(|_| self.refused("a redirect leads to something that is no URL"))?;
        match (from.scheme(), to.scheme()) {
            (_, "https") | ("http", "http") => {}
            ("https", "http") => {
                return Err(self.refused("a redirect leads from https to http"));
            }
            _ => return Err(self.refused("a redirect leads to something that is not fetched")),
        }
        // S60: a server outside has no business to send us to our neighbours.
        if is_inside(&to) && !is_inside(self.fetch.url.url()) {
            return Err(self.refused("a redirect leads inside of the local network"));
        }
        Ok(to)
    }

    async fn send(
        &self,
        at: &Url,
        validators: Option<&Validators>,
    ) -> Result<Response, FetchError> {
        let first = self.fetch.url;
        // The bytes are wanted as they are, whatever the server could do to them.
        let mut request = self
            .client
            .get(without_credentials(at))
            .header(ACCEPT_ENCODING, "identity");
        if same_place(at, first.url()) && at.scheme() == first.url().scheme() {
            request = match (self.fetch.authorization, first.credentials()) {
                (Some(authorization), _) => request.header(AUTHORIZATION, authorization),
                (None, Some((user, password))) => request.basic_auth(user, password),
                (None, None) => request,
            };
        }
        let Validators {
            etag,
            last_modified,
        } = validators.cloned().unwrap_or_default();
        for (name, value) in [(IF_NONE_MATCH, etag), (IF_MODIFIED_SINCE, last_modified)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        // The stall limit covers single reads; this one covers servers that never send a header.
        let limit = self.fetch.options.stall_timeout + self.fetch.options.connect_timeout;
        match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.network(error.without_url())),
            Err(elapsed) => Err(self.network(elapsed)),
        }
    }

    async fn store_body(&self, mut response: Response) -> Result<Fetched, FetchError> {
        let validators = Validators {
            etag: text(response.headers(), &ETAG),
            last_modified: text(response.headers(), &LAST_MODIFIED),
        };
        let total = response.content_length();
        let mut blob = self.store.blob_writer()?;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.network(error.without_url()))?
        {
            blob.write_all(&chunk).map_err(|source| FetchError::Write {
                url: self.shown(),
                source,
            })?;
            let bytes = blob.len();
            (self.fetch.progress)(FetchEvent::Progress { bytes, total });
        }
        let digest = match self.fetch.expected {
            Some(expected) => {
                let actual = blob.digest();
                if actual != *expected {
                    return Err(FetchError::Mismatch {
                        url: self.shown(),
                        expected: *expected,
                        actual,
                    });
                }
                blob.finish_as(expected)?;
                *expected
            }
            None => blob.finish()?.0,
        };
        Ok(Fetched {
            digest,
            last_modified: validators.last_modified.as_deref().and_then(date::parse),
            validators,
        })
    }

    fn shown(&self) -> String {
        self.fetch.url.to_string()
    }

    fn network(&self, error: impl std::error::Error + Send + Sync + 'static) -> FetchError {
        FetchError::Network {
            url: self.shown(),
            source: error.into(),
        }
    }

    fn refused(&self, reason: &'static str) -> FetchError {
        FetchError::Redirect {
            url: self.shown(),
            reason,
        }
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// The proxies of the environment, the lower-case spelling first, as curl has it.
fn proxies(options: &FetchOptions) -> reqwest::Result<Vec<Proxy>> {
    let value = |name: &str| {
        let spelt = |name: &str| {
            let found = options.proxies.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        spelt(name)
            .or_else(|| spelt(&name.to_ascii_uppercase()))
            .filter(|value| !value.is_empty())
    };
    let except = value("no_proxy").and_then(NoProxy::from_string);
    let wanted = [
        value("http_proxy").map(Proxy::http),
        value("https_proxy").map(Proxy::https),
        value("all_proxy").map(Proxy::all),
    ];
    let wanted = wanted.into_iter().flatten();
    wanted
        .map(|proxy| Ok(proxy?.no_proxy(except.clone())))
        .collect()
}
