//! A session with one repository, and fetching its small documents: manifests and configurations.
//!
//! Invariant: never more than a fixed number of bytes is read, and never for longer than a fixed time.

use std::fmt::Write as _;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use tokio::runtime::Runtime;

use super::challenge::is_inside;
use super::login::Pass;
use super::retry::{retry, retry_after};
use super::{Access, Direction, Exchange, RegistryError, runtime};
use crate::auth::Credentials;
use crate::digest::Digest;
use crate::json::DOCUMENT_MAX;
use crate::manifest::Descriptor;
use crate::media_type::MediaType;

/// Enough for any message.
const ERROR_MAX: usize = 64 << 10;
const REDIRECTS_MAX: usize = 5;

/// One repository of one registry, and the right to use it.
pub(super) struct Session<'a> {
    pub(super) access: Access<'a>,
    pub(super) direction: Direction,
    pub(super) runtime: Runtime,
    pub(super) client: Client,
    pub(super) base: Url,
    pub(super) pass: Pass,
    /// Whether access to the repository is asked for, or to the registry alone.
    pub(super) is_scoped: bool,
    /// Other repositories of the registry that blobs are to be taken over from.
    pub(super) neighbours: Vec<String>,
}

/// Whether the caller lists that registry as one to be asked by plain HTTP.
pub(super) fn is_insecure(access: &Access<'_>) -> bool {
    access
        .options
        .insecure
        .iter()
        .any(|name| name == access.reference.registry())
}

impl<'a> Session<'a> {
    pub(super) fn new(access: Access<'a>, direction: Direction) -> Result<Self, RegistryError> {
        let setup = |error: Box<dyn std::error::Error + Send + Sync>| RegistryError::Setup(error);
        let scheme = if is_insecure(&access) {
            "http"
        } else {
            "https"
        };
        let base = Url::parse(&format!("{scheme}://{}/", access.reference.registry_host()))
            .map_err(|error| setup(error.into()))?;
        let authorities = access.options.certificates_for(access.reference)?;
        let client = Client::builder()
            .tls_certs_merge(authorities)
            .redirect(redirect::Policy::custom(follow))
            .connect_timeout(access.options.connect_timeout)
            .read_timeout(access.options.stall_timeout)
            .referer(false)
            .user_agent(concat!("rbuild/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| setup(error.into()))?;
        Ok(Self {
            access,
            direction,
            runtime: runtime()?,
            client,
            base,
            pass: Pass::None,
            is_scoped: true,
            neighbours: Vec::new(),
        })
    }

    /// The manifest or index that a descriptor means, or else the name; with its verified digest and its announced type.
    pub(super) fn manifest(
        &mut self,
        wanted: Option<&Descriptor>,
    ) -> Result<(Vec<u8>, Digest, Option<MediaType>), RegistryError> {
        let reference = self.access.reference;
        let pinned = wanted
            .map(|descriptor| descriptor.digest)
            .or(reference.digest().copied());
        let version = match pinned {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_owned(),
        };
        let subject = format!("manifest {version}");
        let url = self.url(&format!("manifests/{version}"));
        retry(self.access, &subject, || {
            let (headers, bytes) = self.get(&subject, &url)?;
            let announced = self.announced(&headers)?;
            let digest = Digest::of(&bytes);
            for expected in [pinned, announced].into_iter().flatten() {
                self.compare(&subject, expected, digest)?;
            }
            let declared = content_type(&headers);
            Ok((
                bytes,
                digest,
                declared.or_else(|| wanted.map(|descriptor| descriptor.media_type.clone())),
            ))
        })
    }

    /// A configuration, verified.
    pub(super) fn config(&mut self, wanted: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let subject = format!("configuration {}", wanted.digest);
        let url = self.url(&format!("blobs/{}", wanted.digest));
        retry(self.access, &subject, || {
            let (_, bytes) = self.get(&subject, &url)?;
            self.compare(&subject, wanted.digest, Digest::of(&bytes))?;
            Ok(bytes)
        })
    }

    /// A page of a list.
    pub(super) fn get_persistently(
        &mut self,
        subject: &str,
        url: &Url,
    ) -> Result<(HeaderMap, Vec<u8>), RegistryError> {
        retry(self.access, subject, || self.get(subject, url))
    }

    pub(super) fn url(&self, rest: &str) -> Url {
        // Repository, tag and digest have passed their grammars: nothing in them has a meaning in a URL.
        let path = format!("/v2/{}/{rest}", self.access.reference.repository());
        let mut url = self.base.clone();
        url.set_path(&path);
        url
    }

    /// The request with the pass.
    pub(super) fn shown(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.pass {
            Pass::None => request,
            Pass::Basic { username, password } => request.basic_auth(username, Some(password)),
            Pass::Bearer(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        }
    }

    pub(super) fn exchange(&self, subject: &str) -> Exchange {
        Exchange {
            direction: self.direction,
            subject: subject.to_owned(),
            host: self.host(),
        }
    }

    pub(super) fn host(&self) -> String {
        self.access.reference.registry_host().to_owned()
    }

    pub(super) fn compare(
        &self,
        subject: &str,
        expected: Digest,
        actual: Digest,
    ) -> Result<(), RegistryError> {
        if expected == actual {
            return Ok(());
        }
        Err(RegistryError::Mismatch {
            subject: subject.to_owned(),
            host: self.host(),
            expected,
            actual,
        })
    }

    pub(super) fn announced(&self, headers: &HeaderMap) -> Result<Option<Digest>, RegistryError> {
        let Some(header) = headers.get("docker-content-digest") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(header.as_bytes());
        text.parse()
            .map(Some)
            .map_err(|source| RegistryError::Header {
                host: self.host(),
                source,
            })
    }

    /// One document, with a log-in in between where the registry asks for it.
    pub(super) fn get(
        &mut self,
        subject: &str,
        url: &Url,
    ) -> Result<(HeaderMap, Vec<u8>), RegistryError> {
        for may_log_in in [true, false] {
            let request = self.client.get(url.clone()).header(ACCEPT, accepted());
            let request = self.shown(request);
            let response = self.wait(self.send(subject, request))?;
            if response.status() == StatusCode::UNAUTHORIZED && may_log_in {
                self.log_in(response.headers())?;
                continue;
            }
            let headers = response.headers().clone();
            return Ok((
                headers,
                self.wait(self.body(subject, response, DOCUMENT_MAX))?,
            ));
        }
        unreachable!("the second round returns")
    }

    /// Waits for an answer, or for the end of the transfer.
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        self.runtime
            .block_on(super::unless_stopped(&self.access.options.stop, answer))
    }

    pub(super) async fn send(
        &self,
        subject: &str,
        request: RequestBuilder,
    ) -> Result<Response, RegistryError> {
        // The stall limit covers single reads; this one covers servers that never send a header.
        let limit = self.access.options.stall_timeout + self.access.options.connect_timeout;
        match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.network(subject, error.without_url())),
            Err(elapsed) => Err(self.network(subject, elapsed)),
        }
    }

