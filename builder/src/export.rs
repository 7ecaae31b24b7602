//! Writing an image where it was asked for. The invariant: what is written is made of the store's verified blobs; a file gets
//! its name when it is complete, a registry's tag is put when everything else is written, and the image in the store is not
//! changed by any output.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use image::copy::attached;
use image::signature::identity_of;
use image::{
    Attachment, Descriptor, DiffId, Export, Image, Index, MediaType, Platform, Reference, Shipment,
    Store, docker_archive, layout,
};
use rootfs::copy::{CopyPlan, CopyRequest, CopySource, Owner, Parents, Rules, Verdict, plan};
use rootfs::{LayerTimes, LayerWriter, Ownership, Root, Time};

use crate::build::Elsewhere;
use crate::endpointed;
use crate::error::BuildError;
use crate::event::BuildEvent;
use crate::execute::view_of;
use crate::host::Host;
use crate::request::{AnnotationLevel, BuildRequest, Output, Recipe, annotations_of};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An image as an output has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Where it is.
    pub output: Output,
    /// Its names there.
    pub names: Vec<Reference>,
    /// Its manifest there.
    pub descriptor: Descriptor,
}

/// The images of a build, one for each platform, and all that is asked for them.
pub(crate) struct Outlet<'o> {
    pub(crate) host: &'o Host<'o>,
    pub(crate) request: &'o BuildRequest,
    pub(crate) images: &'o [&'o Image],
    pub(crate) elsewhere: &'o Elsewhere<'o>,
    /// Of each image, what goes with it.
    pub(crate) documents: &'o [Vec<Attachment>],
    pub(crate) events: &'o (dyn Fn(BuildEvent) + Sync),
}

/// The packed images for each way in which an output wants them.
type Packed<'s> = Vec<(&'s Recipe, Vec<Export<'s>>)>;

