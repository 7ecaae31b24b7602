//! When a container that ended is started again. The invariant: one that was asked to end is not.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// `--restart`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When its exit code is not 0, and not more often than so.
    OnFailure(Option<u32>),
    /// Whenever it ends.
    Always,
    /// The same: nothing here outlives a start of the machine.
    UnlessStopped,
}

/// A text that is no policy.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("restart {0:?}: it is no, on-failure, on-failure:TIMES, always or unless-stopped")]
pub struct ParsePolicyError(String);

/// The first pause before a start, and the longest: a program that fails at once must not keep the machine busy.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// Who ran so long has started well: the next pause is short again.
const WELL: Duration = Duration::from_secs(10);

impl RestartPolicy {
    /// Whether one that ended with this code, after so many starts that were not the first, is started again.
    pub(crate) fn again(self, code: i32, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure(most) => code != 0 && most.is_none_or(|most| restarts < most),
            Self::Always | Self::UnlessStopped => true,
        }
    }
}

/// The pause before a start, where the one before it was `last`, and the program ran for so long.
pub(crate) fn pause(last: Option<Duration>, ran: Duration) -> Duration {
    match last {
        Some(last) if ran < WELL => (last * 2).min(PAUSES.1),
        _ => PAUSES.0,
    }
}

impl FromStr for RestartPolicy {
    type Err = ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParsePolicyError(text.to_owned());
        Ok(match text.split_once(':') {
            None => match text {
                "no" => Self::No,
                "on-failure" => Self::OnFailure(None),
                "always" => Self::Always,
                "unless-stopped" => Self::UnlessStopped,
                _ => return Err(wrong()),
            },
            Some(("on-failure", times)) => {
                Self::OnFailure(Some(times.parse().map_err(|_| wrong())?))
            }
            Some(_) => return Err(wrong()),
        })
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure(None) => f.write_str("on-failure"),
            Self::OnFailure(Some(times)) => write!(f, "on-failure:{times}"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_podmans() {
        let again = |text: &str, code, restarts| {
            let policy: RestartPolicy = text.parse().unwrap();
            assert_eq!(policy.to_string(), text);
            policy.again(code, restarts)
        };
        assert!(!again("no", 1, 0));
        assert!(again("always", 0, 99) && again("unless-stopped", 0, 99));
        assert!(again("on-failure", 1, 99) && !again("on-failure", 0, 0));
        assert!(again("on-failure:2", 1, 1) && !again("on-failure:2", 1, 2));
        for bad in [
            "",
            "never",
            "always:1",
            "on-failure:",
            "on-failure:x",
            "on-failure:-1",
        ] {
            assert!(bad.parse::<RestartPolicy>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pauses_grow_to_a_minute_and_shrink_after_a_good_run() {
        let short = Duration::from_millis(5);
        let mut last = None;
        let mut all = Vec::new();
        for _ in 0..12 {
            last = Some(pause(last, short));
            all.extend(last);
        }
        assert_eq!(all[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(all[11], Duration::from_secs(60));
        assert_eq!(
            pause(last, Duration::from_secs(11)),
            Duration::from_millis(100)
        );
    }
}
