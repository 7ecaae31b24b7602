//! Where an image of a registry is, and what it takes to talk about it. Invariant: who ends the build ends the transfer.

use image::registry::{self, Access, TransferEvent};
use image::signature::Signer;
use image::{Credentials, Endpoint, Reference, RegistryOptions, Remote, Shipment};

use crate::event::{BuildEvent, Direction};
use crate::host::Host;
use crate::resolve::transfers;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An endpoint, and how it is spoken to.
pub(crate) struct Endpointed<'e> {
    reference: &'e Reference,
    credentials: Credentials,
    options: RegistryOptions,
}

impl<'e> Endpointed<'e> {
    /// # Errors
    /// When no credentials can be had.
    pub(crate) fn of(host: &Host<'_>, endpoint: &'e Endpoint) -> Result<Self, Source> {
        let reference = &endpoint.reference;
        Ok(Self {
            reference,
            credentials: (host.credentials)(reference)?,
            options: RegistryOptions {
                stop: host.store.stop().clone(),
                ..host.registries.at(endpoint)
            },
        })
    }

    pub(crate) fn access<'a>(&'a self, progress: &'a (dyn Fn(TransferEvent) + Sync)) -> Access<'a> {
        Access {
            reference: self.reference,
            credentials: &self.credentials,
            options: &self.options,
            progress,
        }
    }

    /// What is read from it, piece by piece.
    pub(crate) fn remote(&self) -> Remote {
        Remote::new(self.reference, &self.credentials, &self.options)
    }
}

/// Sends a shipment to the place that its name says; no mirror takes part.
///
/// # Errors
/// When registries.conf forbids it, no credentials can be had, or the registry does not take it.
pub(crate) fn push(
    host: &Host<'_>,
    name: &Reference,
    (shipment, signer): (&Shipment<'_, '_>, Option<&Signer>),
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<(), Source> {
    let endpoint = host.registries.registries.own_endpoint(name)?;
    let endpointed = Endpointed::of(host, &endpoint)?;
    let progress = transfers(name.repository(), Direction::Push, events);
    Ok(registry::push(
        endpointed.access(&progress),
        shipment,
        signer,
    )?)
}
