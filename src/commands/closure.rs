//! `rbuild closure`. The invariant: what stands in the way of a program is data on standard output, and the exit code says that
//! there is something.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use image::layout::Layout;
use image::{DiffId, Image, Platform, Store};
use rootfs::closure::{Closure, ClosureFile, Packages, Resolver, Settings};
use rootfs::{DirTree, Ownership, Root, Tree, TreePath};
use serde::Serialize;

use super::opened::{self, Opened};
use crate::args::closure::{ClosureArgs, ClosureFormat, ClosureSource};
use crate::failure::{Failure, Kind};
use crate::stdout::{print, print_json, table};

/// Says what programs need.
pub(super) fn closure(source: &ClosureSource, args: &ClosureArgs) -> Result<ExitCode, Failure> {
    let mut settings = Settings::default();
    let wanted = args.platform.as_ref();
    settings.architecture = wanted.map(|platform| platform.architecture.clone());
    match source {
        ClosureSource::Directory(path) => {
            let root = Root::open(path).map_err(|error| {
                let error = anyhow::Error::from(error);
                let what = format!("look for programs in {}", path.display());
                Failure::new(Kind::Failed, error.context(what))
            })?;
            answer(&DirTree::new(root, Ownership::Recorded), settings, args)
        }
        ClosureSource::Image { store, name } => {
            let opened = Opened::open(store, name, wanted)?;
            answer(&opened.view, for_image(&opened.image, settings), args)
        }
        ClosureSource::Layout { store, layout } => {
            let store = Store::open(store)?;
            let image = taken(&store, layout, wanted)?;
            in_image(&store, &image, settings, args)
        }
    }
}

/// The layout's image, with its layers in the store: compressed ones cannot be read in pieces.
fn taken(store: &Store, layout: &Path, platform: Option<&Platform>) -> Result<Image, Failure> {
    let host = Platform::host();
    Layout::open(layout)
        .and_then(|layout| {
            layout.import(None, platform.unwrap_or(&host), store, &image::Unobserved)
        })
        .map_err(|error| Failure::new(Kind::Failed, error))
}

/// The environment of the programs is the image's, and so is the platform unless another is asked for.
fn for_image(image: &Image, asked: Settings) -> Settings {
    let own = opened::settings(image);
    Settings {
        architecture: asked.architecture.or_else(|| own.architecture.clone()),
        ..own
    }
}

fn in_image(
    store: &Store,
    image: &Image,
    settings: Settings,
    args: &ClosureArgs,
) -> Result<ExitCode, Failure> {
    let diff_ids: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
    let view = rootfs::trees::readable_view_of(store, &diff_ids)
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    answer(&view, for_image(image, settings), args)
}

fn answer(tree: &dyn Tree, settings: Settings, args: &ClosureArgs) -> Result<ExitCode, Failure> {
    let resolver = Resolver::new(tree, settings);
    let mut closures = Vec::new();
    for program in &args.programs {
        let path = TreePath::clamped(program.as_os_str().as_bytes());
        let path = path.map_err(|error| Failure::new(Kind::Usage, error))?;
        closures.push(resolver.closure(&path));
    }
    let files = closures.iter().flat_map(|closure| &closure.files);
    let packages = Packages::of(tree, files.map(|file| &file.path))
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    match args.format {
        ClosureFormat::Json => print_json(&json(&closures, &packages))?,
        ClosureFormat::Text => print(&text(&closures, &packages))?,
        ClosureFormat::Dot => print(&dot(&closures))?,
    }
    let starts = closures.iter().all(Closure::starts);
    Ok(match starts {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Kind::Failed.code()),
    })
}

/// A closure as programs see it. Bytes that are not UTF-8 are written `\\xNN`, and a backslash doubled.
#[derive(Serialize)]
struct Answer<'a> {
    program: String,
    files: Vec<FileAnswer<'a>>,
    missing: Vec<String>,
    findings: Vec<FindingAnswer<'a>>,
}

#[derive(Serialize)]
struct FileAnswer<'a> {
    path: String,
    target: Option<String>,
    reason: String,
    package: Option<&'a str>,
}

#[derive(Serialize)]
struct FindingAnswer<'a> {
    path: String,
    message: &'a str,
    fatal: bool,
}

fn json<'a>(closures: &'a [Closure], packages: &'a Packages) -> Vec<Answer<'a>> {
    let file = |file: &ClosureFile| FileAnswer {
        path: file.path.to_string(),
        target: file.target.as_deref().map(rootfs::closure::shown),
        reason: file.reason.to_string(),
        package: packages.owner(&file.path),
    };
    let answer = |closure: &'a Closure| Answer {
        program: closure.program.to_string(),
        files: closure.files.iter().map(file).collect(),
        missing: missing(closure).collect(),
        findings: closure
            .findings
            .iter()
            .map(|finding| FindingAnswer {
                path: finding.path.to_string(),
                message: &finding.message,
                fatal: finding.fatal,
            })
            .collect(),
    };
    closures.iter().map(answer).collect()
}

fn missing(closure: &Closure) -> impl Iterator<Item = String> {
    closure
        .missing
        .iter()
        .map(|name| rootfs::closure::shown(name))
}

/// A program's files below its name, then what is wrong.
fn text(closures: &[Closure], packages: &Packages) -> String {
    let mut out = String::new();
    for closure in closures {
        let rows = closure.files.iter().map(|file| {
            let target = file.target.as_deref().map(rootfs::closure::shown);
            let arrow = target.map_or(String::new(), |target| format!(" -> {target}"));
            vec![
                format!("  {}{arrow}", file.path),
                packages.owner(&file.path).unwrap_or("-").to_owned(),
                file.reason.to_string(),
            ]
        });
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", closure.program);
        out.push_str(&table(&rows.collect::<Vec<_>>()));
        for name in missing(closure) {
            let _ = writeln!(out, "  missing: {name}");
        }
        for finding in &closure.findings {
            let word = if finding.fatal { "error" } else { "note" };
            let _ = writeln!(out, "  {word}: {}: {}", finding.path, finding.message);
        }
    }
    out
}

/// Who needs what, for graphviz; what is missing is dashed.
fn dot(closures: &[Closure]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut edges = std::collections::BTreeSet::new();
    for closure in closures {
        edges.insert(format!(
            "{} [shape=box]",
            quoted(&closure.program.to_string())
        ));
        for file in &closure.files {
            let (by, path) = (file.reason.by.to_string(), file.path.to_string());
            let label = quoted(&file.reason.why.to_string());
            let (from, to) = (quoted(&by), quoted(&path));
            edges.insert(format!("{from} -> {to} [label={label}]"));
        }
        for name in missing(closure) {
            let (from, to) = (quoted(&closure.program.to_string()), quoted(&name));
            edges.insert(format!("{from} -> {to} [style=dashed, label=\"missing\"]"));
        }
    }
    let lines: String = edges.iter().map(|edge| format!("  {edge};\n")).collect();
    format!("digraph closure {{\n  rankdir=LR;\n{lines}}}\n")
}
