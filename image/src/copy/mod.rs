//! Copying an image from one place to another.
//!
//! Invariant: an image that is not asked to change has the same digest at both places, unless it comes from the store or from a
//! docker-archive, which know layers uncompressed. Every byte is hashed on its way.

pub mod attached;
mod source;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compress::Packing;
use crate::digest::Digest;
use crate::directory::{self, Directory, DirectoryError};
use crate::docker_archive::{self, DockerArchive, DockerArchiveError};
use crate::export::{Export, ExportError, Shipment};
use crate::image::{BlobError, BlobSource, Image, ImageError, read_document};
use crate::ingest::{LayerError, LayerObserver, take_layer};
use crate::layout::{self, Layout, LayoutError};
use crate::manifest::{Descriptor, Document, Index};
use crate::media_type::{Format, MediaType};
use crate::platform::Platform;
use crate::reference::{ParseReferenceError, Reference};
use crate::registry::{self, Access, Pull, RegistryError, RegistryOptions, Remote, TransferEvent};
use crate::signature::{SignError, Signer, identity_of};
use crate::store::{Store, StoreError};
use crate::transport::Transport;
use crate::{Compression, Credentials};
use source::Source;

/// How one of the two registries is talked to.
#[derive(Clone, Copy)]
pub struct End<'c> {
    /// Who asks.
    pub credentials: &'c Credentials,
    /// How.
    pub options: &'c RegistryOptions,
}

/// A copy, and all that it needs.
pub struct Copy<'c> {
    /// Where images of the store are, and layers that are to be packed anew.
    pub store: &'c Store,
    /// The registry that is read.
    pub source: End<'c>,
    /// The registry that is written.
    pub destination: End<'c>,
    /// Which image of an index; none is the whole index.
    pub platform: Option<&'c Platform>,
    /// Other media types than the image has.
    pub format: Option<Format>,
    /// Another compression than the image has.
    pub packing: Option<Packing>,
    /// Whether the artifacts that refer to the image go with it: bills of materials, provenance, signatures.
    pub referrers: bool,
    /// Signs what arrives.
    pub signer: Option<&'c Signer>,
    /// Sees layers that come into the store.
    pub observer: &'c dyn LayerObserver,
    /// Hears what happens, from several threads.
    pub progress: &'c (dyn Fn(TransferEvent) + Sync),
}

