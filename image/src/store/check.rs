//! Looking at everything that the store keeps, whether or not anybody uses it. The invariant: looking changes nothing; what is
//! damaged is removed only where that is asked for, and then the next use fetches it or makes it again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::records::Kind;
use super::{Store, StoreError};
use crate::digest::{Digest, Hasher};

/// Something that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it, as the end of a sentence.
    pub problem: String,
    /// Whether removing the file helps: then it is fetched or made again. What it is about may have to be pulled or built again.
    pub removable: bool,
}

/// What looking at one kind of thing gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// How many were looked at.
    pub count: u64,
    /// Those that are damaged.
    pub damaged: Vec<Damage>,
}

impl Examined {
    fn note(&mut self, path: &Path, problem: impl Into<String>, removable: bool) {
        self.damaged.push(Damage {
            path: path.to_owned(),
            problem: problem.into(),
            removable,
        });
    }
}

impl Store {
    /// Hashes every blob.
    ///
    /// # Errors
    /// When the directory cannot be listed, or it was asked to stop.
    pub fn examine_blobs(&self) -> Result<Examined, StoreError> {
        let mut examined = Examined::default();
        for path in self.list("blobs/sha256")? {
            examined.count += 1;
            let name = path.file_name().and_then(|name| name.to_str());
            let expected = name.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
            match self.hash(&path) {
                Ok(actual) if Some(actual) == expected => {}
                Ok(actual) => examined.note(&path, format!("has the digest {actual}"), true),
                // Pruned meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.stop.check().map_err(|source| stopped(&path, source))?;
                    examined.note(&path, format!("cannot be read ({error})"), true);
                }
            }
        }
        Ok(examined)
    }

    fn hash(&self, path: &Path) -> io::Result<Digest> {
        let mut file = File::open(path)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            self.stop.check()?;
            match io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok(hasher.finish()),
                length => hasher.update(&buffer[..length]),
            }
        }
    }

    /// Reads every record of an image, an index and a name, given what is wrong with the `blobs`.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn examine_records(&self, blobs: &Examined) -> Result<Examined, StoreError> {
        let bad: BTreeSet<&Path> = blobs.damaged.iter().map(|one| one.path.as_path()).collect();
        let missing = |digest: &Digest| {
            let path = self.blob_path(digest);
            bad.contains(path.as_path()) || !path.exists()
        };
        let mut examined = Examined::default();
        for path in self.list("images")? {
            examined.count += 1;
            if let Err((problem, removable)) = self.examine_image(&path, &missing) {
                examined.note(&path, problem, removable);
            }
        }
        for path in self.list("refs")? {
            examined.count += 1;
            match self.read_name(&path) {
                Ok(Some((_, digest))) if !self.image_record(&digest).exists() => {
                    examined.note(
                        &path,
                        format!("names {digest}, of which there is no image"),
                        true,
                    );
                }
                Ok(_) => {}
                Err(_) => examined.note(&path, "is no record of a name", true),
            }
        }
        Ok(examined)
    }

    /// Why the record or what it is of is no good, and whether removing the record helps.
    fn examine_image(
        &self,
        path: &Path,
        missing: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), (String, bool)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let digest = name.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
        let kind = digest.map(|digest| (digest, self.kind(&digest)));
        let Some((digest, Ok(kind))) = kind else {
            return Err(("is no record of an image".to_owned(), true));
        };
        let again = |what: &str| {
            let what = format!("is of an image whose {what}: pull or build it again");
            Err((what, false))
        };
        if missing(&digest) {
            return again("manifest is damaged or missing");
        }
        if kind == Kind::Index {
            return Ok(());
        }
        if let Kind::Image(id) = kind
            && missing(id.digest())
        {
            return again("configuration is damaged or missing");
        }
        match self.read_image(&digest) {
            Ok(image) => match image
                .layers()
                .iter()
                .find(|one| missing(one.diff_id.digest()))
            {
                Some(layer) => again(&format!("layer {} is damaged or missing", layer.diff_id)),
                None => Ok(()),
            },
            Err(error) => Err((format!("cannot be followed ({error})"), true)),
        }
    }

    /// Removes a damaged file.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard(&self, damage: &Damage) -> Result<(), StoreError> {
        match fs::remove_file(&damage.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => super::error::At::at(other, "remove", &damage.path),
        }
    }
}

fn stopped(path: &Path, source: io::Error) -> StoreError {
    super::StoreErrorKind::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    }
    .into()
}
