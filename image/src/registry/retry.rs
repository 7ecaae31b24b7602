//! Trying again, a bounded number of times.
//!
//! Invariant: only what may pass by itself is tried again, and every wait is bounded.

use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::time::Duration;

use super::{Access, RegistryError, TransferEvent};
use crate::fetch::date;
use crate::image::BlobError;
use crate::ingest::LayerError;
use crate::stop::{Stop, Stopped};

/// The longest wait, whatever a registry asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What an error says about the next try.
enum Hope {
    /// It may pass: the network, an overloaded server.
    Passing,
    /// Wrong bytes: once more, in case they were damaged on the way.
    Once,
    None,
}

fn hope(error: &RegistryError) -> Hope {
    match error {
        RegistryError::Network { .. } | RegistryError::Forgotten { .. } => Hope::Passing,
        RegistryError::Status { status, .. } if is_passing(*status) => Hope::Passing,
        RegistryError::Mismatch { .. }
        | RegistryError::Layer(LayerError::Blob(BlobError::Mismatch { .. })) => Hope::Once,
        RegistryError::Layer(LayerError::Size { .. }) => Hope::Once,
        RegistryError::Layer(LayerError::Stream { source, .. })
            if source.kind() == ErrorKind::InvalidData =>
        {
            Hope::Once
        }
        _ => Hope::None,
    }
}

/// Whether an HTTP status says that the next try may work.
#[must_use]
pub fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Does something until it works, fails for good, or was tried often enough.
pub(super) fn retry<T>(
    access: Access<'_>,
    subject: &str,
    mut attempt: impl FnMut() -> Result<T, RegistryError>,
) -> Result<T, RegistryError> {
    let mut patience = Patience::new(access);
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => patience.bear(subject, error)?,
        }
    }
}

/// Does something once more when its bytes were damaged on the way; whatever else may pass was waited for inside.
pub(super) fn retry_damaged<T>(
    access: Access<'_>,
    subject: &str,
    mut attempt: impl FnMut() -> Result<T, RegistryError>,
) -> Result<T, RegistryError> {
    match attempt() {
        Err(error) if matches!(hope(&error), Hope::Once) => {
            Patience::new(access).bear(subject, error)?;
            attempt()
        }
        other => other,
    }
}

/// How much more may fail.
pub(super) struct Patience<'a> {
    access: Access<'a>,
    tried: u32,
    backoff: Duration,
}

impl<'a> Patience<'a> {
    pub(super) fn new(access: Access<'a>) -> Self {
        Self {
            access,
            tried: 0,
            backoff: access.options.backoff,
        }
    }

    /// Waits before the next try, or gives the error back when there is to be none.
    pub(super) fn bear(
        &mut self,
        subject: &str,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        let options = self.access.options;
        self.tried += 1;
        let again = match hope(&error) {
            Hope::Passing => self.tried < options.tries,
            Hope::Once => self.tried < options.tries.min(2),
            Hope::None => false,
        };
        if !again {
            return Err(error);
        }
        let asked = match &error {
            RegistryError::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let wait = asked
            .unwrap_or_else(|| jittered(self.backoff))
            .min(WAIT_MAX);
        self.backoff = self.backoff.saturating_mul(2);
        (self.access.progress)(TransferEvent::Retrying {
            subject: subject.to_owned(),
            reason: with_causes(&error),
            wait,
        });
        Ok(sleep(&options.stop, wait)?)
    }
}

/// Between one and one and a half times as long, so that many clients do not come back together.
pub(crate) fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 512;
    wait + wait.mul_f64(random as f64 / 1024.0)
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// `Retry-After` (RFC 9110, 10.2.3): in seconds, or a date, which is compared with the answer's own `Date`: libraries read no clock,
/// and ours may be wrong.
pub(crate) fn retry_after(header: Option<&str>, now: Option<&str>) -> Option<Duration> {
    let text = header?.trim();
    let seconds = text.parse::<u64>().ok().or_else(|| {
        let wait = date::parse(text)?.checked_sub(date::parse(now?)?)?;
        Some(u64::try_from(wait).unwrap_or(0))
    });
    seconds.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX))
}

/// Sleeps, but not on when the end is asked for.
pub(crate) fn sleep(stop: &Stop, wait: Duration) -> Result<(), Stopped> {
    const LOOK: Duration = Duration::from_millis(50);
    let until = std::time::Instant::now() + wait;
    loop {
        if stop.is_asked() {
            return Err(Stopped);
        }
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f17_retry_after_is_bounded_and_nonsense_is_ignored() {
        let seconds = |header| retry_after(Some(header), None);
        assert_eq!(seconds("0"), Some(Duration::ZERO));
        assert_eq!(seconds("1000000000"), Some(WAIT_MAX));
        for nonsense in [
            "-1",
            "soon",
            "",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "99999999999999999999999",
        ] {
            assert_eq!(seconds(nonsense), None);
        }
    }

    #[test]
    fn f17_f23_a_date_is_compared_with_the_servers_own_clock() {
        let now = "Wed, 21 Oct 2015 07:28:00 GMT";
        let wait = |header| retry_after(Some(header), Some(now));
        assert_eq!(
            wait("Wed, 21 Oct 2015 07:28:07 GMT"),
            Some(Duration::from_secs(7))
        );
        assert_eq!(wait("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Wed, 21 Oct 2099 07:28:00 GMT"), Some(WAIT_MAX));
        assert_eq!(wait("yesterday"), None);
    }
}
