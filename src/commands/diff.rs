//! `rbuild diff`. The invariant: what differs is data on standard output, and the exit code says whether there is any, as that of
//! diff(1) does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use image::Image;
use rootfs::closure::{Resolver, shown};
use rootfs::{Aspect, Change, Meta, NodeKind, TreePath};
use serde::Serialize;
use serde_json::Value;

use super::opened::Opened;
use crate::args::look::DiffArgs;
use crate::args::store::Format;
use crate::failure::{Failure, Kind};
use crate::show::escape;
use crate::stdout::{print, print_json};

/// Two images as programs see them.
#[derive(Serialize)]
struct Answer {
    /// Bytes of the visible files, before and after.
    size: [u64; 2],
    files: Vec<FileRow>,
    /// The files that are shared libraries, by name: added, removed or otherwise.
    libraries: Vec<FileRow>,
    /// Fields of the configuration: user, environment, entry point and so on.
    configuration: Vec<FieldRow>,
}

#[derive(Clone, Serialize)]
struct FileRow {
    path: String,
    /// `added`, `removed`, or `changed`.
    change: &'static str,
    /// What is otherwise.
    aspects: Vec<&'static str>,
    before: Option<Side>,
    after: Option<Side>,
    /// Of a library: what it gives to others now and did not before, and the other way round.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbols: Option<Symbols>,
}

#[derive(Clone, Serialize)]
struct Symbols {
    added: Vec<String>,
    removed: Vec<String>,
}

#[derive(Clone, Serialize)]
struct Side {
    mode: String,
    uid: u32,
    gid: u32,
    size: u64,
}

#[derive(Serialize)]
struct FieldRow {
    field: String,
    before: Option<Value>,
    after: Option<Value>,
}

/// Compares two images.
pub(super) fn diff(args: &DiffArgs, place: &Path) -> Result<ExitCode, Failure> {
    let platform = args.platform.as_ref();
    let before = Opened::open(place, &args.before, platform)?;
    let after = Opened::open(place, &args.after, platform)?;
    let changes = before
        .view
        .changes_to(&after.view)
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    let resolvers = [&before, &after].map(|one| Resolver::new(&one.view, one.settings()));
    let mut files = Vec::new();
    for change in changes {
        let path = change.path.clone();
        let mut row = row(change, args.ignore_times);
        if let Some(row) = row.as_mut().filter(|row| is_library(row)) {
            row.symbols = symbols(row, &path, &resolvers);
        }
        files.extend(row);
    }
    let answer = Answer {
        size: [bytes(&before)?, bytes(&after)?],
        libraries: files
            .iter()
            .filter(|row| is_library(row))
            .cloned()
            .collect(),
        files,
        configuration: fields(&before.image, &after.image, args.ignore_times),
    };
    match args.format {
        Format::Json => print_json(&answer)?,
        Format::Text => print(&text(&answer))?,
    }
    let same = answer.files.is_empty() && answer.configuration.is_empty();
    Ok(match same {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Kind::Failed.code()),
    })
}

fn bytes(opened: &Opened) -> Result<u64, Failure> {
    let (mut bytes, mut seen) = (0, std::collections::HashSet::new());
    let each = opened.view.each(|_, meta, _| {
        if meta.links < 2 || seen.insert(meta.inode) {
            bytes += meta.size;
        }
    });
    let failed = |error| Failure::new(Kind::Failed, error);
    each.map_err(failed).map(|()| bytes)
}

fn row(change: Change, ignore_times: bool) -> Option<FileRow> {
    let aspects: Vec<&str> = change
        .aspects
        .iter()
        .filter(|aspect| !(ignore_times && **aspect == Aspect::Time))
        .map(|aspect| word(*aspect))
        .collect();
    let side = |side: &Option<(Meta, usize)>| {
        side.as_ref().map(|(meta, _)| Side {
            mode: format!("{:04o}", meta.mode),
            uid: meta.uid,
            gid: meta.gid,
            size: if meta.kind == NodeKind::File {
                meta.size
            } else {
                0
            },
        })
    };
    let kind = match (&change.before, &change.after) {
        (None, _) => "added",
        (_, None) => "removed",
        _ if aspects.is_empty() => return None,
        _ => "changed",
    };
    Some(FileRow {
        path: change.path.to_string(),
        change: kind,
        aspects,
        before: side(&change.before),
        after: side(&change.after),
        symbols: None,
    })
}

fn word(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Kind => "kind",
        Aspect::Content => "content",
        Aspect::Target => "target",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Attributes => "attributes",
        Aspect::Capabilities => "capabilities",
        Aspect::Time => "time",
    }
}

