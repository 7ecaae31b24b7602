//! `rbuild outline`. The invariant: nothing but the Containerfile is read; no network and no namespace is needed.

use containerfile::outline::{Outline, Request};
use containerfile::{Severity, parse};

use super::containerfile::local;
use crate::args::outline::OutlineArgs;
use crate::args::store::Format;
use crate::failure::{Failure, Kind};
use crate::show::{self, escape};
use crate::stdout::{print, print_json, table};

/// Lists what a Containerfile offers and takes.
pub(super) fn outline(args: &OutlineArgs) -> Result<(), Failure> {
    let source = local(&args.context, args.file.as_deref())?;
    let parsed = parse(&source);
    let errors: Vec<_> = parsed
        .diagnostics
        .into_iter()
        .filter(|found| found.severity == Severity::Error)
        .collect();
    if !errors.is_empty() {
        let text = show::diagnostics(&source, &errors, false);
        return Err(Failure::silent(Kind::Failed.code()).excerpt(text));
    }
    let outline = Outline::of(&parsed.file, &source, args.target.as_deref()).ok_or_else(|| {
        let name = args.target.as_deref().unwrap_or_default();
        Failure::failed(format!("find the stage {name:?} in {}", source.name()))
    })?;
    match args.format {
        Format::Json => print_json(&outline),
        Format::Text => print(&text(&outline)),
    }
}

/// One table for each kind of thing; a kind of which there is nothing is left out.
fn text(outline: &Outline) -> String {
    let or_empty = |text: &Option<String>| escape(text.as_deref().unwrap_or_default());
    let targets = outline.targets.iter().map(|target| {
        let default = if target.default { " (default)" } else { "" };
        vec![
            format!("{}{default}", escape(&target.name)),
            escape(&target.base),
            or_empty(&target.description),
        ]
    });
    let arguments = outline.arguments.iter().map(|argument| {
        vec![
            escape(&argument.name),
            or_empty(&argument.default),
            or_empty(&argument.stage),
            or_empty(&argument.description),
        ]
    });
    let required = |request: &Request| match request.required {
        true => "required".to_owned(),
        false => String::new(),
    };
    let requests = |list: &[Request]| -> Vec<Vec<String>> {
        list.iter()
            .map(|request| vec![escape(&request.id), required(request)])
            .collect()
    };
    let caches = outline.caches.iter();
    let caches = caches.map(|cache| vec![escape(&cache.id), escape(&cache.target)]);
    let single = |text: &String| vec![escape(text)];
    let context = outline.context.then(|| vec!["build context".to_owned()]);
    let contexts = outline.images.iter().chain(&outline.urls).map(single);
    let sections = [
        (&["TARGET", "FROM", "DESCRIPTION"][..], targets.collect()),
        (
            &["ARGUMENT", "DEFAULT", "STAGE", "DESCRIPTION"],
            arguments.collect(),
        ),
        (&["SECRET", ""], requests(&outline.secrets)),
        (&["SSH", ""], requests(&outline.ssh)),
        (&["CACHE", "TARGET"], caches.collect::<Vec<_>>()),
        (&["SOURCE"], context.into_iter().chain(contexts).collect()),
    ];
    let filled = sections.into_iter().filter(|(_, rows)| !rows.is_empty());
    let tables: Vec<String> = filled
        .map(|(head, rows)| {
            let head = head.iter().map(|title| (*title).to_owned()).collect();
            table(&[vec![head], rows].concat())
        })
        .collect();
    tables.join("\n")
}
