//! Finding and reading the Containerfile, the context and the ignore file. The invariant: files are read here and nowhere else
//! before the build starts; a name that a message shows is the one that the user wrote.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use builder::Context;
use containerfile::Source;

use crate::args::build::{ContainerfileSource, ContextSource, Sources};
use crate::failure::{Failure, Kind};

/// What a build reads before it starts.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) containerfile: Source,
    pub(super) context: Context,
    /// Name and text of the ignore file.
    pub(super) ignore: Option<(String, String)>,
}

/// A Containerfile larger than this is a mistake: `-f` on an archive, or a device.
const LARGEST: u64 = 16 << 20;

/// Reads everything.
pub(super) fn read(sources: &Sources) -> Result<Inputs, Failure> {
    let directory = match &sources.context {
        ContextSource::Directory(path) => Some(path),
        ContextSource::Empty => None,
    };
    if let Some(path) = directory {
        check_context(path)?;
    }
    let (name, bytes) = match (&sources.containerfile, directory) {
        (ContainerfileSource::File(path), _) => (path.clone(), read_file(path)?),
        (ContainerfileSource::InContext, Some(context)) => find(context)?,
        (ContainerfileSource::Stdin, _) | (ContainerfileSource::InContext, None) => (
            PathBuf::from("-"),
            read_some("standard input", io::stdin().lock())?,
        ),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        Failure::failed(format!("read {}: line {line} is not UTF-8", name.display()))
    })?;
    let ignore = match directory {
        Some(context) => ignore_file(context, Some(&name).filter(|name| name.as_os_str() != "-"))?,
        None => None,
    };
    Ok(Inputs {
        containerfile: Source::new(name.to_string_lossy(), text),
        context: directory.map_or(Context::Empty, |path| Context::Directory(path.clone())),
        ignore,
    })
}

/// A directory that can be listed; a mistyped command ends up here too.
fn check_context(path: &Path) -> Result<(), Failure> {
    match fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(error) => {
            let failure = failed(&format!("read the build context {}", path.display()), error);
            Err(match similar_command(&path.to_string_lossy()) {
                Some(command) => {
                    failure.hint(format!("did you mean the command `rbuild {command}`?"))
                }
                None => failure,
            })
        }
    }
}

fn similar_command(word: &str) -> Option<String> {
    use clap::CommandFactory as _;
    let cli = crate::args::Cli::command();
    let names = cli
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| command.get_name().to_owned());
    names
        .filter(|name| distance(word, name) <= 2 && word.len() > 2)
        .min_by_key(|name| distance(word, name))
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// `Containerfile`, then `Dockerfile`.
fn find(context: &Path) -> Result<(PathBuf, Vec<u8>), Failure> {
    for name in ["Containerfile", "Dockerfile"] {
        let path = if context == Path::new(".") {
            name.into()
        } else {
            context.join(name)
        };
        // A file that is there and cannot be read is an error, not a reason to take the other one.
        if let Ok(metadata) = fs::symlink_metadata(&path) {
            if !metadata.is_file() && !stays_inside(&path, context) {
                return Err(Failure::failed(format!(
                    "read {}: it is no regular file of the build context",
                    path.display()
                ))
                .hint("name one with -f FILE"));
            }
            let bytes = read_file(&path)?;
            return Ok((path, bytes));
        }
    }
    Err(Failure::failed(format!(
        "find a Containerfile or a Dockerfile in {}",
        context.display()
    ))
    .hint("name one with -f FILE"))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display().to_string();
    let file = fs::File::open(path).map_err(|error| failed(&format!("read {name}"), error))?;
    read_some(&name, file)
}

fn read_some(name: &str, input: impl io::Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    input
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&format!("read {name}"), error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::failed(format!(
            "read {name}: it is larger than {} MiB",
            LARGEST >> 20
        )));
    }
    Ok(bytes)
}

/// Beside the Containerfile under its own name, else in the context; `.containerignore` wins over `.dockerignore`.
fn ignore_file(
    context: &Path,
    containerfile: Option<&PathBuf>,
) -> Result<Option<(String, String)>, Failure> {
    const NAMES: [&str; 2] = [".containerignore", ".dockerignore"];
    let beside = containerfile.into_iter().flat_map(|path| {
        NAMES.map(|suffix| {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            (PathBuf::from(&name), PathBuf::from(name))
        })
    });
    let inside = NAMES.map(|name| (context.join(name), PathBuf::from(name)));
    for (path, shown) in beside.chain(inside) {
        if let Some(text) = read_ignore(&path, context)? {
            return Ok(Some((shown.to_string_lossy().into_owned(), text)));
        }
    }
    Ok(None)
}

