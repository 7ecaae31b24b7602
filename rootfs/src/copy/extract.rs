//! An archive from elsewhere into an empty directory of ours: build contexts.
//!
//! Invariant: it is read to its end before anything is written, by the same code as ADD, so nothing leaves the directory and a
//! damaged archive leaves nothing.

use crate::copy::archive::{self, Format};
use crate::copy::{CopyError, CopyRequest, CopySource, Owner, Parents, Rules, Verdict, plan};
use crate::entry::Time;
use crate::note::Note;
use crate::ownership::Ownership;
use crate::root::Root;
use crate::single::SingleFile;
use image::{Scratch, Stop};

/// Unpacks a tar, compressed or not, whose owners become the caller's and whose directories and files the caller can read.
/// `None` when the content is no archive.
///
/// # Errors
/// When it is damaged, too large, or cannot be written.
pub fn extract(
    archive: &SingleFile<'_>,
    into: &Root,
    scratch: &Scratch,
    stop: &Stop,
) -> Result<Option<Vec<Note>>, CopyError> {
    if archive::detect(archive, archive.path())? == Format::NotAnArchive {
        return Ok(None);
    }
    // Without these bits an ordinary user could neither fill a directory nor read a file.
    let readable = |mode: u32, is_dir: bool| mode | if is_dir { 0o700 } else { 0o400 };
    let request = CopyRequest {
        sources: &[CopySource::Other {
            tree: archive,
            path: archive.path(),
            unpack: true,
        }],
        destination: "/",
        owner: Owner::Root,
        chmod: Some(&readable),
        parents: Parents::Dropped,
        unpack: true,
        date: &|time| time,
        scratch: scratch.clone(),
    };
    let rules = Rules {
        glob: &|_, _| false,
        ignore: &|_, _| Verdict::Keep,
        exclude: &|_, _| Verdict::Keep,
    };
    // Directories that the archive does not name are as old as time, so that the same archive is the same context.
    let plan = plan(&request, archive, None, &rules)?
        .dated(Time::default())
        .heeding(stop);
    plan.write_tree(into, Ownership::Squashed).map(Some)
}
