//! Pushing an image: its blobs side by side, then the manifest that refers to them under its tag (OCI distribution specification,
//! "Pushing blobs" and "Pushing manifests").
//!
//! Invariant: the pass is shown to the registry itself (scheme, host and port) and to nobody whom a redirect or an upload's
//! `Location` names; redirects of uploads are not followed; the tag is put last.

use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Client, Response, StatusCode, Url, redirect};

use super::challenge::{is_inside, same_place};
use super::documents::Session;
use super::login::Pass;
use super::retry::retry;
use super::{Access, Direction, RegistryError, TransferEvent, install_crypto};
use crate::authority::certificates;
use crate::digest::Digest;
use crate::export::{ExportBlob, Shipment};
use crate::image::BlobError;
use crate::manifest::Descriptor;

/// How much is read from a blob at once.
const PIECE: usize = 128 << 10;
/// How often an upload is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Registries on object stores copy a large blob once more after its last byte: so many stall limits are waited for that.
const FINISHING: u32 = 10;

/// Pushes an image, or an index with its images, under the name's tag.
///
/// # Errors
/// When the registry refuses or cannot be reached; the tag then means what it meant before.
pub fn push(access: Access<'_>, shipment: &Shipment<'_, '_>) -> Result<(), RegistryError> {
    install_crypto();
    let mut session = Session::new(access, Direction::Push)?;
    retry(access, "access", || session.renew())?;
    upload_all(access, &session.pass(), shipment)?;
    let mut uploader = Uploader::new(session)?;
    let tag = access.reference.tag().unwrap_or("latest");
    let exports = shipment.exports().iter();
    let images = exports.map(|export| (export.descriptor(), export.image().manifest_bytes()));
    let Some((descriptor, bytes)) = shipment.index() else {
        return images
            .into_iter()
            .try_for_each(|(descriptor, bytes)| uploader.manifest(tag, descriptor, bytes));
    };
    for (descriptor, bytes) in images {
        uploader.manifest(&descriptor.digest.to_string(), descriptor, bytes)?;
    }
    uploader.manifest(tag, descriptor, bytes)
}

