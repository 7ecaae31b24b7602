//! `rbuild sbom`. The invariant: standard output, or the file, has the whole document or nothing; what could not be read is said
//! beside it.

use std::path::Path;

use builder::Bill;

use super::opened::Opened;
use crate::args::look::SbomArgs;
use crate::failure::{Failure, Kind};
use crate::{show, stdout};

/// Writes what an image is made of.
pub(super) fn sbom(args: &SbomArgs, place: &Path) -> Result<(), Failure> {
    let opened = Opened::open(place, &args.image, args.platform.as_ref())?;
    let bill = Bill::of(&opened.store, &opened.image, &args.image)
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    for text in bill.unread() {
        show::eprint(&format!("warning: not read: {}\n", show::escape(text)));
    }
    let document = bill.write(args.format.into());
    match &args.output {
        None => stdout::print(&(String::from_utf8_lossy(&document) + "\n")),
        Some(path) => std::fs::write(path, &document).map_err(|error| {
            let what = format!("write the bill of materials to {}", path.display());
            Failure::new(Kind::Failed, anyhow::Error::new(error).context(what))
        }),
    }
}
