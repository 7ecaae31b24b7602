//! Pushing: blobs first, each only if the repository lacks it, then manifests by digest, the one under its tag last (OCI
//! distribution specification, "Pushing blobs" and "Pushing manifests").
//!
//! Invariant: the pass is shown to the registry itself (scheme, host and port) and to nobody whom a redirect or an upload's
//! `Location` names; redirects of uploads are not followed; the tag is put last.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, redirect};

use super::documents::Session;
use super::login::Pass;
use super::referrers::LISTED;
use super::retry::retry;
use super::upload::{Beginning, CHUNK};
use super::{Access, Direction, RegistryError, TransferEvent, install_crypto};
use crate::digest::Digest;
use crate::export::{Export, ExportBlob, Shipment};
use crate::manifest::{Descriptor, Document};
use crate::signature::{Signer, identity_of};

/// For how many other repositories access is asked, to take blobs over from them.
const NEIGHBOURS_MAX: usize = 4;

/// Pushes an image, or an index with its images, under the name's tag; under its digest alone, where the name is one.
///
/// # Errors
/// When the registry refuses or cannot be reached; the tag then means what it meant before.
pub fn push(
    access: Access<'_>,
    shipment: &Shipment<'_, '_>,
    signer: Option<&Signer>,
) -> Result<(), RegistryError> {
    install_crypto();
    let mut session = Session::new(access, Direction::Push)?;
    session.neighbours = neighbours(access, shipment);
    retry(access, "access", || session.renew())?;
    let signatures = match signer {
        Some(signer) => signatures(&mut session, signer, shipment)?,
        None => Vec::new(),
    };
    upload_all(access, &session, shipment, &signatures)?;
    let mut uploader = Uploader::new(session)?;
    let pinned = access.reference.digest().map(Digest::to_string);
    let tag = match (access.reference.tag(), &pinned) {
        (None, Some(digest)) => digest,
        (tag, _) => tag.unwrap_or("latest"),
    };
    let exports = shipment.exports().iter();
    let images = exports.map(|export| (export.descriptor(), export.manifest_bytes()));
    let beside: Vec<&Export<'_>> = shipment.attached().iter().chain(&signatures).collect();
    if shipment.index().is_some() || !beside.is_empty() {
        for (descriptor, bytes) in images {
            uploader.manifest(&descriptor.digest.to_string(), descriptor, bytes)?;
        }
    }
    for export in beside {
        uploader.attached(export)?;
    }
    uploader.manifest(tag, shipment.descriptor(), shipment.document())?;
    Ok(())
}

/// Signatures of all that has a digest, with those that are there already.
fn signatures(
    session: &mut Session<'_>,
    signer: &Signer,
    shipment: &Shipment<'_, '_>,
) -> Result<Vec<Export<'static>>, RegistryError> {
    let identity = identity_of(session.access.reference);
    let mut made = Vec::new();
    for subject in shipment.subjects() {
        let known = session.signed(&subject.digest)?;
        made.extend(signer.sign(&identity, subject, known)?);
    }
    Ok(made)
}

/// The repositories of the same registry that some of the blobs can be taken over from.
fn neighbours(access: Access<'_>, shipment: &Shipment<'_, '_>) -> Vec<String> {
    let (registry, own) = (access.reference.registry(), access.reference.repository());
    let mut found = BTreeSet::new();
    for blob in shipment.content() {
        let mut repositories = blob.repositories(registry).filter(|name| *name != own);
        found.extend(repositories.next().map(str::to_owned));
    }
    found.into_iter().take(NEIGHBOURS_MAX).collect()
}

