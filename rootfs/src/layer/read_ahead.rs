//! A stream that another thread reads, so that what is done with its bytes and what it costs to get them (reading, hashing)
//! happen at the same time. The invariant: the bytes and the error at the end are the stream's own, in its order.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const BUFFER: usize = 256 * 1024;
const BUFFERS: usize = 4;

/// See the module.
pub(crate) struct ReadAhead<R>(Source<R>);

enum Source<R> {
    Apart(Apart),
    /// No thread is to be had.
    Here(R),
}

struct Apart {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read + Send + 'static> ReadAhead<R> {
    /// Starts to read.
    pub(crate) fn new(stream: R) -> Self {
        let (filled, full) = sync_channel(BUFFERS);
        let (empty, to_fill) = sync_channel::<Vec<u8>>(BUFFERS + 1);
        let (hand_over, given) = sync_channel::<R>(1);
        let read = move || {
            let Ok(mut stream) = given.recv() else { return };
            for mut buffer in to_fill {
                let outcome = fill(&mut stream, &mut buffer).map(|()| buffer);
                let last = outcome.as_ref().map_or(true, Vec::is_empty);
                // Nobody listens any more, or there is no more to say.
                if filled.send(outcome).is_err() || last {
                    return;
                }
            }
        };
        if std::thread::Builder::new().spawn(read).is_err() {
            return Self(Source::Here(stream));
        }
        for _ in 0..BUFFERS {
            empty
                .send(Vec::with_capacity(BUFFER))
                .expect("the channel has room, and its other end waits for the stream");
        }
        hand_over
            .send(stream)
            .unwrap_or_else(|_| unreachable!("the thread waits for it"));
        Self(Source::Apart(Apart {
            full,
            empty,
            current: Vec::new(),
            at: 0,
            ended: false,
        }))
    }
}

/// Fills a buffer; it stays empty at the end of the stream.
fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    stream.by_ref().take(BUFFER as u64).read_to_end(buffer)?;
    Ok(())
}

impl Apart {
    /// Gets the next buffer; leaves an empty one at the end.
    fn advance(&mut self) -> io::Result<()> {
        let used = std::mem::take(&mut self.current);
        self.at = 0;
        if self.ended {
            return Ok(());
        }
        // A thread that ended needs no more buffers.
        let _ = self.empty.send(used);
        let next = self.full.recv().unwrap_or_else(|_| Ok(Vec::new()));
        self.ended = next.as_ref().map_or(true, Vec::is_empty);
        self.current = next?;
        Ok(())
    }
}

impl<R: Read> Read for ReadAhead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let apart = match &mut self.0 {
            Source::Here(stream) => return stream.read(buffer),
            Source::Apart(apart) => apart,
        };
        if apart.at == apart.current.len() && !buffer.is_empty() {
            apart.advance()?;
        }
        let rest = &apart.current[apart.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        apart.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_the_end_arrive_as_they_are() {
        for length in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 5 * BUFFER + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut read = Vec::new();
            let mut ahead = ReadAhead::new(io::Cursor::new(bytes.clone()));
            ahead.read_to_end(&mut read).expect("read");
            assert_eq!(read, bytes);
            assert_eq!(ahead.read(&mut [0]).expect("the end stays"), 0);
        }
    }

    #[test]
    fn an_error_arrives_after_the_bytes_before_it() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("rotten"))
            }
        }
        let bytes = vec![7; 2 * BUFFER];
        let mut ahead = ReadAhead::new(io::Cursor::new(bytes).chain(Fails));
        let mut read = Vec::new();
        let error = ahead.read_to_end(&mut read).expect_err("it fails");
        assert_eq!(
            (read.len(), error.to_string().as_str()),
            (2 * BUFFER, "rotten")
        );
    }

    #[test]
    fn a_reader_that_is_dropped_early_leaves_no_thread_waiting() {
        let (told, ended) = std::sync::mpsc::channel::<()>();
        struct Endless(
            #[expect(dead_code, reason = "dropped with the thread")] std::sync::mpsc::Sender<()>,
        );
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(1);
                Ok(buffer.len())
            }
        }
        let mut ahead = ReadAhead::new(Endless(told));
        ahead.read_exact(&mut [0; 10]).expect("read");
        drop(ahead);
        assert!(ended.recv().is_err(), "the stream was dropped");
    }
}
