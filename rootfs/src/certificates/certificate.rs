//! One certificate, as far as a bundle needs to know it (RFC 5280, 4.1). Nothing of it is verified: whoever gives it trusts it.
//!
//! Invariant: the bytes are one certificate and nothing else, and its subject can be hashed as OpenSSL does.

use image::Digest;

use super::der::{GENERALIZED_TIME, INTEGER, Reader, SEQUENCE, UTC_TIME, Value, Wrong};
use super::subject;

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    fingerprint: Digest,
    subject_hash: u32,
    shown: String,
    not_after: i64,
}

impl Certificate {
    /// Reads DER.
    pub(super) fn read(der: Vec<u8>) -> Result<Self, Wrong> {
        let mut outer = Reader(&der);
        let whole = outer.expect(SEQUENCE)?;
        if !outer.is_empty() {
            return Err("more follows behind it");
        }
        let signed = Reader(whole.content).expect(SEQUENCE)?;
        let mut fields = Reader(signed.content);
        let mut first = fields.next()?;
        // [0] version; version 1 has none.
        if first.tag == 0xa0 {
            first = fields.next()?;
        }
        if first.tag != INTEGER {
            return Err("it has no serial number");
        }
        fields.expect(SEQUENCE)?;
        fields.expect(SEQUENCE)?;
        let mut validity = Reader(fields.expect(SEQUENCE)?.content);
        seconds(validity.next()?)?;
        let not_after = seconds(validity.next()?)?;
        let subject = subject::read(fields.expect(SEQUENCE)?.content)?;
        fields.expect(SEQUENCE)?;
        Ok(Self {
            fingerprint: Digest::of(&der),
            subject_hash: subject.hash,
            shown: subject.shown,
            not_after,
            der,
        })
    }

    /// Its bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of its bytes.
    pub fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// What `openssl x509 -subject_hash` prints.
    pub fn subject_hash(&self) -> u32 {
        self.subject_hash
    }

    /// Its common name, else its unit or organisation; whatever bytes it has.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The last second in which it is valid, since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
fn seconds(time: Value<'_>) -> Result<i64, Wrong> {
    const WRONG: Wrong = "its validity is no time";
    let digits = time.content.strip_suffix(b"Z").ok_or(WRONG)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(WRONG);
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0_i64, |all, digit| all * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = match (time.tag, digits.len()) {
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ 50.. => (1900 + year, &digits[2..]),
            year => (2000 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return Err(WRONG),
    };
    let parts: Vec<i64> = rest.chunks(2).map(number).collect();
    let &[
        month @ 1..=12,
        day @ 1..=31,
        hour @ 0..=23,
        minute @ 0..=59,
        second @ 0..=60,
    ] = &parts[..]
    else {
        return Err(WRONG);
    };
    // Days since 1970 in the Gregorian calendar, the year beginning in March.
    let (shifted, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Ok(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms_are_seconds() {
        let of = |tag, text: &str| {
            seconds(Value {
                tag,
                content: text.as_bytes(),
                whole: &[],
            })
        };
        assert_eq!(of(UTC_TIME, "700101000000Z"), Ok(0));
        assert_eq!(of(UTC_TIME, "491231235959Z"), Ok(2_524_607_999));
        assert_eq!(of(UTC_TIME, "240229120000Z"), Ok(1_709_208_000));
        assert_eq!(of(GENERALIZED_TIME, "20500101000000Z"), Ok(2_524_608_000));
        assert_eq!(of(GENERALIZED_TIME, "99991231235959Z"), Ok(253_402_300_799));
        for (tag, wrong) in [
            (UTC_TIME, "20500101000000Z"),
            (UTC_TIME, "700101000000"),
            (UTC_TIME, "701301000000Z"),
            (GENERALIZED_TIME, "2050010100000xZ"),
            (INTEGER, "700101000000Z"),
        ] {
            assert!(of(tag, wrong).is_err(), "{wrong}");
        }
    }
}
