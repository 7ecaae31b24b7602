//! A CA bundle for a stage. The invariant: variables are set only when something in the image reads them, and it is said what.

use std::collections::BTreeMap;

use rootfs::certificates::{BUNDLES, Bundle, Reader, bundle_of, java_stores, readers};
use rootfs::tree::regular_files;
use rootfs::{Meta, Tree, TreeError, TreePath};

use super::{Addition, Piece, fail};
use crate::execute::lookup::Place;
use crate::execute::{StageState, Workshop};
use crate::furnish::{CertificatesStep, Roots};
use crate::graph::StageId;
use crate::job::StepFailure;
use crate::step::CopyFrom;

/// No bundle is larger.
pub(super) const LARGEST: usize = 16 << 20;

/// Where files named by subject are.
const DIRECTORY: &str = "/etc/ssl/certs";

impl Workshop<'_> {
    pub(super) fn certificates(
        &self,
        place: &Place<'_>,
        step: &CertificatesStep,
        tree: &dyn Tree,
    ) -> Result<Addition, StepFailure> {
        let mut addition = Addition::default();
        let there = bundle_of(tree).map_err(|error| fail(&error))?;
        let files = regular_files(tree).map_err(|error| fail(&error))?;
        let found = programs(tree, &files).map_err(|error| fail(&error))?;
        let stores = java_stores(files.iter().map(|(path, _)| path));
        let unmet = |store: &TreePath| !matches!(tree.lookup(store), Ok(Some(_)));
        let needed = there.is_none() && !found.is_empty() || stores.iter().any(unmet);
        if step.if_needed && !needed {
            return Ok(addition);
        }
        let (bundle, sources) = self.bundle(place, step, tree, there.is_some())?;
        let target = match there {
            Some((path, _)) => path.to_string(),
            None => BUNDLES[0].to_owned(),
        };
        let target = addition.put(tree, &target, Piece::file(bundle.pem()))?;
        let mut told = format!(
            "CA bundle {target}: {} certificates {sources}",
            bundle.len()
        );
        let mut set = |name: &str, value: String| addition.env.push((name.to_owned(), value));
        if let Some(reader) = found.first() {
            set("SSL_CERT_FILE", target.to_string());
            told.push_str(&format!("; SSL_CERT_FILE is set for {}", reader.path));
        }
        if let Some(reader) = found.iter().find(|reader| reader.by_subject) {
            set("SSL_CERT_DIR", DIRECTORY.to_owned());
            told.push_str(&format!(", SSL_CERT_DIR for {}", reader.path));
            for (name, text) in bundle.hashed() {
                addition.put(tree, &format!("{DIRECTORY}/{name}"), Piece::file(text))?;
            }
        }
        for store in &stores {
            let store = addition.put(tree, &store.to_string(), Piece::file(bundle.pkcs12()))?;
            told.push_str(&format!(", {store} for Java"));
        }
        addition.notices.push(told);
        addition.notices.extend(database_of_nss(&files));
        let expired = bundle.expired(self.job.now);
        if !expired.is_empty() {
            let names = expired.join(", ");
            let told = format!("the CA bundle has expired certificates: {names}");
            addition.notices.push(told);
        }
        Ok(addition)
    }

    /// The certificates, and where they are from.
    fn bundle(
        &self,
        place: &Place<'_>,
        step: &CertificatesStep,
        tree: &dyn Tree,
        there: bool,
    ) -> Result<(Bundle, String), StepFailure> {
        let mut bundle = Bundle::default();
        let mut sources = match &step.roots {
            Roots::Own { .. } if there => {
                let path = bundle
                    .add_from(tree, "the stage")
                    .map_err(|error| fail(&error))?;
                format!("from its own {path}")
            }
            Roots::Own { .. } => {
                bundle = Bundle::mozilla();
                "from Mozilla's list".to_owned()
            }
            Roots::Of(from) => {
                let origin = self.origin(from, place.finished)?;
                let name = match self.name_of_source(from) {
                    name if name.is_empty() => "the build context".to_owned(),
                    name => name,
                };
                let path = bundle.add_from(origin.tree.as_ref(), &name);
                let path = path.map_err(|error| {
                    fail(&error)
                        .hint("install the package ca-certificates there, or leave from= out")
                })?;
                format!("from {path} of {name}")
            }
            Roots::Given(pem) => {
                bundle
                    .add(pem.as_bytes(), "--ca")
                    .map_err(|error| fail(&error))?;
                "from --ca".to_owned()
            }
        };
        for path in &step.extra {
            let (bytes, _) = self.context_file(path)?;
            bundle.add(&bytes, path).map_err(|error| fail(&error))?;
            sources.push_str(&format!(", {path}"));
        }
        Ok((bundle, sources))
    }

    /// The bytes of a bundle in a context, for the key; none where there is none.
    pub(super) fn bundle_bytes(
        &self,
        from: &CopyFrom,
        finished: &BTreeMap<StageId, StageState>,
    ) -> Result<Vec<u8>, StepFailure> {
        let origin = self.origin(from, finished)?;
        let found = bundle_of(origin.tree.as_ref()).map_err(|error| fail(&error))?;
        found.map_or(Ok(Vec::new()), |(path, _)| {
            let read = origin.tree.read_at(&path, 0, LARGEST);
            read.map_err(|error| fail(&error))
        })
    }
}

/// What reads the variables.
fn programs(tree: &dyn Tree, files: &[(TreePath, Meta)]) -> Result<Vec<Reader>, TreeError> {
    readers(tree, files.iter().map(|(path, meta)| (path, meta)))
}

/// NSS, which Firefox and Chromium use, knows no bundle.
fn database_of_nss(files: &[(TreePath, Meta)]) -> Option<String> {
    let of_nss = |path: &&TreePath| path.file_name() == Some(b"libsoftokn3.so");
    let library = files.iter().map(|(path, _)| path).find(of_nss)?;
    Some(format!(
        "{library} reads certificates from a database of NSS, which is not written: in a build stage, make one with `certutil -N -d sql:DIR \
         --empty-password` and `certutil -A -d sql:DIR -t C,, -n NAME -i FILE`, and copy it to /etc/pki/nssdb"
    ))
}
