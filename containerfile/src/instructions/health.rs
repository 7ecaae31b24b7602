//! `HEALTHCHECK`.
//!
//! Invariant: durations are zero (the default) or at least a millisecond, as the engine's API demands.

use std::time::Duration;

use super::{Context, command};
use crate::ast::{Command, HealthProbe, Healthcheck};
use crate::diagnostics::Diagnostic;
use crate::flags::{Flags, Known, Takes};
use crate::words;

pub(super) const KNOWN: Known = &[
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

/// `HEALTHCHECK NONE` or `HEALTHCHECK [flags] CMD …`.
pub(super) fn healthcheck(context: &mut Context<'_, '_>) -> Option<Healthcheck> {
    let (kind, rest) = words::split_first(context.args());
    match kind.text().to_ascii_uppercase().as_str() {
        "NONE" => {
            context.flags(&[]);
            if !rest.is_empty() {
                context.error(rest.span(), "HEALTHCHECK NONE takes no arguments");
            }
            Some(Healthcheck::None)
        }
        "CMD" => {
            let flags = context.flags(KNOWN);
            let probe = HealthProbe {
                interval: duration(context, &flags, "interval"),
                timeout: duration(context, &flags, "timeout"),
                start_period: duration(context, &flags, "start-period"),
                start_interval: duration(context, &flags, "start-interval"),
                retries: retries(context, &flags),
                command: command::command(context, rest),
            };
            let missing = match &probe.command {
                Command::Shell(text) => text.value.is_empty(),
                Command::Exec(words) => words.is_empty(),
            };
            if missing {
                context.error(kind.span(), "HEALTHCHECK CMD has no command");
            }
            Some(Healthcheck::Check(Box::new(probe)))
        }
        other => {
            let message = match other {
                "" => "HEALTHCHECK needs CMD or NONE".to_owned(),
                _ => format!("HEALTHCHECK knows CMD and NONE, not {other:?}"),
            };
            context.error(context.place(), message);
            None
        }
    }
}

fn retries(context: &mut Context<'_, '_>, flags: &Flags<'_>) -> Option<u32> {
    let word = flags.value("retries")?;
    let retries = word
        .raw
        .parse()
        .ok()
        .filter(|&count| i32::try_from(count).is_ok());
    if retries.is_none() {
        context.error(
            word.span,
            format!("--retries is a count of 0 or more, not {:?}", word.raw),
        );
    }
    retries
}

fn duration(context: &mut Context<'_, '_>, flags: &Flags<'_>, name: &str) -> Option<Duration> {
    let word = flags.value(name)?;
    let problem = match parse_duration(&word.raw) {
        Some(duration) if duration.is_zero() || duration >= Duration::from_millis(1) => {
            return Some(duration);
        }
        Some(_) => format!("--{name} is 0 or at least 1ms"),
        None => format!("--{name} is a duration, not {:?}", word.raw),
    };
    context
        .diagnostics
        .push(Diagnostic::error(word.span, problem).with_help("for example 30s, 1m30s or 500ms"));
    None
}

/// The grammar of Go's `time.ParseDuration`, without negative values.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        total = total.checked_add(nanoseconds(number, unit)?)?;
        rest = next;
    }
    i64::try_from(total).ok()?;
    Some(Duration::from_nanos(total))
}

fn nanoseconds(number: &str, unit: &str) -> Option<u64> {
    let scale: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    let mut result = whole.checked_mul(scale)?;
    let mut share = scale;
    for digit in fraction.bytes().map(|byte| u64::from(byte - b'0')) {
        // Digits beyond a nanosecond have no share left; truncation per digit would lose what they add together.
        result = result.checked_add(share * digit / 10)?;
        share /= 10;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanoseconds) in [
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("0", 0),
            ("0s", 0),
            (".5ms", 500_000),
            ("2µs", 2_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_nanos(nanoseconds)),
                "{text}"
            );
        }
        for text in ["", "5", "s", "-1s", "1d", ".s", "1..5s", "9999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