/// Uploads the blobs that the registry lacks, several at a time. Manifests are no blobs there.
fn upload_all(
    access: Access<'_>,
    first: &Session<'_>,
    shipment: &Shipment<'_, '_>,
    signatures: &[Export<'_>],
) -> Result<(), RegistryError> {
    let pass: Pass = first.pass();
    let signatures = signatures.iter().flat_map(Export::content);
    let blobs: Vec<_> = shipment.content().chain(signatures).collect();
    let queue = Mutex::new(blobs.iter());
    let failed = AtomicBool::new(false);
    let work = || -> Result<(), RegistryError> {
        let mut session = Session::new(access, Direction::Push)?;
        session.pass = pass.clone();
        session.neighbours.clone_from(&first.neighbours);
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
pub(super) struct Uploader<'a> {
    pub(super) session: Session<'a>,
    pub(super) client: Client,
}

impl<'a> Uploader<'a> {
    fn new(session: Session<'a>) -> Result<Self, RegistryError> {
        let authorities = session
            .access
            .options
            .certificates_for(session.access.reference)?;
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

    pub(super) fn tell(&self, event: TransferEvent) {
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
        // What did not pass as a whole is sent in chunks, of which a broken connection loses one at most.
        let whole = Cell::new(true);
        let send = |uploader: &Self| {
            let place = match uploader.begin(&subject, blob)? {
                Beginning::TakenOver => {
                    uploader.tell(TransferEvent::LayerReused { digest });
                    return Ok(());
                }
                Beginning::At(place) => place,
            };
            uploader.tell(TransferEvent::LayerStarted {
                digest,
                size: blob.size(),
            });
            if whole.get() {
                uploader.send(&subject, place, blob)?;
            } else {
                uploader.send_in_chunks(&subject, place, blob)?;
            }
            uploader.tell(TransferEvent::LayerDone { digest });
            Ok(())
        };
        self.persistently(&subject, |uploader| {
            if uploader.exists(&subject, &digest)? {
                uploader.tell(TransferEvent::LayerReused { digest });
                return Ok(());
            }
            let large = blob.size() > CHUNK;
            match send(uploader) {
                Err(RegistryError::Status { status: 413, .. }) if large && whole.get() => {
                    whole.set(false);
                    send(uploader)
                }
                Err(error @ RegistryError::Network { .. }) if large => {
                    whole.set(false);
                    Err(error)
                }
                other => other,
            }
        })?;
        blob.note_place(self.session.access.reference);
        Ok(())
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

    /// An artifact that refers to something, and its entry in the list of what does.
    fn attached(&mut self, export: &Export<'_>) -> Result<(), RegistryError> {
        let (descriptor, bytes) = (export.descriptor(), export.manifest_bytes());
        let digest = descriptor.digest.to_string();
        let listed = self.manifest(export.tag().unwrap_or(&digest), descriptor, bytes)?;
        let Document::Manifest(manifest) = Document::parse(bytes, None)? else {
            return Ok(());
        };
        match manifest.subject() {
            Some(subject) if !listed => {
                self.list_by_tag(&subject.digest, &manifest.referrer(bytes))
            }
            _ => Ok(()),
        }
    }

    /// Says whether the registry lists it as a referrer of its subject.
    pub(super) fn manifest(
        &mut self,
        name: &str,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<bool, RegistryError> {
        let subject = format!("manifest {name}");
        let listed = Cell::new(false);
        self.persistently(&subject, |uploader| {
            let session = &uploader.session;
            let request = uploader
                .client
                .put(session.url(&format!("manifests/{name}")))
                .header(CONTENT_TYPE, descriptor.media_type.as_str())
                .body(bytes.to_vec());
            let response = session.wait(session.send(&subject, session.shown(request)))?;
            let announced = session.announced(response.headers())?;
            listed.set(response.headers().contains_key(LISTED));
            uploader.accepted(&subject, response)?;
            announced.map_or(Ok(()), |found| {
                session.compare(&subject, descriptor.digest, found)
            })
        })?;
        Ok(listed.get())
    }

    pub(super) fn accepted(&self, subject: &str, response: Response) -> Result<(), RegistryError> {
        if response.status().is_success() {
            return Ok(());
        }
        Err(self.refusal(subject, response))
    }

    pub(super) fn refusal(&self, subject: &str, response: Response) -> RegistryError {
        let told = async { Ok(self.session.refusal(subject, response).await) };
        self.session.wait(told).unwrap_or_else(|stopped| stopped)
    }
}
