//! A stream of bits, the lowest of each byte first (RFC 1951, 3.1.1).
//!
//! Invariant: fewer than 32 bits wait after every call.

pub(super) struct Bits<'o> {
    pub(super) output: &'o mut Vec<u8>,
    waiting: u64,
    count: u32,
}

impl<'o> Bits<'o> {
    pub(super) fn new(output: &'o mut Vec<u8>) -> Self {
        Self {
            output,
            waiting: 0,
            count: 0,
        }
    }

    /// Appends at most 32 bits.
    #[inline]
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.waiting |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            let full = self.waiting as u32;
            self.output.extend_from_slice(&full.to_le_bytes());
            self.waiting >>= 32;
            self.count -= 32;
        }
    }

    /// Fills the last byte up.
    pub(super) fn align(&mut self) {
        while self.count > 0 {
            self.output.push(self.waiting as u8);
            self.waiting >>= 8;
            self.count = self.count.saturating_sub(8);
        }
    }

    /// An empty stored block, which ends at the border of a byte.
    pub(super) fn sync(&mut self) {
        self.put(0, 3);
        self.align();
        self.output.extend_from_slice(&[0, 0, 0xff, 0xff]);
    }
}
