//! What the image gets beyond its instructions, with what is read for it. The invariant: a bundle reaches the builder parsed, so
//! what is wrong with the caller's file is said before anything is built.

use builder::{CertificatesPolicy, Furnishing};
use rootfs::certificates::Bundle;

use crate::args::build::{CaArg, FurnishSettings};
use crate::failure::{Failure, Kind};

/// Reads the bundle that is named.
pub(super) fn of(settings: &FurnishSettings) -> Result<Furnishing, Failure> {
    Ok(Furnishing {
        certificates: match &settings.ca {
            None => CertificatesPolicy::AsWritten,
            Some(CaArg::Auto) => CertificatesPolicy::Auto,
            Some(CaArg::Off) => CertificatesPolicy::Off,
            Some(CaArg::File(path)) => {
                let failed = |error: anyhow::Error| {
                    let what = format!("read --ca {}", path.display());
                    Failure::new(Kind::Failed, error.context(what))
                };
                let bytes = std::fs::read(path).map_err(|error| failed(error.into()))?;
                let mut bundle = Bundle::default();
                let name = path.display().to_string();
                bundle
                    .add(&bytes, &name)
                    .map_err(|error| failed(error.into()))?;
                CertificatesPolicy::Given(bundle.pem())
            }
        },
        accounts: settings.accounts,
        records: settings.records,
    })
}
