//! Finding and reading the Containerfile, the context and the ignore file. The invariant: files are read here and nowhere else
//! before the build starts; a name that a message shows is the one that the user wrote; of a context that somebody packed,
//! nothing is read but through its tree.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use builder::context::{IGNORE_FILES, Opened, PackedContext, file_of, open_remote, open_stream};
use builder::{BuildEvent, Context, Reach, RemoteSource};
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
    /// When the commit was made that the context's files were fetched with.
    pub(super) commit_time: Option<i64>,
}

/// A Containerfile larger than this is a mistake: `-f` on an archive, or a device.
pub(super) const LARGEST: u64 = 16 << 20;

/// Name and content of a text file.
type Named = (PathBuf, Vec<u8>);

/// The files of a build, before they are read.
enum Files {
    None,
    /// The caller's own directory.
    Own(PathBuf),
    /// What somebody packed.
    Packed(PackedContext),
    /// A Containerfile came instead.
    Lone(Named),
}

/// Reads everything; what is packed or elsewhere is brought into the store first.
pub(super) fn read(
    sources: &Sources,
    reach: &Reach<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Inputs, Failure> {
    let files = open(&sources.context, reach, events)?;
    let remote = |source: &RemoteSource| match open_remote(reach, source, events) {
        Ok(Opened::Text(file)) => Ok((
            PathBuf::from(source.to_string()),
            read_small(&source.to_string(), file)?,
        )),
        Ok(Opened::Files(_)) => Err(Failure::failed(format!(
            "read {source}: it is an archive, not a Containerfile"
        ))),
        Err(error) => Err(Failure::new(Kind::Failed, error)),
    };
    let (name, bytes) = match (&sources.containerfile, &files) {
        (ContainerfileSource::Remote(source), _) => remote(source)?,
        (ContainerfileSource::Stdin, _) => stdin()?,
        (ContainerfileSource::InContext, Files::Lone(named)) => named.clone(),
        (ContainerfileSource::InContext, Files::None) => stdin()?,
        (ContainerfileSource::InContext, Files::Own(context)) => find(context)?,
        (ContainerfileSource::InContext, Files::Packed(context)) => packed_default(context)?,
        (ContainerfileSource::File(path), Files::Packed(context)) => {
            let read = packed(context, path)?;
            let bytes = read.ok_or_else(|| {
                Failure::failed(format!("find {} in the build context", path.display()))
            })?;
            (path.clone(), bytes)
        }
        (ContainerfileSource::File(_), Files::Lone((name, _))) => {
            return Err(Failure::failed(format!(
                "find the file of -f in {}: it is no archive",
                name.display()
            )));
        }
        (ContainerfileSource::File(path), _) => (path.clone(), read_small_file(path)?),
    };
    let beside = match sources.containerfile {
        ContainerfileSource::InContext | ContainerfileSource::File(_) => Some(&name),
        ContainerfileSource::Stdin | ContainerfileSource::Remote(_) => None,
    };
    let ignore = match (&sources.ignore_file, &files) {
        (Some(path), _) => Some((
            path.display().to_string(),
            text_of(path, read_small_file(path)?)?,
        )),
        (None, Files::Own(context)) => ignore_file(context, beside)?,
        (None, Files::Packed(context)) => packed_ignore_file(context, beside)?,
        (None, Files::None | Files::Lone(_)) => None,
    };
    let mut commit_time = None;
    let context = match files {
        Files::None | Files::Lone(_) => Context::Empty,
        Files::Own(path) => Context::Directory(path),
        Files::Packed(packed) => {
            commit_time = packed.commit_time();
            Context::Packed(packed.into())
        }
    };
    Ok(Inputs {
        commit_time,
        containerfile: source_of(&name, bytes)?,
        context,
        ignore,
    })
}

/// A Containerfile without a build.
pub(super) fn alone(containerfile: &ContainerfileSource) -> Result<Source, Failure> {
    let (name, bytes) = match containerfile {
        ContainerfileSource::File(path) => (path.clone(), read_small_file(path)?),
        _ => stdin()?,
    };
    source_of(&name, bytes)
}

/// A Containerfile of this machine, without a build.
pub(super) fn local(context: &Path, file: Option<&Path>) -> Result<Source, Failure> {
    let (name, bytes) = match file.unwrap_or(context) {
        path if path.as_os_str() == "-" => stdin()?,
        path if file.is_some() => (path.to_owned(), read_small_file(path)?),
        context => find(context)?,
    };
    source_of(&name, bytes)
}

fn stdin() -> Result<Named, Failure> {
    let name = "standard input";
    Ok((PathBuf::from("-"), small(name, read_stdin()?)?))
}

/// Standard input; `None` when it is larger than [`LARGEST`].
pub(super) fn read_stdin() -> Result<Option<Vec<u8>>, Failure> {
    read_some("standard input", io::stdin().lock())
}

/// The ignore file that belongs to a Containerfile when the build context is its directory.
pub(super) fn ignore_beside(containerfile: &PathBuf) -> Result<Option<(String, String)>, Failure> {
    let context = containerfile.parent().unwrap_or(Path::new(""));
    ignore_file(context, Some(containerfile))
}

fn source_of(name: &Path, bytes: Vec<u8>) -> Result<Source, Failure> {
    Ok(Source::new(name.to_string_lossy(), text_of(name, bytes)?))
}

fn text_of(name: &Path, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        Failure::failed(format!("read {}: line {line} is not UTF-8", name.display()))
    })
}

