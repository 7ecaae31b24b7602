//! The commit that a directory's git work tree is at, and its time. The invariant: files of the repository are only read, in
//! bounded pieces, and nothing of it is executed or obeyed, whoever owns it: no `git`, no hook, no configuration.
//!
//! Formats: gitrepository-layout(5), gitformat-pack(5).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

mod pack;

/// HEAD, a ref and `commondir` are one short line; packed-refs of a large repository are some megabytes.
const LONGEST_LINE: u64 = 4096;
const LONGEST_REFS: u64 = 64 << 20;
/// A commit's header names its parents; its message is not needed.
const LONGEST_HEADER: u64 = 1 << 20;
/// References to references, and alternates of alternates.
const DEEPEST: usize = 5;

/// What is known of the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// When it was committed, in seconds since 1970.
    At(i64),
    /// The directory is in no work tree, or in one without a commit.
    None,
    /// There is one, and it cannot be read.
    Unreadable(String),
}

/// Looks for the commit of the work tree that `directory` lies in.
pub(crate) fn commit_of(directory: &Path) -> Commit {
    let Some(git) = directory.canonicalize().ok().and_then(|path| find(&path)) else {
        return Commit::None;
    };
    let time = || -> io::Result<Option<i64>> {
        let repository = Repository::open(&git)?;
        let Some(id) = repository.head()? else {
            return Ok(None);
        };
        repository.commit_time(&id).map(Some)
    };
    match time() {
        Ok(Some(at)) => Commit::At(at),
        Ok(None) => Commit::None,
        Err(error) => Commit::Unreadable(format!("{}: {error}", git.display())),
    }
}

/// `.git` in the directory or in a parent on the same file system, as git looks for it.
fn find(directory: &Path) -> Option<PathBuf> {
    let device = fs::metadata(directory).ok()?.dev();
    directory
        .ancestors()
        .take_while(|path| fs::metadata(path).is_ok_and(|found| found.dev() == device))
        .map(|path| path.join(".git"))
        .find(|path| fs::symlink_metadata(path).is_ok())
}

/// The name of an object, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ObjectId(String);

impl ObjectId {
    /// SHA-1 or SHA-256; what comes from files names files, so nothing else is let through.
    fn parse(text: &str) -> Option<Self> {
        let known = matches!(text.len(), 40 | 64);
        let digits = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (known && digits).then(|| Self(text.to_owned()))
    }

    fn bytes(&self) -> Vec<u8> {
        let digit = |byte: u8| match byte {
            b'a'..=b'f' => byte - b'a' + 10,
            _ => byte - b'0',
        };
        let pairs = self.0.as_bytes().chunks_exact(2);
        pairs
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    }

    fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

struct Repository {
    /// What belongs to this work tree: HEAD.
    own: PathBuf,
    /// What all work trees share: refs and objects.
    common: PathBuf,
}

impl Repository {
    fn open(git: &Path) -> io::Result<Self> {
        let mut own = git.to_owned();
        if fs::metadata(git)?.is_file() {
            let text = line(git)?;
            let path = text
                .strip_prefix("gitdir: ")
                .ok_or_else(|| damaged(".git names no directory"))?;
            own = git.parent().unwrap_or(Path::new("/")).join(path);
        }
        let common = match line(&own.join("commondir")) {
            Ok(path) => own.join(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => own.clone(),
            Err(error) => return Err(error),
        };
        Ok(Self { own, common })
    }

    /// What HEAD names; `None` before the first commit.
    fn head(&self) -> io::Result<Option<ObjectId>> {
        let mut text = line(&self.own.join("HEAD"))?;
        for _ in 0..DEEPEST {
            let Some(name) = text.strip_prefix("ref: ") else {
                let id = ObjectId::parse(&text);
                return id.map(Some).ok_or_else(|| damaged("HEAD names no commit"));
            };
            let harmless = name.starts_with("refs/") && !name.split('/').any(|part| part == "..");
            if !harmless {
                return Err(damaged("HEAD names no branch"));
            }
            let places = [self.own.join(name), self.common.join(name)];
            let found = places.iter().map(|path| line(path)).find(|read| {
                !matches!(read, Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
            });
            text = match found {
                Some(read) => read?,
                None => return self.packed_ref(name),
            };
        }
        Err(damaged("HEAD names no end of references"))
    }

    fn packed_ref(&self, name: &str) -> io::Result<Option<ObjectId>> {
        let text = match read(&self.common.join("packed-refs"), LONGEST_REFS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let found = text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok()?.split_once(' '))
            .find(|(_, known)| *known == name);
        match found {
            Some((id, _)) => Ok(ObjectId::parse(id)),
            None if self.common.join("reftable").is_dir() => {
                Err(damaged("references in the reftable format are not read"))
            }
            None => Ok(None),
        }
    }

    fn commit_time(&self, id: &ObjectId) -> io::Result<i64> {
        let mut stores = vec![self.common.join("objects")];
        for _ in 0..DEEPEST {
            let Some(objects) = stores.pop() else { break };
            if let Some(header) = commit(&objects, id)? {
                return committed(&header);
            }
            let alternates = read(&objects.join("info/alternates"), LONGEST_REFS);
            let paths = String::from_utf8(alternates.unwrap_or_default()).unwrap_or_default();
            stores.extend(paths.lines().map(|path| objects.join(path)));
        }
        Err(damaged(&format!("the commit {} is not there", id.0)))
    }
}

/// The start of a commit, loose or packed.
fn commit(objects: &Path, id: &ObjectId) -> io::Result<Option<Vec<u8>>> {
    let (directory, name) = id.0.split_at(2);
    match open(&objects.join(directory).join(name)) {
        Ok(file) => {
            let mut text = Vec::new();
            flate2::read::ZlibDecoder::new(file)
                .take(LONGEST_HEADER)
                .read_to_end(&mut text)?;
            let end = text.iter().position(|byte| *byte == 0);
            match end.map(|end| text.split_at(end + 1)) {
                Some((kind, header)) if kind.starts_with(b"commit ") => Ok(Some(header.to_vec())),
                _ => Err(damaged(&format!("{} is no commit", id.0))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => pack::commit(objects, id),
        Err(error) => Err(error),
    }
}

/// The committer's time: `committer NAME <MAIL> SECONDS ZONE`.
fn committed(header: &[u8]) -> io::Result<i64> {
    let time = header
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(b"committer "))
        .and_then(|line| {
            std::str::from_utf8(&line[line.iter().rposition(|b| *b == b'>')? + 1..]).ok()
        })
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    time.ok_or_else(|| damaged("the commit has no time"))
}

fn line(path: &Path) -> io::Result<String> {
    let text =
        String::from_utf8(read(path, LONGEST_LINE)?).map_err(|_| damaged("a line is not UTF-8"))?;
    Ok(text.trim_end().to_owned())
}

fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open(path)?.take(longest + 1).read_to_end(&mut text)?;
    if text.len() as u64 > longest {
        return Err(damaged("a file is too long"));
    }
    Ok(text)
}

/// A regular file; a fifo would be waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
