//! `--metadata-file`. The invariant: keys and values are buildx's; the digest is that of the manifest where others find it: in the
//! registry it was pushed to, else in the layout, else in the store.

use builder::{Built, Exported, Output};
use serde_json::{Map, Value, json};

/// The file's text.
pub(super) fn of(built: &Built) -> String {
    let seen = |exported: &&Exported| match exported.output {
        Output::Registry(_) => 0,
        Output::OciLayout(..) | Output::OciArchive(..) => 1,
        _ => 2,
    };
    let first = built.exported.iter().min_by_key(seen);
    let descriptor = first.map_or_else(
        || built.images[0].image.entry(),
        |exported| exported.descriptor.clone(),
    );
    let mut metadata = Map::new();
    if let [one] = &built.images[..] {
        let id = one.image.id().to_string();
        metadata.insert("containerimage.config.digest".into(), id.into());
    }
    metadata.insert(
        "containerimage.digest".into(),
        descriptor.digest.to_string().into(),
    );
    metadata.insert("containerimage.descriptor".into(), json!(descriptor));
    let mut names: Vec<String> = Vec::new();
    for name in built.exported.iter().flat_map(|exported| &exported.names) {
        let name = name.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        metadata.insert("image.name".into(), names.join(",").into());
    }
    let mut text = serde_json::to_string_pretty(&Value::Object(metadata))
        .expect("a map of texts has a JSON form");
    text.push('\n');
    text
}
