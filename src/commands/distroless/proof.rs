//! What the two images do. The invariant: they count as doing the same only where both end alike, with the same output, or both run on.

use std::io::Read;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::opened::Opened;
use super::own::Own;
use crate::args::distroless::DistrolessArgs;
use crate::failure::{Failure, Kind};
use crate::show;

/// How often a process is looked at.
const STEP: Duration = Duration::from_millis(20);

/// How the new image is run: nobody needs to trust it.
const STRICT: [&str; 3] = ["--read-only", "--cap-drop", "ALL"];

/// What a run came to.
struct Ran {
    /// The exit code; `None` when it ran until it was ended.
    code: Option<i32>,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Runs the structure tests on both.
///
/// # Errors
/// When one of the images does not pass.
pub(super) fn test(own: &Own<'_>, before: &Opened, after: &Opened) -> Result<String, Failure> {
    for (which, opened) in [
        ("the image as it is", before),
        ("the one from scratch", after),
    ] {
        let (passed, report) = own.test(&opened.image.digest().to_string())?;
        if !passed {
            let message = format!("pass the structure tests: {which} does not");
            return Err(Failure::failed(message).excerpt(show::escape(&report)));
        }
    }
    Ok("both pass the structure tests".to_owned())
}

/// Runs both, and says what they have in common.
///
/// # Errors
/// When they differ, or cannot be run.
pub(super) fn compare(
    own: &Own<'_>,
    args: &DistrolessArgs,
    before: &Opened,
    after: &Opened,
) -> Result<String, Failure> {
    let limit = Duration::from_secs(args.timeout.into());
    let run = |options: &[&str], opened: &Opened| {
        let id = opened.image.digest().to_string();
        finish(own.run(options, &id)?, limit)
    };
    let (was, is) = (run(&[], before)?, run(&STRICT, after)?);
    let line = match (was.code, is.code) {
        (None, None) => return Ok(format!("both run on for {} s", limit.as_secs())),
        (Some(one), Some(other)) if one != other => {
            format!("the entry point ends with {one}, from scratch with {other}")
        }
        (Some(one), None) => format!("the entry point ends with {one}, from scratch it runs on"),
        (None, Some(other)) => {
            format!("the entry point runs on, from scratch it ends with {other}")
        }
        (Some(_), Some(_)) if (&was.out, &was.err) != (&is.out, &is.err) => {
            "the entry point says something else from scratch".to_owned()
        }
        (Some(code), Some(_)) => {
            let bytes = was.out.len() + was.err.len();
            return Ok(format!(
                "both end with {code}, and print the same {bytes} bytes"
            ));
        }
    };
    let told = format!("before:\n{}from scratch:\n{}", excerpt(&was), excerpt(&is));
    Err(Failure::new(Kind::Failed, anyhow::Error::msg(line))
        .excerpt(told)
        .hint("--arg gives the entry point an argument with which its output is always the same; also=PATH behind rbuild:closure adds files"))
}

/// The end of what was said.
fn excerpt(ran: &Ran) -> String {
    const LINES: usize = 6;
    let text = [&ran.out[..], &ran.err[..]].concat();
    let text = show::escape(&String::from_utf8_lossy(&text));
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    tail.iter().map(|line| format!("  | {line}\n")).collect()
}

/// Waits for the end, or brings it about.
fn finish(mut child: Child, limit: Duration) -> Result<Ran, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            Kind::Host,
            anyhow::Error::new(error).context("wait for the container"),
        )
    };
    let out = reader(child.stdout.take());
    let err = reader(child.stderr.take());
    let end = Instant::now() + limit;
    let code = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break Some(status.code().unwrap_or(-1));
        }
        if Instant::now() >= end {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            // One that ended just now is as good as ended by us.
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
            child.wait().map_err(failed)?;
            break None;
        }
        thread::sleep(STEP);
    };
    Ok(Ran {
        code,
        out: out.join().unwrap_or_default(),
        err: behind_notes(err.join().unwrap_or_default()),
    })
}

/// What the container said: notes of `rbuild run` itself come first.
fn behind_notes(mut err: Vec<u8>) -> Vec<u8> {
    while err.starts_with(b"note: ") {
        let end = err.iter().position(|byte| *byte == b'\n');
        err.drain(..end.map_or(err.len(), |end| end + 1));
    }
    err
}

/// Takes what comes, of which the first megabyte is kept.
fn reader(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    const KEPT: u64 = 1 << 20;
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut from) = from {
            let _ = from.by_ref().take(KEPT).read_to_end(&mut kept);
            let _ = std::io::copy(&mut from, &mut std::io::sink());
        }
        kept
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_rbuild_are_not_the_containers() {
        let said = |text: &str| String::from_utf8(behind_notes(text.into())).unwrap();
        assert_eq!(said("note: a\nnote: b\nx\nnote: c\n"), "x\nnote: c\n");
        assert_eq!(said("note: a"), "");
    }
}