impl Outlet<'_> {
    /// Writes every output; registries come last.
    pub(crate) fn write_all(&self) -> Result<Vec<Exported>, BuildError> {
        let streamed = |output: &Output| {
            use Output::{OciArchive, OciLayout, Registry};
            matches!(output, Registry(_) | OciLayout(..) | OciArchive(..))
        };
        if !self.request.outputs.iter().all(streamed) {
            let layers = self.images.iter().flat_map(|image| image.layers());
            let layers: Vec<DiffId> = layers.map(|layer| layer.diff_id).collect();
            self.elsewhere.bring(self.host, &layers)?;
        }
        let mut packed = Vec::new();
        let (registries, others): (Vec<_>, Vec<_>) = self
            .request
            .outputs
            .iter()
            .partition(|output| matches!(output, Output::Registry(_)));
        let mut exported = Vec::new();
        for output in others.into_iter().chain(registries) {
            let names = output
                .image()
                .map_or(&[][..], |image| image.names(&self.request.tags));
            let descriptor = self
                .write(output, names, &mut packed)
                .map_err(|source| failed(output, source))?;
            if let Output::Registry(out) = output {
                let shipment = self
                    .shipment(&mut packed, &out.recipe)
                    .map_err(|source| failed(output, source))?;
                self.push(names, &shipment)?;
            }
            exported.extend(descriptor.map(|descriptor| Exported {
                output: output.clone(),
                names: names.to_vec(),
                descriptor,
            }));
        }
        Ok(exported)
    }

    /// Writes one output, or packs what is pushed; what it is called there, if it is an image there.
    fn write<'s>(
        &'s self,
        output: &'s Output,
        names: &[Reference],
        packed: &mut Packed<'s>,
    ) -> Result<Option<Descriptor>, Failure> {
        let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
        let store = self.host.store;
        let descriptor = match output {
            Output::Store(out) => Some(self.store(&out.recipe, names)?),
            Output::Registry(out) => {
                let shipment = self.shipment(packed, &out.recipe)?;
                Some(shipment.descriptor().clone())
            }
            Output::OciLayout(directory, out) => {
                let shipment = self.shipment(packed, &out.recipe)?;
                fs::create_dir_all(directory)?;
                let attached = self.attached_and_signed(&shipment, names)?;
                let shipment = shipment.with(&attached);
                layout::write_directory(directory, &shipment, &texts)?;
                Some(shipment.descriptor().clone())
            }
            Output::OciArchive(path, out) => {
                let shipment = self.shipment(packed, &out.recipe)?;
                let attached = self.attached_and_signed(&shipment, names)?;
                let shipment = shipment.with(&attached);
                let write = |out| Ok(layout::write_archive(out, &shipment, &texts)?);
                to_file(path.as_deref(), write)?;
                Some(shipment.descriptor().clone())
            }
            Output::DockerArchive(path, _) => {
                let [image] = self.images else {
                    return Err("a docker archive holds the image of one platform".into());
                };
                let write = |out| Ok(docker_archive::write(out, store, &[(*image, names)])?);
                to_file(path.as_deref(), write)?;
                Some(image.entry())
            }
            Output::Local(directory) => {
                local(store, self.images, directory)?;
                None
            }
            Output::Tar(path) => {
                to_file(path.as_deref(), |out| tar(store, self.images, out))?;
                None
            }
        };
        Ok(descriptor)
    }

    /// The images, packed once as a recipe says, and the index of several.
    fn shipment<'p, 's>(
        &'s self,
        packed: &'p mut Packed<'s>,
        recipe: &'s Recipe,
    ) -> Result<Shipment<'p, 's>, Failure> {
        let at = match packed.iter().position(|(other, _)| *other == recipe) {
            Some(at) => at,
            None => {
                let exports = self.images.iter().map(|image| self.pack(recipe, image));
                packed.push((recipe, exports.collect::<Result<_, _>>()?));
                packed.len() - 1
            }
        };
        let exports = &packed[at].1;
        Ok(match &exports[..] {
            [export] => Shipment::from(export),
            several => Shipment::of_index(
                several,
                self.annotations(recipe, AnnotationLevel::Index, None),
                self.annotations(recipe, AnnotationLevel::IndexDescriptor, None),
            ),
        })
    }

    fn pack(&self, recipe: &Recipe, image: &Image) -> Result<Export<'_>, Failure> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let (store, format) = (self.host.store, recipe.format);
        let found = |layer: &DiffId, packing| self.elsewhere.depot.packed(layer, packing);
        let layers = image.layers().iter().map(|layer| layer.diff_id);
        let nowhere = layers.filter(|layer| found(layer, recipe.packing).is_none());
        let nowhere: Vec<DiffId> = nowhere.collect();
        self.elsewhere.bring(self.host, &nowhere)?;
        let export = Export::with_elsewhere(store, image, recipe.packing, format, threads, &found)?;
        let platform = image.config().platform();
        Ok(export.annotated(
            &self.annotations(recipe, AnnotationLevel::Manifest, Some(&platform)),
            &self.annotations(recipe, AnnotationLevel::ManifestDescriptor, Some(&platform)),
        )?)
    }

    /// The build's annotations of a level, and after them the output's.
    fn annotations(
        &self,
        recipe: &Recipe,
        level: AnnotationLevel,
        platform: Option<&Platform>,
    ) -> BTreeMap<String, String> {
        let of_build = self.request.shape.annotations.iter();
        annotations_of(of_build.chain(&recipe.annotations), level, platform)
    }

    /// Puts the images into the store, with their names or with those of the index of them.
    fn store(&self, recipe: &Recipe, names: &[Reference]) -> Result<Descriptor, Failure> {
        let formed: Vec<Image> = self
            .images
            .iter()
            .map(|image| self.formed(recipe, image))
            .collect::<Result<_, _>>()?;
        let store = self.host.store;
        for (image, documents) in formed.iter().zip(self.documents) {
            if !documents.is_empty() {
                store.attach(image, documents)?;
            }
        }
        if let [image] = &formed[..] {
            store.add_image(image, names)?;
            return Ok(image.entry());
        }
        for image in &formed {
            store.add_image(image, &[])?;
        }
        let index = Index {
            annotations: self.annotations(recipe, AnnotationLevel::Index, None),
            ..Index::of(&formed)
        };
        store.add_index(&index, names)?;
        let media_type = index.media_type.clone().unwrap_or(MediaType::OciIndex);
        Ok(Descriptor::of(media_type, &index.to_bytes()))
    }

    /// An image in an output's media types and with its annotations, its layers as they are in the store.
    fn formed(&self, recipe: &Recipe, image: &Image) -> Result<Image, Failure> {
        let format = recipe.format.unwrap_or_else(|| image.format());
        let platform = image.config().platform();
        let annotations = self.annotations(recipe, AnnotationLevel::Manifest, Some(&platform));
        Ok(image.in_format(format)?.annotated(&annotations)?)
    }

    fn push(&self, names: &[Reference], shipment: &Shipment<'_, '_>) -> Result<(), BuildError> {
        for name in names {
            self.push_one(name, shipment)
                .map_err(|source| BuildError::Push {
                    name: name.familiar(),
                    source,
                })?;
        }
        Ok(())
    }

    fn push_one(&self, name: &Reference, shipment: &Shipment<'_, '_>) -> Result<(), Failure> {
        let attached = self.attached(shipment, &identity_of(name));
        let shipment = shipment.clone().with(&attached);
        let signer = self.request.attestations.signer.as_deref();
        endpointed::push(self.host, name, (&shipment, signer), self.events)
    }

    /// The documents as artifacts that refer to the images as they are packed.
    fn attached(&self, shipment: &Shipment<'_, '_>, identity: &str) -> Vec<Export<'static>> {
        let exports = shipment.exports().iter().zip(self.documents);
        exports
            .flat_map(|(export, documents)| attached::about(documents, identity, export))
            .collect()
    }

    /// The same with signatures, for a place that has no others.
    fn attached_and_signed(
        &self,
        shipment: &Shipment<'_, '_>,
        names: &[Reference],
    ) -> Result<Vec<Export<'static>>, Failure> {
        let identity = names.first().map(identity_of).unwrap_or_default();
        let mut attached = self.attached(shipment, &identity);
        if let Some(signer) = &self.request.attestations.signer {
            attached.extend(attached::signatures(signer, &identity, shipment, &[])?);
        }
        Ok(attached)
    }
}

