//! Trust stores: certificates parsed, put together, and written as programs look for them.
//!
//! ```text
//! PEM, DER, Mozilla's roots --read--> Bundle, by fingerprint --write--> one PEM file, a directory of files named by subject, or PKCS#12
//! ```
//!
//! Invariant: a bundle holds every certificate once, in an order that only its certificates decide, so equal sources in any order
//! give equal bytes.

mod certificate;
mod der;
mod java;
mod pem;
mod readers;
mod subject;

use std::collections::BTreeMap;

use image::Digest;
use thiserror::Error;

use crate::path::{TreePath, escape};
use crate::tree::{NodeKind, Tree, TreeError};

pub use certificate::Certificate;
pub use java::java_stores;
pub use readers::{Reader, readers};

/// Where distributions have their bundle, the most common first: Go's `certFiles` (crypto/x509/root_linux.go).
pub const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Mozilla's bundle has 0.25 MB.
const LARGEST: u64 = 16 << 20;

/// Why there is no bundle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not all of a source can be understood.
    #[error("read the certificate in {source_name}, line {line}: {what}")]
    Malformed {
        /// The source.
        source_name: String,
        /// Where the certificate begins; 1 in DER.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A source that has none.
    #[error("find a certificate in {source_name}")]
    None {
        /// The source.
        source_name: String,
    },
    /// A source that is no bundle.
    #[error("read {source_name}: it is larger than any bundle")]
    TooLarge {
        /// The source.
        source_name: String,
    },
    /// A tree without a bundle in any of the usual places.
    #[error("find a CA bundle in {tree}: none of {} is there", BUNDLES.join(", "))]
    NoBundle {
        /// The tree, as it is shown.
        tree: String,
    },
    /// A tree could not be looked at.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A set of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle(BTreeMap<Digest, Certificate>);

impl Bundle {
    /// The roots that Mozilla trusts for servers, as of this program's release.
    ///
    /// # Panics
    /// Never: a test reads all of them.
    pub fn mozilla() -> Self {
        let mut bundle = Self::default();
        for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            bundle.insert(Certificate::read(der.to_vec()).expect("a root of Mozilla's"));
        }
        bundle
    }

    /// Adds the certificates of a PEM text, or the one that DER is.
    ///
    /// # Errors
    /// When there is none, or one of them cannot be understood.
    pub fn add(&mut self, bytes: &[u8], source_name: &str) -> Result<(), CertificateError> {
        let malformed = |line, what| CertificateError::Malformed {
            source_name: source_name.to_owned(),
            line,
            what,
        };
        if bytes.len() as u64 > LARGEST {
            let source_name = source_name.to_owned();
            return Err(CertificateError::TooLarge { source_name });
        }
        let found = match bytes.first() {
            Some(&der::SEQUENCE) => vec![(1, bytes.to_vec())],
            _ => pem::read(&String::from_utf8_lossy(bytes))
                .map_err(|(line, what)| malformed(line, what))?,
        };
        if found.is_empty() {
            let source_name = source_name.to_owned();
            return Err(CertificateError::None { source_name });
        }
        for (line, der) in found {
            self.insert(Certificate::read(der).map_err(|what| malformed(line, what))?);
        }
        Ok(())
    }

    /// Adds the bundle of a distribution's tree, and says where it is; `shown` is what the tree is called.
    ///
    /// # Errors
    /// When there is none in the usual places, or it cannot be understood.
    pub fn add_from(&mut self, tree: &dyn Tree, shown: &str) -> Result<TreePath, CertificateError> {
        let Some((path, size)) = bundle_of(tree)? else {
            let tree = shown.to_owned();
            return Err(CertificateError::NoBundle { tree });
        };
        let source_name = format!("{path} of {shown}");
        if size > LARGEST {
            return Err(CertificateError::TooLarge { source_name });
        }
        let bytes = tree.read_at(&path, 0, usize::try_from(size).unwrap_or(0))?;
        self.add(&bytes, &source_name)?;
        Ok(path)
    }

    fn insert(&mut self, certificate: Certificate) {
        self.0.insert(*certificate.fingerprint(), certificate);
    }

    /// Names the set: equal for equal sets.
    pub fn identity(&self) -> Digest {
        let prints: Vec<String> = self.0.keys().map(Digest::to_string).collect();
        Digest::of(prints.concat())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in the order of their names, then of their fingerprints.
    pub fn certificates(&self) -> Vec<&Certificate> {
        let mut all: Vec<&Certificate> = self.0.values().collect();
        all.sort_by_key(|one| (one.shown(), one.fingerprint()));
        all
    }

    /// The names of those that are not valid any more at `now`, in seconds since 1970.
    pub fn expired(&self, now: i64) -> Vec<String> {
        let mut all = self.certificates();
        all.retain(|one| one.not_after() < now);
        all.iter()
            .map(|one| escape(one.shown().as_bytes()))
            .collect()
    }

    /// One text with all of them.
    pub fn pem(&self) -> String {
        let mut text = String::new();
        for one in self.certificates() {
            pem::write(one.der(), &mut text);
        }
        text
    }

    /// One text for each, with the name by which OpenSSL looks for it: `HASH.NUMBER`, numbers from 0 for equal hashes.
    pub fn hashed(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for one in self.certificates() {
            let free = (0..).map(|number| format!("{:08x}.{number}", one.subject_hash()));
            let mut text = String::new();
            pem::write(one.der(), &mut text);
            let name = free.into_iter().find(|name| !files.contains_key(name));
            files.extend(name.map(|name| (name, text)));
        }
        files
    }
}

/// The bundle of a tree, links followed, and its length.
///
/// # Errors
/// When the tree cannot be looked at.
pub fn bundle_of(tree: &dyn Tree) -> Result<Option<(TreePath, u64)>, TreeError> {
    for place in BUNDLES {
        if let Ok(Some((path, meta))) = tree.lookup(&TreePath::clamped(place)?)
            && meta.kind == NodeKind::File
        {
            return Ok(Some((path, meta.size)));
        }
    }
    Ok(None)
}
