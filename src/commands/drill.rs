//! `rbuild run --drill`. The invariant: a protection counts as proved only where the same attempt came to something else outside of
//! the container, and one that let an attempt through is said and is the exit code.
//!
//! The container is made by this very command line, with the drill in the place of the program.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use sandbox::drill::{self, Cage, Canary, Control, PROBES, Probe, Results};
use serde::Serialize;

use crate::args::run::DrillFormat;
use crate::failure::{Failure, Kind};
use crate::host;
use crate::stdout::{print, print_json, table};
use crate::surroundings::Surroundings;

/// Where the drill is in the container.
const PROGRAM: &str = "/.rbuild-drill";

/// One attempt and what became of it.
#[derive(Serialize)]
struct Row {
    id: &'static str,
    probe: &'static str,
    inside: String,
    expected: &'static str,
    outside: Option<String>,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// The attempt failed inside as it must, and outside it had another result.
    Held,
    /// It failed inside, and where it was tried outside it failed alike, or it was not tried.
    Unproven,
    /// It did not fail as it must.
    Failed,
}

impl Verdict {
    fn of(probe: &Probe, inside: &str, outside: Option<&str>) -> Self {
        let differs = match probe.control {
            Control::Host | Control::Root => outside == Some("ok"),
            Control::Without(_) => outside.is_some_and(|result| !probe.is_inside(result)),
            Control::Nowhere => false,
        };
        match (probe.is_inside(inside), differs) {
            (false, _) => Self::Failed,
            (true, true) => Self::Held,
            (true, false) => Self::Unproven,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Unproven => "unproven",
            Self::Failed => "FAILED",
        }
    }
}

/// Runs all probes inside and outside of the container.
pub(super) fn drill(
    format: DrillFormat,
    place: &Path,
    here: &Surroundings,
) -> Result<ExitCode, Failure> {
    let cage = Cage::new(&here.temporary_dir()).map_err(|error| broken("prepare", error))?;
    let outside = outside(&cage.canary, place, here)?;
    let inside = inside(&cage.canary, here)?;
    let mut rows = Vec::with_capacity(PROBES.len());
    for probe in PROBES {
        let result = |results: &Results| results.get(probe.name).cloned();
        let inside = result(&inside).unwrap_or_else(|| "no result".to_owned());
        let outside = result(&outside);
        rows.push(Row {
            verdict: Verdict::of(probe, &inside, outside.as_deref()),
            id: probe.id,
            probe: probe.name,
            inside,
            expected: probe.inside,
            outside,
        });
    }
    match format {
        DrillFormat::Json => print_json(&rows)?,
        DrillFormat::Text => print(&text(&rows))?,
    }
    let failed = rows.iter().any(|row| row.verdict == Verdict::Failed);
    Ok(match failed {
        true => ExitCode::from(Kind::Failed.code()),
        false => ExitCode::SUCCESS,
    })
}

fn broken(what: &str, error: std::io::Error) -> Failure {
    let error = anyhow::Error::new(error);
    Failure::new(Kind::Host, error.context(format!("{what} the drill")))
}

/// What is the host's is tried from the host, what a protection guards in a session, which has none.
fn outside(canary: &Canary, place: &Path, here: &Surroundings) -> Result<Results, Failure> {
    let with = |wanted: fn(Control) -> bool| PROBES.iter().filter(move |it| wanted(it.control));
    let plan = host::execution(here, place)?.required()?;
    let guarded = with(|control| matches!(control, Control::Without(_)));
    let mut results = drill::in_session(&plan, canary, guarded).map_err(host::session_failure)?;
    let of_host = with(|control| control == Control::Host);
    let fail = |error| broken("execute", error);
    results.extend(drill::on_the_host(canary, of_host).map_err(fail)?);
    if here.uid == 0 {
        let of_root = with(|control| control == Control::Root);
        results.extend(drill::on_the_host(canary, of_root).map_err(fail)?);
    }
    Ok(results)
}

/// This command line again, without `--drill`, and with the drill as its program.
fn inside(canary: &Canary, here: &Surroundings) -> Result<Results, Failure> {
    let own = here.host_view(Path::new("")).executable;
    let mut volume = own.into_os_string();
    volume.push(format!(":{PROGRAM}:ro"));
    let given: Vec<OsString> = std::env::args_os().skip(1).collect();
    let is_drill = |word: &OsString| {
        let word = word.to_string_lossy();
        word == "--drill" || word.starts_with("--drill=") || word == "--"
    };
    let mut words: Vec<OsString> = given.into_iter().filter(|word| !is_drill(word)).collect();
    // Nothing but options stands before the image, which is last.
    let image = words.pop().unwrap_or_default();
    words.extend(["--entrypoint", PROGRAM, "--tmpfs", "/tmp", "-v"].map(OsString::from));
    words.extend([volume, image]);
    let output = Command::new("/proc/self/exe")
        .args(words)
        .args(drill::arguments(canary, PROBES))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| broken("run", error))?;
    let code = output
        .status
        .code()
        .and_then(|code| u8::try_from(code).ok());
    match code {
        Some(0) => Ok(drill::results(&String::from_utf8_lossy(&output.stdout))),
        code => Err(Failure::new(
            Kind::Code(code.unwrap_or(125)),
            anyhow::anyhow!("the container of the drill did not run to its end"),
        )),
    }
}

fn text(rows: &[Row]) -> String {
    let head = ["ROW", "PROBE", "INSIDE", "OUTSIDE", "VERDICT"].map(str::to_owned);
    let lines = rows.iter().map(|row| {
        vec![
            row.id.to_owned(),
            row.probe.to_owned(),
            row.inside.clone(),
            row.outside.clone().unwrap_or_else(|| "-".to_owned()),
            match row.verdict {
                Verdict::Failed => format!("FAILED (expected {})", row.expected),
                verdict => verdict.word().to_owned(),
            },
        ]
    });
    let all: Vec<Vec<String>> = std::iter::once(head.to_vec()).chain(lines).collect();
    let count = |wanted| rows.iter().filter(|row| row.verdict == wanted).count();
    format!(
        "{}{} attempts: {} held, {} unproven here (they fail outside too, or cannot be tried there), {} FAILED\n",
        table(&all),
        rows.len(),
        count(Verdict::Held),
        count(Verdict::Unproven),
        count(Verdict::Failed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_fails_everywhere_proves_nothing() {
        let probe = |name| drill::named(name).expect("its name");
        let verdict = |name, inside, outside| Verdict::of(probe(name), inside, outside).word();
        assert_eq!(verdict("host-file", "ENOENT", Some("ok")), "held");
        assert_eq!(verdict("host-file", "ENOENT", Some("EACCES")), "unproven");
        assert_eq!(verdict("host-file", "ENOENT", None), "unproven");
        assert_eq!(verdict("host-file", "ok", Some("ok")), "FAILED");
        assert_eq!(verdict("host-file", "no result", Some("ok")), "FAILED");
        assert_eq!(verdict("af-can", "EPERM", Some("EAFNOSUPPORT")), "held");
        assert_eq!(verdict("quotactl", "EPERM", None), "unproven");
    }
}
