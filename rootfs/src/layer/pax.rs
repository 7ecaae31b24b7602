//! PAX extended headers: `"%d %s=%s\n"`, the number counting the whole record.
//!
//! Invariant: a record is understood completely or the archive is refused (S05); nothing is skipped over.

use crate::entry::{Time, Xattrs};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the extended headers before an entry say about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: Xattrs,
    pub(crate) sparse: PaxSparse,
}

/// The `GNU.sparse.*` records of formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PaxSparse {
    pub(crate) major: Option<u64>,
    pub(crate) size: Option<u64>,
    pub(crate) map: Vec<u64>,
    pub(crate) is_present: bool,
}

/// A record that does not parse: where in the data, and why.
pub(crate) type Malformed = (usize, &'static str);

/// Parses the whole of a PAX header; nothing may be left over but NUL padding.
pub(crate) fn parse(data: &[u8]) -> Result<Extensions, Malformed> {
    let mut extensions = Extensions::default();
    each(data, |key, value| extensions.set(key, value))?;
    Ok(extensions)
}

/// Splits into records and gives them to `accept` in order.
pub(crate) fn each(
    data: &[u8],
    mut accept: impl FnMut(&[u8], &[u8]) -> Result<(), &'static str>,
) -> Result<(), Malformed> {
    let mut at = 0;
    while at < data.len() {
        let fail = |problem| (at, problem);
        let rest = &data[at..];
        let blank = rest
            .iter()
            .take(20)
            .position(|byte| *byte == b' ')
            .ok_or(fail("no blank after the length"))?;
        let length = decimal(&rest[..blank]).ok_or(fail("the length is not a number"))?;
        let length = usize::try_from(length).map_err(|_| fail("the length is too large"))?;
        if length <= blank + 1 || length > rest.len() {
            return Err(fail("the length does not fit the header"));
        }
        let body = rest[blank + 1..length]
            .strip_suffix(b"\n")
            .ok_or(fail("no newline at the end"))?;
        let equals = body
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or(fail("no '=' after the keyword"))?;
        if equals == 0 {
            return Err(fail("an empty keyword"));
        }
        accept(&body[..equals], &body[equals + 1..]).map_err(fail)?;
        at += length;
    }
    Ok(())
}

impl Extensions {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(XATTR) {
            if name.is_empty() || name.contains(&0) {
                return Err("a bad attribute name");
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        let number = || decimal(value).ok_or("a value is not a number");
        let id = || {
            number().and_then(|id| u32::try_from(id).map_err(|_| "an id does not fit in 32 bits"))
        };
        match key {
            b"path" | b"GNU.sparse.name" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(id()?),
            b"gid" => self.gid = Some(id()?),
            b"mtime" => self.mtime = Some(time(value).ok_or("a time is not a number")?),
            b"GNU.sparse.major" => self.sparse.present().major = Some(number()?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.present().size = Some(number()?)
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.present().map.push(number()?)
            }
            b"GNU.sparse.map" => {
                for part in value.split(|byte| *byte == b',') {
                    let value = decimal(part).ok_or("a sparse map is not made of numbers")?;
                    self.sparse.present().map.push(value);
                }
            }
            _ if key.contains(&0) => return Err("a NUL byte in a keyword"),
            _ => {}
        }
        Ok(())
    }
}

impl PaxSparse {
    fn present(&mut self) -> &mut Self {
        self.is_present = true;
        self
    }
}

fn name(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.contains(&0) {
        Err("a NUL byte in a name")
    } else {
        Ok(value.to_vec())
    }
}

pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
            .flatten()
    })
}

/// Seconds with an optional fraction; digits beyond nanoseconds are cut off.
fn time(value: &[u8]) -> Option<Time> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let secs = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |value, at| {
        value * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'))
    });
    Some(match (negative, nanos) {
        (false, nanos) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        (true, nanos) => Time {
            secs: -secs - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

/// Appends one record; the length counts its own digits.
pub(crate) fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends an extended attribute.
pub(crate) fn xattr_record(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    record(out, &[XATTR, name].concat(), value);
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for length in [1, 4, 5, 80, 91, 92, 93, 94, 95, 980, 992, 9_985, 9_990] {
            let mut out = Vec::new();
            record(&mut out, b"path", &vec![b'x'; length]);
            assert!(
                out.starts_with(format!("{} ", out.len()).as_bytes()),
                "{length}"
            );
            assert_eq!(
                parse(&out).expect("own record").path.map(|path| path.len()),
                Some(length)
            );
        }
    }

    #[test]
    fn s05_malformed_records_are_refused_with_their_place() {
        for (data, place) in [
            (&b"12 path=abc\n99 path=x\n"[..], 12),
            (b"9 path=abc\n", 0),
            (b"11 path=abcd\n", 0),
            (b"x path=abc\n", 0),
            (b"12 pathxabc\n", 0),
            (b"12 path=a\0c\n", 0),
            (b"11 path=abc", 0),
            (b"7 =abc\n", 0),
            (b"0 \n", 0),
            (b"-5 a=b\n", 0),
            (b"10 size=x\n", 0),
            (b"18446744073709551616 a=b\n", 0),
        ] {
            let (at, problem) = parse(data).expect_err("malformed");
            assert_eq!(at, place, "{problem}: {}", data.escape_ascii());
        }
    }

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(
            time(b"12.5"),
            Some(Time {
                secs: 12,
                nanos: 500_000_000
            })
        );
        assert_eq!(
            time(b"-1.25"),
            Some(Time {
                secs: -2,
                nanos: 750_000_000
            })
        );
        assert_eq!(time(b"1e3"), None);
    }
}
