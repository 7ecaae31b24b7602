//! `rbuild system check`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use builder::check::{Finding, Part, Report};
use image::Store;
use serde_json::json;

use crate::args::store::{CheckArgs, Format, SystemArgs, SystemCommand};
use crate::failure::{Failure, Kind};
use crate::host;
use crate::show::escape;
use crate::stdout::{print, print_json};
use crate::surroundings::Surroundings;

/// Performs one of the commands about the whole store.
pub(super) fn system(
    args: &SystemArgs,
    place: &Path,
    here: &Surroundings,
) -> Result<ExitCode, Failure> {
    match &args.command {
        SystemCommand::Check(args) => check(args, place, here),
    }
}

/// Looks at everything in the store; something damaged is exit code 1, also where it was repaired.
fn check(args: &CheckArgs, place: &Path, here: &Surroundings) -> Result<ExitCode, Failure> {
    let store = Store::open(place)?;
    let plan = host::execution(here, place)?.required().ok();
    let report = builder::check::check(&store, plan.as_ref(), args.repair)
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    match args.format {
        Format::Json => print_json(&as_json(&report))?,
        Format::Text => print(&as_text(&report, args.repair))?,
    }
    Ok(match report.damaged.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Kind::Failed.code()),
    })
}

fn as_json(report: &Report) -> serde_json::Value {
    let checked: serde_json::Map<_, _> = report
        .checked
        .iter()
        .map(|(part, count)| (names(*part).0.to_owned(), json!(count)))
        .collect();
    let unchecked = report
        .unchecked
        .iter()
        .map(|(path, why)| json!({ "path": path, "reason": why }));
    json!({
        "checked": checked,
        "unchecked": unchecked.collect::<Vec<_>>(),
        "damaged": report.damaged,
    })
}

fn as_text(report: &Report, repair: bool) -> String {
    let mut out = String::new();
    for Finding {
        part,
        path,
        problem,
        repaired,
    } in &report.damaged
    {
        let removed = if *repaired { ": removed" } else { "" };
        let (path, problem) = (escape(&path.display().to_string()), escape(problem));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "damaged {}: {path} {problem}{removed}", names(*part).2);
    }
    for (path, why) in &report.unchecked {
        let path = escape(&path.display().to_string());
        let _ = writeln!(out, "not checked: {path}: {}", escape(why));
    }
    let counts = report.checked.iter();
    let counts: Vec<String> = counts
        .map(|(part, count)| format!("{count} {}", names(*part).1))
        .collect();
    let found = match report.damaged.len() {
        0 => "nothing is damaged".to_owned(),
        found => format!("{found} damaged"),
    };
    let _ = writeln!(out, "checked {}: {found}", counts.join(", "));
    if !repair && !report.damaged.is_empty() {
        let _ = writeln!(
            out,
            "`rbuild system check --repair` removes what can be fetched or made again"
        );
    }
    out
}

/// How they are called in JSON, and how several and one are in text.
fn names(part: Part) -> (&'static str, &'static str, &'static str) {
    match part {
        Part::Blob => ("blobs", "blobs", "blob"),
        Part::Record => ("records", "records", "record"),
        Part::Index => ("indexes", "indexes", "index"),
        Part::Cache => ("cache", "cache files", "cache file"),
        Part::Tree => ("trees", "unpacked layers", "unpacked layer"),
    }
}
