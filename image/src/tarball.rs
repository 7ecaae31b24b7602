//! Reading members of a tar archive in place, and writing archives that depend on their content alone.
//!
//! Invariant: a member is found only under a plain relative name that occurs once; nothing is ever unpacked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tar::EntryType;

/// More members than any image archive has.
const MEMBERS_MAX: usize = 100_000;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be opened, or is no tar archive.
    #[error("read archive {path}", path = path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A member's name leads out of the archive, or is no text.
    #[error("read archive {path}: member {name:?} has an unsafe name", path = path.display())]
    UnsafeName {
        /// The archive.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Two members have the same name.
    #[error("read archive {path}: member {name:?} occurs twice", path = path.display())]
    Twice {
        /// The archive.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// There are too many members.
    #[error("read archive {path}: it has more than {MEMBERS_MAX} members", path = path.display())]
    TooMany {
        /// The archive.
        path: PathBuf,
    },
}

/// An archive whose members have been listed once.
#[derive(Debug)]
pub(crate) struct Tarball {
    file: Arc<File>,
    members: BTreeMap<String, Extent>,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    offset: u64,
    size: u64,
}

/// One member's bytes; any number may be read at the same time.
pub(crate) struct Member {
    file: Arc<File>,
    at: Extent,
}

impl Tarball {
    pub(crate) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let read = |source| ArchiveError::Read {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        let mut archive = tar::Archive::new(&file);
        let mut members = BTreeMap::new();
        let mut links = Vec::new();
        for (count, entry) in archive.entries_with_seek().map_err(read)?.enumerate() {
            let entry = entry.map_err(read)?;
            if count >= MEMBERS_MAX {
                return Err(ArchiveError::TooMany { path: path.into() });
            }
            let shown = || String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let unsafe_name = || ArchiveError::UnsafeName {
                path: path.into(),
                name: shown(),
            };
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                continue;
            }
            let name = plain_name(&entry.path_bytes()).ok_or_else(unsafe_name)?;
            if members.contains_key(&name) {
                return Err(ArchiveError::Twice {
                    path: path.into(),
                    name,
                });
            }
            match kind {
                EntryType::Regular | EntryType::Continuous => {
                    let at = Extent {
                        offset: entry.raw_file_position(),
                        size: entry.size(),
                    };
                    if at.offset.checked_add(at.size).is_none_or(|end| end > len) {
                        return Err(read(ErrorKind::UnexpectedEof.into()));
                    }
                    members.insert(name, at);
                }
                // `docker save` up to version 24 stores a repeated layer as `ID/layer.tar -> ../OTHER/layer.tar`.
                EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    links.push((sibling(&name, &target).ok_or_else(unsafe_name)?, name));
                }
                _ => return Err(unsafe_name()),
            }
        }
        for (target, name) in links {
            if let Some(at) = members.get(&target).copied() {
                members.entry(name).or_insert(at);
            }
        }
        Ok(Self {
            file: Arc::new(file),
            members,
        })
    }

    pub(crate) fn member(&self, name: &str) -> Option<Member> {
        let at = *self.members.get(name)?;
        Some(Member {
            file: Arc::clone(&self.file),
            at,
        })
    }
}

impl Read for Member {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.at.size)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let len = self.file.read_at(&mut buffer[..wanted], self.at.offset)?;
        if len == 0 && wanted > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at.offset += len as u64;
        self.at.size -= len as u64;
        Ok(len)
    }
}

/// `a/b` of `./a//b`; none for anything that leads elsewhere.
fn plain_name(bytes: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for component in Path::new(std::str::from_utf8(bytes).ok()?).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// What `target` means beside `name`, if it stays in the archive.
fn sibling(name: &str, target: &[u8]) -> Option<String> {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for component in Path::new(std::str::from_utf8(target).ok()?).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    Some(parts.join("/"))
}

/// Writes an archive: files of mode 0644, without owner and time.
pub(crate) struct TarballWriter<W: Write>(tar::Builder<W>);

impl<W: Write> TarballWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self(tar::Builder::new(out))
    }

    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.append(EntryType::Directory, 0o755, name, 0, io::empty())
    }

    pub(crate) fn file(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        self.append(EntryType::Regular, 0o644, name, size, content)
    }

    fn append(
        &mut self,
        kind: EntryType,
        mode: u32,
        name: &str,
        size: u64,
        content: impl Read,
    ) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        let mut content = Counted {
            content,
            left: size,
        };
        self.0.append_data(&mut header, name, &mut content)?;
        // The archive is useless if the content had another length than its header says.
        let ended = content.left == 0 && content.content.read(&mut [0])? == 0;
        if ended {
            Ok(())
        } else {
            Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("{name} changed its size"),
            ))
        }
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        self.0.into_inner()
    }
}

struct Counted<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let len = self.content.read(&mut buffer[..wanted])?;
        self.left -= len as u64;
        Ok(len)
    }
}
