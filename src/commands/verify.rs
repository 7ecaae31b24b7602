//! `rbuild verify`. The invariant: the digest is printed only when a signature of it is right; what is printed is what was verified, whatever
//! the tag means later.

use image::signature::{Place, VerifyError, identity_of, verify as find_signature};
use image::{Layout, Platform, Transport};

use super::keys;
use super::transfer::At;
use crate::args::transfer::VerifySettings;
use crate::failure::{Failure, Kind};
use crate::stdout;

/// Looks for a signature.
pub(super) fn verify(settings: &VerifySettings) -> Result<(), Failure> {
    let key = keys::public(&settings.key)?;
    let identity = |own: String| settings.identity.clone().unwrap_or(own);
    let found = match &settings.image {
        Transport::Registry(name) => {
            let creds = settings.registry.creds.as_ref();
            let remote = At::find(&settings.registry, name, creds)?.remote();
            let top = remote.document(None).map_err(VerifyError::from);
            let own = identity(identity_of(name));
            top.and_then(|(_, top)| {
                find_signature(&Place::Registry(&remote), &top.digest, &key, &own)
            })
        }
        Transport::OciDirectory { path, name } | Transport::OciArchive { path, name } => {
            let own = identity(named(name.as_deref())?);
            let layout = Layout::open(path).map_err(VerifyError::from);
            layout.and_then(|layout| {
                let digest = layout.select(name.as_deref(), &Platform::host())?;
                find_signature(&Place::Layout(&layout), &digest, &key, &own)
            })
        }
        other => {
            return Err(Failure::usage(format!(
                "{other}: signatures are in registries and OCI layouts alone"
            )));
        }
    };
    let signed = found.map_err(failure)?;
    stdout::print(&format!("{}\n", signed.digest))
}

/// What a layout's image is signed as: its name, without the tag.
fn named(name: Option<&str>) -> Result<String, Failure> {
    match name {
        None => Ok(String::new()),
        Some(name) => Ok(identity_of(&name.parse()?)),
    }
}

fn failure(error: VerifyError) -> Failure {
    let hint = match &error {
        VerifyError::Unsigned { .. } => Some("rbuild push --sign-by KEY signs"),
        VerifyError::OtherIdentity { .. } => {
            Some("--identity NAME accepts what was signed under that name, as of a mirror's origin")
        }
        _ => None,
    };
    let kind = match &error {
        VerifyError::Registry(_) => Kind::Registry,
        _ => Kind::Failed,
    };
    let failure = Failure::new(kind, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