/// S35: a link in a context that somebody else wrote must not show files of this machine, not even in a message.
fn read_ignore(path: &Path, context: &Path) -> Result<Option<String>, Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&format!("read {}", path.display()), error)),
        Ok(metadata) if metadata.is_symlink() && !stays_inside(path, context) => {
            return Err(Failure::failed(format!(
                "read {}: it is a link that leaves the build context",
                path.display()
            )));
        }
        Ok(metadata) if metadata.is_dir() => return Ok(None),
        // A fifo would be waited for.
        Ok(metadata) if !metadata.is_symlink() && !metadata.is_file() => {
            return Err(Failure::failed(format!(
                "read {}: it is no regular file",
                path.display()
            )));
        }
        Ok(_) => {}
    }
    let text = String::from_utf8(read_file(path)?);
    text.map(Some)
        .map_err(|_| Failure::failed(format!("read {}: it is not UTF-8", path.display())))
}

fn stays_inside(link: &Path, context: &Path) -> bool {
    let root = link
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(context);
    match (link.canonicalize(), root.canonicalize()) {
        (Ok(target), Ok(root)) => target.starts_with(root) && target.is_file(),
        _ => false,
    }
}

fn failed(what: &str, error: io::Error) -> Failure {
    Failure::new(
        Kind::Failed,
        anyhow::Error::new(error).context(what.to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn sources(context: &Path, file: Option<PathBuf>) -> Sources {
        Sources {
            containerfile: file.map_or(ContainerfileSource::InContext, ContainerfileSource::File),
            context: ContextSource::Directory(context.into()),
            named: BTreeMap::new(),
        }
    }

    #[test]
    fn containerfile_comes_before_dockerfile() {
        let both = tree(&[("Containerfile", "FROM a"), ("Dockerfile", "FROM b")]);
        assert_eq!(
            read(&sources(both.path(), None))
                .unwrap()
                .containerfile
                .text(),
            "FROM a"
        );
        let docker = tree(&[("Dockerfile", "FROM b")]);
        assert_eq!(
            read(&sources(docker.path(), None))
                .unwrap()
                .containerfile
                .text(),
            "FROM b"
        );
        let failure = read(&sources(tree(&[]).path(), None)).unwrap_err();
        assert!(failure.text().contains("-f FILE"), "{}", failure.text());
    }

    #[test]
    fn the_ignore_file_beside_the_containerfile_wins() {
        let ignore = |files: &[(&str, &str)]| {
            let directory = tree(files);
            read(&sources(directory.path(), Some(directory.path().join("F"))))
                .unwrap()
                .ignore
                .map(|(_, text)| text)
        };
        let all = [
            ("F", ""),
            ("F.containerignore", "1"),
            ("F.dockerignore", "2"),
            (".containerignore", "3"),
            (".dockerignore", "4"),
        ];
        assert_eq!(ignore(&all).as_deref(), Some("1"));
        assert_eq!(
            ignore(&[all[0], all[2], all[3], all[4]]).as_deref(),
            Some("2")
        );
        assert_eq!(ignore(&[all[0], all[3], all[4]]).as_deref(), Some("3"));
        assert_eq!(ignore(&[all[0], all[4]]).as_deref(), Some("4"));
        assert_eq!(ignore(&[all[0]]), None);
    }

    #[test]
    fn s35_an_ignore_file_that_links_out_of_the_context_is_refused() {
        let canary = tree(&[("secret", "canary")]);
        let context = tree(&[("Containerfile", "FROM scratch"), ("real", "x")]);
        let link = context.path().join(".dockerignore");
        std::os::unix::fs::symlink(canary.path().join("secret"), &link).unwrap();
        let failure = read(&sources(context.path(), None)).unwrap_err();
        assert!(!failure.text().contains("canary"), "{}", failure.text());
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        assert_eq!(
            read(&sources(context.path(), None)).unwrap().ignore,
            Some((".dockerignore".into(), "x".into()))
        );
    }

    #[test]
    fn a_mistyped_command_gets_a_hint() {
        let failure = check_context(Path::new("imagse")).unwrap_err();
        assert!(
            failure.text().contains("rbuild images"),
            "{}",
            failure.text()
        );
        assert!(
            !check_context(Path::new("/no/such/context"))
                .unwrap_err()
                .text()
                .contains("did you mean")
        );
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        let directory = tree(&[]);
        fs::write(
            directory.path().join("Containerfile"),
            b"FROM a\nRUN \xff\n",
        )
        .unwrap();
        let failure = read(&sources(directory.path(), None)).unwrap_err();
        assert!(failure.text().contains("line 2"), "{}", failure.text());
        let failure = read_some("it", io::repeat(b'x')).unwrap_err();
        assert!(failure.text().contains("larger"), "{}", failure.text());
    }
}
