//! Huffman codes of bounded length, and how a block announces them (RFC 1951, 3.2.2 and 3.2.7).
//!
//! Invariant: a code is complete and has at least two symbols, since some decoders refuse others.

use super::bits::Bits;

/// No code is longer.
const LENGTH_MAX: usize = 15;
/// The code of the code lengths has at most so many bits.
const LISTED_MAX: usize = 7;
/// In which order their lengths are listed.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// A code word and its length, by symbol.
pub(super) struct Code(pub(super) Vec<(u32, u32)>);

impl Code {
    pub(super) fn of(frequencies: &[u32]) -> Self {
        Self::within(frequencies, LENGTH_MAX)
    }

    /// The shortest code for these frequencies without longer words than `most` bits.
    fn within(frequencies: &[u32], most: usize) -> Self {
        let counted = frequencies.iter().zip(0_usize..);
        let mut used: Vec<(usize, usize)> = counted
            .filter(|(frequency, _)| **frequency > 0)
            .map(|(frequency, symbol)| (*frequency as usize, symbol))
            .collect();
        let unused = (0..frequencies.len()).filter(|symbol| frequencies[*symbol] == 0);
        let filling = 2_usize.saturating_sub(used.len());
        used.extend(unused.take(filling).map(|symbol| (1, symbol)));
        used.sort_unstable();
        let weights = used.iter().map(|(frequency, _)| *frequency).collect();
        let counts = bounded(depths(weights), most);
        let mut lengths = vec![0; frequencies.len()];
        // The rarest have the longest words.
        let mut symbols = used.iter();
        for length in (1..=most).rev() {
            for (_, symbol) in symbols.by_ref().take(counts[length]) {
                lengths[*symbol] = length as u32;
            }
        }
        Self(words(&lengths))
    }

    /// How many bits so many symbols take.
    pub(super) fn cost(&self, frequencies: &[u32]) -> u64 {
        let each = frequencies.iter().zip(&self.0);
        each.map(|(frequency, (_, length))| u64::from(*frequency) * u64::from(*length))
            .sum()
    }

    /// The lengths up to the last symbol that has a word, at least `least` of them.
    fn lengths(&self, least: usize) -> impl Iterator<Item = u32> {
        let used = self.0.iter().rposition(|(_, length)| *length > 0);
        let count = used.map_or(least, |last| least.max(last + 1));
        self.0[..count].iter().map(|(_, length)| *length)
    }
}

/// How deep each leaf of a Huffman tree is, for weights in ascending order: Moffat and Katajainen, "In-place calculation of
/// minimum-redundancy codes", 1995. The result counts the leaves of each depth.
fn depths(mut nodes: Vec<usize>) -> Vec<usize> {
    let count = nodes.len();
    let (mut root, mut leaf) = (0, 0);
    for next in 0..count - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            if leaf >= count || (root < next && nodes[root] < nodes[leaf]) {
                sum += nodes[root];
                nodes[root] = next;
                root += 1;
            } else {
                sum += nodes[leaf];
                leaf += 1;
            }
        }
        nodes[next] = sum;
    }
    // What was a parent becomes a depth, from the root down.
    nodes[count - 2] = 0;
    for next in (0..count - 2).rev() {
        nodes[next] = nodes[nodes[next]] + 1;
    }
    let mut leaves = Vec::new();
    let (mut open, mut inner) = (1, count - 1);
    while open > 0 {
        let depth = leaves.len();
        let parents = nodes[..inner].iter().rev().take_while(|one| **one == depth);
        let parents = parents.count();
        inner -= parents;
        leaves.push(open - parents);
        open = 2 * parents;
    }
    leaves
}

/// The same with no leaf deeper than `most`.
fn bounded(leaves: Vec<usize>, most: usize) -> [usize; LENGTH_MAX + 1] {
    let mut counts = [0; LENGTH_MAX + 1];
    for (depth, count) in leaves.into_iter().enumerate() {
        counts[depth.min(most)] += count;
    }
    // Kraft's sum, in words of `most` bits: what was cut off takes too much room, for which shorter words become longer.
    let mut taken: usize = (1..=most).map(|n| counts[n] << (most - n)).sum();
    while taken > 1 << most {
        let shorter = (1..most).rev().find(|n| counts[*n] > 0);
        let shorter = shorter.expect("there are fewer symbols than words");
        counts[most] -= 1;
        counts[shorter] -= 1;
        counts[shorter + 1] += 2;
        taken -= 1;
    }
    counts
}

