//! Limits of a process, getrlimit(2). The invariant: every resource has the name that `ulimit` options of container tools use,
//! and only those.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::spec::ResourceLimit;

/// What can be limited for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is RLIMIT_ of its name")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// A name that is no limit.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("know the limit {0:?}; there are {known}", known = names())]
pub struct UnknownResource(pub String);

use nix::sys::resource::Resource as Number;

/// The names of docker's go-units, and what the kernel calls them.
const NAMES: [(&str, Resource, Number); 16] = [
    ("as", Resource::As, Number::RLIMIT_AS),
    ("core", Resource::Core, Number::RLIMIT_CORE),
    ("cpu", Resource::Cpu, Number::RLIMIT_CPU),
    ("data", Resource::Data, Number::RLIMIT_DATA),
    ("fsize", Resource::Fsize, Number::RLIMIT_FSIZE),
    ("locks", Resource::Locks, Number::RLIMIT_LOCKS),
    ("memlock", Resource::Memlock, Number::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::Msgqueue, Number::RLIMIT_MSGQUEUE),
    ("nice", Resource::Nice, Number::RLIMIT_NICE),
    ("nofile", Resource::Nofile, Number::RLIMIT_NOFILE),
    ("nproc", Resource::Nproc, Number::RLIMIT_NPROC),
    ("rss", Resource::Rss, Number::RLIMIT_RSS),
    ("rtprio", Resource::Rtprio, Number::RLIMIT_RTPRIO),
    ("rttime", Resource::Rttime, Number::RLIMIT_RTTIME),
    (
        "sigpending",
        Resource::Sigpending,
        Number::RLIMIT_SIGPENDING,
    ),
    ("stack", Resource::Stack, Number::RLIMIT_STACK),
];

fn names() -> String {
    NAMES.map(|(name, ..)| name).join(", ")
}

impl FromStr for Resource {
    type Err = UnknownResource;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = NAMES.iter().find(|(name, ..)| *name == text);
        known
            .map(|(_, resource, _)| *resource)
            .ok_or_else(|| UnknownResource(text.to_owned()))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().find(|(_, resource, _)| resource == self);
        f.write_str(known.map_or("", |(name, ..)| name))
    }
}

impl fmt::Display for ResourceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<u64>| value.map_or("unlimited".to_owned(), |n| n.to_string());
        let (soft, hard) = (shown(self.soft), shown(self.hard));
        write!(f, "{}={soft}:{hard}", self.resource)
    }
}

impl ResourceLimit {
    /// Sets it for the calling process and its future children. A hard limit above the present one takes a privilege that
    /// no namespace gives: EPERM.
    pub(crate) fn apply(self) -> nix::Result<()> {
        let number = NAMES
            .iter()
            .find(|(_, resource, _)| *resource == self.resource);
        let (_, _, number) = number.ok_or(nix::errno::Errno::EINVAL)?;
        let value = |limit: Option<u64>| limit.unwrap_or(nix::sys::resource::RLIM_INFINITY);
        nix::sys::resource::setrlimit(*number, value(self.soft), value(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_resources_and_back() {
        for (name, resource, _) in NAMES {
            assert_eq!(name.parse(), Ok(resource));
            assert_eq!(resource.to_string(), name);
        }
        let error = "files".parse::<Resource>().unwrap_err().to_string();
        assert!(
            error.contains("\"files\"") && error.contains("nofile"),
            "{error}"
        );
    }
}
