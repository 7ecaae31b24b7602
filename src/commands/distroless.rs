//! `rbuild distroless`: from an ordinary Containerfile, one whose image is made from scratch. The invariant: the file is changed only
//! when both images were built and did the same.

mod own;
mod proof;
mod proposal;
mod whole;

use std::fs;
use std::path::Path;

use containerfile::{Diagnostic, Severity, Source, lint, parse};

use self::own::Own;
use self::whole::Whole;
use super::containerfile::local;
use super::lint::diff;
use super::opened::Opened;
use super::ready;
use crate::args::Global;
use crate::args::distroless::DistrolessArgs;
use crate::failure::{Failure, Kind};
use crate::show;
use crate::stdout::{human_size, print};
use crate::surroundings::Surroundings;

/// Proposes, proves, and prints or writes.
pub(super) fn distroless(
    args: &DistrolessArgs,
    global: &Global,
    place: &Path,
    here: &Surroundings,
) -> Result<(), Failure> {
    let source = local(args.context(), Some(&args.file))?;
    let parsed = parse(&source);
    let wrong = |found: &Diagnostic| found.severity == Severity::Error;
    if parsed.diagnostics.iter().any(wrong) {
        let text = show::diagnostics(&source, &parsed.diagnostics, here.colour());
        return Err(Failure::silent(Kind::Failed.code()).excerpt(text));
    }
    let own = Own::new(args, global);
    let base_text = proposal::base_text(&source, &parsed.file)?;
    show::note("building the image as it is");
    let before = Opened::open(place, &own.build(source.text())?, None)?;
    let base = Opened::open(place, &own.build(&base_text)?, None)?;
    let whole = Whole::of(&before, base.image.layers().len())?;
    let edits = proposal::propose(&source, &parsed.file, &whole)?;
    let text = lint::fixed(source.text(), &lint::fixes(source.text(), &edits));
    let patch = diff::unified(&source, &edits);
    whole.notes.iter().for_each(|text| show::note(text));
    show::note("building it from scratch");
    let proved = prove(args, &own, (place, here), &before, &text);
    match (&proved, args.write) {
        (Ok(()), true) => write(&args.file, &text)?,
        _ => print(&patch)?,
    }
    proved
}

/// Builds the proposal, runs both, and shows the sizes.
fn prove(
    args: &DistrolessArgs,
    own: &Own<'_>,
    (place, here): (&Path, &Surroundings),
    before: &Opened,
    text: &str,
) -> Result<(), Failure> {
    let after = Opened::open(place, &own.build(text)?, None)?;
    // Unpacking is none of the time that a program takes.
    for opened in [before, &after] {
        ready::make_ready(&opened.image, &opened.store, place, here);
    }
    let said = match args.config.is_empty() {
        true => proof::compare(own, args, before, &after)?,
        false => proof::test(own, before, &after)?,
    };
    show::note(&said);
    let (was, is) = (size(before), size(&after));
    // Percents of sizes that are no sizes of images are nobody's matter.
    let percent = (was - is.min(was)) * 100 / was.max(1);
    show::note(&format!(
        "{} before, {} after: {percent} % less",
        human_size(was),
        human_size(is)
    ));
    Ok(())
}

fn size(opened: &Opened) -> u64 {
    let layers = opened.image.layers().iter();
    layers.map(|layer| layer.descriptor.size).sum()
}

/// Whoever reads the file meanwhile has the old one or the new one.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let what = format!("write {}", path.display());
        Failure::new(Kind::Failed, anyhow::Error::new(error).context(what))
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rbuild-new");
    let new = path.with_file_name(name);
    fs::write(&new, text)
        .and_then(|()| fs::set_permissions(&new, mode))
        .and_then(|()| fs::rename(&new, path))
        .map_err(failed)?;
    show::note(&format!("{} is changed", path.display()));
    Ok(())
}

/// What a Containerfile is called in messages of the builds, which read it from standard input.
fn located(source: &Source) -> String {
    show::escape(source.name())
}
