//! One blob on its way to a registry: taken over from another repository, as a whole, or in chunks (OCI distribution
//! specification, "Pushing blobs").
//!
//! Invariant: a place that the registry names is checked before anything is sent there, and only one at the registry itself is
//! shown the pass. A chunk is sent again only from where the registry says that it is.

use std::io::{self, Read};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use super::body::{Flow, Stream};
use super::challenge::{is_inside, same_place};
use super::push::Uploader;
use super::retry::Patience;
use super::{RegistryError, TransferEvent};
use crate::export::ExportBlob;
use crate::image::BlobError;

/// How large a chunk is, unless the registry wants larger ones.
pub(super) const CHUNK: u64 = 8 << 20;
/// The largest chunk that a registry may want: it is held in memory.
const CHUNK_MAX: u64 = 64 << 20;
/// How often an upload is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Registries on object stores copy a large blob once more after its last byte: so many stall limits are waited for that.
const FINISHING: u32 = 10;

/// How an upload begins.
pub(super) enum Beginning {
    /// The repository has the blob now.
    TakenOver,
    /// The blob may be sent there.
    At(Place),
}

/// Where an upload goes on.
pub(super) struct Place {
    url: Url,
    /// How large a chunk has to be.
    chunk: u64,
}

/// What a request sends of a blob.
struct Part {
    content: Box<dyn Read + Send>,
    /// How much of the blob comes before it.
    at: u64,
    len: u64,
    is_last: bool,
}

