//! Writing an image where it was asked for. The invariant: what is written is made of the store's verified blobs; a file gets
//! its name when it is complete, and the image in the store is not changed by any output.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use image::{Compression, DiffId, Export, Image, Reference, Store, docker_archive, layout};
use rootfs::copy::{CopyPlan, CopyRequest, CopySource, Owner, Rules, Verdict, plan};
use rootfs::{LayerTimes, LayerWriter, Ownership, Root, Time};

use crate::error::BuildError;
use crate::execute::view_of;
use crate::request::Output;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Writes one output of the images of a build, one for each platform.
pub(crate) fn write(
    store: &Store,
    images: &[&Image],
    tags: &[Reference],
    output: &Output,
) -> Result<(), BuildError> {
    let result = match output {
        Output::Store => Ok(()),
        Output::OciLayout(directory) => oci_layout(store, images, tags, directory),
        Output::OciArchive(path) => {
            to_file(path.as_deref(), |out| oci_archive(store, images, tags, out))
        }
        Output::DockerArchive(path) => match images {
            [image] => to_file(path.as_deref(), |out| {
                docker_archive::write(out, store, &[(image, tags)]).map_err(Failure::from)
            }),
            _ => Err(
                "a docker archive holds the image of one platform; type=oci holds them all".into(),
            ),
        },
        Output::Local(directory) => places(images).try_for_each(|(image, place)| {
            let directory = directory.join(place);
            files(store, image, "/", |plan| {
                fs::create_dir_all(&directory)?;
                // The files belong to the caller, whatever their owners in the image are.
                plan.write_tree(&Root::open(&directory)?, Ownership::Squashed)?;
                Ok(())
            })
        }),
        Output::Tar(path) => to_file(path.as_deref(), |out| {
            let mut writer = LayerWriter::new(out, LayerTimes::Recorded);
            for (image, place) in places(images) {
                files(store, image, &format!("/{place}"), |plan| {
                    plan.write_layer(&mut writer)?;
                    Ok(())
                })?;
            }
            Ok(writer.finish()?.output)
        }),
    };
    result.map_err(|source| BuildError::Export {
        target: describe(output),
        source,
    })
}

/// Where the files of each image go, as in BuildKit: those of several platforms into `linux_arm64/` and so on.
fn places<'i>(images: &'i [&Image]) -> impl Iterator<Item = (&'i Image, String)> {
    let place = |image: &Image| match images.len() {
        1 => String::new(),
        _ => format!(
            "{}/",
            image.config().platform().to_string().replace('/', "_")
        ),
    };
    images.iter().map(move |image| (*image, place(image)))
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

fn exports<'s>(store: &'s Store, images: &[&Image]) -> Result<Vec<Export<'s>>, Failure> {
    let export = |image: &&Image| Export::new(store, image, Compression::Gzip, threads());
    Ok(images.iter().map(export).collect::<Result<_, _>>()?)
}

fn oci_layout(
    store: &Store,
    images: &[&Image],
    tags: &[Reference],
    directory: &Path,
) -> Result<(), Failure> {
    let exports = exports(store, images)?;
    fs::create_dir_all(directory)?;
    Ok(layout::write_directory(
        directory,
        &exports,
        name_of(tags).as_deref(),
    )?)
}

fn oci_archive<W: Write>(
    store: &Store,
    images: &[&Image],
    tags: &[Reference],
    out: W,
) -> Result<W, Failure> {
    let exports = exports(store, images)?;
    Ok(layout::write_archive(
        out,
        &exports,
        name_of(tags).as_deref(),
    )?)
}

/// The whole image as one tree, ready to be written to `destination`.
fn files(
    store: &Store,
    image: &Image,
    destination: &str,
    write: impl FnOnce(&CopyPlan<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let layers: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
    let view = view_of(store, &layers).map_err(|failure| Failure::from(failure.message.clone()))?;
    let request = CopyRequest {
        sources: &[CopySource::Path("/")],
        destination,
        owner: Owner::Kept,
        chmod: None,
        parents: false,
        unpack: false,
        date: &|time| time,
        dated_parents: true,
    };
    let keep = |_: &rootfs::TreePath, _: bool| Verdict::Keep;
    let rules = Rules {
        glob: &|pattern, name| pattern == name,
        ignore: &keep,
        exclude: &keep,
    };
    write(
        &plan(&request, &view, None, &rules)?
            .heeding(store.stop())
            .dated(Time::default()),
    )
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
