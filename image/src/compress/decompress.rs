//! Reading compressed layers from anyone.
//!
//! Invariant: never more output than the limits allow, and every byte of the input is accounted for: another format than the
//! declared one, an unfinished stream and anything behind its end are errors.

use std::io::{self, ErrorKind, Write};

use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder as RawZstd, InBuffer, Operation, OutBuffer};

use crate::media_type::Compression;

/// zstd's own default limit: 128 MiB. Only levels from 20 up make windows above 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How much may come out of a compressed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes of output for each byte of input, once there is more output than `ratio_from`.
    pub ratio: u64,
    /// Below that, any ratio is harmless.
    pub ratio_from: u64,
}

impl Default for Limits {
    /// 64 GiB; above 256 MiB at most 1100:1, which gzip cannot exceed (deflate ends at 1032:1) and honest zstd does not.
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            ratio: 1100,
            ratio_from: 256 << 20,
        }
    }
}

/// Why a layer cannot be decompressed; wrapped in an [`io::Error`] of kind `InvalidData`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The first bytes are another format's.
    #[error("decompress the layer: it is declared {declared}, but is {found}")]
    WrongFormat {
        /// What the media type says.
        declared: Compression,
        /// What the first bytes say.
        found: Compression,
    },
    /// The stream ends too early.
    #[error("decompress the layer: it is truncated")]
    Truncated,
    /// More comes out than may.
    #[error("decompress the layer: it expands to more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// More comes out for what goes in than may.
    #[error("decompress the layer: it expands more than {limit} times")]
    RatioTooHigh {
        /// The limit.
        limit: u64,
    },
}

impl From<DecompressError> for io::Error {
    fn from(error: DecompressError) -> Self {
        Self::new(ErrorKind::InvalidData, error)
    }
}

/// Takes compressed bytes and writes the plain ones; [`Decompressor::finish`] must follow.
pub struct Decompressor<W: Write> {
    declared: Option<Compression>,
    /// The first bytes, until there are enough of them to tell the format.
    head: Vec<u8>,
    state: State<W>,
}

enum State<W: Write> {
    /// Boxed: the gzip decoder is large.
    Undecided(Option<Bounded<W>>),
    Plain(Bounded<W>),
    Gzip(Box<MultiGzDecoder<Bounded<W>>>),
    Zstd(Zstd<W>),
}

struct Zstd<W: Write> {
    raw: RawZstd<'static>,
    out: Bounded<W>,
    buffer: Vec<u8>,
    frame_open: bool,
}

/// Counts what comes out and refuses too much.
struct Bounded<W> {
    out: W,
    limits: Limits,
    taken: u64,
    given: u64,
}

impl<W: Write> Decompressor<W> {
    /// Reads the declared format; without one, the format that the first bytes show.
    pub fn new(declared: Option<Compression>, limits: Limits, out: W) -> Self {
        let out = Bounded {
            out,
            limits,
            taken: 0,
            given: 0,
        };
        Self {
            declared,
            head: Vec::new(),
            state: State::Undecided(Some(out)),
        }
    }

    /// Checks that the stream is complete and gives the sink back.
    ///
    /// # Errors
    /// When it is not.
    pub fn finish(mut self) -> io::Result<W> {
        if matches!(self.state, State::Undecided(_)) {
            self.decide()?;
        }
        let truncated = |_| io::Error::from(DecompressError::Truncated);
        match self.state {
            State::Undecided(_) => Err(io::Error::other("the format was not decided")),
            State::Plain(out) => Ok(out.out),
            State::Gzip(decoder) => Ok(decoder.finish().map_err(truncated)?.out),
            State::Zstd(zstd) if zstd.frame_open => Err(DecompressError::Truncated.into()),
            State::Zstd(zstd) => Ok(zstd.out.out),
        }
    }

    fn decide(&mut self) -> io::Result<()> {
        let found = detect(&self.head);
        let declared = self.declared.unwrap_or(found);
        if declared != found {
            // An empty gzip or zstd stream has no bytes to be recognised by.
            let error = if self.head.is_empty() {
                DecompressError::Truncated
            } else {
                DecompressError::WrongFormat { declared, found }
            };
            return Err(error.into());
        }
        let State::Undecided(out) = &mut self.state else {
            return Ok(());
        };
        let Some(out) = out.take() else {
            return Err(io::Error::other("the stream has failed before"));
        };
        self.state = match found {
            Compression::None => State::Plain(out),
            Compression::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(out))),
            Compression::Zstd => State::Zstd(Zstd::new(out)?),
        };
        let head = std::mem::take(&mut self.head);
        self.state.write_all(&head)
    }
}

/// RFC 1952, 2.3.1; RFC 8878, 3.1.1 and 3.1.2 (skippable frames).
fn detect(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

impl<W: Write> Write for Decompressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let State::Undecided(_) = self.state {
            let missing = 4_usize.saturating_sub(self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..missing]);
            if self.head.len() >= 4 {
                self.decide()?;
            }
            return Ok(missing);
        }
        self.state.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> State<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        match self {
            Self::Undecided(_) => Err(io::Error::other("the format was not decided")),
            Self::Plain(out) => {
                out.taken += len;
                out.write_all(bytes)
            }
            Self::Gzip(decoder) => {
                decoder.get_mut().taken += len;
                decoder.write_all(bytes)
            }
            Self::Zstd(zstd) => {
                zstd.out.taken += len;
                zstd.write_all(bytes)
            }
        }
    }
}

impl<W: Write> Zstd<W> {
    fn new(out: Bounded<W>) -> io::Result<Self> {
        let mut raw = RawZstd::new()?;
        raw.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self {
            raw,
            out,
            buffer: vec![0; 128 << 10],
            frame_open: true,
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        loop {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            let hint = self.raw.run(&mut input, &mut output)?;
            let full = output.pos() == output.capacity();
            self.out.write_all(output.as_slice())?;
            self.frame_open = hint != 0;
            // Asking on at a frame's end would start the next frame, which nobody promised.
            if input.pos() == bytes.len() && (!full || hint == 0) {
                return Ok(());
            }
        }
    }
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (limits, after) = (self.limits, self.given.saturating_add(bytes.len() as u64));
        if after > limits.bytes {
            return Err(DecompressError::TooLarge {
                limit: limits.bytes,
            }
            .into());
        }
        if after > limits.ratio_from && after / limits.ratio > self.taken {
            return Err(DecompressError::RatioTooHigh {
                limit: limits.ratio,
            }
            .into());
        }
        let written = self.out.write(bytes)?;
        self.given += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
