//! A deflate encoder (RFC 1951) that is fast first: a hash table of the last two places of four bytes, matches that are put off by a
//! byte where the next one is longer, and Huffman codes for every 64 KiB. What it makes is about as small as zlib's level 5.
//!
//! Invariant: the bytes are a function of the input and of this directory, whatever the machine and the version of any library,
//! and every decoder gets the input back.

mod bits;
mod block;
mod code;

use bits::Bits;
use block::{Sequence, write};

/// How much input has Huffman codes of its own.
const BLOCK: usize = 64 << 10;
const WINDOW: usize = 32 << 10;
const HASH_BITS: u32 = 15;
/// Shorter matches than four bytes are not looked for.
const LEAST: usize = 4;
const MOST: usize = 258;
/// A match of so many bytes is good enough not to look for a better one.
const GOOD: usize = 24;
/// Of a match that is this long not every place is noted: what follows it is seldom found inside of it.
const LONG: usize = 64;
/// After two to the power of this many bytes without a match one more is passed over each time: noise is not searched byte by byte.
const PATIENCE: u32 = 5;
const NONE: u32 = u32::MAX;

/// Deflates inputs, each by itself.
pub(super) struct Deflater {
    /// The last two places of each hash.
    places: Vec<[u32; 2]>,
    sequences: Vec<Sequence>,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self {
            places: vec![[NONE; 2]; 1 << HASH_BITS],
            sequences: Vec::with_capacity(BLOCK / LEAST + 1),
        }
    }

    /// Appends the blocks of an input of at most 4 GiB, none of them the last one of a stream, up to the border of a byte (what zlib
    /// calls a sync flush).
    pub(super) fn deflate(&mut self, input: &[u8], output: &mut Vec<u8>) {
        self.places.fill([NONE; 2]);
        let mut bits = Bits::new(output);
        let mut start = 0;
        while start < input.len() {
            let end = self.search(input, start);
            write(&mut bits, &input[start..end], &self.sequences);
            start = end;
        }
        bits.sync();
    }

    /// Finds the sequences of a block; returns where it ends, which is where its last match does.
    fn search(&mut self, input: &[u8], start: usize) -> usize {
        self.sequences.clear();
        let limit = (start + BLOCK).min(input.len());
        // Lengths are found by eight bytes at once.
        let searched = limit.min(input.len().saturating_sub(8));
        let (mut at, mut literals_from, mut misses) = (start, start, 0_usize);
        while at < searched {
            let Some(found) = self.longest(input, at, LEAST - 1) else {
                misses += 1;
                at += 1 + (misses >> PATIENCE);
                continue;
            };
            misses = 0;
            let (length, distance);
            (at, length, distance) = self.put_off(input, (at, searched), found);
            self.sequences
                .push(Sequence::new(at - literals_from, length, distance));
            let end = at + length;
            let step = if length < LONG { 1 } else { 4 };
            for inside in (at + 2..end.min(searched)).step_by(step) {
                self.note(input, inside);
            }
            (at, literals_from) = (end, end);
        }
        let end = limit.max(literals_from);
        if end > literals_from {
            self.sequences
                .push(Sequence::new(end - literals_from, 0, 0));
        }
        end
    }

    /// A match, or a longer one that begins a little later.
    fn put_off(
        &mut self,
        input: &[u8],
        (mut at, searched): (usize, usize),
        (mut length, mut distance): (usize, usize),
    ) -> (usize, usize, usize) {
        while length < GOOD && at + 1 < searched {
            let Some(longer) = self.longest(input, at + 1, length) else {
                break;
            };
            (length, distance) = longer;
            at += 1;
        }
        (at, length, distance)
    }

    fn note(&mut self, input: &[u8], at: usize) {
        let place = &mut self.places[hash(four(input, at))];
        *place = [at as u32, place[0]];
    }

    /// The longest match that is longer than `least`: its length, and how far back it is. The place itself is noted.
    fn longest(&mut self, input: &[u8], at: usize, least: usize) -> Option<(usize, usize)> {
        let wanted = four(input, at);
        let place = &mut self.places[hash(wanted)];
        let candidates = *place;
        *place = [at as u32, candidates[0]];
        let (mut best, mut found) = (least, None);
        for candidate in candidates {
            let from = candidate as usize;
            if candidate == NONE || at - from > WINDOW || four(input, from) != wanted {
                continue;
            }
            let length = common(input, from, at);
            if length > best {
                (best, found) = (length, Some((length, at - from)));
            }
        }
        found
    }
}

fn four(input: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(input[at..at + 4].try_into().expect("four bytes"))
}

fn eight(input: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(input[at..at + 8].try_into().expect("eight bytes"))
}

/// Knuth's multiplicative hash, with 2^32 divided by the golden ratio.
fn hash(bytes: u32) -> usize {
    (bytes.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

/// How many bytes are the same at two places; of the first four it is known.
fn common(input: &[u8], from: usize, at: usize) -> usize {
    let most = MOST.min(input.len() - at);
    let mut length = LEAST;
    while length + 8 <= most {
        let differing = eight(input, from + length) ^ eight(input, at + length);
        if differing != 0 {
            return length + (differing.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    while length < most && input[from + length] == input[at + length] {
        length += 1;
    }
    length
}
