//! `rbuild init`. The invariant: what is asked for exists: a template or a CI system of ours, and a name that a registry takes.

use std::path::{Path, PathBuf};

use image::Reference;

use crate::commands::templates::{CI, CiFile, TEMPLATES, Template};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  rbuild init --list                                 what there is
  rbuild init go                                     a static program in Go, in the current directory
  rbuild init nginx site --image registry.example/team/site:latest
  rbuild init ci gitlab                              .gitlab-ci.yml for what is in the current directory
  rbuild init ci kubernetes jobs                     a Job without privileges, in the directory jobs

Files that are there are never overwritten.";

/// The word that asks for the file of a CI system instead of a project.
const CI_WORD: &str = "ci";

/// Arguments of `rbuild init`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// What to write: a template, or `ci` for the file of a CI system
    #[arg(
        value_name = "TEMPLATE",
        required_unless_present = "list",
        conflicts_with = "list"
    )]
    pub template: Option<String>,
    /// Where to; behind `ci`, which CI system, and then where to [default: the current directory; github]
    #[arg(value_name = "DIR", num_args = 0..=2)]
    pub rest: Vec<PathBuf>,
    /// The image's name in a registry [default: registry.example/NAME:latest, with the directory's name]
    #[arg(long, value_name = "REFERENCE")]
    pub image: Option<Reference>,
    /// List the templates and CI systems
    #[arg(long)]
    pub list: bool,
}

/// What `rbuild init` does.
#[derive(Clone, Debug)]
pub(crate) enum InitSettings {
    /// Lists what there is.
    List,
    /// Writes files below a directory.
    Write {
        /// Which.
        what: What,
        /// Where.
        directory: PathBuf,
        /// The image's name, as a registry has it.
        image: Reference,
    },
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A project.
    Template(&'static Template),
    /// The file of a CI system.
    Ci(&'static CiFile),
}

impl InitArgs {
    /// Validates them; `here` is the current directory.
    ///
    /// # Errors
    /// For a template or a system that there is not, and too many words.
    pub(crate) fn settings(self, here: &Path) -> Result<InitSettings, Failure> {
        let Some(template) = self.template else {
            return Ok(InitSettings::List);
        };
        let mut rest = self.rest.into_iter();
        let what = match template.as_str() {
            CI_WORD => What::Ci(system(rest.next())?),
            name => What::Template(named(name, TEMPLATES.iter(), |one| one.name, "template")?),
        };
        let directory = rest.next().unwrap_or_else(|| PathBuf::from("."));
        if let Some(more) = rest.next() {
            return Err(Failure::usage(format!(
                "init takes one directory, not also {:?}",
                more.display().to_string()
            )));
        }
        let image = match self.image {
            Some(image) => image,
            None => default_image(&here.join(&directory)),
        };
        Ok(InitSettings::Write {
            what,
            directory,
            image,
        })
    }
}

fn system(word: Option<PathBuf>) -> Result<&'static CiFile, Failure> {
    let word = word.unwrap_or_else(|| PathBuf::from(CI[0].name));
    let word = word.display().to_string();
    named(&word, CI.iter(), |one| one.name, "CI system")
}

fn named<T>(
    word: &str,
    mut all: impl Iterator<Item = &'static T> + Clone,
    name: impl Fn(&T) -> &'static str,
    kind: &str,
) -> Result<&'static T, Failure> {
    let names: Vec<&str> = all.clone().map(&name).collect();
    all.find(|one| name(one) == word).ok_or_else(|| {
        let message = format!("there is no {kind} {word:?}");
        Failure::usage(message).hint(format!("there are: {}", names.join(", ")))
    })
}

/// The directory's name where it can be an image's, else `app`.
fn default_image(directory: &Path) -> Reference {
    let named = |path: &Path| {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        format!("registry.example/{name}:latest").parse().ok()
    };
    // `.` and `..` have no name before they are resolved.
    let whole = directory.canonicalize();
    named(whole.as_deref().unwrap_or(directory))
        .unwrap_or_else(|| Reference::from_static("registry.example/app:latest"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;
    use crate::args::Command;

    fn settings(line: &str) -> Result<InitSettings, Failure> {
        let cli = parse(&format!("init {line}")).unwrap();
        let Command::Init(args) = cli.command else {
            panic!("init");
        };
        args.settings(Path::new("/somewhere/My App"))
    }

    fn written(line: &str) -> (String, PathBuf, String) {
        let InitSettings::Write {
            what,
            directory,
            image,
        } = settings(line).unwrap()
        else {
            panic!("{line} lists");
        };
        let name = match what {
            What::Template(template) => template.name,
            What::Ci(ci) => ci.file,
        };
        (name.to_owned(), directory, image.to_string())
    }

    #[test]
    fn a_template_goes_into_a_directory_and_a_system_stands_before_it() {
        let of = |name: &str, directory: &str, image: &str| {
            (
                name.to_owned(),
                PathBuf::from(directory),
                format!("registry.example/{image}:latest"),
            )
        };
        assert_eq!(written("go"), of("go", ".", "app"));
        assert_eq!(written("go Web"), of("go", "Web", "web"));
        let github = ".github/workflows/image.yaml";
        assert_eq!(written("ci"), of(github, ".", "app"));
        assert_eq!(written("ci gitlab x"), of(".gitlab-ci.yml", "x", "x"));
    }

    #[test]
    fn the_image_can_be_named() {
        let (.., image) = written("go --image registry.example/team/a:1");
        assert_eq!(image, "registry.example/team/a:1");
        assert!(parse("init go --image A:B:C").is_err());
    }

    #[test]
    fn what_there_is_not_is_named_with_what_there_is() {
        for (line, word) in [("cobol", "static-rust"), ("ci jenkins", "tekton")] {
            let failure = settings(line).unwrap_err();
            assert_eq!(failure.code(), 2);
            assert!(failure.text().contains(word), "{}", failure.text());
        }
        assert_eq!(settings("go a b").unwrap_err().code(), 2);
        assert!(parse("init").is_err());
        assert!(parse("init --list go").is_err());
        assert!(matches!(settings("--list").unwrap(), InitSettings::List));
    }
}