    pub(super) fn network(
        &self,
        subject: &str,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> RegistryError {
        RegistryError::Network {
            exchange: self.exchange(subject),
            source: error.into(),
        }
    }

    pub(super) async fn body(
        &self,
        subject: &str,
        response: Response,
        limit: usize,
    ) -> Result<Vec<u8>, RegistryError> {
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(subject, response).await);
        }
        // Slow enough to be useless is as good as stalled: one document may take a few stall limits in all.
        let patience = self.access.options.stall_timeout * 4;
        match tokio::time::timeout(patience, self.read(subject, response, limit)).await {
            Ok(read) => read,
            Err(elapsed) => Err(self.network(subject, elapsed)),
        }
    }

    async fn read(
        &self,
        subject: &str,
        mut response: Response,
        limit: usize,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.network(subject, error.without_url()))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit {
                return Err(RegistryError::TooLarge {
                    exchange: self.exchange(subject),
                    limit: limit as u64,
                });
            }
        }
        Ok(bytes)
    }

    pub(super) async fn refusal(&self, subject: &str, response: Response) -> RegistryError {
        let (exchange, status) = (self.exchange(subject), response.status());
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let hint = match self.access.credentials {
                Credentials::Anonymous => {
                    "there are no credentials for it; log in with rbuild login"
                }
                _ => "the credentials for it are wrong or not sufficient",
            };
            return RegistryError::Denied { exchange, hint };
        }
        let text = |name| {
            let value: Option<&reqwest::header::HeaderValue> = response.headers().get(name);
            value.and_then(|value| value.to_str().ok())
        };
        let wait = retry_after(text(RETRY_AFTER), text(DATE));
        // The text is a courtesy: a failure to read it changes nothing.
        let patience = self.access.options.stall_timeout;
        let body = tokio::time::timeout(patience, self.read(subject, response, ERROR_MAX)).await;
        let detail = body
            .ok()
            .and_then(Result::ok)
            .map(|bytes| detail(&bytes))
            .unwrap_or_default();
        RegistryError::Status {
            exchange,
            status: status.as_u16(),
            detail,
            retry_after: wait,
        }
    }
}

/// Redirects lead to content servers. They may not lead from https to http, nor from outside to the inside. reqwest itself
/// keeps `Authorization` from other hosts.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let first = attempt.previous().first();
    let downgrade =
        first.is_some_and(|first| first.scheme() == "https") && attempt.url().scheme() != "https";
    let inward = is_inside(attempt.url())
        && first.is_none_or(|first| first.host_str() != attempt.url().host_str());
    if attempt.previous().len() > REDIRECTS_MAX {
        attempt.error("there are too many redirects")
    } else if downgrade {
        attempt.error("a redirect leads from https to http")
    } else if inward {
        attempt.error("a redirect leads inside of the local network")
    } else {
        attempt.follow()
    }
}

fn accepted() -> String {
    use MediaType::{DockerManifest, DockerManifestList, OciIndex, OciManifest};
    [OciIndex, OciManifest, DockerManifestList, DockerManifest]
        .map(|kind| kind.as_str().to_owned())
        .join(", ")
}

/// The announced type, when it says anything: many registries send documents as plain JSON or text.
fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = MediaType::from(text.split(';').next().unwrap_or_default().trim());
    let generic = [
        "application/json",
        "application/octet-stream",
        "text/plain",
        "",
    ]
    .contains(&kind.as_str());
    (!generic).then_some(kind)
}

/// The first lines of an error, made harmless for a terminal.
pub(super) fn detail(bytes: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).trim().chars().take(300) {
        if c.is_control() {
            text.push(' ')
        } else {
            text.push(c)
        }
    }
    let mut shown = String::new();
    if !text.is_empty() {
        write!(shown, " ({text})").expect("writing to a String cannot fail");
    }
    shown
}
