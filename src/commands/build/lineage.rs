//! What a Containerfile and its context are called from build to build. The invariant: the same files at the same places have the
//! same name; it says nothing about what is in them.

use std::path::Path;

use crate::args::build::{ContainerfileSource, ContextSource, Sources};

/// The Containerfile and the context by what names them from build to build.
pub(super) fn of(sources: &Sources) -> String {
    let real = |path: &Path| {
        let real = path.canonicalize();
        real.unwrap_or_else(|_| path.to_owned())
            .display()
            .to_string()
    };
    let context = match &sources.context {
        ContextSource::Path(path) => real(path),
        ContextSource::Remote(source) => source.to_string(),
        ContextSource::Stdin => "-".to_owned(),
        ContextSource::Empty => String::new(),
    };
    let containerfile = match &sources.containerfile {
        ContainerfileSource::File(path) => real(path),
        ContainerfileSource::Remote(source) => source.to_string(),
        ContainerfileSource::Stdin => "-".to_owned(),
        ContainerfileSource::InContext => String::new(),
    };
    format!("{context}\n{containerfile}")
}
