//! Where an image comes from, as the predicate of SLSA provenance (slsa.dev/spec/v1.0/provenance). Invariant: it names what was asked and
//! what was taken, by digest; no value of a secret, no path of this machine, and nothing that another build of the same inputs would
//! have otherwise, but for the time that the full form has.

use std::path::Path;

use image::{Digest, Platform};
use serde_json::{Map, Value, json};

use crate::graph::{BuildPlan, PinnedImage};
use crate::plan::is_proxy;
use crate::remote::{Pinned, RemoteSource};
use crate::request::BuildRequest;
use crate::times::rfc3339;

/// The predicate's type.
pub(crate) const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// What the parameters mean; docs/attestations.md says it.
const BUILD_TYPE: &str = "urn:rbuild:containerfile:v1";
const BUILDER: &str = "urn:rbuild:builder";

/// How much provenance says, in buildx's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What was taken, and which Containerfile, target and platform.
    Min,
    /// Build arguments, labels and when it was built, too.
    Max,
}

/// `--provenance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// How much it says.
    pub detail: Detail,
    /// Who built it, as a URI; without one, rbuild on some machine.
    pub builder: Option<String>,
}

/// A file or repository that was fetched, as it was written, and what it was.
pub type Taken = (RemoteSource, Pinned);

/// What a build of one platform took.
pub(crate) struct Inputs<'i> {
    pub(crate) request: &'i BuildRequest,
    pub(crate) plan: &'i BuildPlan,
    pub(crate) platform: &'i Platform,
    /// By ADD, as build contexts, or as named ones.
    pub(crate) taken: &'i [Taken],
}

impl Inputs<'_> {
    pub(crate) fn predicate(&self, asked: &Provenance) -> Value {
        let mut metadata = Map::new();
        if asked.detail == Detail::Max {
            metadata.insert("startedOn".to_owned(), rfc3339(self.request.now).into());
        }
        json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": self.external(asked.detail),
                "internalParameters": { "hostPlatform": Platform::host().to_string() },
                "resolvedDependencies": self.dependencies(),
            },
            "runDetails": {
                "builder": {
                    "id": asked.builder.as_deref().unwrap_or(BUILDER),
                    "version": { "rbuild": env!("CARGO_PKG_VERSION") },
                },
                "metadata": metadata,
            },
        })
    }

    fn external(&self, detail: Detail) -> Value {
        let request = self.request;
        let text = request.containerfile.text();
        let mut parameters = json!({
            "containerfile": {
                "name": base_name(request.containerfile.name()),
                "digest": { "sha256": Digest::of(text).hex() },
            },
            "platform": self.platform.to_string(),
        });
        if let Some(target) = &request.target {
            parameters["target"] = target.as_str().into();
        }
        if detail == Detail::Max {
            let (args, left_out) = self.args();
            parameters["args"] = args.into();
            if !left_out.is_empty() {
                parameters["argsLeftOut"] = left_out.into();
            }
            let labels = request.labels.iter();
            let shown = labels.filter(|(_, value)| !self.is_secret(value));
            let labels: Map<String, Value> = shown
                .map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect();
            parameters["labels"] = labels.into();
        }
        parameters
    }

    /// The build arguments; of those whose value is nobody's business, the names.
    fn args(&self) -> (Map<String, Value>, Vec<String>) {
        let (mut shown, mut left_out) = (Map::new(), Vec::new());
        for (name, value) in &self.request.build_args {
            if is_proxy(name) {
                continue;
            }
            match self.is_secret(value) {
                true => left_out.push(name.clone()),
                false => drop(shown.insert(name.clone(), value.as_str().into())),
            }
        }
        (shown, left_out)
    }

    /// Whether a text has the value of a secret in it, or the password of a URL.
    fn is_secret(&self, text: &str) -> bool {
        let mut secrets = self.request.access.secrets.values();
        let has_value = secrets.any(|secret| {
            let value = secret.bytes().trim_ascii();
            let mut windows = text.as_bytes().windows(value.len().max(1));
            !value.is_empty() && windows.any(|window| window == value)
        });
        let authority = text
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        has_value || authority.is_some_and(|authority| authority.contains('@'))
    }

    fn dependencies(&self) -> Vec<Value> {
        let images = self.plan.images.iter().map(|pinned| self.of_image(pinned));
        let mut all: Vec<Value> = images.chain(self.taken.iter().map(of_remote)).collect();
        all.sort_by_key(Value::to_string);
        all.dedup();
        all
    }

    /// As BuildKit names images, by their package URL.
    fn of_image(&self, pinned: &PinnedImage) -> Value {
        let encode = rootfs::inventory::encode;
        let name = base_of(&pinned.name);
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, format!("@{}", encode(tag))),
            _ => (name, String::new()),
        };
        let name: Vec<String> = name.split('/').map(encode).collect();
        let platform = encode(&pinned.image.config().platform().to_string());
        json!({
            "uri": format!("pkg:docker/{}{tag}?platform={platform}", name.join("/")),
            "digest": { "sha256": pinned.image.digest().hex() },
        })
    }
}

/// A name without its digest, and without a directory of this machine.
fn base_of(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or_default();
    match name.starts_with(['/', '.']) {
        true => name.rsplit('/').next().unwrap_or_default(),
        false => name,
    }
}

fn of_remote((source, pinned): &Taken) -> Value {
    let text = source.to_string();
    match pinned {
        // What follows the question mark is often a signature that lets its owner in.
        Pinned::File { digest, .. } => json!({
            "uri": text.split('?').next().unwrap_or_default(),
            "digest": { "sha256": digest.hex() },
        }),
        Pinned::Tree { commit, .. } => json!({
            "uri": match text.starts_with("git") { true => text, false => format!("git+{text}") },
            "digest": { "gitCommit": commit },
        }),
    }
}

/// The last part of a path; of a URL, all but its query.
fn base_name(name: &str) -> String {
    if name.contains("://") {
        return name.split('?').next().unwrap_or_default().to_owned();
    }
    let last = Path::new(name).file_name();
    last.map_or_else(
        || name.to_owned(),
        |last| last.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_without_directories_digests_and_queries() {
        assert_eq!(base_name("/home/ada/app/Containerfile"), "Containerfile");
        assert_eq!(
            base_name("https://x.io/a/Containerfile?sig=x"),
            "https://x.io/a/Containerfile"
        );
        assert_eq!(base_of("q.io/app:1@sha256:00"), "q.io/app:1");
        assert_eq!(base_of("/srv/debian"), "debian");
    }

    #[test]
    fn what_was_fetched_has_its_digest() {
        let source = RemoteSource::parse("https://u:p@x.io/a.tar?token=1")
            .unwrap()
            .unwrap();
        let pinned = Pinned::File {
            digest: Digest::of("a"),
            name: "a.tar".to_owned(),
            mtime: 0,
        };
        let found = of_remote(&(source, pinned));
        assert_eq!(found["uri"], "https://x.io/a.tar");
        assert_eq!(found["digest"]["sha256"], Digest::of("a").hex());
        let source = RemoteSource::parse("https://x.io/a.git#main")
            .unwrap()
            .unwrap();
        let pinned = Pinned::Tree {
            commit: "c0ffee".to_owned(),
            tree: image::DiffId::new(Digest::of("a")),
            subdir: String::new(),
        };
        let found = of_remote(&(source, pinned));
        assert_eq!(found["uri"], "git+https://x.io/a.git#main");
        assert_eq!(found["digest"]["gitCommit"], "c0ffee");
    }
}
