//! A bundle as Java reads it: PKCS#12 (RFC 7292) with the attribute by which Java knows certificates to trust.
//!
//! Invariant: nothing in it is secret or random, so there is no password, no encryption and no MAC, as in the `cacerts` of OpenJDK 18 and
//! later, and equal bundles give equal bytes. Earlier runtimes that know PKCS#12 read it, too: they check a MAC only where there is one.

use super::der::{INTEGER, OID, SEQUENCE, SET};
use super::{Bundle, Certificate};
use crate::path::TreePath;

const OCTET_STRING: u8 = 0x04;
const BMP_STRING: u8 = 0x1e;
/// `[0] EXPLICIT`.
const CONTEXT_0: u8 = 0xa0;

/// 1.2.840.113549.1.7.1, data (RFC 5652, 4).
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.12.10.1.3, certBag (RFC 7292, appendix D).
const CERT_BAG: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03,
];
/// 1.2.840.113549.1.9.22.1, x509Certificate.
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// 1.2.840.113549.1.9.20, friendlyName.
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
/// 2.16.840.1.113894.746875.1.1, Oracle's trustedKeyUsage: what has it is an entry to trust (sun.security.pkcs12.PKCS12KeyStore).
const TRUSTED: &[u8] = &[
    0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01,
];
/// 2.5.29.37.0, anyExtendedKeyUsage.
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// The end of the path of the library that is a Java runtime.
const LIBRARY: &[u8] = b"/libjvm.so";

/// The trust store's place in a runtime's `lib`.
const STORE: &[u8] = b"security/cacerts";

/// Where runtimes among the files of a tree look for the authorities that they trust, each once.
pub fn java_stores<'p>(files: impl IntoIterator<Item = &'p TreePath>) -> Vec<TreePath> {
    let mut stores: Vec<TreePath> = files.into_iter().filter_map(store).collect();
    stores.sort();
    stores.dedup();
    stores
}

/// `HOME/lib/server/libjvm.so`, or with the processor's name below `lib`, is of `HOME/lib/security/cacerts`.
fn store(library: &TreePath) -> Option<TreePath> {
    let path = library.as_bytes();
    let directory = path.strip_suffix(LIBRARY)?;
    let at = directory.windows(5).rposition(|part| part == b"/lib/")?;
    let store = [&path[..at + 5], STORE].concat();
    TreePath::clamped(store).ok()
}

impl Bundle {
    /// The bundle as a trust store of Java's.
    pub fn pkcs12(&self) -> Vec<u8> {
        let bags: Vec<Vec<u8>> = self.certificates().into_iter().map(bag).collect();
        let contents = sequence(&bags);
        let safes = sequence(&[data(&contents)]);
        sequence(&[value(INTEGER, &[3]), data(&safes)])
    }
}

/// SafeBag of one certificate.
fn bag(one: &Certificate) -> Vec<u8> {
    let certificate = value(CONTEXT_0, &value(OCTET_STRING, one.der()));
    let bag = sequence(&[value(OID, X509), certificate]);
    // Java's aliases are in small letters, and each is there once.
    let fingerprint = one.fingerprint().to_string();
    let print: String = fingerprint
        .chars()
        .filter(|c| c.is_ascii_hexdigit())
        .collect();
    let alias = format!(
        "{} [{}]",
        one.shown().to_lowercase(),
        &print[print.len() - 16..]
    );
    let alias: Vec<u8> = alias.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut attributes = [
        attribute(FRIENDLY_NAME, &value(BMP_STRING, &alias)),
        attribute(TRUSTED, &value(OID, ANY_USAGE)),
    ];
    // DER sorts sets by their bytes (X.690, 11.6).
    attributes.sort();
    let attributes = value(SET, &attributes.concat());
    sequence(&[value(OID, CERT_BAG), value(CONTEXT_0, &bag), attributes])
}

fn attribute(name: &[u8], content: &[u8]) -> Vec<u8> {
    sequence(&[value(OID, name), value(SET, content)])
}

/// ContentInfo with bytes.
fn data(content: &[u8]) -> Vec<u8> {
    let content = value(CONTEXT_0, &value(OCTET_STRING, content));
    sequence(&[value(OID, DATA), content])
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// Tag, length in its shortest form, content.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut whole = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..=0x7f) => whole.push(short),
        _ => {
            let digits = content.len().to_be_bytes();
            let zeros = digits.iter().take_while(|digit| **digit == 0).count();
            let digits = &digits[zeros..];
            whole.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            whole.extend_from_slice(digits);
        }
    }
    whole.extend_from_slice(content);
    whole
}

#[cfg(test)]
mod tests {
    use super::super::der::Reader;
    use super::*;

    #[test]
    fn a_store_is_beside_its_runtime() {
        let of = |paths: &[&str]| -> Vec<String> {
            let paths: Vec<TreePath> = paths
                .iter()
                .map(|path| TreePath::clamped(path).unwrap())
                .collect();
            java_stores(&paths)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(
            of(&[
                "/opt/java/lib/server/libjvm.so",
                "/opt/java/lib/zero/libjvm.so",
                "/x/lib/y"
            ]),
            ["/opt/java/lib/security/cacerts"]
        );
        assert_eq!(
            of(&["/usr/lib/jvm/java-8/jre/lib/amd64/server/libjvm.so"]),
            ["/usr/lib/jvm/java-8/jre/lib/security/cacerts"]
        );
        assert_eq!(
            of(&["/usr/lib/jvm/java-17/lib/server/libjvm.so"]),
            ["/usr/lib/jvm/java-17/lib/security/cacerts"]
        );
        assert!(of(&["/libjvm.so", "/server/libjvm.so"]).is_empty());
    }

    #[test]
    fn the_store_holds_every_certificate_once_whatever_the_order_of_the_sources() {
        let bundle = Bundle::mozilla();
        let bytes = bundle.pkcs12();
        let mut again = Bundle::default();
        again.add(bundle.pem().as_bytes(), "the same").unwrap();
        assert_eq!(bytes, again.pkcs12());

        let outer = Reader(&bytes).expect(SEQUENCE).unwrap();
        assert_eq!(outer.whole.len(), bytes.len());
        let mut reader = Reader(outer.content);
        assert_eq!(reader.expect(INTEGER).unwrap().content, [3]);
        let inside = |info: &'_ [u8]| -> Vec<u8> {
            let mut info = Reader(info);
            assert_eq!(info.expect(OID).unwrap().content, DATA);
            let explicit = info.expect(CONTEXT_0).unwrap();
            Reader(explicit.content)
                .expect(OCTET_STRING)
                .unwrap()
                .content
                .to_vec()
        };
        let safes = inside(reader.expect(SEQUENCE).unwrap().content);
        let infos = Reader(&safes).expect(SEQUENCE).unwrap().content.to_vec();
        let contents = inside(Reader(&infos).expect(SEQUENCE).unwrap().content);
        let mut bags = Reader(Reader(&contents).expect(SEQUENCE).unwrap().content);
        let mut count = 0;
        while !bags.is_empty() {
            let mut bag = Reader(bags.expect(SEQUENCE).unwrap().content);
            assert_eq!(bag.expect(OID).unwrap().content, CERT_BAG);
            count += 1;
        }
        assert_eq!(count, bundle.len());
    }
}