/// Why something was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A layout failed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A docker-archive failed.
    #[error(transparent)]
    DockerArchive(#[from] DockerArchiveError),
    /// A directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The image is malformed or incomplete.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer was refused.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A blob cannot be made ready.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A name for the store is none.
    #[error(transparent)]
    Name(#[from] ParseReferenceError),
    /// The place cannot have what is copied.
    #[error("copy to {place}: {reason}")]
    Unfit {
        /// The destination.
        place: String,
        /// Why.
        reason: &'static str,
    },
    /// A file cannot be written.
    #[error("write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<BlobError> for CopyError {
    fn from(error: BlobError) -> Self {
        Self::Image(error.into())
    }
}

/// What is copied.
enum Goods {
    /// As it is elsewhere.
    Elsewhere(Box<Elsewhere>),
    /// Images of the store, with how their index lists them.
    Stored(Stored),
}

/// Documents with their descriptors, and an index of them.
struct Elsewhere {
    blobs: Arc<dyn BlobSource + Send + Sync>,
    place: Option<Reference>,
    manifests: Vec<(Vec<u8>, Descriptor)>,
    index: Option<(Descriptor, Vec<u8>)>,
    /// Artifacts that refer to them.
    attached: Vec<Export<'static>>,
}

struct Stored {
    images: Vec<(Image, Descriptor)>,
    index: Option<Index>,
}

/// Copies; gives the descriptor and the document that the destination has.
///
/// # Errors
/// When it cannot be read or written, or is not what it claims to be.
pub fn copy(
    copy: &Copy<'_>,
    from: &Transport,
    to: &Transport,
) -> Result<(Descriptor, Vec<u8>), CopyError> {
    copy.check(from, to)?;
    let mut goods = copy.goods(from)?;
    let into_store = matches!(to, Transport::Store(_) | Transport::DockerArchive { .. });
    if into_store || copy.format.is_some() || copy.packing.is_some() {
        goods = Goods::Stored(copy.take_in(from, goods)?);
    }
    match (to, goods) {
        (Transport::Store(name), Goods::Stored(stored)) => copy.to_store(name, stored),
        (Transport::DockerArchive { path, name }, Goods::Stored(stored)) => {
            copy.to_docker_archive(to, path, name.as_ref(), &stored)
        }
        (_, Goods::Stored(stored)) => copy.ship_stored(to, stored),
        (_, Goods::Elsewhere(elsewhere)) => copy.ship_verbatim(to, *elsewhere),
    }
}

/// Brings images into the store, without a name; gives them as they are there.
///
/// # Errors
/// As [`copy`].
pub fn import(copy: &Copy<'_>, from: &Transport) -> Result<Vec<Image>, CopyError> {
    let Stored { images, .. } = copy.take_in(from, copy.goods(from)?)?;
    Ok(images.into_iter().map(|(image, _)| image).collect())
}

impl Copy<'_> {
    /// What refers to a digest is nothing to another one, and not every place has room for it.
    fn check(&self, from: &Transport, to: &Transport) -> Result<(), CopyError> {
        let holds = |place: &Transport| {
            matches!(
                place,
                Transport::Registry(_)
                    | Transport::OciDirectory { .. }
                    | Transport::OciArchive { .. }
            )
        };
        if self.referrers && !(holds(from) && holds(to)) {
            return Err(unfit(
                to,
                "what refers to an image is copied between registries and OCI layouts alone",
            ));
        }
        if self.referrers && (self.format.is_some() || self.packing.is_some()) {
            return Err(unfit(
                to,
                "what refers to the image would not refer to it in another format or compression",
            ));
        }
        if self.signer.is_some() && !holds(to) {
            return Err(unfit(
                to,
                "signatures go to registries and OCI layouts alone",
            ));
        }
        Ok(())
    }

    fn goods(&self, from: &Transport) -> Result<Goods, CopyError> {
        let source = match from {
            Transport::Store(name) => return self.stored(&self.store.resolve(name)?),
            Transport::DockerArchive { path, name } => {
                let archive = DockerArchive::open(path)?;
                let image = archive.import(name.as_ref(), self.store, self.observer)?;
                return self.stored(image.digest());
            }
            Transport::Registry(name) => {
                let End {
                    credentials,
                    options,
                } = self.source;
                Source::Remote(Arc::new(Remote::new(name, credentials, options)))
            }
            Transport::OciDirectory { path, name } | Transport::OciArchive { path, name } => {
                let layout = Layout::open(path)?;
                let host = Platform::host();
                let platform = self.platform.unwrap_or(&host);
                let digest = layout.select(name.as_deref(), platform)?;
                Source::Layout(Arc::new(layout), digest)
            }
            Transport::Directory(path) => Source::Directory(Arc::new(Directory::open(path)?)),
        };
        self.elsewhere(&source)
    }

    fn elsewhere(&self, source: &Source) -> Result<Goods, CopyError> {
        const DEPTH: usize = 3;
        let (mut bytes, mut descriptor) = source.top()?;
        let goods = |manifests: Vec<(Vec<u8>, Descriptor)>,
                     index: Option<(Descriptor, Vec<u8>)>| {
            let listed = manifests.iter().map(|(_, entry)| entry);
            let subjects = listed.chain(index.iter().map(|(descriptor, _)| descriptor));
            let attached = match self.referrers {
                true => attached::of(source, subjects.map(|subject| subject.digest).collect())?,
                false => Vec::new(),
            };
            Ok(Goods::Elsewhere(Box::new(Elsewhere {
                blobs: source.blobs(),
                place: source.place(),
                manifests,
                index,
                attached,
            })))
        };
        for _ in 0..DEPTH {
            let Document::Index(index) = Document::parse(&bytes, None).map_err(ImageError::from)?
            else {
                return goods(vec![(bytes, descriptor)], None);
            };
            let Some(platform) = self.platform else {
                let listed = index.manifests.iter();
                let manifests = listed.map(|entry| Ok((source.manifest(entry)?, entry.clone())));
                let manifests = manifests.collect::<Result<_, CopyError>>()?;
                return goods(manifests, Some((descriptor, bytes)));
            };
            let entry = select(&index, &descriptor.digest, platform)?;
            (bytes, descriptor) = (source.manifest(entry)?, entry.clone());
        }
        Err(ImageError::TooDeep(descriptor.digest).into())
    }

    /// An image or index of the store.
    fn stored(&self, digest: &Digest) -> Result<Goods, CopyError> {
        let image = |entry: Descriptor| Ok((self.store.image(&entry.digest)?, entry));
        let Some(index) = self.store.index(digest)? else {
            let image = self.store.image(digest)?;
            let entry = image.entry();
            return Ok(Goods::Stored(Stored {
                images: vec![(image, entry)],
                index: None,
            }));
        };
        if let Some(platform) = self.platform {
            let entry = select(&index, digest, platform)?.clone();
            return Ok(Goods::Stored(Stored {
                images: vec![image(entry)?],
                index: None,
            }));
        }
        let images = index.manifests.iter().cloned().map(image);
        Ok(Goods::Stored(Stored {
            images: images.collect::<Result<_, CopyError>>()?,
            index: Some(index),
        }))
    }

    /// Brings what is elsewhere into the store. An index keeps its images alone: attestations are none.
    fn take_in(&self, from: &Transport, goods: Goods) -> Result<Stored, CopyError> {
        let Elsewhere {
            blobs,
            manifests,
            index,
            ..
        } = match goods {
            Goods::Stored(stored) => return Ok(stored),
            Goods::Elsewhere(elsewhere) => *elsewhere,
        };
        let mut images = Vec::new();
        for (bytes, entry) in manifests {
            let other = entry.platform.as_ref().is_some_and(|of| of.os == "unknown");
            if index.is_some() && other {
                continue;
            }
            let image = match from {
                Transport::Registry(name) => self.pull(&name.pinned(entry.digest))?,
                _ => self.import(&*blobs, bytes)?,
            };
            images.push((image, entry));
        }
        let index = index
            .map(|(_, bytes)| Document::parse(&bytes, None))
            .transpose()
            .map_err(ImageError::from)?;
        let index = match index {
            Some(Document::Index(index)) => Some(index),
            _ => None,
        };
        Ok(Stored { images, index })
    }

    fn pull(&self, name: &Reference) -> Result<Image, CopyError> {
        // By its digest there is nothing to choose.
        let platform = Platform::host();
        let pull = Pull {
            access: Access {
                reference: name,
                credentials: self.source.credentials,
                options: self.source.options,
                progress: self.progress,
            },
            platform: &platform,
            observer: self.observer,
        };
        Ok(registry::pull(&pull, self.store)?)
    }

    fn import(&self, blobs: &dyn BlobSource, manifest: Vec<u8>) -> Result<Image, CopyError> {
        let Document::Manifest(parsed) =
            Document::parse(&manifest, None).map_err(ImageError::from)?
        else {
            return Err(ImageError::IsIndex(Digest::of(&manifest)).into());
        };
        let config = read_document(blobs, &parsed.config.digest)?;
        let image = Image::from_parts(manifest, config)?;
        for layer in image.layers() {
            take_layer(self.store, blobs, layer, self.observer)?;
        }
        self.store.add_image(&image, &[])?;
        Ok(image)
    }

    fn to_store(&self, name: &str, stored: Stored) -> Result<(Descriptor, Vec<u8>), CopyError> {
        let name: Reference = name.parse()?;
        let Stored { images, index } = stored;
        let Some(index) = index else {
            let Some((image, _)) = images.first() else {
                return Err(unfit(&name, "nothing is there to be copied"));
            };
            self.store.tag(&name, image.digest())?;
            return Ok((image.descriptor(), image.manifest_bytes().to_vec()));
        };
        let kept = images.into_iter().map(|(_, entry)| entry).collect();
        let index = Index {
            manifests: kept,
            ..index
        };
        self.store.add_index(&index, &[name])?;
        let media_type = index.media_type.clone().unwrap_or(MediaType::OciIndex);
        let bytes = index.to_bytes();
        Ok((Descriptor::of(media_type, &bytes), bytes))
    }

    fn to_docker_archive(
        &self,
        to: &Transport,
        path: &Path,
        name: Option<&Reference>,
        stored: &Stored,
    ) -> Result<(Descriptor, Vec<u8>), CopyError> {
        let ([(image, _)], None) = (&stored.images[..], &stored.index) else {
            return Err(unfit(
                to,
                "a docker-archive holds the image of one platform",
            ));
        };
        let names: Vec<Reference> = name.cloned().into_iter().collect();
        to_file(path, |out| {
            Ok(docker_archive::write(out, self.store, &[(image, &names)])?)
        })?;
        Ok((image.descriptor(), image.manifest_bytes().to_vec()))
    }

    /// Packs layers, and lists the images anew where there is an index of them.
    fn ship_stored(
        &self,
        to: &Transport,
        stored: Stored,
    ) -> Result<(Descriptor, Vec<u8>), CopyError> {
        let images = stored.images.iter();
        let exports = images.map(|(image, entry)| self.pack(image, entry));
        let exports = exports.collect::<Result<Vec<_>, CopyError>>()?;
        let shipment = match (stored.index, &exports[..]) {
            (Some(index), all) => Shipment::of_index(all, index.annotations, BTreeMap::new()),
            (None, [one]) => Shipment::from(one),
            (None, _) => return Err(unfit(to, "nothing is there to be copied")),
        };
        let mut attached = Vec::new();
        if !matches!(to, Transport::Directory(_)) {
            for ((image, _), export) in stored.images.iter().zip(&exports) {
                let kept = self.store.attachments(image.digest())?;
                attached.extend(attached::about(&kept, &identity(to), export));
            }
        }
        self.send(to, shipment, attached)
    }

    /// Changes nothing.
    fn ship_verbatim(
        &self,
        to: &Transport,
        elsewhere: Elsewhere,
    ) -> Result<(Descriptor, Vec<u8>), CopyError> {
        let (blobs, place) = (&elsewhere.blobs, elsewhere.place.as_ref());
        let manifests = elsewhere.manifests.into_iter();
        let exports = manifests
            .map(|(bytes, descriptor)| Export::verbatim(blobs, &bytes, descriptor, place))
            .collect::<Result<Vec<_>, _>>()?;
        let shipment = match (elsewhere.index, &exports[..]) {
            (Some((descriptor, bytes)), all) => Shipment::with_index(all, descriptor, bytes),
            (None, [one]) => Shipment::from(one),
            (None, _) => return Err(unfit(to, "nothing is there to be copied")),
        };
        self.send(to, shipment, elsewhere.attached)
    }

    /// An image of the store, listed as it was listed there.
    fn pack(&self, image: &Image, entry: &Descriptor) -> Result<Export<'_>, CopyError> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let packing = self.packing.unwrap_or(Compression::Gzip.into());
        let export = Export::new(self.store, image, packing, self.format, threads)?;
        let export = export.annotated(&BTreeMap::new(), &entry.annotations)?;
        Ok(export.listed_for(entry.platform.clone()))
    }

    fn send(
        &self,
        to: &Transport,
        shipment: Shipment<'_, '_>,
        mut attached: Vec<Export<'static>>,
    ) -> Result<(Descriptor, Vec<u8>), CopyError> {
        // A registry may have signatures of its own, so it is asked first.
        if let Some(signer) = self.signer
            && !matches!(to, Transport::Registry(_))
        {
            let known = attached::signatures(signer, &identity(to), &shipment, &attached)?;
            attached.retain(|old| known.iter().all(|new| new.tag() != old.tag()));
            attached.extend(known);
        }
        let shipment = &shipment.with(&attached);
        let names = |name: &Option<String>| name.iter().cloned().collect::<Vec<_>>();
        match to {
            Transport::Registry(name) => {
                let access = Access {
                    reference: name,
                    credentials: self.destination.credentials,
                    options: self.destination.options,
                    progress: self.progress,
                };
                registry::push(access, shipment, self.signer)?;
            }
            Transport::OciDirectory { path, name } => {
                layout::write_directory(path, shipment, &names(name))?;
            }
            Transport::OciArchive { path, name } => to_file(path, |out| {
                Ok(layout::write_archive(out, shipment, &names(name))?)
            })?,
            Transport::Directory(path) => directory::write(path, shipment)?,
            Transport::DockerArchive { .. } | Transport::Store(_) => {
                unreachable!("neither of these takes compressed layers")
            }
        }
        Ok((shipment.descriptor().clone(), shipment.document().to_vec()))
    }
}

