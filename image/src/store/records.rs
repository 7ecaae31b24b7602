//! Images and names: the records that make blobs mean something.
//!
//! Invariant: a record is written after everything it speaks of is on the disk, by rename, whole or not at all. A record's
//! file name is always a digest, so no image name can be a path.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::error::At;
use super::{Area, Store, StoreError, StoreErrorKind, make_private};
use crate::digest::{Digest, ImageId};
use crate::image::{Image, ImageError};
use crate::reference::Reference;

/// The shortest beginning of an id that is looked up.
const PREFIX_MIN: usize = 4;

/// The whole record of an index.
const INDEX: &str = "index\n";

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One image, with its id.
    Image(ImageId),
    /// Images for several platforms.
    Index,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        if text == INDEX {
            return Some(Self::Index);
        }
        text.trim_end().parse().ok().map(Self::Image)
    }
}

/// An image in the store and its names.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredImage {
    /// The manifest's digest.
    pub digest: Digest,
    /// The image id.
    pub id: ImageId,
    /// The names that point at it.
    pub names: Vec<Reference>,
}

impl Store {
    /// Records an image whose layers are in the store already, and points the names at it.
    ///
    /// # Errors
    /// When a layer is missing or something cannot be written; then there is no new record.
    pub fn add_image(&self, image: &Image, names: &[Reference]) -> Result<(), StoreError> {
        for layer in image.layers() {
            if !self.reuse(layer.diff_id.digest())? {
                return Err(crate::image::BlobError::Missing(*layer.diff_id.digest()).into());
            }
        }
        self.put(image.config_bytes())?;
        self.put(image.manifest_bytes())?;
        self.settle()?;
        self.write_kind(image.digest(), Kind::Image(image.id()))?;
        names
            .iter()
            .try_for_each(|name| self.write_name(name, image.digest()))
    }