/// What a library that is in both images gives to others in one alone.
fn symbols(row: &FileRow, path: &TreePath, [before, after]: &[Resolver<'_>; 2]) -> Option<Symbols> {
    if !row.aspects.contains(&"content") {
        return None;
    }
    let (was, is) = (before.exports(path), after.exports(path));
    let only = |one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>| -> Vec<String> {
        one.difference(other).map(|name| shown(name)).collect()
    };
    Some(Symbols {
        added: only(&is, &was),
        removed: only(&was, &is),
    })
}

/// A shared library by its name; whose time alone is otherwise is the same one.
fn is_library(row: &FileRow) -> bool {
    let name = row.path.rsplit('/').next().unwrap_or_default();
    let named = name.ends_with(".so") || name.contains(".so.");
    named && row.aspects.as_slice() != ["time"]
}

/// The fields of two configurations that are not alike. Lists of `NAME=VALUE` are compared by name.
fn fields(before: &Image, after: &Image, ignore_times: bool) -> Vec<FieldRow> {
    let (one, two) = (flat(before, ignore_times), flat(after, ignore_times));
    let names: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    names
        .into_iter()
        .filter(|name| one.get(*name) != two.get(*name))
        .map(|name| FieldRow {
            field: name.clone(),
            before: one.get(name).cloned(),
            after: two.get(name).cloned(),
        })
        .collect()
}

fn flat(image: &Image, ignore_times: bool) -> BTreeMap<String, Value> {
    let mut config = image.config().clone();
    config.history.clear();
    config.rootfs = image::RootFs::default();
    if ignore_times {
        config.created = None;
    }
    let env = std::mem::take(&mut config.config.env);
    let mut fields = BTreeMap::new();
    for variable in env {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        fields.insert(format!("Env.{name}"), Value::from(value));
    }
    // A configuration is plain data.
    let value = serde_json::to_value(&config).unwrap_or_default();
    flatten("", &value, &mut fields);
    fields.remove("rootfs.type");
    fields.remove("rootfs.diff_ids");
    fields
}

fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                let name = match name {
                    "" | "config" => key.clone(),
                    name => format!("{name}.{key}"),
                };
                flatten(&name, value, into);
            }
        }
        Value::Object(_) if name == "config" => {}
        value => drop(into.insert(name.to_owned(), value.clone())),
    }
}

fn text(answer: &Answer) -> String {
    let mut out = String::new();
    for row in &answer.files {
        let sign = match row.change {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        let kind = if is_library(row) { " (library)" } else { "" };
        let how = match (&row.before, &row.after) {
            (Some(before), Some(after)) => format!(": {}", told(row, before, after)),
            _ => String::new(),
        };
        out.push_str(&format!("{sign} {}{kind}{how}\n", row.path));
        if let Some(symbols) = &row.symbols {
            listed("-", &symbols.removed, &mut out);
            listed("+", &symbols.added, &mut out);
        }
    }
    for field in &answer.configuration {
        let shown = |value: &Option<Value>| match value {
            None => "-".to_owned(),
            Some(Value::String(text)) => escape(text),
            Some(value) => escape(&value.to_string()),
        };
        let (before, after) = (shown(&field.before), shown(&field.after));
        out.push_str(&format!(
            "~ {}: {before} -> {after}\n",
            escape(&field.field)
        ));
    }
    if !out.is_empty() {
        let [before, after] = answer.size;
        out.push_str(&format!("{before} -> {after} bytes in files\n"));
    }
    out
}

/// The symbols of one side, a few of them by name.
fn listed(sign: &str, symbols: &[String], out: &mut String) {
    const NAMED: usize = 10;
    if symbols.is_empty() {
        return;
    }
    let named = &symbols[..symbols.len().min(NAMED)];
    let more = match symbols.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    out.push_str(&format!("    {sign} symbols: {}{more}\n", named.join(", ")));
}

fn told(row: &FileRow, before: &Side, after: &Side) -> String {
    let told: Vec<String> = row
        .aspects
        .iter()
        .map(|aspect| match *aspect {
            "mode" => format!("mode {} -> {}", before.mode, after.mode),
            "owner" => format!(
                "owner {}:{} -> {}:{}",
                before.uid, before.gid, after.uid, after.gid
            ),
            "content" => format!("content ({} -> {} bytes)", before.size, after.size),
            other => other.to_owned(),
        })
        .collect();
    told.join(", ")
}
