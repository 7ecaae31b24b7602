//! Deleting what nothing refers to.
//!
//! Invariant: while anything is deleted the exclusive `gc.lock` is held, and what a living process holds stays.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::marker::PhantomData;

use super::error::At;
use super::lease::entry_line;
use super::{Area, Store, StoreError};
use crate::digest::Digest;
use crate::image::Image;
use crate::reference::Reference;

/// What happens to images without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dangling {
    /// They stay.
    Keep,
    /// They go too, unless they are held.
    Remove,
}

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Images and indexes without a name that were removed.
    pub images: Vec<Digest>,
    /// How many blobs were removed.
    pub blobs: u64,
    /// Their size.
    pub bytes: u64,
    /// Images and indexes that are damaged; their blobs do not count as used, so that they can be fetched again.
    pub damaged: Vec<Digest>,
}

/// The time in which something may be deleted: no other process starts or stops using anything.
#[derive(Debug)]
pub struct Sweep<'s> {
    held: BTreeSet<String>,
    _gc: File,
    _store: PhantomData<&'s Store>,
}

impl Sweep<'_> {
    /// Whether a living process holds that entry.
    pub fn is_held(&self, area: Area, name: &str) -> bool {
        self.held.contains(&entry_line(area, name))
    }

    fn holds(&self, digest: &Digest) -> bool {
        self.held.contains(&digest.to_string())
    }
}

impl Store {
    /// Waits until nobody is just noting what it uses, and tells what is in use.
    ///
    /// # Errors
    /// When the leases cannot be read.
    pub fn exclusive(&self) -> Result<Sweep<'_>, StoreError> {
        let gc = self.lock_gc(File::lock)?;
        Ok(Sweep {
            held: self.living_leases()?,
            _gc: gc,
            _store: PhantomData,
        })
    }

    /// Deletes blobs that no image and no living process uses.
    ///
    /// # Errors
    /// When records cannot be read or a blob cannot be removed.
    pub fn prune(&self, dangling: Dangling) -> Result<Pruned, StoreError> {
        let sweep = self.exclusive()?;
        let mut pruned = Pruned::default();
        let mut used = BTreeSet::new();
        let unwanted = |digest: &Digest, names: &[Reference]| {
            dangling == Dangling::Remove && names.is_empty() && !sweep.holds(digest)
        };
        let indexed = self.prune_indexes(&unwanted, &mut used, &mut pruned)?;
        for image in self.images()? {
            if !indexed.contains(&image.digest) && unwanted(&image.digest, &image.names) {
                self.remove_image(&image.digest)?;
                pruned.images.push(image.digest);
                continue;
            }
            match self.read_image(&image.digest) {
                Ok(image) => {
                    used.extend([*image.digest(), *image.id().digest()]);
                    used.extend(self.attached_blobs(image.digest()));
                    used.extend(image.layers().iter().map(|layer| *layer.diff_id.digest()));
                }
                Err(_) => pruned.damaged.push(image.digest),
            }
        }
        self.remove_unused(&mut pruned, |digest| {
            used.contains(digest) || sweep.holds(digest)
        })?;
        self.remove_idle_claims()?;
        Ok(pruned)
    }

    /// The images that have a name, or are of an index that has one, as far as they are whole. They are not held, so that this
    /// may be asked while [`Store::exclusive`] lasts.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn named_images(&self) -> Result<Vec<Image>, StoreError> {
        let mut named = BTreeSet::new();
        for index in self.indexes()?.iter().filter(|one| !one.names.is_empty()) {
            let index = self.read_index(&index.digest);
            let entries = index.iter().flat_map(|index| &index.manifests);
            named.extend(entries.map(|entry| entry.digest));
        }
        let images = self.images()?;
        let own = images.iter().filter(|image| !image.names.is_empty());
        named.extend(own.map(|image| image.digest));
        let read = named.iter().map(|digest| self.read_image(digest));
        Ok(read.flatten().collect())
    }

    /// Returns the images of the indexes that stay.
    fn prune_indexes(
        &self,
        unwanted: &dyn Fn(&Digest, &[Reference]) -> bool,
        used: &mut BTreeSet<Digest>,
        pruned: &mut Pruned,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        let mut indexed = BTreeSet::new();
        for stored in self.indexes()? {
            if unwanted(&stored.digest, &stored.names) {
                self.remove_image(&stored.digest)?;
                pruned.images.push(stored.digest);
                continue;
            }
            match self.read_index(&stored.digest) {
                Ok(index) => indexed.extend(index.manifests.iter().map(|entry| entry.digest)),
                Err(_) => pruned.damaged.push(stored.digest),
            }
            used.insert(stored.digest);
        }
        Ok(indexed)
    }

    fn remove_unused(
        &self,
        pruned: &mut Pruned,
        keep: impl Fn(&Digest) -> bool,
    ) -> Result<(), StoreError> {
        let directory = self.join("blobs/sha256");
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let entry = entry.at("list", &directory)?;
            let name = entry.file_name();
            let digest = name
                .to_str()
                .and_then(|hex| format!("sha256:{hex}").parse().ok());
            if digest.as_ref().is_some_and(&keep) {
                continue;
            }
            let size = entry.metadata().map_or(0, |metadata| metadata.len());
            fs::remove_file(entry.path()).at("remove", entry.path())?;
            pruned.blobs += 1;
            pruned.bytes += size;
        }
        Ok(())
    }

    /// A claim that somebody opens at this very moment may lose its file; then a blob is fetched twice, which does no harm.
    fn remove_idle_claims(&self) -> Result<(), StoreError> {
        let directory = self.join("locks");
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let path = entry.at("list", &directory)?.path();
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }
}
