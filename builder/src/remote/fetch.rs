//! From a source as written to content in the store. The invariant: after this no step asks a server for anything.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use image::Digest;
use image::fetch::{Fetch, FetchEvent, FetchOptions, HttpUrl, fetch};

use super::{Pinned, RemoteSource};
use crate::event::{BuildEvent, Direction};
use crate::host::Reach;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// BuildKit's name for a file whose URL has none.
const UNNAMED: &str = "__unnamed__";

/// Fetches a source, as far as it is not known.
pub(crate) fn pin(
    reach: &Reach<'_>,
    source: &RemoteSource,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Pinned, Failure> {
    let _stops = reach.stop_when_cancelled();
    match source {
        RemoteSource::Url { url, checksum } => file(reach, url, checksum.as_ref(), events),
        RemoteSource::Git(source) => {
            let told = |event| {
                tell(
                    &source.to_string(),
                    &Mutex::new(Instant::now()),
                    event,
                    events,
                )
            };
            Ok(super::git::pin(reach, source, &told)?)
        }
    }
}

fn file(
    reach: &Reach<'_>,
    url: &HttpUrl,
    checksum: Option<&Digest>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Pinned, Failure> {
    let options = FetchOptions {
        proxies: reach.proxies.clone(),
        authorities: reach.authorities.clone(),
        ..FetchOptions::default()
    };
    let told = Mutex::new(Instant::now());
    let authorization = super::auth::of_file(reach.secrets, url)?;
    let name = url.to_string();
    let wanted = Fetch {
        url,
        expected: checksum,
        authorization: authorization.as_deref(),
        options: &options,
        progress: &|event| tell(&name, &told, event, events),
    };
    let fetched = fetch(&wanted, reach.store)?;
    Ok(Pinned::File {
        digest: fetched.digest,
        name: url.file_name().unwrap_or_else(|| UNNAMED.to_owned()),
        // As BuildKit: a file without a time is as old as time.
        mtime: fetched.last_modified.unwrap_or(0),
    })
}

/// Every chunk is heard of, but nobody reads that fast.
fn tell(
    name: &str,
    told: &Mutex<Instant>,
    event: FetchEvent,
    events: &(dyn Fn(BuildEvent) + Sync),
) {
    const PAUSE: Duration = Duration::from_millis(100);
    match event {
        FetchEvent::Progress { bytes, total } => {
            let mut last = told
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if last.elapsed() < PAUSE && total != Some(bytes) {
                return;
            }
            *last = Instant::now();
            events(BuildEvent::Transfer {
                direction: Direction::Fetch,
                name: name.to_owned(),
                done: bytes,
                total,
            });
        }
        FetchEvent::Retrying { reason, wait } => {
            let message = format!("{reason}; trying again in {:.1} s", wait.as_secs_f32());
            events(BuildEvent::Notice { message });
        }
    }
}
