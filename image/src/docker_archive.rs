//! Docker's archive, as `docker save` writes it: `manifest.json`, configurations, and layers by name.
//!
//! Invariant: file names in `manifest.json` are looked up in the archive and nowhere else; a layer is accepted by its diff id.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;
use crate::digest::DiffId;
use crate::image::{Image, ImageError};
use crate::ingest::{LayerError, LayerObserver, take_tar};
use crate::json::{self, DOCUMENT_MAX, DocumentError, null_is_default};
use crate::manifest::{Descriptor, Manifest};
use crate::media_type::MediaType;
use crate::reference::Reference;
use crate::store::{Store, StoreError};
use crate::tarball::{ArchiveError, Tarball, TarballWriter};

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DockerArchiveError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// `manifest.json` names a file that is not there, or is itself not there.
    #[error("read archive {path}: it has no member {name:?}", path = path.display())]
    NoMember {
        /// The archive.
        path: PathBuf,
        /// The member.
        name: String,
    },
    /// A member cannot be read.
    #[error("read {name:?} of archive {path}", path = path.display())]
    Member {
        /// The archive.
        path: PathBuf,
        /// The member.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// No image in it has that name.
    #[error("find {wanted:?} in archive {path}: it has {offered}", path = path.display())]
    NoImage {
        /// The archive.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// The configuration has another number of layers.
    #[error("read archive {path}: manifest.json lists {listed} layers, the configuration {configured}", path = path.display())]
    LayerCount {
        /// The archive.
        path: PathBuf,
        /// Files in `manifest.json`.
        listed: usize,
        /// Diff ids in the configuration.
        configured: usize,
    },
    /// A document is malformed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The image is malformed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer was refused.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error("write the docker-archive")]
    Write(#[source] io::Error),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default, deserialize_with = "null_is_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    layers: Vec<String>,
}

/// An open archive.
#[derive(Debug)]
pub struct DockerArchive {
    path: PathBuf,
    tarball: Tarball,
    entries: Vec<Entry>,
}

impl DockerArchive {
    /// Opens an archive.
    ///
    /// # Errors
    /// When it is no tar archive or has no `manifest.json`.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DockerArchiveError> {
        let path = path.into();
        let tarball = Tarball::open(&path)?;
        let manifest = read_member(&path, &tarball, "manifest.json")?;
        let entries = json::parse("manifest.json", &manifest, &[])?;
        Ok(Self {
            path,
            tarball,
            entries,
        })
    }

    /// The names that the archive gives to its images. They are remarks: importing points no name at anything.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .flat_map(|entry| entry.repo_tags.iter().map(String::as_str))
    }

    /// Brings an image into the store: the one of that name, or the first.
    ///
    /// # Errors
    /// When something is missing, damaged or malformed; then the store has no new image.
    pub fn import(
        &self,
        wanted: Option<&Reference>,
        store: &Store,
        observer: &dyn LayerObserver,
    ) -> Result<Image, DockerArchiveError> {
        let entry = self.select(wanted)?;
        let config_bytes = read_member(&self.path, &self.tarball, &entry.config)?;
        let config = ImageConfig::parse(&config_bytes)?;
        let (listed, configured) = (entry.layers.len(), config.rootfs.diff_ids.len());
        if listed != configured {
            return Err(DockerArchiveError::LayerCount {
                path: self.path.clone(),
                listed,
                configured,
            });
        }
        let mut layers = Vec::new();
        for (name, diff_id) in entry.layers.iter().zip(&config.rootfs.diff_ids) {
            layers.push(self.take(name, *diff_id, store, observer)?);
        }
        let manifest = Manifest::new(Descriptor::of(MediaType::OciConfig, &config_bytes), layers);
        let image = Image::from_parts(manifest.to_bytes(), config_bytes)?;
        store.add_image(&image, &[])?;
        Ok(image)
    }

    fn take(
        &self,
        name: &str,
        diff_id: DiffId,
        store: &Store,
        observer: &dyn LayerObserver,
    ) -> Result<Descriptor, DockerArchiveError> {
        let no_member = || DockerArchiveError::NoMember {
            path: self.path.clone(),
            name: name.to_owned(),
        };
        let member = self.tarball.member(name).ok_or_else(no_member)?;
        take_tar(store, member, diff_id, observer)?;
        let size = store.blob_size(diff_id.digest()).ok_or_else(no_member)?;
        Ok(Descriptor::new(
            MediaType::OciLayer,
            *diff_id.digest(),
            size,
        ))
    }

    fn select(&self, wanted: Option<&Reference>) -> Result<&Entry, DockerArchiveError> {
        let matches = |entry: &&Entry| match wanted {
            None => true,
            Some(wanted) => entry
                .repo_tags
                .iter()
                .any(|tag| tag.parse::<Reference>().as_ref() == Ok(wanted)),
        };
        self.entries
            .iter()
            .find(matches)
            .ok_or_else(|| DockerArchiveError::NoImage {
                path: self.path.clone(),
                wanted: wanted.map_or_else(|| "an image".to_owned(), Reference::familiar),
                offered: self.names().collect::<Vec<_>>().join(", "),
            })
    }
}

fn read_member(path: &Path, tarball: &Tarball, name: &str) -> Result<Vec<u8>, DockerArchiveError> {
    let no_member = || DockerArchiveError::NoMember {
        path: path.into(),
        name: name.to_owned(),
    };
    let member = tarball.member(name).ok_or_else(no_member)?;
    let mut bytes = Vec::new();
    let failed = |source| DockerArchiveError::Member {
        path: path.into(),
        name: name.to_owned(),
        source,
    };
    // One byte more, so that the parser sees that it is too large.
    member
        .take(DOCUMENT_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// Writes images of the store with uncompressed layers, which `docker load` and `podman load` read. Layers that several
/// images share are written once.
///
/// # Errors
/// When a layer is missing or damaged, or `out` cannot be written.
pub fn write<W: Write>(
    out: W,
    store: &Store,
    images: &[(&Image, &[Reference])],
) -> Result<W, DockerArchiveError> {
    let failed = DockerArchiveError::Write;
    let mut archive = TarballWriter::new(out);
    let mut written = BTreeSet::new();
    let mut entries = Vec::new();
    for (image, names) in images {
        let mut layers = Vec::new();
        for layer in image.layers() {
            let digest = layer.diff_id.digest();
            let name = format!("{}.tar", digest.hex());
            if written.insert(name.clone()) {
                let missing = || StoreError::from(crate::image::BlobError::Missing(*digest));
                let size = store.blob_size(digest).ok_or_else(missing)?;
                let content = store.open_blob(digest).map_err(StoreError::from)?;
                archive.file(&name, size, content).map_err(failed)?;
            }
            layers.push(name);
        }
        let config = format!("{}.json", image.id().digest().hex());
        if written.insert(config.clone()) {
            let bytes = image.config_bytes();
            archive
                .file(&config, bytes.len() as u64, bytes)
                .map_err(failed)?;
        }
        let repo_tags = names.iter().map(Reference::familiar).collect();
        entries.push(Entry {
            config,
            repo_tags,
            layers,
        });
    }
    let manifest = json::write(&entries);
    archive
        .file("manifest.json", manifest.len() as u64, &manifest[..])
        .map_err(failed)?;
    archive.finish().map_err(failed)
}
