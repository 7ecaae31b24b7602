//! `--cap-add` and `--cap-drop`. The invariant: the names are known before anything starts; a worker gives them their meaning.

use sandbox::CapabilitySet;

use crate::failure::{Failure, Kind};

/// The names, if all of them are capabilities.
pub(super) fn capabilities(flag: &str, names: Vec<String>) -> Result<Vec<String>, Failure> {
    let checked = CapabilitySet::default().with(&names);
    checked.map_err(|error| {
        Failure::new(
            Kind::Usage,
            anyhow::Error::new(error).context(flag.to_owned()),
        )
    })?;
    Ok(names)
}
