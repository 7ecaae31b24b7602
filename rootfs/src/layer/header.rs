//! The 512-byte header block: checksum, magic and numbers. Only field access; no meaning.

use tar::Header;

pub(crate) const BLOCK: usize = 512;

/// Bytes that fill `length` up to a whole block.
pub(crate) fn padding(length: u64) -> u64 {
    length.next_multiple_of(BLOCK as u64) - length
}

/// Checks what every header must have; the error text says what is missing.
pub(crate) fn check(block: &[u8; BLOCK]) -> Result<&Header, &'static str> {
    let header = Header::from_byte_slice(block);
    let stated = number(&header.as_old().cksum).map_err(|_| "not a tar header")?;
    // POSIX.1-1988: the sum counts its own field as blanks. Some old writers summed signed bytes.
    let blanked = |position: usize, byte: u8| {
        if (148..156).contains(&position) {
            b' '
        } else {
            byte
        }
    };
    let unsigned: i64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| i64::from(blanked(at, *byte)))
        .sum();
    let signed: i64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| i64::from(blanked(at, *byte).cast_signed()))
        .sum();
    if stated != unsigned && stated != signed {
        return Err("not a tar header (wrong checksum)");
    }
    match &block[257..265] {
        b"ustar\x0000" | b"ustar  \0" | b"\0\0\0\0\0\0\0\0" => Ok(header),
        _ => Err("not a tar header (wrong magic)"),
    }
}

/// True when the block is the header of a member.
pub(crate) fn is_header(block: &[u8; BLOCK]) -> bool {
    check(block).is_ok()
}

/// A field up to its first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in octal, or in GNU's base 256 when the top bit of the first byte is set; blank is 0.
pub(crate) fn number(field: &[u8]) -> Result<i64, &'static str> {
    if let Some(first) = field.first().filter(|first| **first & 0x80 != 0) {
        // Two's complement of the whole field; bit 7 of the first byte is the marker, bit 6 the sign.
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !negative {
                byte & 0x7f
            } else {
                *byte
            };
            value = (value << 8) | i128::from(byte);
            if i64::try_from(value).is_err() {
                return Err("a number does not fit in 64 bits");
            }
        }
        return i64::try_from(value).map_err(|_| "a number does not fit in 64 bits");
    }
    let digits = field.trim_ascii_start();
    let end = digits
        .iter()
        .position(|byte| matches!(byte, 0 | b' '))
        .unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Err("garbage after a number");
    }
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => Ok(value * 8 + i64::from(digit - b'0')),
        _ => Err("a number is not octal"),
    })
}

/// A number that may not be negative.
pub(crate) fn natural(field: &[u8]) -> Result<u64, &'static str> {
    u64::try_from(number(field)?).map_err(|_| "a negative number where none can be")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Ok(0o644));
        assert_eq!(number(b"   644 \0"), Ok(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Ok(0));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0x20, 0, 0]), Ok(0x0020_0000));
        assert_eq!(number(&[0xff; 12]), Ok(-1));
        assert!(number(b"12x4\0\0\0\0").is_err());
        assert!(number(b"9999999\0").is_err());
        assert!(natural(&[0xff; 12]).is_err());
        assert!(
            number(&[
                0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
            ])
            .is_err()
        );
    }
}
