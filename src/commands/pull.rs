//! `rbuild pull`.

use std::path::Path;
use std::sync::Arc;

use builder::Cancel;
use image::Store;

use super::ready;
use crate::args::registry::PullSettings;
use crate::failure::{Failure, Kind};
use crate::show::{Display, Progress};
use crate::signals::Interrupts;
use crate::surroundings::Surroundings;
use crate::{credentials, stdout};

/// Fetches an image and prints its digest.
pub(super) fn pull(
    settings: &PullSettings,
    place: &Path,
    here: &Surroundings,
) -> Result<(), Failure> {
    let store = Store::open(place)?;
    let cancel = Arc::new(Cancel::default());
    let ask = cancel.clone();
    let interrupts = Interrupts::listen(move || ask.cancel())?;
    let progress = if here.live_terminal {
        Progress::Tty
    } else {
        Progress::Plain
    };
    let display = Display::new(progress, here.colour(), None);
    let own = settings.registry.own_endpoint(&settings.name)?;
    let host = builder::Host {
        store: &store,
        session: &|| Err("a pull starts no session".into()),
        unpacking: &|| None,
        // Those of the command line are for the registry that it names, not for a mirror.
        credentials: &|name| match &settings.registry.creds {
            Some(given) if own.reference == *name => Ok(given.clone()),
            _ => credentials::find(&settings.registry.auth, name),
        },
        registries: &settings.registry.options(),
        cancel: &cancel,
        program_dirs: Vec::new(),
        proxy_env: Vec::new(),
        git: None,
        secrets: &std::collections::BTreeMap::new(),
    };
    let pulled = builder::pull(&host, &settings.name, &settings.platform, &|event| {
        display.event(&event)
    });
    display.finish();
    match pulled {
        Ok(image) => {
            ready::make_ready(&image, &store, place, here);
            stdout::print(&format!("{}\n", image.digest()))
        }
        Err(error) => Err(interrupts.failure().unwrap_or_else(|| {
            let error = anyhow::Error::from_boxed(error)
                .context(format!("pull {}", settings.name.familiar()));
            Failure::new(Kind::Registry, error)
        })),
    }
}
