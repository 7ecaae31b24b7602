//! One block: sequences as symbols, and symbols as bits (RFC 1951, 3.2.3 to 3.2.5).
//!
//! Invariant: a block that would not be smaller for it is stored as it is.

use super::bits::Bits;
use super::code::{Code, Header};

const LITERALS: usize = 286;
const DISTANCES: usize = 30;
/// The end of a block.
const END: usize = 256;
/// The first length.
const LENGTHS: usize = 257;

/// Literals, and then a match, where its length is not 0.
#[derive(Clone, Copy)]
pub(super) struct Sequence {
    literals: u32,
    length: u16,
    distance: u16,
}

/// A symbol, its extra bits, and how many these are.
type Symbol = (usize, u32, u32);

impl Sequence {
    pub(super) fn new(literals: usize, length: usize, distance: usize) -> Self {
        Self {
            literals: literals as u32,
            length: length as u16,
            distance: distance as u16,
        }
    }

    /// The two symbols of the match.
    fn symbols(self) -> Option<(Symbol, Symbol)> {
        if self.length == 0 {
            return None;
        }
        let length = match u32::from(self.length) - 3 {
            255 => (LENGTHS + 28, 0, 0),
            length => symbol(LENGTHS, length, 2),
        };
        Some((length, symbol(0, u32::from(self.distance) - 1, 1)))
    }
}

/// Lengths and distances have symbols by their order of magnitude, `1 << bits` for each.
fn symbol(first: usize, number: u32, bits: u32) -> Symbol {
    if number < 2 << bits {
        return (first + number as usize, 0, 0);
    }
    let extra = 31 - bits - number.leading_zeros();
    let which = ((extra + 1) << bits) + ((number >> extra) & ((1 << bits) - 1));
    (first + which as usize, number & ((1 << extra) - 1), extra)
}

/// Pairs of the literals of each sequence, with its match.
fn parts<'i>(
    mut input: &'i [u8],
    sequences: &'i [Sequence],
) -> impl Iterator<Item = (&'i [u8], Sequence)> {
    sequences.iter().map(move |sequence| {
        let (literals, rest) = input.split_at(sequence.literals as usize);
        input = &rest[usize::from(sequence.length)..];
        (literals, *sequence)
    })
}

pub(super) fn write(bits: &mut Bits<'_>, input: &[u8], sequences: &[Sequence]) {
    let (mut literals, mut distances, mut extra) = ([0; LITERALS], [0; DISTANCES], 0);
    for (run, sequence) in parts(input, sequences) {
        for byte in run {
            literals[usize::from(*byte)] += 1;
        }
        if let Some((length, distance)) = sequence.symbols() {
            literals[length.0] += 1;
            distances[distance.0] += 1;
            extra += u64::from(length.2 + distance.2);
        }
    }
    literals[END] = 1;
    let codes = (Code::of(&literals), Code::of(&distances));
    let header = Header::of(&codes.0, &codes.1);
    let size = header.size() + codes.0.cost(&literals) + codes.1.cost(&distances) + extra;
    if size / 8 >= input.len() as u64 {
        store(bits, input);
    } else {
        header.write(bits);
        write_symbols(bits, input, sequences, &codes);
    }
}

fn write_symbols(
    bits: &mut Bits<'_>,
    input: &[u8],
    sequences: &[Sequence],
    (literals, distances): &(Code, Code),
) {
    let word = |byte: u8| literals.0[usize::from(byte)];
    let put = |bits: &mut Bits<'_>, code: &Code, (symbol, extra, count): Symbol| {
        let (word, length) = code.0[symbol];
        bits.put(word | extra << length, length + count);
    };
    for (run, sequence) in parts(input, sequences) {
        let mut pairs = run.chunks_exact(2);
        for pair in pairs.by_ref() {
            let ((one, n), (two, m)) = (word(pair[0]), word(pair[1]));
            bits.put(one | two << n, n + m);
        }
        for byte in pairs.remainder() {
            let (one, n) = word(*byte);
            bits.put(one, n);
        }
        if let Some((length, distance)) = sequence.symbols() {
            put(bits, literals, length);
            put(bits, distances, distance);
        }
    }
    put(bits, literals, (END, 0, 0));
}

fn store(bits: &mut Bits<'_>, input: &[u8]) {
    for part in input.chunks(usize::from(u16::MAX)) {
        bits.put(0, 3);
        bits.align();
        let len = part.len() as u16;
        bits.output.extend_from_slice(&len.to_le_bytes());
        bits.output.extend_from_slice(&(!len).to_le_bytes());
        bits.output.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_those_of_the_tables() {
        // RFC 1951, 3.2.5.
        let of = |length, distance| Sequence::new(0, length, distance).symbols().unwrap();
        for (length, wanted) in [
            (3, (257, 0, 0)),
            (10, (264, 0, 0)),
            (11, (265, 0, 1)),
            (18, (268, 1, 1)),
            (257, (284, 30, 5)),
            (258, (285, 0, 0)),
        ] {
            assert_eq!(of(length, 1).0, wanted);
        }
        for (distance, wanted) in [
            (1, (0, 0, 0)),
            (4, (3, 0, 0)),
            (5, (4, 0, 1)),
            (24, (8, 7, 3)),
            (32768, (29, 8191, 13)),
        ] {
            assert_eq!(of(3, distance).1, wanted);
        }
    }
}
