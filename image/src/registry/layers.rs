//! Fetching layers: several at a time, each hashed, decompressed and stored while it arrives.
//!
//! Every thread has its own small runtime and client, so that one layer's decompression never holds up another's bytes.
//!
//! Invariant: no layer is visible in the store before both of its digests were right.

use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use oci_client::RegistryOperation;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::{RegistryToken, RegistryTokenType};
use tokio::io::AsyncWrite;

use super::documents::{Session, detail, is_insecure};
use super::login::Pass;
use super::retry::retry;
use super::{Direction, Exchange, Pull, RegistryError, TransferEvent, runtime};
use crate::authority::of_registry;
use crate::image::{Image, Layer};
use crate::ingest::{LayerError, LayerWriter};
use crate::store::Store;

/// How often progress is told, in bytes.
const PROGRESS_STEP: u64 = 256 << 10;
/// What has to arrive in each stall limit: a byte now and then is no progress.
const WINDOW_MIN: u64 = 1 << 10;

/// Brings all layers of an image into the store that are not there yet.
pub(super) fn fetch(
    pull: &Pull<'_>,
    session: &Session<'_>,
    image: &Image,
    store: &Store,
) -> Result<(), RegistryError> {
    let queue = Mutex::new(image.layers().iter());
    let pass = session.pass();
    let failed = AtomicBool::new(false);
    let work = || -> Result<(), RegistryError> {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(layer) = next().filter(|_| !failed.load(Ordering::Relaxed)) {
            fetch_layer(pull, &pass, layer, store)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = pull
            .access
            .options
            .parallel
            .clamp(1, image.layers().len().max(1));
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // All are joined before the first error is told.
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        results
            .into_iter()
            .try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn fetch_layer(
    pull: &Pull<'_>,
    pass: &Pass,
    layer: &Layer,
    store: &Store,
) -> Result<(), RegistryError> {
    let digest = layer.descriptor.digest;
    // Another rbuild may be fetching the same layer: then we wait and find it.
    let _claim = store.claim(layer.diff_id.digest())?;
    if store.reuse(layer.diff_id.digest())? {
        (pull.access.progress)(TransferEvent::LayerReused { digest });
        return Ok(());
    }
    let mut pass = pass.clone();
    let mut renewed = false;
    retry(pull.access, &format!("layer {digest}"), || {
        let result = fetch_once(pull, &pass, layer, store);
        if !matches!(result, Err(RegistryError::Denied { .. })) || renewed {
            return result;
        }
        // Tokens live for minutes; a long pull may outlive one.
        renewed = true;
        let mut session = Session::new(pull.access, Direction::Pull)?;
        session.renew()?;
        pass = session.pass();
        fetch_once(pull, &pass, layer, store)
    })?;
    (pull.access.progress)(TransferEvent::LayerDone { digest });
    Ok(())
}

fn fetch_once(
    pull: &Pull<'_>,
    pass: &Pass,
    layer: &Layer,
    store: &Store,
) -> Result<(), RegistryError> {
    let descriptor = &layer.descriptor;
    (pull.access.progress)(TransferEvent::LayerStarted {
        digest: descriptor.digest,
        size: descriptor.size,
    });
    let host = pull.access.reference.registry_host().to_owned();
    let name = oci_client::Reference::with_digest(
        host,
        pull.access.reference.repository().to_owned(),
        descriptor.digest.to_string(),
    );
    // `urls` stays out: foreign places are not asked (CVE-2020-15157).
    let blob = OciDescriptor {
        media_type: descriptor.media_type.to_string(),
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    };
    let writer = LayerWriter::new(store, layer, pull.observer)?;
    let arrived = AtomicU64::new(0);
    let mut sink = Sink {
        pull,
        layer,
        writer,
        arrived: &arrived,
        told: 0,
        error: None,
    };
    let transferred = async {
        let client = client(pull)?;
        show(&client, &name, pass).await;
        let transfer = client.pull_blob(&name, &blob, &mut sink);
        watch(pull, layer, &arrived, pin!(transfer)).await
    };
    let result = runtime()?.block_on(super::unless_stopped(
        &pull.access.options.stop,
        transferred,
    ));
    if let Some(source) = sink.error {
        return Err(LayerError::Stream {
            diff_id: layer.diff_id,
            source,
        }
        .into());
    }
    result?;
    Ok(sink.writer.finish()?)
}

/// Gives a transfer up when too little arrives: no header, a stall, a byte now and then, or an error without an end.
async fn watch(
    pull: &Pull<'_>,
    layer: &Layer,
    arrived: &AtomicU64,
    mut transfer: Pin<&mut impl Future<Output = Result<(), OciDistributionError>>>,
) -> Result<(), RegistryError> {
    loop {
        let before = arrived.load(Ordering::Relaxed);
        match tokio::time::timeout(pull.access.options.stall_timeout, transfer.as_mut()).await {
            Ok(result) => return result.map_err(|error| classify(pull, layer, error)),
            Err(_) if arrived.load(Ordering::Relaxed) - before >= WINDOW_MIN => {}
            Err(elapsed) => {
                return Err(RegistryError::Network {
                    exchange: exchange(pull, layer),
                    source: elapsed.into(),
                });
            }
        }
    }
}

fn client(pull: &Pull<'_>) -> Result<Client, RegistryError> {
    let host = pull.access.reference.registry_host().to_owned();
    let config = ClientConfig {
        protocol: if is_insecure(&pull.access) {
            ClientProtocol::HttpsExcept(vec![host])
        } else {
            ClientProtocol::Https
        },
        connect_timeout: Some(pull.access.options.connect_timeout),
        read_timeout: Some(pull.access.options.stall_timeout),
        extra_root_certificates: of_registry(&pull.access.options.authorities),
        user_agent: concat!("rbuild/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| RegistryError::Setup(error.into()))
}

/// Hands our own token over. The client looks for one only where credentials are stored, so "anonymous" is stored with it;
/// without a token nothing is, and it asks without more ado.
async fn show(client: &Client, name: &oci_client::Reference, pass: &Pass) {
    let token = match pass {
        Pass::None => return,
        Pass::Basic { username, password } => {
            RegistryTokenType::Basic(username.clone(), password.clone())
        }
        Pass::Bearer(token) => RegistryTokenType::Bearer(RegistryToken::Token {
            token: token.clone(),
        }),
    };
    client
        .store_auth_if_needed(name.resolve_registry(), &RegistryAuth::Anonymous)
        .await;
    client
        .tokens
        .insert(name, RegistryOperation::Pull, token)
        .await;
}

fn exchange(pull: &Pull<'_>, layer: &Layer) -> Exchange {
    Exchange {
        direction: Direction::Pull,
        subject: format!("layer {}", layer.descriptor.digest),
        host: pull.access.reference.registry_host().to_owned(),
    }
}

fn classify(pull: &Pull<'_>, layer: &Layer, error: OciDistributionError) -> RegistryError {
    let exchange = exchange(pull, layer);
    match error {
        OciDistributionError::UnauthorizedError { .. } => {
            let hint = "the credentials for it are wrong, missing or not sufficient";
            RegistryError::Denied { exchange, hint }
        }
        OciDistributionError::ServerError { code, message, .. } => {
            let detail = detail(message.as_bytes());
            RegistryError::Status {
                exchange,
                status: code,
                detail,
                retry_after: None,
            }
        }
        OciDistributionError::RegistryError { envelope, .. } => refused(exchange, &envelope),
        OciDistributionError::DigestError(error) => {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            LayerError::Stream {
                diff_id: layer.diff_id,
                source,
            }
            .into()
        }
        OciDistributionError::RequestError(error) => RegistryError::Network {
            exchange,
            source: error.without_url().into(),
        },
        other => RegistryError::Network {
            exchange,
            source: other.into(),
        },
    }
}

/// A well-formed error: the client keeps the status to itself, but "too many requests" has a code.
fn refused(exchange: Exchange, envelope: &OciEnvelope) -> RegistryError {
    let busy = envelope
        .errors
        .iter()
        .any(|error| error.code == OciErrorCode::Toomanyrequests);
    let detail = detail(envelope.to_string().as_bytes());
    if busy {
        return RegistryError::Status {
            exchange,
            status: 429,
            detail,
            retry_after: None,
        };
    }
    RegistryError::Refused { exchange, detail }
}

/// What the client writes into. Its own errors are kept: the client would hide them among the network's.
struct Sink<'a> {
    pull: &'a Pull<'a>,
    layer: &'a Layer,
    writer: LayerWriter<'a>,
    arrived: &'a AtomicU64,
    told: u64,
    error: Option<io::Error>,
}

impl AsyncWrite for Sink<'_> {
    /// Blocks while it decompresses and writes: this runtime has nothing else to do.
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Err(error) = self.writer.write_all(bytes) {
            let kind = error.kind();
            self.error = Some(error);
            return Poll::Ready(Err(kind.into()));
        }
        let len = bytes.len() as u64;
        let arrived = self.arrived.fetch_add(len, Ordering::Relaxed) + len;
        if arrived - self.told >= PROGRESS_STEP || arrived == self.layer.descriptor.size {
            self.told = arrived;
            let digest = self.layer.descriptor.digest;
            (self.pull.access.progress)(TransferEvent::LayerProgress {
                digest,
                bytes: arrived,
            });
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
