//! What goes with an image beside it: bills of materials, provenance, signatures. Invariant: nothing of it is in the image, whose digest
//! is the same with it and without.

use std::collections::BTreeSet;
use std::sync::Arc;

use image::{Attachment, Image, Signer};

use crate::build::BuiltImage;
use crate::error::BuildError;
use crate::host::Host;
use crate::planning::Planned;
use crate::provenance::{Inputs, PREDICATE, Provenance, Taken};
use crate::request::BuildRequest;
use crate::sbom::{Bill, SbomFormat};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Attestations {
    /// `--sbom`.
    pub sboms: BTreeSet<SbomFormat>,
    /// `--provenance`.
    pub provenance: Option<Provenance>,
    /// `--sign-by`.
    pub signer: Option<Arc<Signer>>,
}

/// The documents of each image, in the order of the images, and what bills of materials lack.
pub(crate) struct Attested {
    pub(crate) documents: Vec<Vec<Attachment>>,
    pub(crate) unread: Vec<String>,
}

/// Makes the documents that are asked for.
pub(crate) fn documents(
    request: &BuildRequest,
    host: &Host<'_>,
    planned: &Planned,
    taken: &[Taken],
    images: &[BuiltImage],
) -> Result<Attested, BuildError> {
    let asked = &request.attestations;
    let mut attested = Attested {
        documents: Vec::new(),
        unread: Vec::new(),
    };
    for (target, built) in planned.targets.iter().zip(images) {
        let mut own = Vec::new();
        if !asked.sboms.is_empty() {
            let bill = Bill::of(host.store, &built.image, &name_of(request, &built.image))
                .map_err(|error| BuildError::Attest(error.into()))?;
            let bills = asked.sboms.iter();
            own.extend(
                bills.map(|format| Attachment::new(format.media_type(), bill.write(*format))),
            );
            attested.unread.extend(bill.unread().iter().cloned());
        }
        if let Some(provenance) = &asked.provenance {
            let inputs = Inputs {
                request,
                plan: &target.plan,
                platform: &target.platform,
                taken,
            };
            own.push(Attachment::statement(
                PREDICATE,
                &inputs.predicate(provenance),
            ));
        }
        attested.documents.push(own);
    }
    Ok(attested)
}

/// What documents call the image: its first name, or else its id.
fn name_of(request: &BuildRequest, image: &Image) -> String {
    let of_outputs = request.outputs.iter();
    let mut names = of_outputs.filter_map(|output| output.image()?.names(&request.tags).first());
    let first = request.tags.first().or_else(|| names.next());
    first.map_or_else(|| image.id().to_string(), |name| name.familiar())
}