/// The words of a code, with their highest bit first to be written.
fn words(lengths: &[u32]) -> Vec<(u32, u32)> {
    let mut counts = [0_u16; LENGTH_MAX + 1];
    for length in lengths.iter().filter(|length| **length > 0) {
        counts[*length as usize] += 1;
    }
    let mut next = [0_u16; LENGTH_MAX + 1];
    for length in 1..=LENGTH_MAX {
        next[length] = (next[length - 1] + counts[length - 1]) << 1;
    }
    let word = |length: &u32| {
        if *length == 0 {
            return (0, 0);
        }
        let word = next[*length as usize];
        next[*length as usize] += 1;
        (u32::from(word.reverse_bits() >> (16 - length)), *length)
    };
    lengths.iter().map(word).collect()
}

/// What comes before the symbols of a block: both codes by the lengths of their words.
pub(super) struct Header {
    literals: usize,
    distances: usize,
    /// Symbols of the code of lengths, with their extra bits and the number of these.
    items: Vec<(usize, u32, u32)>,
    code: Code,
    listed: usize,
}

impl Header {
    pub(super) fn of(literals: &Code, distances: &Code) -> Self {
        let mut lengths: Vec<u32> = literals.lengths(257).collect();
        let count = lengths.len();
        lengths.extend(distances.lengths(1));
        let items = runs(&lengths);
        let mut frequencies = [0; ORDER.len()];
        for (symbol, _, _) in &items {
            frequencies[*symbol] += 1;
        }
        let code = Code::within(&frequencies, LISTED_MAX);
        let last = ORDER.iter().rposition(|symbol| code.0[*symbol].1 > 0);
        Self {
            literals: count,
            distances: lengths.len() - count,
            items,
            listed: last.map_or(4, |last| 4.max(last + 1)),
            code,
        }
    }

    /// How many bits it has.
    pub(super) fn size(&self) -> u64 {
        let items = self.items.iter();
        let items = items.map(|(symbol, _, extra)| u64::from(self.code.0[*symbol].1 + extra));
        items.sum::<u64>() + 17 + 3 * self.listed as u64
    }

    pub(super) fn write(&self, bits: &mut Bits<'_>) {
        // Not the last block, with codes of its own.
        bits.put(0b100, 3);
        bits.put(self.literals as u32 - 257, 5);
        bits.put(self.distances as u32 - 1, 5);
        bits.put(self.listed as u32 - 4, 4);
        for symbol in &ORDER[..self.listed] {
            bits.put(self.code.0[*symbol].1, 3);
        }
        for (symbol, extra, count) in &self.items {
            let (word, length) = self.code.0[*symbol];
            bits.put(word, length);
            bits.put(*extra, *count);
        }
    }
}

/// Lengths, with repetitions written as such.
fn runs(lengths: &[u32]) -> Vec<(usize, u32, u32)> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < lengths.len() {
        let length = lengths[at];
        let run = lengths[at..].iter().take_while(|next| **next == length);
        let run = run.count();
        at += match (length, run) {
            (0, 11..) => {
                items.push((18, run.min(138) as u32 - 11, 7));
                run.min(138)
            }
            (0, 3..) => {
                items.push((17, run as u32 - 3, 3));
                run
            }
            (1.., 4..) => {
                let again = (run - 1).min(6);
                items.push((length as usize, 0, 0));
                items.push((16, again as u32 - 3, 2));
                again + 1
            }
            _ => {
                items.push((length as usize, 0, 0));
                1
            }
        };
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the words fill the whole room.
    fn is_complete(code: &Code) -> bool {
        let lengths = code.0.iter().map(|(_, length)| *length);
        let taken: u32 = lengths.filter(|n| *n > 0).map(|n| 1 << (15 - n)).sum();
        taken == 1 << 15
    }

    #[test]
    fn codes_are_complete_and_bounded_whatever_the_frequencies() {
        // Fibonacci's numbers make the deepest trees.
        let mut fibonacci = vec![1_u32, 1];
        while fibonacci.len() < 40 {
            fibonacci.push(fibonacci[fibonacci.len() - 1] + fibonacci[fibonacci.len() - 2]);
        }
        let nothing = vec![0; 30];
        let one = [&[0, 7][..], &[0; 28]].concat();
        for frequencies in [fibonacci, nothing, one, vec![1; 286], (0..286).collect()] {
            for most in [9, 15] {
                let code = Code::within(&frequencies, most);
                assert!(is_complete(&code), "{frequencies:?}");
                let used = frequencies.iter().zip(&code.0).filter(|(n, _)| **n > 0);
                used.for_each(|(_, (_, length))| assert!((1..=most as u32).contains(length)));
            }
        }
    }

    #[test]
    fn the_words_are_those_of_the_specification() {
        // RFC 1951, 3.2.2: ABCDEFGH with lengths 3, 3, 3, 3, 3, 2, 4, 4.
        let shown = words(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let shown = shown
            .iter()
            .map(|(word, n)| word.reverse_bits() >> (32 - n));
        let wanted = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111];
        assert_eq!(shown.collect::<Vec<_>>(), wanted);
    }
}
