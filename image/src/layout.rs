//! The OCI image layout, as a directory or in a tar archive (oci-archive).
//!
//! Invariant: reading trusts only what `index.json` leads to by digest; writing publishes `index.json` last, so a layout is
//! the old one or the new one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::attachment::is_artifact;
use crate::digest::Digest;
use crate::export::{ExportError, Shipment};
use crate::image::{BlobError, BlobSource, Image, ImageError, read_document};
use crate::ingest::{LayerError, LayerObserver, take_layer};
use crate::json::{self, DOCUMENT_MAX, DocumentError};
use crate::manifest::{Descriptor, Document, Index};
use crate::platform::Platform;
use crate::signature::tag_of;
use crate::store::{Store, StoreError};
use crate::tarball::{ArchiveError, Tarball, TarballWriter};

/// The annotation that holds an entry's name (OCI image specification, "Pre-Defined Annotation Keys").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const LAYOUT_FILE: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Why a layout cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file cannot be read or written.
    #[error("{operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is no `oci-layout` file, or it is of another version.
    #[error("open {path}: it is no OCI image layout of version 1", path = path.display())]
    NotALayout {
        /// The directory or archive.
        path: PathBuf,
    },
    /// The index is malformed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// No entry has that name or digest.
    #[error("find {wanted:?} in {path}: it has {offered}", path = path.display())]
    NoEntry {
        /// The directory or archive.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// The names that there are.
        offered: String,
    },
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
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutVersion {
    image_layout_version: String,
}

/// An open layout.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    files: Files,
    index: Index,
}

#[derive(Debug)]
enum Files {
    Directory(PathBuf),
    Archive(Tarball),
}

impl Files {
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::Directory(root) => open_regular(&root.join(name)).map(|file| Box::new(file) as _),
            Self::Archive(archive) => archive
                .member(name)
                .map(|member| Box::new(member) as _)
                .ok_or_else(|| ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more, so that the parser sees that it is too large.
        self.open(name)?
            .take(DOCUMENT_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Opening a fifo would wait for a writer that never comes.
fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    File::open(path)
}

impl Layout {
    /// Opens a layout: a directory, or an archive of one.
    ///
    /// # Errors
    /// When it is no layout.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let path = path.into();
        let is_dir = fs::metadata(&path)
            .map_err(|source| at("open", &path, source))?
            .is_dir();
        let files = if is_dir {
            Files::Directory(path.clone())
        } else {
            Files::Archive(Tarball::open(&path)?)
        };
        let version = match files.read("oci-layout") {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(LayoutError::NotALayout { path });
            }
            other => other.map_err(|source| at("read oci-layout of", &path, source))?,
        };
        let version: LayoutVersion = json::parse("oci-layout", &version, &[])?;
        if !version.image_layout_version.starts_with("1.") {
            return Err(LayoutError::NotALayout { path });
        }
        let index = files
            .read("index.json")
            .map_err(|source| at("read index.json of", &path, source))?;
        let Document::Index(index) = Document::parse(&index, None)? else {
            return Err(LayoutError::NotALayout { path });
        };
        Ok(Self { path, files, index })
    }

    /// What the layout's index lists.
    pub fn entries(&self) -> &[Descriptor] {
        &self.index.manifests
    }

    /// The digest that a name or digest means here; without one, the platform's image, or else the first.
    ///
    /// # Errors
    /// When there is no such entry.
    pub fn select(&self, wanted: Option<&str>, platform: &Platform) -> Result<Digest, LayoutError> {
        let entries = self.entries();
        let found = match wanted {
            None => {
                let images = entries.iter().filter(|entry| !is_artifact(entry));
                let images = Index::new(images.cloned().collect());
                let best = images.select(platform).or(images.manifests.first());
                best.map(|entry| entry.digest)
            }
            Some(text) => entries
                .iter()
                .find(|entry| names_of(entry).any(|name| name == text))
                .map(|entry| entry.digest)
                // A digest names a blob by itself; it need not be listed.
                .or_else(|| text.parse().ok()),
        };
        found.ok_or_else(|| {
            let offered: Vec<&str> = entries.iter().flat_map(names_of).collect();
            let offered = if offered.is_empty() {
                "no names".to_owned()
            } else {
                offered.join(", ")
            };
            let wanted = wanted.unwrap_or("an image").to_owned();
            LayoutError::NoEntry {
                path: self.path.clone(),
                wanted,
                offered,
            }
        })
    }

    /// The artifacts that refer to a manifest or index, with what they are called here.
    ///
    /// # Errors
    /// When the manifest of one cannot be read.
    pub fn referrers(&self, to: &Digest) -> Result<Vec<Descriptor>, LayoutError> {
        let signatures = tag_of(to);
        let mut found = Vec::new();
        for entry in self.entries().iter().filter(|entry| is_artifact(entry)) {
            let is_signature = names_of(entry).any(|name| name == signatures);
            let bytes = read_document(self, &entry.digest).map_err(ImageError::from)?;
            let subject = match Document::parse(&bytes, None)? {
                Document::Manifest(manifest) => manifest.subject(),
                Document::Index(_) => None,
            };
            if is_signature || subject.is_some_and(|subject| subject.digest == *to) {
                found.push(entry.clone());
            }
        }
        Ok(found)
    }

    /// Reads an image without its layers.
    ///
    /// # Errors
    /// When there is no such image, or it is malformed.
    pub fn image(&self, wanted: Option<&str>, platform: &Platform) -> Result<Image, LayoutError> {
        Ok(Image::load(
            self,
            &self.select(wanted, platform)?,
            platform,
        )?)
    }

