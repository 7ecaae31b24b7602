//! A tree of one file. The invariant: it is a regular file in the root directory, and nothing else is there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::entry::{Time, Xattrs};
use crate::names::Names;
use crate::path::{PathError, TreePath};
use crate::tree::{Content, Meta, NodeKind, OpenFile, Tree, TreeError};

/// Opens the file from its start.
type Open<'s> = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 's;

/// Why there is no such tree.
#[derive(Debug, thiserror::Error)]
pub enum SingleError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] PathError),
    /// The file cannot be looked at.
    #[error("look at the file")]
    File(#[from] io::Error),
}

/// Reads a file from its start, whoever else reads it.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// What is known of the file beside its content.
#[derive(Clone, Copy, Debug)]
pub struct SingleMeta {
    /// Its length.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Time of its last modification.
    pub mtime: Time,
}

/// A file of root, alone.
pub struct SingleFile<'s> {
    path: TreePath,
    meta: SingleMeta,
    open: Box<Open<'s>>,
}

impl<'s> SingleFile<'s> {
    /// The file `name`, whose content `open` gives.
    ///
    /// # Errors
    /// When the name is no name of a file.
    pub fn new(
        name: &str,
        meta: SingleMeta,
        open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 's,
    ) -> Result<Self, PathError> {
        Ok(Self {
            path: TreePath::scoped(name)?,
            meta,
            open: Box::new(open),
        })
    }

    /// The content of an open file, which must be a regular one.
    ///
    /// # Errors
    /// When the name is no name of a file, or the file cannot be looked at.
    pub fn of_file(name: &str, file: File) -> Result<SingleFile<'static>, SingleError> {
        let meta = SingleMeta {
            size: file.metadata()?.len(),
            mode: 0o644,
            mtime: Time::default(),
        };
        let file = Arc::new(file);
        let open = move || {
            let file = Arc::clone(&file);
            Ok(Box::new(FromStart { file, at: 0 }) as Box<dyn Read + Send>)
        };
        Ok(SingleFile::new(name, meta, open)?)
    }

    /// Where the file is.
    pub fn path(&self) -> &TreePath {
        &self.path
    }

    fn node_at(&self, path: &TreePath) -> Option<Meta> {
        let (kind, mode, size) = if *path == self.path {
            (NodeKind::File, self.meta.mode, self.meta.size)
        } else if path.is_root() {
            (NodeKind::Dir, 0o755, 0)
        } else {
            return None;
        };
        Some(Meta {
            kind,
            mode,
            uid: 0,
            gid: 0,
            size,
            mtime: self.meta.mtime,
            ctime: Time::default(),
            inode: (0, 0),
            links: 1,
        })
    }
}

impl Tree for SingleFile<'_> {
    fn node(&self, path: &TreePath) -> Result<Option<Meta>, TreeError> {
        Ok(self.node_at(path))
    }

    fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        Err(TreeError::Missing { path: path.clone() })
    }

    fn names(&self, path: &TreePath) -> Result<Names, TreeError> {
        if path.is_root() {
            Ok(self.path.file_name().into_iter().collect())
        } else {
            Err(TreeError::Missing { path: path.clone() })
        }
    }

    fn xattrs(&self, _: &TreePath) -> Result<Xattrs, TreeError> {
        Ok(Xattrs::default())
    }

    fn open(&self, path: &TreePath) -> Result<OpenFile<'_>, TreeError> {
        if *path != self.path {
            return Err(TreeError::NotRegular { path: path.clone() });
        }
        let stream = (self.open)().map_err(|source| TreeError::Layer {
            path: path.clone(),
            source,
        })?;
        Ok(OpenFile {
            content: Content::Stream(stream),
            size: self.meta.size,
            xattrs: Xattrs::default(),
        })
    }
}
