//! Capability sets, capabilities(7). The invariant: what a process has after [`confine`] is exactly the set asked for, with
//! nothing inheritable (CVE-2022-24769).

use std::fmt;
use std::str::FromStr;

use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::failure::SetupFailure;

/// A set of capabilities as a bit mask, bit n for capability number n of linux/capability.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitySet(u64);

/// A name that is no capability.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("know the capability {0:?}")]
pub struct UnknownCapability(pub String);

/// The eleven that Podman leaves a container (containers.conf(5), `default_capabilities`).
const PODMAN: [Capability; 11] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// Podman's default for containers and build steps.
    pub fn podman_default() -> Self {
        PODMAN.into_iter().collect()
    }

    /// Every capability that the running kernel knows.
    pub fn all() -> Self {
        caps::runtime::thread_all_supported().into_iter().collect()
    }

    /// Returns the set with the named ones added: `NET_RAW`, `cap_net_raw` or `ALL`.
    ///
    /// # Errors
    /// A name that is no capability.
    pub fn with(self, names: &[String]) -> Result<Self, UnknownCapability> {
        names
            .iter()
            .try_fold(self, |set, name| Ok(Self(set.0 | Self::named(name)?.0)))
    }

    /// Returns the set with the named ones taken away.
    ///
    /// # Errors
    /// A name that is no capability.
    pub fn without(self, names: &[String]) -> Result<Self, UnknownCapability> {
        names
            .iter()
            .try_fold(self, |set, name| Ok(Self(set.0 & !Self::named(name)?.0)))
    }

    fn named(name: &str) -> Result<Self, UnknownCapability> {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" {
            return Ok(Self::all());
        }
        let full = if upper.starts_with("CAP_") {
            upper
        } else {
            format!("CAP_{upper}")
        };
        let capability =
            Capability::from_str(&full).map_err(|_| UnknownCapability(name.to_owned()))?;
        Ok([capability].into_iter().collect())
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn to_hash_set(self) -> CapsHashSet {
        caps::all()
            .into_iter()
            .filter(|c| self.0 & c.bitmask() != 0)
            .collect()
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(
            capabilities
                .into_iter()
                .fold(0, |mask, c| mask | c.bitmask()),
        )
    }
}

impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<String> = self
            .to_hash_set()
            .iter()
            .map(|c| c.to_string().trim_start_matches("CAP_").to_owned())
            .collect();
        names.sort();
        f.write_str(
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(",")
            }
            .as_str(),
        )
    }
}

fn failure(operation: &str) -> impl FnOnce(caps::errors::CapsError) -> SetupFailure + '_ {
    // The crate does not give the error number back; the call leaves it behind.
    move |_| SetupFailure::new(operation, Errno::last())
}

/// Has what `act` executes keep the capability to join and make namespaces. Without, execve(2) takes it from a process whose user id
/// is not mapped yet: it is no root then (capabilities(7), "Transformation of capabilities during execve()").
pub(crate) fn passed_on<T>(act: impl FnOnce() -> T) -> Result<T, SetupFailure> {
    for set in [CapSet::Inheritable, CapSet::Ambient] {
        caps::raise(None, set, Capability::CAP_SYS_ADMIN)
            .map_err(failure("pass a capability on"))?;
    }
    let done = act();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(failure("pass capabilities on no more"))?;
    }
    Ok(done)
}

/// Limits what the process and whatever it executes can ever gain.
pub(crate) fn bound(set: CapabilitySet) -> Result<(), SetupFailure> {
    for capability in caps::all() {
        if set.0 & capability.bitmask() != 0 {
            continue;
        }
        match caps::drop(None, CapSet::Bounding, capability) {
            // One that the running kernel does not know, PR_CAPBSET_DROP(2const).
            Err(_) if Errno::last() == Errno::EINVAL => {}
            dropped => dropped.map_err(failure("drop a capability from the bounding set"))?,
        }
    }
    Ok(())
}

/// Sets what the process has now. With `ambient`, what it executes keeps it even where the user is not root.
pub(crate) fn confine(set: CapabilitySet, ambient: bool) -> Result<(), SetupFailure> {
    let held =
        caps::read(None, CapSet::Permitted).map_err(failure("read the permitted capabilities"))?;
    let wanted: CapsHashSet = set.to_hash_set().intersection(&held).copied().collect();
    caps::clear(None, CapSet::Ambient).map_err(failure("clear the ambient capabilities"))?;
    if ambient {
        // A capability must be inheritable to be ambient; this case alone has a non-empty inheritable set.
        caps::set(None, CapSet::Inheritable, &wanted)
            .map_err(failure("set the inheritable capabilities"))?;
        caps::set(None, CapSet::Ambient, &wanted)
            .map_err(failure("set the ambient capabilities"))?;
    } else {
        caps::clear(None, CapSet::Inheritable)
            .map_err(failure("clear the inheritable capabilities"))?;
    }
    caps::set(None, CapSet::Effective, &wanted)
        .map_err(failure("set the effective capabilities"))?;
    caps::set(None, CapSet::Permitted, &wanted).map_err(failure("set the permitted capabilities"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_default_has_eleven() {
        assert_eq!(
            CapabilitySet::podman_default().to_string(),
            "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,NET_BIND_SERVICE,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT"
        );
    }

    #[test]
    fn names_are_taken_with_and_without_prefix_in_any_case() {
        let names = ["net_raw".to_owned(), "CAP_NET_ADMIN".to_owned()];
        assert_eq!(
            CapabilitySet::EMPTY.with(&names).unwrap().to_string(),
            "NET_ADMIN,NET_RAW"
        );
        assert!(
            CapabilitySet::podman_default()
                .without(&["all".to_owned()])
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert_eq!(
            CapabilitySet::EMPTY.with(&["FLY".into()]),
            Err(UnknownCapability("FLY".into()))
        );
    }
}
