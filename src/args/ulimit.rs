//! `--ulimit`. The invariant: a soft limit is never above the hard one.

use sandbox::{Resource, ResourceLimit};

use crate::failure::Failure;

/// `NAME=SOFT[:HARD]`; -1 and `unlimited` are no limit.
pub(super) fn ulimit(text: &str) -> Result<ResourceLimit, Failure> {
    let wrong = |why: String| Failure::usage(format!("--ulimit {text}: {why}"));
    let expected = || wrong("expected NAME=SOFT[:HARD]".to_owned());
    let (name, values) = text.split_once('=').ok_or_else(expected)?;
    let resource: Resource = name
        .parse()
        .map_err(|error: sandbox::UnknownResource| wrong(format!("cannot {error}")))?;
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        number => number.parse().map(Some).map_err(|_| expected()),
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (value(soft)?, value(hard)?),
        None => (value(values)?, value(values)?),
    };
    let unlimited = u64::MAX;
    if soft.unwrap_or(unlimited) > hard.unwrap_or(unlimited) {
        return Err(wrong("the soft limit is above the hard one".to_owned()));
    }
    Ok(ResourceLimit {
        resource,
        soft,
        hard,
    })
}
