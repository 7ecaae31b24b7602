//! A CA bundle for a stage. The invariant: variables are set only when something in the image reads them, and it is said what.

use std::collections::BTreeMap;

use rootfs::certificates::{BUNDLES, Bundle, Reader, bundle_of, readers};
use rootfs::{Tree, TreeError};

use super::{Addition, Piece, all_files, fail};
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
        let found = programs(tree).map_err(|error| fail(&error))?;
        if step.if_needed && (there.is_some() || found.is_empty()) {
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
        addition.notices.push(told);
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
fn programs(tree: &dyn Tree) -> Result<Vec<Reader>, TreeError> {
    let files = all_files(tree)?;
    readers(tree, files.iter().map(|(path, meta)| (path, meta)))
}
