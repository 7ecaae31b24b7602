//! ADD of a local archive: recognised by content, scoped to the destination.
//!
//! Invariant: an archive is read twice, once for its members while planning and once for their contents while writing; both
//! times by [`LayerReader`], so what it refuses never reaches a tree.

use std::io::{self, BufReader, Read};

use crate::copy::plan::Planner;
use crate::copy::planned::Origin;
use crate::copy::{CopyError, Owner};
use crate::entry::{Entry, Kind};
use crate::layer::{Dialect, LayerReader, Limits, ReadError, is_header};
use crate::path::TreePath;
use crate::tree::Tree;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    NotAnArchive,
    Tar,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// An archive that a plan unpacks.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    /// Its tree, an index of the plan's sources.
    pub(super) tree: usize,
    pub(super) path: TreePath,
    pub(super) format: Format,
}

/// Looks at the first bytes of a file; a compressed file counts only when there is a tar in it.
pub(crate) fn detect(tree: &dyn Tree, path: &TreePath) -> Result<Format, CopyError> {
    let first = first_block(tree.open(path)?.content, path)?;
    let Some(format) = compression(&first) else {
        return Ok(if is_tar(&first) {
            Format::Tar
        } else {
            Format::NotAnArchive
        });
    };
    match decoded(tree, path, format).and_then(|stream| first_block(stream, path)) {
        Ok(block) if is_tar(&block) => Ok(format),
        // It may be an archive, which would be copied silently.
        Err(CopyError::Content { path, source }) if wants_too_much_memory(&source) => {
            Err(CopyError::Archive {
                path,
                source: ReadError::Io { offset: 0, source },
            })
        }
        _ => Ok(Format::NotAnArchive),
    }
}

/// The xz decoder has a kind of error for that, zstd (`ZSTD_error_frameParameter_windowTooLarge`) only a text.
fn wants_too_much_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory || error.to_string().contains("too much memory")
}

/// RFC 1952, 2.3.1; bzip2's `BZh`, level and block magic; the xz file format, 2.1.1.1; RFC 8878, 3.1.1.
fn compression(first: &[u8]) -> Option<Format> {
    const BZIP2_BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    match first {
        [0x1f, 0x8b, ..] => Some(Format::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Format::Xz),
        [b'B', b'Z', b'h', b'1'..=b'9', block @ ..] if block.starts_with(&BZIP2_BLOCK) => {
            Some(Format::Bzip2)
        }
        _ => None,
    }
}

fn is_tar(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; 512]>::try_from(block) else {
        return false;
    };
    // v7 headers have no magic: an all-zero block or a lucky text is no archive.
    &block[257..262] == b"ustar" && is_header(block)
}

fn first_block(mut stream: impl Read, path: &TreePath) -> Result<Vec<u8>, CopyError> {
    let mut block = Vec::with_capacity(512);
    match stream.by_ref().take(512).read_to_end(&mut block) {
        Ok(_) => Ok(block),
        Err(source) => Err(CopyError::Content {
            path: path.clone(),
            source,
        }),
    }
}

/// What compressed data may grow to. gzip reaches 1:1032; xz and bzip2 go further, but only with data made to exhaust (S18).
const RATIO: u64 = 2000;
const ALWAYS: u64 = 64 << 20;
/// What the dictionary of an xz stream may take: `xz -9` has one of 64 MiB, and zstd is held to the same here.
const XZ_MEMORY_KIB: u32 = 80 << 10;
const ZSTD_WINDOW_LOG: u32 = 27;

/// The archive's tar stream.
pub(crate) fn decoded<'t>(
    tree: &'t dyn Tree,
    path: &TreePath,
    format: Format,
) -> Result<Box<dyn Read + 't>, CopyError> {
    let file = tree.open(path)?;
    let left = file.size.saturating_mul(RATIO).saturating_add(ALWAYS);
    let content = BufReader::with_capacity(128 * 1024, file.content);
    let stream: Box<dyn Read + 't> = match format {
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(content)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(content)),
        Format::Xz => {
            let reader = lzma_rust2::XzReader::new_mem_limit(content, true, XZ_MEMORY_KIB);
            Box::new(BufReader::with_capacity(64 * 1024, reader))
        }
        Format::Zstd => Box::new(zstd_decoder(content).map_err(|source| CopyError::Content {
            path: path.clone(),
            source,
        })?),
        Format::Tar | Format::NotAnArchive => return Ok(Box::new(content)),
    };
    Ok(Box::new(Bounded { stream, left }))
}

