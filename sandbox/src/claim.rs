//! Ranges of ids that processes keep for themselves while they live. The invariant: a range is held by a lock of the open file
//! description (fcntl_locking(2)), so that two holders never overlap and nothing remains of a holder that was killed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Ids that are this process's alone until it is dropped.
#[derive(Debug)]
pub struct IdClaim {
    _file: File,
    /// The first of them.
    pub start: u32,
}

impl IdClaim {
    /// Claims the first `count` ids of `all` that begin at a multiple of `step` after its start and are nobody's, in the file at
    /// `path`, whose bytes stand for ids. `None` when there are none left.
    ///
    /// # Errors
    /// When the file cannot be opened or locked.
    pub fn find(path: &Path, all: Range<u32>, count: u32, step: u32) -> io::Result<Option<Self>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let mut start = all.start;
        while start.checked_add(count).is_some_and(|end| end <= all.end) {
            if lock(&file, start, count)? {
                return Ok(Some(Self { _file: file, start }));
            }
            start = start.saturating_add(step);
        }
        Ok(None)
    }
}

fn lock(file: &File, start: u32, count: u32) -> io::Result<bool> {
    let short = |flag: i32| libc::c_short::try_from(flag).expect("flags of locks fit a short");
    let range = libc::flock {
        l_type: short(libc::F_WRLCK),
        l_whence: short(libc::SEEK_SET),
        l_start: start.into(),
        l_len: count.into(),
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_claims_overlap_and_what_is_dropped_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ids");
        let find = |count| IdClaim::find(&path, 1..4097, count, 1024).unwrap();
        let (first, second) = (find(1024).unwrap(), find(1500).unwrap());
        assert_eq!((first.start, second.start), (1, 1025));
        let third = find(1024).unwrap();
        assert_eq!(third.start, 3073, "1500 ids reach into the third step");
        assert!(find(1024).is_none());
        drop(second);
        assert_eq!(find(2048).unwrap().start, 1025);
        assert!(find(4097).is_none());
    }
}
