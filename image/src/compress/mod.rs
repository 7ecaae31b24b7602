//! Compression of layers: reading what others compressed, and writing reproducibly.
//!
//! Invariant: what is written depends on the input and the level alone, never on the number of threads or on the time.

mod decompress;
mod gzip;

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

pub use decompress::{DecompressError, Decompressor, Limits};
pub use gzip::gzip;

use crate::media_type::Compression;

/// zlib's default, and Docker's.
const GZIP_LEVEL: u32 = 6;
/// zstd's default.
const ZSTD_LEVEL: i32 = 3;

/// Compresses all of `input` at the default level.
///
/// # Errors
/// When reading or writing fails.
pub fn compress(
    compression: Compression,
    input: &mut dyn Read,
    output: &mut dyn Write,
    threads: NonZeroUsize,
) -> io::Result<()> {
    match compression {
        Compression::None => io::copy(input, output).map(|_| ()),
        Compression::Gzip => gzip(input, output, GZIP_LEVEL, threads),
        Compression::Zstd => zstd(input, output, ZSTD_LEVEL, threads),
    }
}

/// Compresses all of `input` as one zstd frame with a checksum.
///
/// # Errors
/// When reading or writing fails.
pub fn zstd(
    input: &mut dyn Read,
    output: &mut dyn Write,
    level: i32,
    threads: NonZeroUsize,
) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(output, level)?;
    encoder.include_checksum(true)?;
    // One worker and more give the same bytes; none gives others (measured, zstd 1.5.7).
    encoder.multithread(u32::try_from(threads.get()).unwrap_or(u32::MAX).min(16))?;
    io::copy(input, &mut encoder)?;
    encoder.finish()?.flush()
}

#[cfg(test)]
mod tests;
