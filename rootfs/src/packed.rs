//! What somebody packed, as a tree to copy from: build contexts. Nothing is unpacked; an index says where in the tar everything is.
//!
//! Invariant: an archive is read to its end and every entry has found its place before it is a tree, and a file of it that has
//! other bytes than it had then is an error.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{DiffId, Hasher, Scratch, Stop};

use crate::copy::archive::{self, Format};
use crate::copy::{CopyError, Heeding};
use crate::entry::Xattrs;
use crate::layer::{Dialect, GrowingIndex, LayerReader, Limits, Record, StoredIndex};
use crate::names::Names;
use crate::path::TreePath;
use crate::single::SingleFile;
use crate::tree::{Meta, OpenFile, Tree, TreeError};
use crate::trees::{self, TreesError};
use crate::view::{ApplyError, LayerContents, View};

/// Where a tar and its index are.
#[derive(Clone, Debug)]
pub struct PackedTar {
    /// The tar, uncompressed.
    pub tar: PathBuf,
    /// As [`StoredIndex::write_to`] writes it.
    pub index: PathBuf,
}

/// Reads the archive at `path` once and stores its index, and its tar where it is compressed, in the directory `beside`; owners
/// become root. As with tar(1) and Docker, the last entry of a name counts. `None` when the content is no archive.
///
/// # Errors
/// When it is damaged, too large, or has an entry without a place.
pub fn index_tar(
    path: &Path,
    beside: &Path,
    (scratch, stop): (&Scratch, &Stop),
) -> Result<Option<(PackedTar, PackedTree)>, CopyError> {
    let name = TreePath::clamped("context").expect("a name");
    let fail = |source| CopyError::Content {
        path: name.clone(),
        source,
    };
    let file = File::open(path).map_err(fail)?;
    let archive =
        SingleFile::of_file("context", file).map_err(|error| fail(io::Error::other(error)))?;
    let format = archive::detect(&archive, archive.path())?;
    if format == Format::NotAnArchive {
        return Ok(None);
    }
    let mut packed = PackedTar {
        tar: path.to_owned(),
        index: beside.join("index"),
    };
    let mut uncompressed = None;
    if format != Format::Tar {
        packed.tar = beside.join("tar");
        let file = File::create_new(&packed.tar).map_err(fail)?;
        uncompressed = Some(BufWriter::with_capacity(128 * 1024, file));
    }
    let stream = Tee {
        stream: Heeding {
            stop,
            input: archive::decoded(&archive, archive.path(), format)?,
        },
        uncompressed,
        hasher: Hasher::new(),
    };
    let (index, view) = read(stream, &name, scratch)?;
    let mut out = BufWriter::new(File::create_new(&packed.index).map_err(fail)?);
    index
        .write_to(&mut out)
        .and_then(|()| out.flush())
        .map_err(fail)?;
    let tree = PackedTree::of(view.with_contents(Arc::new(Tar::open(&packed.tar).map_err(fail)?)));
    Ok(Some((packed, tree)))
}

fn read<R: Read>(
    stream: Tee<R>,
    name: &TreePath,
    scratch: &Scratch,
) -> Result<(StoredIndex, View), CopyError> {
    let fail = |source| CopyError::Archive {
        path: name.clone(),
        source,
    };
    let mut reader = LayerReader::new(stream, Dialect::Archive, Limits::default());
    let mut view = View::in_scratch(scratch);
    view.begin_layer();
    let mut index = GrowingIndex::new(scratch);
    // The sum of a content is known only when it was read, so an entry waits for the next one.
    let mut last: Option<Record> = None;
    loop {
        let next = reader.next().map_err(fail)?;
        if let Some(mut record) = last.take() {
            record.sum = reader.sum_before();
            view.apply(&record)
                .map_err(|error| misplaced(name, error))?;
            index.push(&record)?;
        }
        let Some(mut record) = next else { break };
        (record.entry.uid, record.entry.gid) = (0, 0);
        last = Some(record);
    }
    // To the end of the file: what is cut off or damaged behind the last member shows only there.
    let size = reader.read_to_end().map_err(fail)?;
    let diff_id = DiffId::new(reader.input().hasher.clone().finish());
    let index = index.finish(diff_id, size);
    let Tee { uncompressed, .. } = reader.finish().map_err(fail)?;
    if let Some(mut file) = uncompressed {
        file.flush().map_err(|source| CopyError::Content {
            path: name.clone(),
            source,
        })?;
    }
    Ok((index, view))
}

fn misplaced(name: &TreePath, error: ApplyError) -> CopyError {
    match error {
        ApplyError::Resolve(error) => CopyError::Tree(error),
        ApplyError::LinkTarget { path: link, .. } => CopyError::ArchiveLink {
            path: name.clone(),
            link,
        },
    }
}

/// Hashes what is read, and writes it down.
struct Tee<R> {
    stream: R,
    uncompressed: Option<BufWriter<File>>,
    hasher: Hasher,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        if let Some(file) = &mut self.uncompressed {
            file.write_all(&buffer[..length])?;
        }
        Ok(length)
    }
}

/// A tar's bytes, whatever becomes of its name.
struct Tar(File);

impl Tar {
    fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }
}

impl LayerContents for Tar {
    fn open(&self, _: usize, offset: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let left = Piece {
            file: &self.0,
            at: offset,
        };
        Ok(Box::new(left.take(len)))
    }
}

/// A file from some byte on.
struct Piece<'f> {
    file: &'f File,
    at: u64,
}

impl Read for Piece<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// A directory of a view as a tree of its own: links in it are followed as if it were `/`.
#[derive(Clone, Debug)]
pub struct PackedTree {
    whole: Arc<View>,
    base: TreePath,
}

impl PackedTree {
    /// All of a view.
    pub fn of(view: View) -> Self {
        Self {
            whole: Arc::new(view),
            base: TreePath::root(),
        }
    }

    /// A tar by its index.
    ///
    /// # Errors
    /// When one of the two cannot be read or is damaged.
    pub fn open(packed: &PackedTar, scratch: &Scratch) -> Result<Self, TreesError> {
        let view = trees::view_of_index(&packed.index, scratch)?;
        let tar = Tar::open(&packed.tar).map_err(|source| TreesError::Io {
            call: "open",
            path: packed.tar.clone(),
            source,
        })?;
        Ok(Self::of(view.with_contents(Arc::new(tar))))
    }

    /// A directory of it, looked for inside it only; `None` where there is none.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn below(&self, path: &TreePath) -> Result<Option<Self>, TreeError> {
        let found = self.lookup(path)?.filter(|(_, meta)| meta.is_dir());
        Ok(found.map(|(canonical, _)| Self {
            whole: Arc::clone(&self.whole),
            base: self.base.join(&canonical),
        }))
    }
}

impl Tree for PackedTree {
    fn node(&self, path: &TreePath) -> Result<Option<Meta>, TreeError> {
        self.whole.node(&self.base.join(path))
    }

    fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        self.whole.read_link(&self.base.join(path))
    }

    fn names(&self, path: &TreePath) -> Result<Names, TreeError> {
        self.whole.names(&self.base.join(path))
    }

    fn xattrs(&self, path: &TreePath) -> Result<Xattrs, TreeError> {
        self.whole.xattrs(&self.base.join(path))
    }

    fn open(&self, path: &TreePath) -> Result<OpenFile<'_>, TreeError> {
        self.whole.open(&self.base.join(path))
    }

    fn read_at(&self, path: &TreePath, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        self.whole.read_at(&self.base.join(path), offset, length)
    }
}