fn failed(output: &Output, source: Failure) -> BuildError {
    BuildError::Export {
        target: describe(output),
        source,
    }
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

/// The files belong to the caller, whatever their owners in the images are.
fn local(store: &Store, images: &[&Image], directory: &Path) -> Result<(), Failure> {
    places(images).try_for_each(|(image, place)| {
        let directory = directory.join(place);
        files(store, image, "/", |plan| {
            fs::create_dir_all(&directory)?;
            plan.write_tree(&Root::open(&directory)?, Ownership::Squashed)?;
            Ok(())
        })
    })
}

fn describe(output: &Output) -> String {
    let file = |path: &Option<PathBuf>| {
        path.as_ref()
            .map_or("standard output".to_owned(), |p| p.display().to_string())
    };
    match output {
        Output::Store(_) => "the store".to_owned(),
        Output::Registry(_) => "the registry".to_owned(),
        Output::OciLayout(path, _) | Output::Local(path) => path.display().to_string(),
        Output::OciArchive(path, _) | Output::DockerArchive(path, _) | Output::Tar(path) => {
            file(path)
        }
    }
}

fn tar(store: &Store, images: &[&Image], out: Box<dyn Write>) -> Result<Box<dyn Write>, Failure> {
    let mut writer = LayerWriter::new(out, LayerTimes::Recorded).with_scratch(&store.scratch());
    for (image, place) in places(images) {
        files(store, image, &format!("/{place}"), |plan| {
            plan.write_layer(&mut writer)?;
            Ok(())
        })?;
    }
    Ok(writer.finish()?.output)
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
        parents: Parents::Dropped,
        unpack: false,
        date: &|time| time,
        scratch: store.scratch(),
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