fn open(
    context: &ContextSource,
    reach: &Reach<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Files, Failure> {
    let (name, opened) = match context {
        ContextSource::Empty => return Ok(Files::None),
        ContextSource::Path(path) if path.is_file() => {
            let name = path.display().to_string();
            (name.clone(), builder::context::open(reach, &name, path))
        }
        ContextSource::Path(path) => {
            check_context(path)?;
            return Ok(Files::Own(path.clone()));
        }
        ContextSource::Stdin => {
            let stream = &mut io::stdin().lock();
            ("-".to_owned(), open_stream(reach, "-", stream))
        }
        ContextSource::Remote(source) => (source.to_string(), open_remote(reach, source, events)),
    };
    match opened.map_err(|error| Failure::new(Kind::Failed, error))? {
        Opened::Files(packed) => Ok(Files::Packed(packed)),
        Opened::Text(_) if matches!(context, ContextSource::Path(_)) => Err(Failure::failed(
            format!("read the build context {name}: it is neither a directory nor an archive"),
        )
        .hint(format!("name a Containerfile with -f {name}"))),
        Opened::Text(file) => Ok(Files::Lone(((&name).into(), read_small(&name, file)?))),
    }
}

/// A file of a packed context, links followed inside it (S32, S35).
fn packed(context: &PackedContext, name: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let shown = name.to_string_lossy();
    match file_of(context.tree(), &shown).map_err(|error| Failure::new(Kind::Failed, error))? {
        Some(file) => read_small(&shown, file).map(Some),
        None => Ok(None),
    }
}

fn packed_default(context: &PackedContext) -> Result<Named, Failure> {
    for name in CONTAINERFILES {
        if let Some(bytes) = packed(context, Path::new(name))? {
            return Ok((name.into(), bytes));
        }
    }
    Err(
        Failure::failed("find a Containerfile or a Dockerfile in the build context")
            .hint("name one with -f FILE"),
    )
}

fn packed_ignore_file(
    context: &PackedContext,
    containerfile: Option<&PathBuf>,
) -> Result<Option<(String, String)>, Failure> {
    let beside = containerfile
        .into_iter()
        .flat_map(|path| IGNORE_FILES.map(|suffix| beside(path, suffix)));
    for name in beside.chain(IGNORE_FILES.map(PathBuf::from)) {
        if let Some(bytes) = packed(context, &name)? {
            let shown = name.to_string_lossy().into_owned();
            return Ok(Some((shown, text_of(&name, bytes)?)));
        }
    }
    Ok(None)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
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

/// The names of a Containerfile, the one that wins first.
const CONTAINERFILES: [&str; 2] = ["Containerfile", "Dockerfile"];

/// `Containerfile`, then `Dockerfile`.
fn find(context: &Path) -> Result<(PathBuf, Vec<u8>), Failure> {
    for name in CONTAINERFILES {
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
            let bytes = read_small_file(&path)?;
            return Ok((path, bytes));
        }
    }
    Err(Failure::failed(format!(
        "find a Containerfile or a Dockerfile in {}",
        context.display()
    ))
    .hint("name one with -f FILE"))
}

/// A file; `None` when it is larger than [`LARGEST`].
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let name = path.display().to_string();
    let file = fs::File::open(path).map_err(|error| failed(&format!("read {name}"), error))?;
    read_some(&name, file)
}

fn read_small_file(path: &Path) -> Result<Vec<u8>, Failure> {
    small(&path.display().to_string(), read_file(path)?)
}

fn read_small(name: &str, input: impl io::Read) -> Result<Vec<u8>, Failure> {
    small(name, read_some(name, input)?)
}

fn read_some(name: &str, input: impl io::Read) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    input
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&format!("read {name}"), error))?;
    Ok((bytes.len() as u64 <= LARGEST).then_some(bytes))
}

fn small(name: &str, bytes: Option<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    bytes.ok_or_else(|| {
        let limit = LARGEST >> 20;
        Failure::failed(format!("read {name}: it is larger than {limit} MiB"))
    })
}

/// Beside the Containerfile under its own name, else in the context; `.containerignore` wins over `.dockerignore`.
fn ignore_file(
    context: &Path,
    containerfile: Option<&PathBuf>,
) -> Result<Option<(String, String)>, Failure> {
    let beside = containerfile
        .into_iter()
        .flat_map(|path| IGNORE_FILES.map(|suffix| (beside(path, suffix), beside(path, suffix))));
    let inside = IGNORE_FILES.map(|name| (context.join(name), PathBuf::from(name)));
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
    let text = String::from_utf8(read_small_file(path)?);
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

    /// Reads with a store of its own.
    fn read(sources: &Sources) -> Result<Inputs, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let store = image::Store::open(directory.path().join("store")).unwrap();
        let reach = Reach {
            store: &store,
            cancel: &builder::Cancel::default(),
            proxies: Vec::new(),
            authorities: Vec::new(),
            git: None,
            secrets: &BTreeMap::new(),
        };
        super::read(sources, &reach, &|_| {})
    }

    fn sources(context: &Path, file: Option<PathBuf>) -> Sources {
        Sources {
            containerfile: file.map_or(ContainerfileSource::InContext, ContainerfileSource::File),
            context: ContextSource::Path(context.into()),
            named: BTreeMap::new(),
            ignore_file: None,
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
        let failure = read_small("it", io::repeat(b'x')).unwrap_err();
        assert!(failure.text().contains("larger"), "{}", failure.text());
    }
}
