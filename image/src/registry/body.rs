//! Bytes of a blob as the body of a request, counted as they leave.
//!
//! Invariant: exactly as many bytes are sent as were announced, and a blob that is damaged or has another size ends the request.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// How much is read from a blob at once.
const PIECE: usize = 128 << 10;

/// How an upload goes.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) sent: AtomicU64,
    /// Why the blob cannot be read on; the client would hide it among the network's errors.
    pub(super) error: Mutex<Option<io::Error>>,
}

impl Flow {
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// A blob as the body of a request.
pub(super) struct Stream {
    pub(super) content: Mutex<Box<dyn Read + Send>>,
    pub(super) left: u64,
    /// Whether the blob has no more than this.
    pub(super) is_last: bool,
    pub(super) flow: Arc<Flow>,
}

impl Stream {
    fn next(&mut self) -> io::Result<Bytes> {
        let content = self
            .content
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut piece = Vec::new();
        content.take(PIECE as u64).read_to_end(&mut piece)?;
        let len = piece.len() as u64;
        if len > self.left || (len == 0 && self.left > 0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the blob changed its size",
            ));
        }
        self.left -= len;
        if self.left == 0 && self.is_last {
            // The end is where a damaged blob is noticed.
            io::copy(content, &mut io::sink())?;
        }
        self.flow.sent.fetch_add(len, Ordering::Relaxed);
        Ok(piece.into())
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    /// Blocks while it reads: this runtime has nothing else to do.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.next().map_err(|error| {
            let kind = error.kind();
            let mut slot = self
                .flow
                .error
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *slot = Some(error);
            io::Error::from(kind)
        });
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