    /// Brings an image with its layers into the store, without a name.
    ///
    /// # Errors
    /// When something is missing, damaged or malformed; then the store has no new image.
    pub fn import(
        &self,
        wanted: Option<&str>,
        platform: &Platform,
        store: &Store,
        observer: &dyn LayerObserver,
    ) -> Result<Image, LayoutError> {
        let image = self.image(wanted, platform)?;
        for layer in image.layers() {
            take_layer(store, self, layer, observer)?;
        }
        store.add_image(&image, &[])?;
        Ok(image)
    }
}

fn names_of(entry: &Descriptor) -> impl Iterator<Item = &str> {
    [REF_NAME, CONTAINERD_NAME]
        .into_iter()
        .filter_map(|key| entry.annotations.get(key))
        .map(String::as_str)
}

impl BlobSource for Layout {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, BlobError> {
        self.files
            .open(&format!("blobs/sha256/{}", digest.hex()))
            .map_err(|source| match source.kind() {
                ErrorKind::NotFound => BlobError::Missing(*digest),
                _ => BlobError::Read {
                    digest: *digest,
                    source,
                },
            })
    }
}

fn at(operation: &'static str, path: &Path, source: io::Error) -> LayoutError {
    LayoutError::Io {
        operation,
        path: path.into(),
        source,
    }
}

/// What a layout's index lists for a shipment: one entry for each name, or one without; then the artifacts that refer to it.
fn entries(shipment: &Shipment<'_, '_>, names: &[String]) -> Vec<Descriptor> {
    let entry = shipment.descriptor();
    let named = |name: &String| {
        let mut entry = entry.clone();
        entry
            .annotations
            .insert(REF_NAME.to_owned(), name.to_owned());
        entry
    };
    let mut all: Vec<Descriptor> = match names {
        [] => vec![entry.clone()],
        names => names.iter().map(named).collect(),
    };
    for export in shipment.attached() {
        let mut entry = export.descriptor().clone();
        if let Some(tag) = export.tag() {
            entry
                .annotations
                .insert(REF_NAME.to_owned(), tag.to_owned());
        }
        all.push(entry);
    }
    all
}

/// Writes an image, or an index of several, into a layout directory; other images that are there stay, entries of the same names
/// are replaced.
///
/// # Errors
/// When something cannot be written, or the directory is something else.
pub fn write_directory(
    directory: &Path,
    shipment: &Shipment<'_, '_>,
    names: &[String],
) -> Result<(), LayoutError> {
    let place = directory.join("blobs/sha256");
    let mut index = match fs::exists(directory.join("oci-layout")) {
        Ok(true) => Layout::open(directory)?.index,
        Ok(false) => Index::new(Vec::new()),
        Err(source) => return Err(at("look at", directory, source)),
    };
    let empty = index.manifests.is_empty();
    if empty && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        // Nobody's files are mixed with ours: what is here must be a layout.
        Layout::open(directory)?;
    }
    fs::create_dir_all(&place).map_err(|source| at("create directory", &place, source))?;
    let write = |digest: &Digest, content: &mut dyn Read| {
        let target = place.join(digest.hex());
        write_file(&target, content).map_err(|source| at("write", &target, source))
    };
    for blob in shipment.blobs() {
        write(blob.digest(), &mut blob.open()?)?;
    }
    if let Some((descriptor, bytes)) = shipment.index() {
        write(&descriptor.digest, &mut &bytes[..])?;
    }
    let fresh = entries(shipment, names);
    index.manifests.retain(|old| {
        let same =
            names_of(old).next().is_none() && fresh.iter().any(|new| new.digest == old.digest);
        let replaced =
            names_of(old).any(|old| fresh.iter().any(|new| names_of(new).any(|new| new == old)));
        !(replaced || same)
    });
    index.manifests.extend(fresh);
    for (file, bytes) in [
        ("oci-layout", LAYOUT_FILE.to_vec()),
        ("index.json", index.to_bytes()),
    ] {
        let path = directory.join(file);
        write_file(&path, &bytes[..]).map_err(|source| at("write", &path, source))?;
    }
    Ok(())
}

/// Writes a file that gets its name when it is complete.
pub(crate) fn write_file(path: &Path, mut content: impl Read) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let tmp = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let mut write = || {
        let mut file = File::create(&tmp)?;
        io::copy(&mut content, &mut file)?;
        file.sync_all()?;
        fs::rename(&tmp, path)
    };
    write().inspect_err(|_| {
        // The write's error is the one to report.
        let _ = fs::remove_file(&tmp);
    })
}

/// Writes an image, or an index of several, as an oci-archive.
///
/// # Errors
/// When `out` cannot be written or a layer cannot be read.
pub fn write_archive<W: Write>(
    out: W,
    shipment: &Shipment<'_, '_>,
    names: &[String],
) -> Result<W, LayoutError> {
    let write = |source| at("write", Path::new("the oci-archive"), source);
    let mut archive = TarballWriter::new(out);
    archive
        .file("oci-layout", LAYOUT_FILE.len() as u64, LAYOUT_FILE)
        .map_err(write)?;
    let index = Index::new(entries(shipment, names)).to_bytes();
    archive
        .file("index.json", index.len() as u64, &index[..])
        .map_err(write)?;
    for directory in ["blobs/", "blobs/sha256/"] {
        archive.directory(directory).map_err(write)?;
    }
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    for content in shipment.blobs() {
        archive
            .file(&blob(content.digest()), content.size(), content.open()?)
            .map_err(write)?;
    }
    if let Some((descriptor, bytes)) = shipment.index() {
        archive
            .file(&blob(&descriptor.digest), descriptor.size, &bytes[..])
            .map_err(write)?;
    }
    archive.finish().map_err(write)
}
