//! What one part of the command line makes impossible in another. The invariant: what no output could carry is refused before the
//! build starts.

use builder::{Annotation, AnnotationLevel, Output, Recipe};
use image::{Compression, Format};

use super::{ImageSettings, Results};
use crate::failure::Failure;

/// Checks the outputs against what is built.
pub(super) fn check(image: &ImageSettings, results: &Results) -> Result<(), Failure> {
    let several = image.platforms.len() > 1;
    let mut listed = false;
    for output in &results.outputs {
        let Some(out) = output.image() else { continue };
        match output {
            Output::Registry(_) if out.names(&image.tags).is_empty() => {
                return Err(Failure::usage("to push an image it needs a name")
                    .hint("name it with -t REGISTRY/REPOSITORY:TAG, or name= in the output"));
            }
            Output::DockerArchive(..) if several => {
                return Err(Failure::usage(
                    "--output type=docker: a docker archive holds the image of one platform; type=oci holds them all",
                ));
            }
            _ => {}
        }
        let own = matches!(output, Output::OciLayout(..) | Output::OciArchive(..));
        listed |= own;
        check_format(image, &out.recipe)?;
        check_annotations(&out.recipe.annotations, own, image)?;
    }
    check_annotations(&image.shape.annotations, listed, image)
}

fn check_format(image: &ImageSettings, recipe: &Recipe) -> Result<(), Failure> {
    if recipe.format.unwrap_or(image.shape.format) == Format::Oci {
        return Ok(());
    }
    if recipe.packing.compression() == Compression::Zstd {
        return Err(
            Failure::usage("compression=zstd: Docker's format has no zstd")
                .hint("oci-mediatypes=true, or --format oci"),
        );
    }
    if image.shape.annotations.is_empty() && recipe.annotations.is_empty() {
        return Ok(());
    }
    Err(Failure::usage("Docker's format has no annotations")
        .hint("--format oci has, and --label is kept in both"))
}

fn check_annotations(
    annotations: &[Annotation],
    listed: bool,
    image: &ImageSettings,
) -> Result<(), Failure> {
    let several = image.platforms.len() > 1;
    for one in annotations {
        let why = match one.level {
            AnnotationLevel::Index if !several => "one platform's image has no index",
            AnnotationLevel::IndexDescriptor if !several => "one platform's image has no index",
            AnnotationLevel::IndexDescriptor if !listed => "only type=oci lists the index",
            AnnotationLevel::ManifestDescriptor if !(several || listed) => {
                "only an index and type=oci list the manifest"
            }
            _ => match &one.platform {
                Some(other) if !image.platforms.contains(other) => "no image is for its platform",
                _ => continue,
            },
        };
        return Err(Failure::usage(format!(
            "the annotation {}: {why}",
            one.name
        )));
    }
    Ok(())
}
