//! Signals by the names that images and command lines give them. The invariant: a [`StopSignal`] is a signal that exists.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A signal that stops a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSignal(i32);

/// A text that is no signal.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("understand the signal {0:?}: it is a name such as SIGTERM, or a number from 1 to 64")]
pub struct ParseSignalError(String);

/// The classic ones, by number: signal(7), "x86/ARM".
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// What libc leaves of the kernel's 32 to 64, and what programs count as the first and the last of them.
const REAL_TIME: (i32, i32) = (34, 64);

impl StopSignal {
    /// SIGTERM, where nothing is said.
    pub const TERM: Self = Self(15);

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for StopSignal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let offset = |rest: &str| match rest.split_at_checked(1) {
            None => Some(0),
            Some(("+", number)) if digits(number) => number.parse::<i32>().ok(),
            Some(("-", number)) if digits(number) => number.parse::<i32>().ok().map(|n| -n),
            Some(_) => None,
        };
        let real_time = |rest: &str, base: i32| {
            let number = base.checked_add(offset(rest)?)?;
            (REAL_TIME.0..=REAL_TIME.1)
                .contains(&number)
                .then_some(number)
        };
        let number = if digits(name) {
            name.parse().ok().filter(|number| (1..=64).contains(number))
        } else if let Some(rest) = name.strip_prefix("RTMIN") {
            real_time(rest, REAL_TIME.0)
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            real_time(rest, REAL_TIME.1)
        } else {
            let position = NAMES.iter().position(|known| *known == name);
            position.and_then(|at| i32::try_from(at + 1).ok())
        };
        number
            .map(Self)
            .ok_or_else(|| ParseSignalError(text.chars().take(100).collect()))
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = usize::try_from(self.0 - 1).unwrap_or(usize::MAX);
        match NAMES.get(at) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 >= REAL_TIME.0 => write!(f, "SIGRTMIN+{}", self.0 - REAL_TIME.0),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number, shown) in [
            ("SIGTERM", 15, "SIGTERM"),
            ("quit", 3, "SIGQUIT"),
            ("9", 9, "SIGKILL"),
            ("SIGRTMIN+3", 37, "SIGRTMIN+3"),
            ("RTMAX-14", 50, "SIGRTMIN+16"),
            ("SYS", 31, "SIGSYS"),
        ] {
            let signal: StopSignal = text.parse().unwrap();
            assert_eq!(
                (signal.number(), signal.to_string().as_str()),
                (number, shown)
            );
        }
        for text in [
            "", "0", "65", "SIG", "SIGFOO", "-1", "RTMIN+99", "RTMIN-1", "RTMIN3",
        ] {
            assert!(text.parse::<StopSignal>().is_err(), "{text:?} was accepted");
        }
    }
}
