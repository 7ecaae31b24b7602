//! `rbuild size`. The invariant: every byte of a file is in one row of each table, so each table has the same sum; what a layer
//! holds beyond that is tar headers, and files that a later layer replaces.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use rootfs::closure::{Packages, Resolver, Users};
use rootfs::trees::open_index;
use rootfs::{Meta, NodeKind, TreePath};
use serde::Serialize;

use super::opened::Opened;
use crate::args::look::SizeArgs;
use crate::args::store::Format;
use crate::failure::{Failure, Kind};
use crate::show::escape;
use crate::stdout::{human_size, print, print_json, table};

/// A size ledger as programs see it.
#[derive(Serialize)]
struct Ledger {
    /// The uncompressed layers together.
    size: u64,
    budget: Option<u64>,
    layers: Vec<LayerRow>,
    packages: Vec<Row>,
    reasons: Vec<Row>,
}

#[derive(Serialize)]
struct LayerRow {
    diff_id: String,
    size: u64,
    /// What of it a container sees.
    #[serde(flatten)]
    visible: Sum,
    instruction: String,
}

/// Files and their bytes; names of one file count once.
#[derive(Clone, Copy, Default, Serialize)]
struct Sum {
    bytes: u64,
    files: u64,
}

#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    sum: Sum,
}

/// Says what an image's bytes are for.
pub(super) fn size(args: &SizeArgs, place: &Path) -> Result<(), Failure> {
    let opened = Opened::open(place, &args.image, args.platform.as_ref())?;
    let ledger = ledger(&opened, args.budget)?;
    match args.format {
        Format::Json => print_json(&ledger)?,
        Format::Text => print(&text(&ledger))?,
    }
    match args.budget {
        Some(budget) if ledger.size > budget => Err(Failure::failed(format!(
            "keep {} within {}: it has {} ({} bytes too many)",
            args.image,
            human_size(budget),
            human_size(ledger.size),
            ledger.size - budget
        ))),
        _ => Ok(()),
    }
}

fn ledger(opened: &Opened, budget: Option<u64>) -> Result<Ledger, Failure> {
    let failed = |error: anyhow::Error| Failure::new(Kind::Failed, error);
    let mut files: Vec<(TreePath, Meta, usize)> = Vec::new();
    let mut seen = HashSet::new();
    let seen_all = opened.view.each(|path, meta, layer| {
        if meta.kind == NodeKind::File && (meta.links < 2 || seen.insert(meta.inode)) {
            files.push((path.clone(), meta.clone(), layer));
        }
    });
    seen_all.map_err(|error| failed(error.into()))?;
    let packages = Packages::of(&opened.view, files.iter().map(|(path, ..)| path))
        .map_err(|error| failed(error.into()))?;
    let resolver = Resolver::new(&opened.view, opened.settings());
    let programs = files.iter().map(|(path, meta, _)| (path, meta));
    let users_of = Users::of(&opened.view, &resolver, programs);
    let instructions = opened.instructions();
    let mut of_layers = vec![Sum::default(); instructions.len()];
    let (mut of_packages, mut of_reasons) = (BTreeMap::new(), BTreeMap::new());
    for (path, meta, layer) in &files {
        if let Some(sum) = of_layers.get_mut(*layer) {
            sum.add(meta);
        }
        let package = packages.owner(path).unwrap_or("-").to_owned();
        of_packages
            .entry(package)
            .or_insert_with(Sum::default)
            .add(meta);
        let mut users = users_of.users(path);
        let reason = match (users.next(), users.next()) {
            (Some(only), None) => format!("needed by {only}"),
            (Some(_), Some(_)) => "needed by several programs".to_owned(),
            (None, _) => instructions.get(*layer).cloned().unwrap_or_default(),
        };
        of_reasons
            .entry(reason)
            .or_insert_with(Sum::default)
            .add(meta);
    }
    let mut layers = Vec::new();
    for (layer, (visible, instruction)) in opened
        .image
        .layers()
        .iter()
        .zip(of_layers.into_iter().zip(instructions))
    {
        let index = open_index(&opened.store, &layer.diff_id);
        layers.push(LayerRow {
            diff_id: layer.diff_id.to_string(),
            size: index.map_err(|error| failed(error.into()))?.size(),
            visible,
            instruction,
        });
    }
    Ok(Ledger {
        size: layers.iter().map(|layer| layer.size).sum(),
        budget,
        layers,
        packages: rows(of_packages),
        reasons: rows(of_reasons),
    })
}

impl Sum {
    fn add(&mut self, meta: &Meta) {
        self.bytes += meta.size;
        self.files += 1;
    }
}

/// The largest first.
fn rows(sums: BTreeMap<String, Sum>) -> Vec<Row> {
    let mut rows: Vec<Row> = sums
        .into_iter()
        .map(|(name, sum)| Row { name, sum })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.sum.bytes));
    rows
}

fn text(ledger: &Ledger) -> String {
    let head = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut layers: Vec<Vec<String>> = vec![head(&["LAYER", "SEEN", "FILES", "INSTRUCTION"])];
    layers.extend(ledger.layers.iter().map(|layer| {
        vec![
            human_size(layer.size),
            human_size(layer.visible.bytes),
            layer.visible.files.to_string(),
            one_line(&layer.instruction),
        ]
    }));
    let mut out = table(&layers);
    for (title, rows) in [("PACKAGE", &ledger.packages), ("REASON", &ledger.reasons)] {
        let mut lines: Vec<Vec<String>> = vec![head(&["SIZE", "FILES", title])];
        lines.extend(rows.iter().map(|row| {
            vec![
                human_size(row.sum.bytes),
                row.sum.files.to_string(),
                one_line(&row.name),
            ]
        }));
        out.push('\n');
        out.push_str(&table(&lines));
    }
    // Writing to a String cannot fail.
    let _ = write!(out, "\ntotal {}", human_size(ledger.size));
    if let Some(budget) = ledger.budget {
        let _ = write!(out, " of {}", human_size(budget));
    }
    out.push('\n');
    out
}

/// An instruction on one line, `-` where it is not known.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.is_empty() {
        true => "-".to_owned(),
        false => escape(&words.join(" ")),
    }
}
