//! The hash tables of Berkeley DB, as rpm had them before 4.16 (libdb's dbinc/db_page.h): headers are values, most of them in chains
//! of pages.
//!
//! Invariant: each page is visited in order, and no chain is longer than the file.

use super::{Reason, little};

const MAGIC: usize = 0x0006_1561;
const MALFORMED: Reason = "it is no Berkeley DB hash that can be read";
const HASH: u8 = 13;
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
/// Of every page.
const HEADER: usize = 26;
/// Kinds of values.
const IN_PAGE: u8 = 1;
const ELSEWHERE: u8 = 3;

pub(super) fn walk(bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), Reason> {
    if little(bytes, 12) != Some(MAGIC) {
        return Err(
            match little(bytes, 12).map(|magic| (magic as u32).swap_bytes() as usize) {
                Some(MAGIC) => "it is a Berkeley DB of a machine with the other byte order",
                _ => MALFORMED,
            },
        );
    }
    let size = little(bytes, 20).filter(|size| size.is_power_of_two() && *size >= 512);
    let size = size.ok_or(MALFORMED)?;
    if bytes[24] != 0 {
        return Err("it is encrypted");
    }
    for page in bytes.chunks_exact(size) {
        if !matches!(page[25], HASH | HASH_UNSORTED) {
            continue;
        }
        for value in values(page).ok_or(MALFORMED)? {
            match value.first() {
                Some(&IN_PAGE) => take(&value[1..]),
                Some(&ELSEWHERE) => take(&chain(bytes, size, value).ok_or(MALFORMED)?),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The values of a page: every second item, each from its place to where the one before begins.
fn values(page: &[u8]) -> Option<Vec<&[u8]>> {
    let half = |at: usize| {
        let bytes = page.get(at..at + 2)?;
        Some(usize::from(bytes[1]) << 8 | usize::from(bytes[0]))
    };
    let count = half(20)?;
    let mut found = Vec::new();
    let mut end = page.len();
    for item in 0..count {
        let start = half(HEADER + 2 * item)?;
        let bytes = page.get(start..end)?;
        if item % 2 == 1 {
            found.push(bytes);
        }
        end = start;
    }
    Some(found)
}

/// Kind and three bytes of nothing, the first page, the length.
fn chain(bytes: &[u8], size: usize, value: &[u8]) -> Option<Vec<u8>> {
    let (mut next, length) = (little(value, 4)?, little(value, 8)?);
    if length > bytes.len() {
        return None;
    }
    let mut found = Vec::new();
    while found.len() < length {
        let start = next.checked_mul(size)?;
        let page = bytes.get(start..start.checked_add(size)?)?;
        // How much of it is used stands where other pages have their free place.
        let used = usize::from(page[23]) << 8 | usize::from(page[22]);
        if page[25] != OVERFLOW || used == 0 {
            return None;
        }
        found.extend_from_slice(page.get(HEADER..HEADER + used)?);
        next = little(page, 16)?;
    }
    found.truncate(length);
    Some(found)
}