    /// Points a name at an image of the store, away from whatever it pointed at.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn tag(&self, name: &Reference, digest: &Digest) -> Result<(), StoreError> {
        if !self.image_record(digest).exists() {
            return Err(StoreErrorKind::NoImage(digest.to_string()).into());
        }
        self.write_name(name, digest)
    }

    /// Removes a name; its image stays. Says whether there was one.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub fn untag(&self, name: &Reference) -> Result<bool, StoreError> {
        remove_file(&self.name_record(name))
    }

    /// All names, sorted, with their images' manifest digests.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn names(&self) -> Result<Vec<(Reference, Digest)>, StoreError> {
        let mut names = Vec::new();
        for path in self.list("refs")? {
            names.extend(self.read_name(&path)?);
        }
        names.sort();
        Ok(names)
    }

    /// The name that a record is of, and what it points at. A record that stands under another's name is damaged.
    pub(super) fn read_name(&self, path: &Path) -> Result<Option<(Reference, Digest)>, StoreError> {
        let Some(text) = read_optional(path)? else {
            return Ok(None);
        };
        let parsed = text.trim_end().split_once('\n').and_then(|(digest, name)| {
            Some((name.parse::<Reference>().ok()?, digest.parse().ok()?))
        });
        match parsed {
            Some((name, digest)) if self.name_record(&name) == path => Ok(Some((name, digest))),
            _ => Err(StoreErrorKind::DamagedRecord { path: path.into() }.into()),
        }
    }

    /// All images, those of indexes too, with their names, sorted by digest.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn images(&self) -> Result<Vec<StoredImage>, StoreError> {
        let names = self.names()?;
        let image = |(digest, kind)| match kind {
            Kind::Index => None,
            Kind::Image(id) => Some(StoredImage {
                digest,
                id,
                names: names_of(&names, &digest),
            }),
        };
        Ok(self.records()?.into_iter().filter_map(image).collect())
    }

    /// What there is a record of, sorted by digest.
    pub(super) fn records(&self) -> Result<Vec<(Digest, Kind)>, StoreError> {
        let mut records = Vec::new();
        for path in self.list("images")? {
            let damaged = || StoreErrorKind::DamagedRecord { path: path.clone() };
            let hex = path
                .file_name()
                .and_then(|name| name.to_str())
                .ok_or_else(damaged)?;
            let digest: Digest = format!("sha256:{hex}").parse().map_err(|_| damaged())?;
            if let Some(text) = read_optional(&path)? {
                records.push((digest, Kind::parse(&text).ok_or_else(damaged)?));
            }
        }
        records.sort_by_key(|(digest, _)| *digest);
        Ok(records)
    }

    /// What a record is of.
    pub(super) fn kind(&self, digest: &Digest) -> Result<Kind, StoreError> {
        let path = self.image_record(digest);
        let Some(text) = read_optional(&path)? else {
            return Err(StoreErrorKind::NoImage(digest.to_string()).into());
        };
        Kind::parse(&text).ok_or_else(|| StoreErrorKind::DamagedRecord { path }.into())
    }

    pub(super) fn write_kind(&self, digest: &Digest, kind: Kind) -> Result<(), StoreError> {
        let text = match kind {
            Kind::Image(id) => format!("{id}\n"),
            Kind::Index => INDEX.to_owned(),
        };
        self.write_record(&format!("images/{}", digest.hex()), text.as_bytes())
    }

    /// The manifest digest that a name points at here. A pinned name points at what it says, or at the image that was added
    /// under it: the pin may be an index, so the platform is the caller's to compare.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn lookup(&self, name: &Reference) -> Result<Option<Digest>, StoreError> {
        if let Some(digest) = name
            .digest()
            .filter(|digest| self.image_record(digest).exists())
        {
            return Ok(Some(*digest));
        }
        let found = self.read_name(&self.name_record(name))?;
        Ok(found.map(|(_, digest)| digest))
    }

    /// Finds an image as Docker users write it: name, id, beginning of an id, or manifest digest.
    ///
    /// # Errors
    /// When there is none, or a beginning fits several.
    pub fn resolve(&self, text: &str) -> Result<Digest, StoreError> {
        if let Ok(name) = text.parse::<Reference>()
            && let Some(digest) = self.lookup(&name)?
        {
            return Ok(digest);
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let hex = prefix.len() >= PREFIX_MIN
            && prefix
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let begins = |digest: &Digest| hex && digest.hex().starts_with(prefix);
        let records = self.records()?;
        let matching: Vec<_> = records
            .iter()
            .filter(|(digest, kind)| match kind {
                Kind::Image(id) => begins(id.digest()) || begins(digest),
                Kind::Index => begins(digest),
            })
            .collect();
        match matching[..] {
            [] => Err(StoreErrorKind::NoImage(text.chars().take(100).collect()).into()),
            [(digest, _)] => Ok(*digest),
            // Several manifests of one configuration are one image to the user.
            [(first, Kind::Image(id)), ..]
                if matching.iter().all(|(_, kind)| *kind == Kind::Image(*id)) =>
            {
                Ok(*first)
            }
            _ => Err(StoreErrorKind::Ambiguous {
                prefix: text.to_owned(),
                count: matching.len(),
            }
            .into()),
        }
    }

    /// Reads an image and holds its blobs.
    ///
    /// # Errors
    /// When it is not in the store, or damaged.
    pub fn image(&self, digest: &Digest) -> Result<Image, StoreError> {
        self.hold(digest)?;
        let image = self.read_image(digest)?;
        self.hold(image.id().digest())?;
        image
            .layers()
            .iter()
            .try_for_each(|layer| self.hold(layer.diff_id.digest()))?;
        Ok(image)
    }

    /// Reads an image without holding anything.
    pub(super) fn read_image(&self, digest: &Digest) -> Result<Image, StoreError> {
        if !self.image_record(digest).exists() {
            return Err(StoreErrorKind::NoImage(digest.to_string()).into());
        }
        let manifest = self.read_document(digest)?;
        let parsed = crate::manifest::Document::parse(&manifest, None).map_err(ImageError::from)?;
        let crate::manifest::Document::Manifest(parsed) = parsed else {
            return Err(ImageError::IsIndex(*digest).into());
        };
        let config = self.read_document(&parsed.config.digest)?;
        let image = Image::from_parts(manifest, config)?;
        // The record of another image stands here, or of an index.
        if self.kind(digest)? != Kind::Image(image.id()) {
            let path = self.image_record(digest);
            return Err(StoreErrorKind::DamagedRecord { path }.into());
        }
        Ok(image)
    }

    /// Removes the record of an image or index and all of its names; its blobs go with the next prune. Says whether there was one.
    ///
    /// # Errors
    /// When a record cannot be removed.
    pub fn remove_image(&self, digest: &Digest) -> Result<bool, StoreError> {
        for (name, _) in self.names()?.iter().filter(|(_, target)| target == digest) {
            self.untag(name)?;
        }
        self.forget_attached(digest)?;
        remove_file(&self.image_record(digest))
    }

    pub(super) fn image_record(&self, digest: &Digest) -> PathBuf {
        self.join("images").join(digest.hex())
    }

    fn name_record(&self, name: &Reference) -> PathBuf {
        self.join("refs").join(Digest::of(name.to_string()).hex())
    }

    pub(super) fn write_name(&self, name: &Reference, digest: &Digest) -> Result<(), StoreError> {
        // A name that pins this manifest says everything itself.
        if name.digest() == Some(digest) {
            return Ok(());
        }
        let hex = Digest::of(name.to_string()).hex();
        self.write_record(
            &format!("refs/{hex}"),
            format!("{digest}\n{name}\n").as_bytes(),
        )
    }

    pub(super) fn write_record(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let tmp = self.tmp_path()?;
        let mut file = File::create_new(&tmp).at("create", &tmp)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .at("write", &tmp)?;
        let path = self.join(name);
        fs::rename(&tmp, &path).at("publish record", &path)?;
        let parent = path.parent().unwrap_or(&self.root);
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .at("bring to the disk", parent)
    }

    /// Writes a file of derived data below [`Store::subdir`], whole or not at all. Unlike images and names it is not brought to
    /// the disk, see [`Store::sync`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_derived(&self, area: Area, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_derived_with(area, name, &mut |out| out.write_all(bytes))
    }

    /// The same of what is not in memory at once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_derived_with(
        &self,
        area: Area,
        name: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let tmp = self.tmp_path()?;
        let path = self.subdir(area).join(name);
        let mut publish = || {
            let mut out = BufWriter::new(File::create(&tmp).at("write", &tmp)?);
            write(&mut out)
                .and_then(|()| out.flush())
                .at("write", &tmp)?;
            if fs::rename(&tmp, &path).is_ok() {
                return Ok(());
            }
            make_private(path.parent().unwrap_or(&self.root))?;
            fs::rename(&tmp, &path).at("publish", &path)
        };
        publish().inspect_err(|_| {
            // The error that came first is the one to report.
            let _ = fs::remove_file(&tmp);
        })
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<PathBuf>, StoreError> {
        let directory = self.join(name);
        let entries = fs::read_dir(&directory).at("list", &directory)?;
        entries
            .map(|entry| Ok(entry.at("list", &directory)?.path()))
            .collect()
    }
}

pub(super) fn names_of(names: &[(Reference, Digest)], digest: &Digest) -> Vec<Reference> {
    names
        .iter()
        .filter(|(_, target)| target == digest)
        .map(|(name, _)| name.clone())
        .collect()
}

fn read_optional(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some).at("read", path),
    }
}

fn remove_file(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true).at("remove", path),
    }
}
