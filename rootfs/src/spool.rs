//! Bytes that are only added to and read from the start, the most of them in a file without a name.
//!
//! Invariant: they come out as they went in, and no more than [`PIECE`] of them and one addition are in memory, where there is a
//! place for a file.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use image::Scratch;

use crate::sorted::ScratchError;

const PIECE: usize = 512 << 10;

#[derive(Debug, Default)]
pub(crate) struct Spool {
    recent: Vec<u8>,
    file: Option<File>,
    stored: u64,
    scratch: Scratch,
}

impl Spool {
    pub(crate) fn new(scratch: &Scratch) -> Self {
        Self {
            scratch: scratch.clone(),
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), ScratchError> {
        self.recent.extend_from_slice(bytes);
        if self.recent.len() < PIECE {
            return Ok(());
        }
        let file = match (&self.file, self.scratch.file()) {
            (Some(file), _) => file,
            (None, Some(file)) => self.file.insert(file?),
            (None, None) => return Ok(()),
        };
        file.write_all_at(&self.recent, self.stored)?;
        self.stored += self.recent.len() as u64;
        self.recent.clear();
        Ok(())
    }

    /// Writes all of them.
    pub(crate) fn copy_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        while let Some(file) = self.file.as_ref().filter(|_| at < self.stored) {
            let left = usize::try_from(self.stored - at).unwrap_or(usize::MAX);
            let wanted = left.min(buffer.len());
            file.read_exact_at(&mut buffer[..wanted], at)?;
            out.write_all(&buffer[..wanted])?;
            at += wanted as u64;
        }
        out.write_all(&self.recent)
    }
}
