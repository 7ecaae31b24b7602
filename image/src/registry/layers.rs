//! Fetching layers: several at a time, each hashed, decompressed and stored while it arrives.
//!
//! Every thread has its own small runtime and client, so that one layer's decompression never holds up another's bytes.
//!
//! Invariant: no layer is visible in the store before both of its digests were right. `urls` are never asked (CVE-2020-15157).

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::documents::Session;
use super::download::Download;
use super::login::Pass;
use super::retry::retry_damaged;
use super::{Direction, Pull, RegistryError, TransferEvent};
use crate::image::Layer;
use crate::ingest::{LayerError, LayerWriter};
use crate::store::Store;

/// How often progress is told, in bytes.
const PROGRESS_STEP: u64 = 256 << 10;

/// Brings all of the layers into the store that are not there yet.
pub(super) fn fetch(
    pull: &Pull<'_>,
    pass: &Pass,
    layers: &[Layer],
    store: &Store,
) -> Result<(), RegistryError> {
    let queue = Mutex::new(layers.iter());
    let failed = AtomicBool::new(false);
    let work = || -> Result<(), RegistryError> {
        let mut worker = Worker {
            pull,
            pass,
            store,
            session: None,
        };
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(layer) = next().filter(|_| !failed.load(Ordering::Relaxed)) {
            worker
                .layer(layer)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = pull.access.options.parallel.clamp(1, layers.len().max(1));
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // All are joined before the first error is told.
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        results
            .into_iter()
            .try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// One thread's part.
struct Worker<'w, 'a> {
    pull: &'w Pull<'a>,
    pass: &'w Pass,
    store: &'w Store,
    /// From the first layer on that is not there.
    session: Option<Session<'a>>,
}

impl Worker<'_, '_> {
    fn layer(&mut self, layer: &Layer) -> Result<(), RegistryError> {
        let digest = layer.descriptor.digest;
        // Another rbuild may be fetching the same layer: then we wait and find it.
        let _claim = self.store.claim(layer.diff_id.digest())?;
        if self.store.reuse(layer.diff_id.digest())? {
            (self.pull.access.progress)(TransferEvent::LayerReused { digest });
            return Ok(());
        }
        let access = self.pull.access;
        let subject = format!("layer {digest}");
        retry_damaged(access, &subject, || self.fetch(&subject, layer))?;
        (access.progress)(TransferEvent::LayerDone { digest });
        Ok(())
    }

    fn fetch(&mut self, subject: &str, layer: &Layer) -> Result<(), RegistryError> {
        let (access, descriptor) = (self.pull.access, &layer.descriptor);
        let session = match &mut self.session {
            Some(session) => session,
            empty => {
                let mut session = Session::new(access, Direction::Pull)?;
                session.pass = self.pass.clone();
                empty.insert(session)
            }
        };
        (access.progress)(TransferEvent::LayerStarted {
            digest: descriptor.digest,
            size: descriptor.size,
        });
        let mut writer = LayerWriter::new(self.store, layer, self.pull.observer)?;
        let (digest, size) = (descriptor.digest, descriptor.size);
        let mut download = Download::new(session, subject.to_owned(), &digest, Some(size));
        let (mut arrived, mut told) = (0, 0);
        while let Some(piece) = download.piece()? {
            writer
                .write_all(&piece)
                .map_err(|source| LayerError::Stream {
                    diff_id: layer.diff_id,
                    source,
                })?;
            arrived += piece.len() as u64;
            if arrived - told >= PROGRESS_STEP || arrived == size {
                told = arrived;
                (access.progress)(TransferEvent::LayerProgress {
                    digest,
                    bytes: arrived,
                });
            }
        }
        Ok(writer.finish()?)
    }
}
