//! PEM (RFC 7468): certificates in, certificates out.
//!
//! Invariant: text around certificates is passed over, but a certificate that was begun is whole or an error; what OpenSSL calls
//! TRUSTED may say that it is to be distrusted, so it is never taken for a plain one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::der::Wrong;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// DER, with the number of the line where its text begins.
pub(super) type Found = (usize, Vec<u8>);

/// Every certificate in a text.
pub(super) fn read(text: &str) -> Result<Vec<Found>, (usize, Wrong)> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim).enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(label) = label(line, BEGIN) else {
            continue;
        };
        let at = number + 1;
        if label == "TRUSTED CERTIFICATE" {
            return Err((
                at,
                "it is a TRUSTED CERTIFICATE, which says for what it is trusted",
            ));
        }
        if label != "CERTIFICATE" && label != "X509 CERTIFICATE" {
            continue;
        }
        let mut body = String::new();
        loop {
            let (_, line) = lines.next().ok_or((at, "it is cut off"))?;
            match self::label(line, END) {
                Some(end) if end == label => break,
                Some(_) => return Err((at, "it ends as something else")),
                None if line.starts_with(DASHES) => return Err((at, "it has no end")),
                None => body.push_str(line),
            }
        }
        let der = STANDARD.decode(body);
        found.push((at, der.map_err(|_| (at, "it is not base64"))?));
    }
    Ok(found)
}

fn label<'l>(line: &'l str, dashes: &str) -> Option<&'l str> {
    line.strip_prefix(dashes)?.strip_suffix(DASHES)
}

/// A certificate in lines of 64 characters.
pub(super) fn write(der: &[u8], into: &mut String) {
    into.push_str("-----BEGIN CERTIFICATE-----\n");
    let text = STANDARD.encode(der);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        into.push_str(line);
        into.push('\n');
        rest = more;
    }
    into.push_str("-----END CERTIFICATE-----\n");
}
