//! `rbuild inspect --referrers`. The invariant: what is listed was not fetched; types and annotations are others' words and are escaped.

use std::path::Path;

use image::{Descriptor, Platform, Store, signature};
use serde::Serialize;

use super::transfer::At;
use crate::args::store::{Format, InspectArgs, RemoteImage};
use crate::failure::{Failure, Kind};
use crate::show::escape;
use crate::stdout::{human_size, print, print_json, table};

/// One of them, as programs see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    artifact_type: String,
    /// Of its manifest; what is in the store has another one wherever it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    size: u64,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: std::collections::BTreeMap<String, String>,
}

/// Lists what a registry has beside an image: of an index, beside the index, or beside the image of a platform.
pub(super) fn of_registry(args: &InspectArgs, wanted: &RemoteImage) -> Result<(), Failure> {
    let failed = |error: anyhow::Error| {
        let what = format!("list what refers to docker://{}", wanted.name);
        Failure::new(Kind::Registry, error.context(what))
    };
    let creds = wanted.registry.creds.as_ref();
    let remote = At::find(&wanted.registry, &wanted.name, creds)?.remote();
    let list = || -> Result<Vec<Descriptor>, anyhow::Error> {
        let (bytes, mut top) = remote.document(None)?;
        if let Some(platform) = &args.platform
            && let image::Document::Index(index) = image::Document::parse(&bytes, None)?
        {
            let entry = index.select(platform).cloned();
            top = entry.ok_or_else(|| anyhow::anyhow!("it has no image for {platform}"))?;
        }
        let mut found = remote.referrers(&top.digest)?;
        if let Some((_, mut signed)) = remote.tagged(&signature::tag_of(&top.digest))?
            && !found.iter().any(|one| one.digest == signed.digest)
        {
            let kind = signature::SIGNATURES.into();
            signed.other.insert("artifactType".to_owned(), kind);
            found.push(signed);
        }
        Ok(found)
    };
    let rows = list().map_err(failed)?.into_iter().map(|one| Row {
        artifact_type: one.artifact_type().unwrap_or_default().to_owned(),
        digest: Some(one.digest.to_string()),
        size: one.size,
        annotations: one.annotations,
    });
    show(args.format, &rows.collect::<Vec<_>>())
}

/// Lists what goes with an image of the store.
pub(super) fn of_store(args: &InspectArgs, place: &Path) -> Result<(), Failure> {
    let store = Store::open(place)?;
    let digest = store.resolve(&args.image)?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let image = store.image_for(&digest, &platform)?;
    let kept = store.attachments(image.digest())?.into_iter();
    let rows = kept.map(|one| Row {
        artifact_type: one.media_type,
        digest: None,
        size: one.content.len() as u64,
        annotations: one.annotations,
    });
    show(args.format, &rows.collect::<Vec<_>>())
}

fn show(format: Format, rows: &[Row]) -> Result<(), Failure> {
    if format == Format::Json {
        return print_json(&rows);
    }
    let head = ["TYPE", "DIGEST", "SIZE"].map(str::to_owned).to_vec();
    let lines = rows.iter().map(|row| {
        let digest = row.digest.clone().unwrap_or_else(|| "-".to_owned());
        vec![escape(&row.artifact_type), digest, human_size(row.size)]
    });
    print(&table(
        &std::iter::once(head).chain(lines).collect::<Vec<_>>(),
    ))
}
