//! A repository of a registry as a place of documents and blobs, for copying and looking.
//!
//! Invariant: nothing is stored. Documents are verified here; blobs are whatever arrives, for the reader to hash.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

use super::documents::Session;
use super::download::Download;
use super::login::Pass;
use super::{Access, Direction, RegistryError, RegistryOptions, install_crypto};
use crate::auth::Credentials;
use crate::digest::Digest;
use crate::image::{BlobError, BlobSource};
use crate::json::{self, DOCUMENT_MAX};
use crate::manifest::{Descriptor, Document};
use crate::media_type::MediaType;
use crate::reference::{Reference, Tag};

/// How many pieces wait for a slow reader.
const PIECES: usize = 16;
/// More pages than any list of tags has.
const PAGES_MAX: usize = 1000;

/// A repository, and the right to read it.
pub struct Remote {
    origin: Arc<Origin>,
}

struct Origin {
    reference: Reference,
    credentials: Credentials,
    options: RegistryOptions,
    pass: Mutex<Pass>,
}

#[derive(serde::Deserialize)]
struct TagList {
    #[serde(default, deserialize_with = "json::null_is_default")]
    tags: Vec<String>,
}

impl Origin {
    /// Does something with a session, and keeps the pass that it got.
    fn session<T>(
        &self,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let access = Access {
            reference: &self.reference,
            credentials: &self.credentials,
            options: &self.options,
            progress: &|_| (),
        };
        let mut session = Session::new(access, Direction::Pull)?;
        session.pass = self.lock().clone();
        let done = work(&mut session);
        *self.lock() = session.pass();
        done
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    /// Nothing is asked yet.
    pub fn new(
        reference: &Reference,
        credentials: &Credentials,
        options: &RegistryOptions,
    ) -> Self {
        install_crypto();
        Self {
            origin: Arc::new(Origin {
                reference: reference.clone(),
                credentials: credentials.clone(),
                options: options.clone(),
                pass: Mutex::new(Pass::None),
            }),
        }
    }

    /// The name.
    pub fn reference(&self) -> &Reference {
        &self.origin.reference
    }

    /// The manifest or index that a descriptor means, or else the name, with its descriptor.
    ///
    /// # Errors
    /// When it cannot be had, is not what was asked for, or neither of both.
    pub fn document(
        &self,
        wanted: Option<&Descriptor>,
    ) -> Result<(Vec<u8>, Descriptor), RegistryError> {
        let (bytes, digest, declared) = self.origin.session(|session| session.manifest(wanted))?;
        let own = match Document::parse(&bytes, declared.as_ref())? {
            Document::Manifest(manifest) => manifest.media_type.or(declared),
            Document::Index(index) => index.media_type.or(declared.or(Some(MediaType::OciIndex))),
        };
        let media_type = own.unwrap_or(MediaType::OciManifest);
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Ok((bytes, descriptor))
    }

    /// The manifest or index under a tag; `None` where there is none.
    ///
    /// # Errors
    /// When the registry cannot be asked, or it is neither of both.
    pub fn tagged(&self, tag: &str) -> Result<Option<(Vec<u8>, Descriptor)>, RegistryError> {
        self.origin.session(|session| session.tagged(tag))
    }

    /// What refers to a manifest or index of the repository.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub fn referrers(&self, to: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        self.origin.session(|session| session.referrers(to))
    }

    /// A small blob, such as a configuration.
    ///
    /// # Errors
    /// When it cannot be had, or is another one.
    pub fn small_blob(&self, wanted: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        self.origin.session(|session| session.config(wanted))
    }

    /// All tags of the repository, as the registry orders them.
    ///
    /// # Errors
    /// When they cannot be had, or one is none.
    pub fn tags(&self) -> Result<Vec<Tag>, RegistryError> {
        self.origin.session(|session| {
            let mut next = Some(session.url("tags/list"));
            let mut tags = Vec::new();
            for _ in 0..PAGES_MAX {
                let Some(url) = next else { return Ok(tags) };
                let (headers, bytes) = session.get_persistently("the list of tags", &url)?;
                let page: TagList = json::parse("list of tags", &bytes, &["tags"])?;
                for tag in page.tags {
                    let tag = Tag::checked(&tag).ok_or_else(|| RegistryError::NoTag {
                        host: session.host(),
                    })?;
                    tags.push(tag);
                }
                next = next_page(&headers, &url);
            }
            Err(RegistryError::TooLarge {
                exchange: session.exchange("the list of tags"),
                limit: (PAGES_MAX * DOCUMENT_MAX) as u64,
            })
        })
    }
}

/// RFC 8288: `</v2/app/tags/list?last=x>; rel="next"`. Pages of another place are none of ours.
pub(super) fn next_page(headers: &HeaderMap, of: &Url) -> Option<Url> {
    let text = headers.get(LINK)?.to_str().ok()?;
    let (target, rest) = text.trim().strip_prefix('<')?.split_once('>')?;
    let next = of.join(target).ok()?;
    let same = next.origin() == of.origin() && next.path() == of.path() && next != *of;
    (same && rest.contains("next")).then_some(next)
}

impl BlobSource for Remote {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, BlobError> {
        let (sender, pieces) = sync_channel(PIECES);
        let (origin, digest) = (Arc::clone(&self.origin), *digest);
        std::thread::Builder::new()
            .spawn(move || fetch(&origin, &digest, &sender))
            .map_err(|source| BlobError::Read { digest, source })?;
        Ok(Box::new(Pieces {
            pieces,
            piece: Bytes::new(),
        }))
    }
}

/// Fetches for as long as there is a reader.
fn fetch(origin: &Origin, digest: &Digest, reader: &SyncSender<io::Result<Bytes>>) {
    let done = origin.session(|session| {
        let mut download = Download::new(session, format!("blob {digest}"), digest, None);
        while let Some(piece) = download.piece()? {
            if reader.send(Ok(piece)).is_err() {
                return Ok(());
            }
        }
        // Nothing in it: the end, as opposed to a thread that died.
        let _ = reader.send(Ok(Bytes::new()));
        Ok(())
    });
    if let Err(error) = done {
        let _ = reader.send(Err(io::Error::other(error)));
    }
}

/// What [`fetch`] sends.
struct Pieces {
    pieces: Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let next = self.pieces.recv();
            self.piece = next.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??;
        }
        let len = self.piece.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.piece.split_to(len));
        Ok(len)
    }
}
