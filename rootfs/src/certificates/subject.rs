//! The hash of a subject that names files in a directory of certificates, as OpenSSL makes it.
//!
//! Invariant: the same eight digits as `openssl x509 -subject_hash` (crypto/x509/x_name.c: `x509_name_canon`, `asn1_string_canon`):
//! SHA-1 over the name with its texts as UTF-8, in lower case, blanks trimmed and collapsed; the first four bytes, least first.

use sha1::{Digest as _, Sha1};

use super::der::{OID, Reader, SET, Wrong};

const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const T61: u8 = 0x14;
const IA5: u8 = 0x16;
const VISIBLE: u8 = 0x1a;
const UNIVERSAL: u8 = 0x1c;
const BMP: u8 = 0x1e;

/// 2.5.4.3, 2.5.4.11, 2.5.4.10: what people call a certificate by.
const NAMES: [&[u8]; 3] = [&[0x55, 4, 3], &[0x55, 4, 11], &[0x55, 4, 10]];

/// What is known of a subject.
pub(super) struct Subject {
    pub(super) hash: u32,
    /// Its common name, else its unit or organisation.
    pub(super) shown: String,
}

/// Reads the content of a `Name`.
pub(super) fn read(name: &[u8]) -> Result<Subject, Wrong> {
    let mut canonical = Vec::new();
    let mut shown: [Option<String>; NAMES.len()] = Default::default();
    let mut sets = Reader(name);
    while !sets.is_empty() {
        let mut attributes = Reader(sets.expect(SET)?.content);
        let mut encoded = Vec::new();
        while !attributes.is_empty() {
            let mut fields = Reader(attributes.expect(super::der::SEQUENCE)?.content);
            let kind = fields.expect(OID)?;
            let value = fields.next()?;
            let value = match text(value.tag, value.content)? {
                None => value.whole.to_vec(),
                Some(text) => {
                    if let Some(place) = NAMES.iter().position(|name| *name == kind.content) {
                        shown[place] = Some(text.clone());
                    }
                    tagged(UTF8, fold(&text).as_bytes())
                }
            };
            let attribute = [kind.whole, &value].concat();
            encoded.push(tagged(super::der::SEQUENCE, &attribute));
        }
        // X.690, 11.6: the parts of a set are in the order of their bytes.
        encoded.sort();
        canonical.extend(tagged(SET, &encoded.concat()));
    }
    let digest = Sha1::digest(&canonical);
    Ok(Subject {
        hash: u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]),
        shown: shown.into_iter().flatten().next().unwrap_or_default(),
    })
}

/// The text of a string type of `ASN1_MASK_CANON`; `None` for all others, which are hashed as they are.
fn text(tag: u8, bytes: &[u8]) -> Result<Option<String>, Wrong> {
    const WRONG: Wrong = "its subject is not text";
    let wide = |width: usize| -> Result<String, Wrong> {
        let units = bytes.chunks(width).map(|unit| {
            let unit = (unit.len() == width).then_some(unit)?;
            char::from_u32(unit.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
        });
        units.collect::<Option<String>>().ok_or(WRONG)
    };
    Ok(Some(match tag {
        UTF8 => str::from_utf8(bytes).map_err(|_| WRONG)?.to_owned(),
        // One byte is one character of Latin-1, also in T61String: crypto/asn1/a_strex.c, `tag2nbyte`.
        PRINTABLE | T61 | IA5 | VISIBLE => bytes.iter().copied().map(char::from).collect(),
        BMP => wide(2)?,
        UNIVERSAL => wide(4)?,
        _ => return Ok(None),
    }))
}

/// Only ASCII is folded.
fn fold(text: &str) -> String {
    let blank = |c: char| matches!(c, ' ' | '\t'..='\r');
    let words = text.split(blank).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    words.join(" ")
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = content.len();
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let digits = length.to_be_bytes();
            let from = digits.iter().position(|digit| *digit != 0).unwrap_or(0);
            // At most 8 of them.
            bytes.push(0x80 | u8::try_from(digits.len() - from).unwrap_or(8));
            bytes.extend(&digits[from..]);
        }
    }
    bytes.extend(content);
    bytes
}
