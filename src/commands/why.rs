//! `rbuild why`: why a file is in an image. The invariant: the answer is read from the image alone: from its history, its package
//! databases, and what its programs' loaders would map. So it is true of images that others built, and travels with the image.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rootfs::closure::{Choice, Packages, Reason, Resolver, RuleSet, Users};
use rootfs::{Meta, NodeKind, Tree as _, TreePath};
use serde::Serialize;

use super::opened::Opened;
use super::size::one_line;
use crate::args::look::WhyArgs;
use crate::args::store::Format;
use crate::failure::{Failure, Kind};
use crate::stdout::{print, print_json};

/// A file's reasons as programs see them.
#[derive(Serialize)]
struct Answer {
    path: String,
    /// Where the path that was asked for leads, if it is a link.
    target: Option<String>,
    /// From the file to the program.
    chain: Vec<Edge>,
    /// Every program that needs it.
    programs: Vec<String>,
    package: Option<String>,
    /// What brought it, and what brought the program.
    instruction: String,
    program_instruction: Option<String>,
}

#[derive(Serialize)]
struct Edge {
    path: String,
    reason: String,
    by: String,
}

/// Says why a file is there.
pub(super) fn why(args: &WhyArgs, place: &Path) -> Result<(), Failure> {
    let opened = Opened::open(place, &args.image, args.platform.as_ref())?;
    let failed = |error: anyhow::Error| Failure::new(Kind::Failed, error);
    let asked = TreePath::clamped(args.path.as_os_str().as_bytes())
        .map_err(|error| Failure::new(Kind::Usage, error))?;
    let canonical = opened
        .view
        .resolve(&asked, rootfs::tree::Follow::Parents)
        .map_err(|error| failed(error.into()))?;
    let found = opened.view.lookup(&canonical);
    let (target, _) = found
        .map_err(|error| failed(error.into()))?
        .ok_or_else(|| Failure::failed(format!("find {asked} in {}", args.image)))?;
    let answer = answer(&opened, &canonical, &target).map_err(|error| failed(error.into()))?;
    match args.format {
        Format::Json => print_json(&answer),
        Format::Text => print(&text(&answer)),
    }
}

fn answer(
    opened: &Opened,
    path: &TreePath,
    target: &TreePath,
) -> Result<Answer, rootfs::TreeError> {
    let mut files: Vec<(TreePath, Meta)> = Vec::new();
    opened.view.each(|path, meta, _| {
        if meta.kind == NodeKind::File {
            files.push((path.clone(), meta.clone()));
        }
    })?;
    let resolver = Resolver::new(&opened.view, opened.settings());
    let programs = files.iter().map(|(path, meta)| (path, meta));
    let users_of = Users::of(&opened.view, &resolver, programs);
    // A link that no loader passes has the reasons of what it leads to.
    let needed = if users_of.users(path).len() > 0 {
        path
    } else {
        target
    };
    let mut programs: Vec<&TreePath> = users_of.users(needed).collect();
    let mut chain = users_of.chain(needed);
    // What no loader maps, a rule may know.
    let opener;
    if chain.is_empty() {
        chain = opened_by(&resolver, &users_of, opened, [path, target]);
        opener = chain.last().map(|(_, reason)| reason.by.clone());
        programs.extend(&opener);
    }
    let instructions = opened.instructions();
    let brought = |path: &TreePath| {
        let layer = opened.view.layer_of(path).ok()??;
        instructions.get(layer).cloned()
    };
    let packages = Packages::of(&opened.view, [path, target])?;
    Ok(Answer {
        path: path.to_string(),
        target: (path != target).then(|| target.to_string()),
        chain: chain
            .into_iter()
            .map(|(path, reason)| Edge {
                path: path.to_string(),
                reason: reason.to_string(),
                by: reason.by.to_string(),
            })
            .collect(),
        package: packages
            .owner(path)
            .or_else(|| packages.owner(target))
            .map(str::to_owned),
        instruction: brought(path).unwrap_or_default(),
        program_instruction: programs.first().and_then(|program| brought(program)),
        programs: programs.iter().map(ToString::to_string).collect(),
    })
}

/// The chain of the first of the paths that a program of the image opens by itself, as the built-in rules know it.
fn opened_by(
    resolver: &Resolver<'_>,
    users: &Users,
    opened: &Opened,
    paths: [&TreePath; 2],
) -> Vec<(TreePath, Reason)> {
    let env = &opened.image.config().config.env;
    let env = env.iter().filter_map(|variable| variable.split_once('='));
    let choice = Choice {
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        ..Choice::default()
    };
    let programs: Vec<TreePath> = users.programs().cloned().collect();
    let needs = resolver.needs_with(&programs, &RuleSet::built_in(), &choice);
    let mut chains = paths.into_iter().map(|path| needs.chain(path));
    chains.find(|chain| !chain.is_empty()).unwrap_or_default()
}

fn text(answer: &Answer) -> String {
    let mut out = answer.path.clone();
    // Writing to a String cannot fail.
    if let Some(target) = &answer.target {
        let _ = write!(out, " -> {target}");
    }
    out.push('\n');
    for edge in &answer.chain {
        let _ = writeln!(out, "  {}: {}", edge.path, edge.reason);
    }
    if let [_, others @ ..] = &answer.programs[..]
        && !others.is_empty()
    {
        const SHOWN: usize = 10;
        let shown = &others[..others.len().min(SHOWN)];
        let more = match others.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(out, "  also needed by: {}{more}", shown.join(", "));
    }
    if let Some(package) = &answer.package {
        let _ = writeln!(out, "  package: {package}");
    }
    if let Some(instruction) = &answer.program_instruction {
        let program = &answer.programs[0];
        let _ = writeln!(out, "  {program} is from: {}", one_line(instruction));
    }
    let _ = writeln!(out, "  it is from: {}", one_line(&answer.instruction));
    out
}