/// Uploads the blobs that the registry lacks, several at a time. Manifests are no blobs there.
fn upload_all(
    access: Access<'_>,
    pass: &Pass,
    shipment: &Shipment<'_, '_>,
) -> Result<(), RegistryError> {
    let is_manifest = |digest: &Digest| {
        let mut exports = shipment.exports().iter();
        exports.any(|export| export.image().digest() == digest)
    };
    let blobs: Vec<_> = shipment
        .blobs()
        .filter(|blob| !is_manifest(blob.digest()))
        .collect();
    let queue = Mutex::new(blobs.iter());
    let failed = AtomicBool::new(false);
    let work = || -> Result<(), RegistryError> {
        let mut session = Session::new(access, Direction::Push)?;
        session.pass = pass.clone();
        let mut uploader = Uploader::new(session)?;
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(blob) = next().filter(|_| !failed.load(Ordering::Relaxed)) {
            uploader
                .blob(blob)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = access.options.parallel.clamp(1, blobs.len().max(1));
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // All are joined before the first error is told.
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        results
            .into_iter()
            .try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// What sends: a client that follows no redirect, and lets an upload take its time as long as it moves.
struct Uploader<'a> {
    session: Session<'a>,
    client: Client,
}

impl<'a> Uploader<'a> {
    fn new(session: Session<'a>) -> Result<Self, RegistryError> {
        let authorities = certificates(&session.access.options.authorities)
            .map_err(|error| RegistryError::Setup(error.into()))?;
        let client = Client::builder()
            .tls_certs_merge(authorities)
            .redirect(redirect::Policy::none())
            .connect_timeout(session.access.options.connect_timeout)
            .referer(false)
            .user_agent(concat!("rbuild/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| RegistryError::Setup(error.into()))?;
        Ok(Self { session, client })
    }

    fn tell(&self, event: TransferEvent) {
        (self.session.access.progress)(event);
    }

    /// Does something that may find its token too old: once more, with a new one.
    fn persistently(
        &mut self,
        subject: &str,
        attempt: impl Fn(&Self) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        let mut renewed = false;
        retry(self.session.access, subject, || {
            let result = attempt(self);
            if !matches!(result, Err(RegistryError::Denied { .. })) || renewed {
                return result;
            }
            renewed = true;
            self.session.renew()?;
            attempt(self)
        })
    }

    fn blob(&mut self, blob: &ExportBlob<'_>) -> Result<(), RegistryError> {
        let subject = format!("blob {}", blob.digest());
        let digest = *blob.digest();
        self.persistently(&subject, |uploader| {
            if uploader.exists(&subject, &digest)? {
                uploader.tell(TransferEvent::LayerReused { digest });
                return Ok(());
            }
            uploader.tell(TransferEvent::LayerStarted {
                digest,
                size: blob.size(),
            });
            let place = uploader.begin(&subject)?;
            uploader.send(&subject, place, blob)?;
            uploader.tell(TransferEvent::LayerDone { digest });
            Ok(())
        })
    }

    fn exists(&self, subject: &str, digest: &Digest) -> Result<bool, RegistryError> {
        let session = &self.session;
        let url = session.url(&format!("blobs/{digest}"));
        // Reading may be redirected to a content server: the session's own client knows how.
        let request = session.shown(session.client.head(url));
        let response = session.wait(session.send(subject, request))?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal(subject, response)),
        }
    }

    /// Asks where the blob may go.
    fn begin(&self, subject: &str) -> Result<Url, RegistryError> {
        let session = &self.session;
        let request = session.shown(self.client.post(session.url("blobs/uploads/")));
        let response = session.wait(session.send(subject, request))?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refusal(subject, response));
        }
        place_of(response.headers(), &session.base).map_err(|reason| RegistryError::Upload {
            exchange: session.exchange(subject),
            reason,
        })
    }

    /// One request with all bytes of a known number.
    fn send(
        &self,
        subject: &str,
        mut place: Url,
        blob: &ExportBlob<'_>,
    ) -> Result<(), RegistryError> {
        place
            .query_pairs_mut()
            .append_pair("digest", &blob.digest().to_string());
        let flow = Arc::new(Flow::default());
        let body = Stream {
            content: Mutex::new(blob.open()?),
            left: blob.size(),
            flow: Arc::clone(&flow),
        };
        let own =
            same_place(&place, &self.session.base) && place.scheme() == self.session.base.scheme();
        let request = self
            .client
            .put(place)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(reqwest::Body::wrap(body));
        let request = if own {
            self.session.shown(request)
        } else {
            request
        };
        let answer = self
            .session
            .wait(self.watch(subject, blob, &flow, request.send()));
        if let Some(source) = flow.take_error() {
            return Err(BlobError::Read {
                digest: *blob.digest(),
                source,
            }
            .into());
        }
        let answer = answer?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(RegistryError::Forgotten {
                exchange: self.session.exchange(subject),
            });
        }
        self.accepted(subject, answer)
    }

    /// Gives an upload up when nothing moves any more.
    async fn watch(
        &self,
        subject: &str,
        blob: &ExportBlob<'_>,
        flow: &Flow,
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
            let patience = if sent == blob.size() {
                stall * FINISHING
            } else {
                stall
            };
            if moved.elapsed() > patience {
                return Err(self.session.network(subject, elapsed));
            }
        }
    }

    fn manifest(
        &mut self,
        name: &str,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let subject = format!("manifest {name}");
        self.persistently(&subject, |uploader| {
            let session = &uploader.session;
            let request = uploader
                .client
                .put(session.url(&format!("manifests/{name}")))
                .header(CONTENT_TYPE, descriptor.media_type.as_str())
                .body(bytes.to_vec());
            let response = session.wait(session.send(&subject, session.shown(request)))?;
            let announced = session.announced(response.headers())?;
            uploader.accepted(&subject, response)?;
            announced.map_or(Ok(()), |found| {
                session.compare(&subject, descriptor.digest, found)
            })
        })
    }

    fn accepted(&self, subject: &str, response: Response) -> Result<(), RegistryError> {
        if response.status().is_success() {
            return Ok(());
        }
        Err(self.refusal(subject, response))
    }

    fn refusal(&self, subject: &str, response: Response) -> RegistryError {
        let told = async { Ok(self.session.refusal(subject, response).await) };
        self.session.wait(told).unwrap_or_else(|stopped| stopped)
    }
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

/// How an upload goes.
#[derive(Default)]
struct Flow {
    sent: AtomicU64,
    /// Why the blob cannot be read on; the client would hide it among the network's errors.
    error: Mutex<Option<io::Error>>,
}

impl Flow {
    fn take_error(&self) -> Option<io::Error> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// A blob as the body of a request.
struct Stream {
    content: Mutex<Box<dyn Read + Send>>,
    left: u64,
    flow: Arc<Flow>,
}

impl Stream {
    fn next(&mut self) -> io::Result<Bytes> {
        let content = self
            .content
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut piece = Vec::new();
        content.take(PIECE as u64).read_to_end(&mut piece)?;
        let len = piece.len() as u64;
        if len > self.left || (len == 0 && self.left > 0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the blob changed its size",
            ));
        }
        self.left -= len;
        if self.left == 0 {
            // The end is where a damaged blob is noticed.
            io::copy(content, &mut io::sink())?;
        }
        self.flow.sent.fetch_add(len, Ordering::Relaxed);
        Ok(piece.into())
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    /// Blocks while it reads: this runtime has nothing else to do.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.next().map_err(|error| {
            let kind = error.kind();
            let mut slot = self
                .flow
                .error
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *slot = Some(error);
            io::Error::from(kind)
        });
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
