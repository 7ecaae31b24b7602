//! Block-parallel gzip: blocks of 1 MiB are deflated independently and joined by sync flushes into one member.
//!
//! Invariant: the block borders depend on the input alone, so one thread and many give the same bytes. A reader sees an
//! ordinary gzip file (RFC 1952) of one member.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

const BLOCK: usize = 1 << 20;
/// Deflate, no flags, no time, no extra flags, unknown system: nothing about this machine.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty final block (RFC 1951, 3.2.6: final bit, fixed codes, end of block).
const END: [u8; 2] = [0x03, 0x00];

/// A block to deflate, and where the result goes.
type Job = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// Compresses all of `input`; memory is bounded by a few blocks for each thread.
///
/// # Errors
/// When reading or writing fails.
pub fn gzip(
    input: &mut dyn Read,
    output: &mut dyn Write,
    level: u32,
    threads: NonZeroUsize,
) -> io::Result<()> {
    output.write_all(&HEADER)?;
    let (jobs, queue) = sync_channel::<Job>(threads.get());
    let queue = Mutex::new(queue);
    let crc = std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| deflate_blocks(&queue, level));
        }
        feed(input, output, jobs, threads.get() * 2)
    })?;
    output.write_all(&END)?;
    output.write_all(&crc.sum().to_le_bytes())?;
    output.write_all(&crc.amount().to_le_bytes())?;
    output.flush()
}

/// Reads blocks, hands them out, and writes the results in their order. Dropping `jobs` at the end ends the workers.
fn feed(
    input: &mut dyn Read,
    output: &mut dyn Write,
    jobs: SyncSender<Job>,
    ahead: usize,
) -> io::Result<Crc> {
    let ended = || io::Error::other("a compression thread ended early");
    let mut crc = Crc::new();
    let mut pending: VecDeque<Receiver<io::Result<Vec<u8>>>> = VecDeque::new();
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        input.take(BLOCK as u64).read_to_end(&mut block)?;
        let last = block.is_empty();
        if !last {
            crc.update(&block);
            let (sender, receiver) = sync_channel(1);
            jobs.send((block, sender)).map_err(|_| ended())?;
            pending.push_back(receiver);
        }
        while pending.len() > if last { 0 } else { ahead } {
            if let Some(receiver) = pending.pop_front() {
                output.write_all(&receiver.recv().map_err(|_| ended())??)?;
            }
        }
        if last {
            return Ok(crc);
        }
    }
}

fn deflate_blocks(queue: &Mutex<Receiver<Job>>, level: u32) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, reply)) = job else { return };
        // Nobody waits any more when writing has failed.
        let _ = reply.send(deflate(&block, level));
    }
}

fn deflate(block: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(Compression::new(level), false);
    let mut out = Vec::with_capacity(block.len() / 2 + 64);
    loop {
        let done = usize::try_from(compress.total_in()).map_err(io::Error::other)?;
        let status = compress.compress_vec(&block[done..], &mut out, FlushCompress::Sync)?;
        // The flush is complete when there was room left for more (zlib.h, deflate()).
        if compress.total_in() == block.len() as u64 && out.len() < out.capacity() {
            return Ok(out);
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("deflate ended early"));
        }
        out.reserve(out.capacity().max(64));
    }
}
