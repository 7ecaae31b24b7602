//! Writing an image where it was asked for. The invariant: what is written is made of the store's verified blobs; a file gets
//! its name when it is complete, and the image in the store is not changed by any output.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use image::{Compression, DiffId, Export, Image, Reference, Store, docker_archive, layout};
use rootfs::copy::{CopyPlan, CopyRequest, CopySource, Owner, Rules, Verdict, plan};
use rootfs::{LayerWriter, Ownership, Root, Time};

use crate::error::BuildError;
use crate::execute::view_of;
use crate::request::Output;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Writes one output.
pub(crate) fn write(
    store: &Store,
    image: &Image,
    tags: &[Reference],
    output: &Output,
) -> Result<(), BuildError> {
    let result = match output {
        Output::Store => Ok(()),
        Output::OciLayout(directory) => oci_layout(store, image, tags, directory),
        Output::OciArchive(path) => {
            to_file(path.as_deref(), |out| oci_archive(store, image, tags, out))
        }
        Output::DockerArchive(path) => to_file(path.as_deref(), |out| {
            docker_archive::write(out, store, &[(image, tags)]).map_err(Failure::from)
        }),
        Output::Local(directory) => files(store, image, |plan| {
            fs::create_dir_all(directory)?;
            // The files belong to the caller, whatever their owners in the image are.
            plan.write_tree(&Root::open(directory)?, Ownership::Squashed)?;
            Ok(())
        }),
        Output::Tar(path) => to_file(path.as_deref(), |out| {
            let mut out = Some(out);
            files(store, image, |plan| {
                let mut writer = LayerWriter::new(
                    out.take()
                        .ok_or_else(|| io::Error::from(io::ErrorKind::Other))?,
                    None,
                );
                plan.write_layer(&mut writer)?;
                out = Some(writer.finish()?.output);
                Ok(())
            })?;
            out.ok_or_else(|| io::Error::from(io::ErrorKind::Other).into())
        }),
    };
    result.map_err(|source| BuildError::Export {
        target: describe(output),
        source,
    })
}

fn describe(output: &Output) -> String {
    let file = |path: &Option<PathBuf>| {
        path.as_ref()
            .map_or("standard output".to_owned(), |p| p.display().to_string())
    };
    match output {
        Output::Store => "the store".to_owned(),
        Output::OciLayout(path) | Output::Local(path) => path.display().to_string(),
        Output::OciArchive(path) | Output::DockerArchive(path) | Output::Tar(path) => file(path),
    }
}

fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn name_of(tags: &[Reference]) -> Option<String> {
    tags.first().map(ToString::to_string)
}

fn oci_layout(
    store: &Store,
    image: &Image,
    tags: &[Reference],
    directory: &Path,
) -> Result<(), Failure> {
    let export = Export::new(store, image, Compression::Gzip, threads())?;
    fs::create_dir_all(directory)?;
    Ok(layout::write_directory(
        directory,
        &export,
        name_of(tags).as_deref(),
    )?)
}

fn oci_archive<W: Write>(
    store: &Store,
    image: &Image,
    tags: &[Reference],
    out: W,
) -> Result<W, Failure> {
    let export = Export::new(store, image, Compression::Gzip, threads())?;
    Ok(layout::write_archive(
        out,
        &export,
        name_of(tags).as_deref(),
    )?)
}

/// The whole image as one tree, ready to be written.
fn files(
    store: &Store,
    image: &Image,
    write: impl FnOnce(&CopyPlan<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let layers: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
    let view = view_of(store, &layers).map_err(|failure| Failure::from(failure.message.clone()))?;
    let request = CopyRequest {
        sources: &[CopySource::Path("/")],
        destination: "/",
        owner: Owner::Kept,
        chmod: None,
        parents: false,
        unpack: false,
        now: Time::default(),
    };
    let keep = |_: &rootfs::TreePath, _: bool| Verdict::Keep;
    let rules = Rules {
        glob: &|pattern, name| pattern == name,
        ignore: &keep,
        exclude: &keep,
    };
    write(&plan(&request, &view, None, &rules)?.heeding(store.stop()))
}

/// Writes to standard output, or to a file that gets its name at the end.
fn to_file(
    path: Option<&Path>,
    write: impl FnOnce(Box<dyn Write>) -> Result<Box<dyn Write>, Failure>,
) -> Result<(), Failure> {
    let Some(path) = path else {
        return Ok(write(Box::new(BufWriter::new(io::stdout())))?.flush()?);
    };
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let temporary = path.with_file_name(format!(
        ".{}.{}.tmp",
        name.to_string_lossy(),
        std::process::id()
    ));
    let complete = || -> Result<(), Failure> {
        let file = File::create(&temporary)?;
        let kept = file.try_clone()?;
        write(Box::new(BufWriter::with_capacity(1 << 20, file)))?.flush()?;
        kept.sync_all()?;
        Ok(fs::rename(&temporary, path)?)
    };
    complete().inspect_err(|_| {
        // The error that came first is the one to report.
        let _ = fs::remove_file(&temporary);
    })
}