/// What signatures and statements call an image at a place.
fn identity(place: &Transport) -> String {
    match place {
        Transport::Registry(name) => identity_of(name),
        Transport::OciDirectory { name, .. } | Transport::OciArchive { name, .. } => {
            let name = name.clone().unwrap_or_default();
            let reference: Option<Reference> = name.parse().ok();
            reference.as_ref().map_or(name, identity_of)
        }
        other => other.to_string(),
    }
}

fn select<'i>(
    index: &'i Index,
    digest: &Digest,
    platform: &Platform,
) -> Result<&'i Descriptor, ImageError> {
    index
        .select(platform)
        .ok_or_else(|| ImageError::NoPlatform {
            digest: *digest,
            wanted: platform.to_string(),
            offered: index.platforms().join(", "),
        })
}

fn unfit(place: &dyn std::fmt::Display, reason: &'static str) -> CopyError {
    CopyError::Unfit {
        place: place.to_string(),
        reason,
    }
}

/// A file gets its name when it is complete.
fn to_file(
    path: &Path,
    write: impl FnOnce(BufWriter<File>) -> Result<BufWriter<File>, CopyError>,
) -> Result<(), CopyError> {
    let failed = |source| CopyError::Write {
        path: path.into(),
        source,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let complete = || {
        let file = File::create(&temporary).map_err(failed)?;
        let kept = file.try_clone().map_err(failed)?;
        let mut out = write(BufWriter::with_capacity(1 << 20, file))?;
        out.flush()
            .and_then(|()| kept.sync_all())
            .and_then(|()| fs::rename(&temporary, path))
            .map_err(failed)
    };
    complete().inspect_err(|_| {
        // The error that came first is the one to report.
        let _ = fs::remove_file(&temporary);
    })
}
