//! The values of `--secret`. The invariant: they are read once, bounded, into memory that no core file shows, and from then on
//! only handed on; no message quotes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use builder::Secret;

use crate::args::secret::SecretSource;
use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;

/// Reads them. A variable that is not set is no secret, as in BuildKit: a step that requires it says so.
pub(super) fn read(
    sources: &BTreeMap<String, SecretSource>,
    here: &Surroundings,
) -> Result<BTreeMap<String, Secret>, Failure> {
    let mut secrets = BTreeMap::new();
    if sources.is_empty() {
        return Ok(secrets);
    }
    leave_no_core_file()?;
    for (id, source) in sources {
        let Some(value) = value(id, source, here)? else {
            continue;
        };
        let secret = Secret::new(value).ok_or_else(|| {
            let most = Secret::MAX_SIZE >> 10;
            Failure::usage(format!("--secret id={id}: it is larger than {most} KiB"))
        })?;
        secrets.insert(id.clone(), secret);
    }
    Ok(secrets)
}

/// Reads one, of at most [`Secret::MAX_SIZE`] bytes and one more.
pub(super) fn value(
    id: &str,
    source: &SecretSource,
    here: &Surroundings,
) -> Result<Option<Vec<u8>>, Failure> {
    Ok(match source {
        SecretSource::File(path) => Some(content(id, path)?),
        SecretSource::Variable(name) => here.variable(name)?.map(String::into_bytes),
    })
}

fn content(id: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| {
        let what = format!("--secret id={id}: read {}", path.display());
        Failure::new(Kind::Usage, anyhow::Error::new(error).context(what))
    };
    let file = File::open(path).map_err(fail)?;
    // One more than the most tells the two apart without reading what never ends.
    let mut limited = file.take(Secret::MAX_SIZE as u64 + 1);
    let mut value = Vec::new();
    limited.read_to_end(&mut value).map_err(fail)?;
    Ok(value)
}

/// The limit is inherited by the session and by the steps, which may raise it again (`--ulimit core=`).
pub(super) fn leave_no_core_file() -> Result<(), Failure> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    limit.current = Some(0);
    rustix::process::setrlimit(rustix::process::Resource::Core, limit).map_err(|errno| {
        let error = anyhow::Error::new(std::io::Error::from(errno));
        Failure::new(
            Kind::Host,
            error.context("forbid core files, which would hold secrets"),
        )
    })
}
