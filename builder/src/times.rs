//! What decides the times of an image and of its files. The invariant: no time comes from the clock. A step's own time is that
//! of the newest thing it depends on, so it is as much a function of the step's key as the files are.
//!
//! Trees are kept without an epoch: what is to become the epoch is marked in them, and sees in the build the time of the step.
//! So a new commit packs layers again, and runs nothing again.

use rootfs::{LayerTimes, Time};
use serde::{Deserialize, Serialize};

/// What has no time at all is this old: 1980-01-02, the oldest day that zip archives can hold in every time zone.
pub(crate) const OLDEST: i64 = 315_619_200;

/// Where the times of an image come from. Moments are in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Times {
    /// From what goes into it: each step has the time of the newest file and base image that it depends on.
    Newest,
    /// From the commit of the context's work tree: files of contexts have exactly this time, nothing is newer.
    Commit(i64),
    /// `SOURCE_DATE_EPOCH`: nothing is newer.
    NotAfter(i64),
    /// `--timestamp`: everything has this time.
    Exactly(i64),
}

impl Times {
    /// The time of the image and of its history, where it is not that of the newest input.
    pub fn epoch(self) -> Option<i64> {
        match self {
            Self::Newest => None,
            Self::Commit(epoch) | Self::NotAfter(epoch) | Self::Exactly(epoch) => Some(epoch),
        }
    }

    /// How layers are written.
    pub(crate) fn of_layers(self) -> LayerTimes {
        match self {
            Self::Newest => LayerTimes::Recorded,
            Self::Commit(epoch) | Self::NotAfter(epoch) => LayerTimes::Limited(epoch),
            Self::Exactly(epoch) => LayerTimes::Exactly(epoch),
        }
    }

    /// The time of what a step makes, in a tree.
    pub(crate) fn of_step(self, secs: i64) -> Time {
        match self {
            Self::Newest => Time { secs, nanos: 0 },
            _ => Time::marked(secs),
        }
    }

    /// The time of a copy of a file of a context.
    pub(crate) fn of_context(self, time: Time) -> Time {
        match self {
            Self::Commit(_) | Self::Exactly(_) => Time::OF_STEP,
            Self::NotAfter(epoch) if time.secs > epoch => Time::OF_STEP,
            Self::NotAfter(_) | Self::Newest => whole(time),
        }
    }

    /// The time of a copy of a file of another stage.
    pub(crate) fn of_stage(self, time: Time) -> Time {
        if self != Self::Newest && time.is_marked() {
            Time::OF_STEP
        } else {
            whole(time)
        }
    }
}

/// Layers keep no fractions, so nothing does.
pub(crate) fn whole(time: Time) -> Time {
    Time { nanos: 0, ..time }
}

/// RFC 3339 in UTC. The calendar is Howard Hinnant's `civil_from_days`.
pub fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The moment that an RFC 3339 text names, to the second; `None` for another text. The calendar is `days_from_civil`.
pub(crate) fn from_rfc3339(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| digits.parse().ok()).flatten()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let zone = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.as_bytes().first()? {
        b'Z' | b'z' => 0,
        sign @ (b'+' | b'-') => {
            let at = text.len() - zone.len();
            let minutes = number(at + 1..at + 3)? * 60 + number(at + 4..at + 6)?;
            minutes * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    if !(1..=12).contains(&month) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_date_prints() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_795_321_320, "2026-11-22T04:22:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert_eq!(from_rfc3339(text), Some(seconds));
        }
    }

    #[test]
    fn times_with_zones_and_fractions_are_read() {
        for text in [
            "2000-02-29T12:34:56.123456789Z",
            "2000-02-29T14:34:56+02:00",
            "2000-02-29T04:04:56.5-08:30",
        ] {
            assert_eq!(from_rfc3339(text), Some(951_827_696), "{text}");
        }
        for text in [
            "",
            "2000",
            "2000-02-29T12:34:56",
            "2000-13-29T12:34:56Z",
            "20x0-02-29T12:34:56Z",
            "é",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn a_tree_does_not_know_the_epoch() {
        let file = Time { secs: 50, nanos: 3 };
        let [early, late] = [Times::NotAfter(60), Times::NotAfter(70)];
        assert_eq!(early.of_context(file), late.of_context(file));
        assert_eq!(early.of_step(7), late.of_step(7));
        assert_eq!(
            Times::Commit(60).of_context(file),
            Times::Commit(70).of_context(file)
        );
        assert_eq!(Times::NotAfter(40).of_context(file), Time::OF_STEP);
        assert_eq!(Times::Newest.of_context(file), Time { secs: 50, nanos: 0 });
    }
}
