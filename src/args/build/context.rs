//! `--build-context`, and what a build argument says about the context. The invariant: what a source is, is decided by its prefix
//! alone; a path is looked at only when it is used.

use std::collections::BTreeMap;

use builder::{NamedContext, RemoteSource};

use super::{ContextSource, Sources};
use crate::failure::Failure;

/// BuildKit's build argument that keeps `.git` of a context that is a repository; the URL's own parameter comes before it.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// Heeds [`KEEP_GIT_DIR`].
pub(super) fn keeping_git_dir(
    mut sources: Sources,
    build_args: &BTreeMap<String, String>,
) -> Result<Sources, Failure> {
    let Some(value) = build_args.get(KEEP_GIT_DIR) else {
        return Ok(sources);
    };
    // As strconv.ParseBool of Go.
    let kept = match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        _ => {
            let message = format!("--build-arg {KEEP_GIT_DIR}={value}: expected true or false");
            return Err(Failure::usage(message));
        }
    };
    if let ContextSource::Remote(RemoteSource::Git(source)) = &mut sources.context {
        source.keep_git_dir.get_or_insert(kept);
    }
    Ok(sources)
}

/// `NAME=PATH`, `NAME=https://…`, `NAME=oci-layout:DIR[:TAG]`, `NAME=oci-layout://DIR[:TAG|@DIGEST]`, `NAME=docker-image://REFERENCE`.
pub(crate) fn named_context(text: &str) -> Result<(String, NamedContext), Failure> {
    let wrong = |why: &str| Failure::usage(format!("--build-context {text}: {why}"));
    let (name, source) = text
        .split_once('=')
        .ok_or_else(|| wrong("expected NAME=SOURCE"))?;
    if name.is_empty() || source.is_empty() {
        return Err(wrong("expected NAME=SOURCE"));
    }
    let context = if let Some(reference) = source.strip_prefix("docker-image://") {
        NamedContext::Image(reference.parse()?)
    } else if let Some(layout) = source.strip_prefix("oci-layout:") {
        let layout = layout.strip_prefix("//").unwrap_or(layout);
        let (directory, version) = split_version(layout).map_err(|why| wrong(&why))?;
        if directory.is_empty() {
            return Err(wrong("the layout's directory is missing"));
        }
        NamedContext::OciLayout {
            directory: directory.into(),
            version,
        }
    } else if source.starts_with("target:") {
        return Err(wrong(
            "target: is for bake; build that target first, with -o type=oci,dest=DIR, and write oci-layout:DIR",
        ));
    } else if let Some(remote) =
        RemoteSource::parse(source).map_err(|error| wrong(&format!("cannot {error}")))?
    {
        NamedContext::Remote(remote)
    } else if let Some((scheme, _)) = source.split_once("://") {
        return Err(wrong(&format!(
            "{scheme}:// is not supported; there are directories, tars, http://, https://, oci-layout: and docker-image://"
        )));
    } else {
        NamedContext::Directory(source.into())
    };
    Ok((name.to_owned(), context))
}

/// `DIR@sha256:…` and `DIR:TAG`; a colon before the last slash is part of the directory.
fn split_version(layout: &str) -> Result<(&str, Option<String>), String> {
    if let Some((directory, digest)) = layout.rsplit_once('@') {
        let digest: image::Digest = digest
            .parse()
            .map_err(|error: image::ParseDigestError| error.to_string())?;
        return Ok((directory, Some(digest.to_string())));
    }
    match layout.rsplit_once(':') {
        Some((directory, tag)) if !tag.contains('/') && !tag.is_empty() => {
            Ok((directory, Some(tag.to_owned())))
        }
        _ => Ok((layout, None)),
    }
}