impl Uploader<'_> {
    /// Asks where the blob may go, or has it taken over from a repository that has it.
    pub(super) fn begin(
        &self,
        subject: &str,
        blob: &ExportBlob<'_>,
    ) -> Result<Beginning, RegistryError> {
        let (registry, own) = {
            let reference = self.session.access.reference;
            (reference.registry(), reference.repository())
        };
        let neighbour = blob.repositories(registry).find(|name| *name != own);
        if let Some(neighbour) = neighbour {
            let digest = blob.digest().to_string();
            let mount = [("mount", digest.as_str()), ("from", neighbour)];
            match self.ask_for_place(subject, &mount)? {
                // Whatever is against taking it over, it may still be sent.
                Err(_) => {}
                Ok(beginning) => return Ok(beginning),
            }
        }
        self.ask_for_place(subject, &[])?
            .map_err(|response| self.refusal(subject, response))
    }

    /// The answer itself, where it is neither of both.
    fn ask_for_place(
        &self,
        subject: &str,
        query: &[(&str, &str)],
    ) -> Result<Result<Beginning, Response>, RegistryError> {
        let session = &self.session;
        let mut url = session.url("blobs/uploads/");
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = session.shown(self.client.post(url));
        let response = session.wait(session.send(subject, request))?;
        Ok(match response.status() {
            StatusCode::CREATED if !query.is_empty() => Ok(Beginning::TakenOver),
            StatusCode::ACCEPTED => Ok(Beginning::At(self.place(subject, &response)?)),
            _ => Err(response),
        })
    }

    fn place(&self, subject: &str, response: &Response) -> Result<Place, RegistryError> {
        let url = place_of(response.headers(), &self.session.base).map_err(|reason| {
            RegistryError::Upload {
                exchange: self.session.exchange(subject),
                reason,
            }
        })?;
        let least = response
            .headers()
            .get("oci-chunk-min-length")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .unwrap_or(0);
        Ok(Place {
            url,
            chunk: CHUNK.max(least).min(CHUNK_MAX),
        })
    }

    /// The request with the pass, if it goes to the registry itself.
    fn shown_at(&self, place: &Url, request: RequestBuilder) -> RequestBuilder {
        let base = &self.session.base;
        if same_place(place, base) && place.scheme() == base.scheme() {
            self.session.shown(request)
        } else {
            request
        }
    }

    /// One request with all bytes of a known number.
    pub(super) fn send(
        &self,
        subject: &str,
        place: Place,
        blob: &ExportBlob<'_>,
    ) -> Result<(), RegistryError> {
        let part = Part {
            content: blob.open()?,
            at: 0,
            len: blob.size(),
            is_last: true,
        };
        let url = finishing(place.url, blob);
        let answer = self.send_part(subject, blob, self.client.put(url.clone()), &url, part)?;
        self.taken(subject, answer).map(drop)
    }

    /// One request for each chunk, and one that ends it.
    pub(super) fn send_in_chunks(
        &self,
        subject: &str,
        mut place: Place,
        blob: &ExportBlob<'_>,
    ) -> Result<(), RegistryError> {
        let mut patience = Patience::new(self.session.access);
        let mut content = blob.open()?;
        let mut at = 0;
        while at < blob.size() {
            let len = place.chunk.min(blob.size() - at);
            let bytes =
                read_chunk(&mut content, len, at + len == blob.size()).map_err(|source| {
                    let digest = *blob.digest();
                    BlobError::Read { digest, source }
                })?;
            match self.send_chunk(subject, &place, blob, at, bytes) {
                Ok(next) => {
                    patience = Patience::new(self.session.access);
                    (place, at) = (next, at + len);
                }
                Err(error @ RegistryError::Network { .. }) => {
                    patience.bear(subject, error)?;
                    (place, at) = self.where_it_is(subject, &place)?;
                    content = blob.open()?;
                    io::copy(&mut content.by_ref().take(at), &mut io::sink()).map_err(
                        |source| BlobError::Read {
                            digest: *blob.digest(),
                            source,
                        },
                    )?;
                }
                Err(error) => return Err(error),
            }
        }
        let url = finishing(place.url, blob);
        let request = self.client.put(url.clone()).header("content-length", "0");
        let session = &self.session;
        let answer = session.wait(session.send(subject, self.shown_at(&url, request)))?;
        self.taken(subject, answer).map(drop)
    }

    fn send_chunk(
        &self,
        subject: &str,
        place: &Place,
        blob: &ExportBlob<'_>,
        at: u64,
        bytes: Vec<u8>,
    ) -> Result<Place, RegistryError> {
        let len = bytes.len() as u64;
        let part = Part {
            content: Box::new(io::Cursor::new(bytes)),
            at,
            len,
            is_last: at + len == blob.size(),
        };
        let request = self
            .client
            .patch(place.url.clone())
            .header(CONTENT_RANGE, format!("{at}-{}", at + len - 1));
        let answer = self.send_part(subject, blob, request, &place.url, part)?;
        let answer = self.taken(subject, answer)?;
        self.place(subject, &answer)
    }

    /// Asks how much of an upload has arrived.
    fn where_it_is(&self, subject: &str, place: &Place) -> Result<(Place, u64), RegistryError> {
        let session = &self.session;
        let request = self.shown_at(&place.url, self.client.get(place.url.clone()));
        let answer = session.wait(session.send(subject, request))?;
        if answer.status().is_client_error() {
            // docker-registry's place holds how much had arrived, and is worth nothing when more has.
            let exchange = session.exchange(subject);
            return Err(RegistryError::Forgotten { exchange });
        }
        let answer = self.taken(subject, answer)?;
        let range = answer.headers().get(RANGE);
        let last = range
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.trim_start_matches("bytes=").split_once('-'))
            .and_then(|(_, last)| last.trim().parse::<u64>().ok());
        let at = match last {
            // Registries write this for nothing as well as for one byte.
            Some(0) | None => {
                let exchange = session.exchange(subject);
                return Err(RegistryError::Forgotten { exchange });
            }
            Some(last) => last.saturating_add(1),
        };
        Ok((self.place(subject, &answer)?, at))
    }

    /// An answer that says that all is well.
    fn taken(&self, subject: &str, answer: Response) -> Result<Response, RegistryError> {
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(RegistryError::Forgotten {
                exchange: self.session.exchange(subject),
            }),
            _ => Err(self.refusal(subject, answer)),
        }
    }

    fn send_part(
        &self,
        subject: &str,
        blob: &ExportBlob<'_>,
        request: RequestBuilder,
        place: &Url,
        part: Part,
    ) -> Result<Response, RegistryError> {
        let flow = Arc::new(Flow {
            sent: AtomicU64::new(part.at),
            error: Mutex::default(),
        });
        let end = part.at + part.len;
        let body = Stream {
            content: Mutex::new(part.content),
            left: part.len,
            is_last: part.is_last,
            flow: Arc::clone(&flow),
        };
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(reqwest::Body::wrap(body));
        let request = self.shown_at(place, request);
        let answer = self
            .session
            .wait(self.watch(subject, blob, &flow, end, request.send()));
        if let Some(source) = flow.take_error() {
            return Err(BlobError::Read {
                digest: *blob.digest(),
                source,
            }
            .into());
        }
        answer
    }

    /// Gives an upload up when nothing moves any more.
    async fn watch(
        &self,
        subject: &str,
        blob: &ExportBlob<'_>,
        flow: &Flow,
        end: u64,
        answer: impl Future<Output = Result<Response, reqwest::Error>>,
    ) -> Result<Response, RegistryError> {
        let mut answer = pin!(answer);
        let stall = self.session.access.options.stall_timeout;
        let (mut sent, mut moved) = (0, Instant::now());
        loop {
            let elapsed = match tokio::time::timeout(LOOK, answer.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(self.session.network(subject, error.without_url())),
                Err(elapsed) => elapsed,
            };
            let now = flow.sent.load(Ordering::Relaxed);
            if now > sent {
                (sent, moved) = (now, Instant::now());
                self.tell(TransferEvent::LayerProgress {
                    digest: *blob.digest(),
                    bytes: sent,
                });
            }
            let patience = if sent == end {
                stall * FINISHING
            } else {
                stall
            };
            if moved.elapsed() > patience {
                return Err(self.session.network(subject, elapsed));
            }
        }
    }
}

/// The place with what is said at the end.
fn finishing(mut place: Url, blob: &ExportBlob<'_>) -> Url {
    place
        .query_pairs_mut()
        .append_pair("digest", &blob.digest().to_string());
    place
}

/// As many bytes; behind the last ones there must be none.
fn read_chunk(content: &mut impl Read, len: u64, is_last: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(len).read_to_end(&mut bytes)?;
    let rest = if is_last {
        io::copy(content, &mut io::sink())?
    } else {
        0
    };
    if bytes.len() as u64 == len && rest == 0 {
        return Ok(bytes);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "the blob changed its size",
    ))
}

/// Where an upload goes on, relative to the registry or absolute; says what is wrong with it otherwise.
fn place_of(headers: &HeaderMap, base: &Url) -> Result<Url, String> {
    let text = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or("it says nowhere to upload to")?;
    let url = base
        .join(text)
        .map_err(|_| "it names an upload place that is no URL".to_owned())?;
    let host = url.host_str().unwrap_or_default().to_owned();
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it names an upload place with user information".to_owned());
    }
    if url.scheme() != "https" && url.scheme() != base.scheme() {
        return Err(format!(
            "it names an upload place on {host} that is not asked by https"
        ));
    }
    if is_inside(&url) && url.host_str() != base.host_str() {
        return Err(format!(
            "it names an upload place inside of the local network, {host}"
        ));
    }
    Ok(url)
}
