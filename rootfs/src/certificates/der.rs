//! DER, as far as certificates need it: tag, length, value (X.690, 10.1).
//!
//! Invariant: a length is taken only in its one shortest form, and no value reaches beyond the one that holds it.

/// What cannot be understood, as the end of a sentence.
pub(super) type Wrong = &'static str;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;

/// A value with its tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'d> {
    pub(super) tag: u8,
    pub(super) content: &'d [u8],
    /// With tag and length.
    pub(super) whole: &'d [u8],
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'d>(pub(super) &'d [u8]);

impl<'d> Reader<'d> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next value.
    pub(super) fn next(&mut self) -> Result<Value<'d>, Wrong> {
        const CUT: Wrong = "it is cut off";
        let (&tag, rest) = self.0.split_first().ok_or(CUT)?;
        if tag & 0x1f == 0x1f {
            return Err("it has a tag of several bytes");
        }
        let (&first, rest) = rest.split_first().ok_or(CUT)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest
                    .split_at_checked(usize::from(first & 0x7f))
                    .ok_or(CUT)?;
                let length = digits
                    .iter()
                    .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
                if length < 0x80 || digits[0] == 0 {
                    return Err("it has a length that is not in its shortest form");
                }
                (usize::try_from(length).map_err(|_| CUT)?, rest)
            }
            _ => return Err("it has a length without an end"),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(CUT)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Ok(Value {
            tag,
            content,
            whole,
        })
    }

    /// The next value, which must have the tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Value<'d>, Wrong> {
        let value = self.next()?;
        match value.tag == tag {
            true => Ok(value),
            false => Err("it has something else where X.509 wants another field"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_crooked_lengths_refused() {
        let mut reader = Reader(&[0x30, 0x03, 0x02, 0x01, 0x07, 0x05, 0x00]);
        let outer = reader.expect(SEQUENCE).expect("a sequence");
        assert_eq!(outer.whole.len(), 5);
        let inner = Reader(outer.content).expect(INTEGER).expect("a number");
        assert_eq!(inner.content, [7]);
        assert!(reader.expect(SEQUENCE).is_err());
        for wrong in [
            &[][..],
            &[0x30],
            &[0x30, 0x02, 0x00],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x81, 0x01, 0x00],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x3f, 0x81, 0x01, 0x00],
        ] {
            assert!(Reader(wrong).next().is_err(), "{wrong:x?}");
        }
    }
}
