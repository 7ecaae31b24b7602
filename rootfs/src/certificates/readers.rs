//! Which programs and libraries of a tree ask the environment for a trust store.
//!
//! Invariant: it is the name of the variable in the file that counts, so OpenSSL, Go and rustls are found whether they are
//! libraries or linked in, and GnuTLS, which knows no such variable, is not.

use std::io::Read;

use memchr::memmem::Finder;

use crate::path::TreePath;
use crate::tree::{Meta, NodeKind, OpenFile, Tree, TreeError};

/// What a file of the tree reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The program or library.
    pub path: TreePath,
    /// It knows `SSL_CERT_DIR` and looks there for files named by subject. Go looks too, but reads the bundle as well.
    pub by_subject: bool,
}

const WINDOW: usize = 256 << 10;

/// Those of `files` that read `SSL_CERT_FILE`, at most one that looks by subject and one that does not.
///
/// # Errors
/// When a file cannot be read.
pub fn readers<'p>(
    tree: &dyn Tree,
    files: impl IntoIterator<Item = (&'p TreePath, &'p Meta)>,
) -> Result<Vec<Reader>, TreeError> {
    let mut found: Vec<Reader> = Vec::new();
    for (path, meta) in files {
        if meta.kind != NodeKind::File || meta.size < 64 {
            continue;
        }
        let Some(by_subject) = reads(path, tree.open(path)?)? else {
            continue;
        };
        if found.iter().all(|other| other.by_subject != by_subject) {
            let path = path.clone();
            found.push(Reader { path, by_subject });
        }
        if found.len() == 2 {
            break;
        }
    }
    Ok(found)
}

/// Whether an ELF file reads the variable, and looks by subject; a window at a time.
fn reads(path: &TreePath, mut file: OpenFile<'_>) -> Result<Option<bool>, TreeError> {
    let finders = [&b"SSL_CERT_FILE"[..], b"SSL_CERT_DIR", b"\xff Go buildinf:"].map(Finder::new);
    let longest = finders.iter().map(|finder| finder.needle().len()).max();
    let kept = longest.unwrap_or(1) - 1;
    let mut seen = [false; 3];
    let (mut buffer, mut filled, mut first) = (vec![0; WINDOW], 0, true);
    loop {
        let length = file.content.read(&mut buffer[filled..]);
        let length = length.map_err(|source| TreeError::Read {
            path: path.clone(),
            source,
        })?;
        filled += length;
        if first && filled >= 4 && !buffer.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        first = first && filled < 4;
        if length == 0 || filled == buffer.len() {
            for (finder, seen) in finders.iter().zip(&mut seen) {
                *seen |= finder.find(&buffer[..filled]).is_some();
            }
            let keep = filled.min(kept);
            buffer.copy_within(filled - keep..filled, 0);
            filled = keep;
        }
        if length == 0 {
            let [file, directory, go] = seen;
            return Ok(file.then_some(directory && !go));
        }
    }
}
