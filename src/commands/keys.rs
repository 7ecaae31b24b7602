//! Keys for signatures. The invariant: a password comes from COSIGN_PASSWORD alone, and is shown nowhere.

use std::path::Path;

use image::{PublicKey, Signer};

use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;

/// Reads a private key.
pub(super) fn signer(path: &Path, here: &Surroundings) -> Result<Signer, Failure> {
    let text = read(path)?;
    let password = here.variable("COSIGN_PASSWORD")?;
    Signer::from_pem(&text, password.as_deref()).map_err(|error| unusable(path, error.into()))
}

/// Reads a public key.
pub(super) fn public(path: &Path) -> Result<PublicKey, Failure> {
    PublicKey::from_pem(&read(path)?).map_err(|error| unusable(path, error.into()))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| unusable(path, error.into()))
}

fn unusable(path: &Path, error: anyhow::Error) -> Failure {
    let what = format!("use the key {}", path.display());
    Failure::new(Kind::Usage, error.context(what))
}