fn zstd_decoder<R: io::BufRead>(content: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(content)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// A decoder that stops being believed.
struct Bounded<R> {
    stream: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it grows to more than {RATIO} times its size"),
            )
        })?;
        Ok(length)
    }
}

impl Planner<'_, '_> {
    /// Plans the members of the archive `path` below the directory `target`.
    pub(super) fn archive(
        &mut self,
        path: &TreePath,
        format: Format,
        target: &TreePath,
    ) -> Result<(), CopyError> {
        let archive = self.plan.archives.len();
        self.plan.archives.push(Archive {
            tree: self.at,
            path: path.clone(),
            format,
        });
        let stream = decoded(self.source(), path, format)?;
        let fail = |source| CopyError::Archive {
            path: path.clone(),
            source,
        };
        let mut reader = LayerReader::new(stream, Dialect::Archive, Limits::default());
        let mut ordinal = 0;
        while let Some(record) = reader.next().map_err(fail)? {
            self.member(record.entry, archive, ordinal, path, target)?;
            ordinal += 1;
        }
        self.plan.notes.extend(reader.take_notes());
        // To the end of the file: what is cut off or damaged behind the last member shows only there.
        reader.finish().map_err(fail)?;
        Ok(())
    }

    fn member(
        &mut self,
        mut entry: Entry,
        archive: usize,
        ordinal: u64,
        path: &TreePath,
        target: &TreePath,
    ) -> Result<(), CopyError> {
        if let Owner::Given { uid, gid } = self.request.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if !matches!(entry.kind, Kind::Symlink(_) | Kind::Hardlink(_)) {
            entry.mode = self.mode(entry.mode, entry.kind == Kind::Dir);
        }
        if entry.path.is_root() {
            // The destination itself keeps its metadata.
            return Ok(());
        }
        let parent = self.directory_of_member(target.join(&entry.path.parent()))?;
        let name = entry.path.file_name().unwrap_or_default().to_vec();
        entry.path = parent.child(&name);
        if entry.kind == Kind::Dir {
            entry.path = self.merge_directory(entry.path, true)?.0;
            return self.made(entry);
        }
        if let Kind::Hardlink(link) = &entry.kind {
            let Some(first) = self.linked(&target.join(link))? else {
                return Err(CopyError::ArchiveLink {
                    path: path.clone(),
                    link: entry.path,
                });
            };
            if first == entry.path {
                return Ok(());
            }
            entry.kind = Kind::Hardlink(first);
        }
        let from = if matches!(entry.kind, Kind::File { .. }) {
            Origin::Member { archive, ordinal }
        } else {
            Origin::Nowhere
        };
        self.leaf(entry, from, true)
    }

    /// Where the directory `named` is; it is planned. Members come directory by directory.
    fn directory_of_member(&mut self, named: TreePath) -> Result<TreePath, CopyError> {
        if let Some((last, parent)) = &self.parent
            && *last == named
        {
            return Ok(parent.clone());
        }
        let parent = self.resolve(&named)?;
        self.directories(&parent)?;
        self.parent = Some((named, parent.clone()));
        Ok(parent)
    }

    /// Where the planned file is that a hard link names; none when it names a directory, or nothing.
    fn linked(&self, named: &TreePath) -> Result<Option<TreePath>, CopyError> {
        let Some(name) = named.file_name() else {
            return Ok(None);
        };
        let first = self.resolve(&named.parent())?.child(name);
        let planned = self.plan.parts.entries.get(first.as_bytes())?;
        Ok(planned
            .is_some_and(|planned| planned.kind != Kind::Dir)
            .then_some(first))
    }
}
