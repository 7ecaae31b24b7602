//! As much of SQLite's file format (sqlite.org/fileformat2.html) as one table needs: `Packages(hnum, blob)`.
//!
//! Invariant: each page of a tree is visited once, and each chain of pages ends, whatever the file says.

use std::collections::BTreeSet;

use super::{Reason, big};

const MAGIC: &[u8] = b"SQLite format 3\0";
const TABLE: &[u8] = b"Packages";
const MALFORMED: Reason = "it is no SQLite database that can be read";
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;
/// No header of a package is larger: rpm's own limit is 256 MiB.
const PAYLOAD_MAX: usize = 64 << 20;

struct Pages<'b> {
    bytes: &'b [u8],
    size: usize,
    /// Without what is reserved at the end of each page.
    usable: usize,
}

pub(super) fn walk(bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), Reason> {
    let head = bytes.get(..100).filter(|head| head.starts_with(MAGIC));
    let head = head.ok_or(MALFORMED)?;
    let size = match usize::from(head[16]) << 8 | usize::from(head[17]) {
        1 => 65536,
        size => size,
    };
    let usable = size.saturating_sub(head[20].into());
    if !size.is_power_of_two() || usable < 480 {
        return Err(MALFORMED);
    }
    let pages = Pages {
        bytes,
        size,
        usable,
    };
    let mut root = None;
    pages.rows(1, &mut |record| {
        let columns = columns(record);
        // type, name, tbl_name, rootpage, sql
        if let [kind, name, _, page, ..] = columns[..]
            && (kind, name) == (b"table", TABLE)
        {
            let number = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
            root = Some(page.iter().take(4).fold(0, number));
        }
    })?;
    let root = root.ok_or("it has no table of packages")?;
    pages.rows(root, &mut |record| {
        if let Some(blob) = columns(record).last() {
            take(blob);
        }
    })
}

impl Pages<'_> {
    fn page(&self, number: usize) -> Option<&[u8]> {
        let start = number.checked_sub(1)?.checked_mul(self.size)?;
        self.bytes.get(start..start.checked_add(self.size)?)
    }

    /// The records of a table, in order.
    fn rows(&self, root: usize, take: &mut dyn FnMut(&[u8])) -> Result<(), Reason> {
        let mut waiting = vec![root];
        let mut seen = BTreeSet::new();
        while let Some(number) = waiting.pop() {
            if !seen.insert(number) {
                return Err(MALFORMED);
            }
            let page = self.page(number).ok_or(MALFORMED)?;
            // The first page begins with the file's header.
            let header = if number == 1 { 100 } else { 0 };
            let kind = page[header];
            let cells = self.cells(page, header).ok_or(MALFORMED)?;
            match kind {
                LEAF => {
                    for cell in cells {
                        let record = self.record(page, cell).ok_or(MALFORMED)?;
                        take(&record);
                    }
                }
                INTERIOR => {
                    let right = big(page, header + 8).ok_or(MALFORMED)?;
                    waiting.push(right);
                    for cell in cells.into_iter().rev() {
                        waiting.push(big(page, cell).ok_or(MALFORMED)?);
                    }
                }
                _ => return Err(MALFORMED),
            }
        }
        Ok(())
    }

    /// Where the cells of a page are.
    fn cells(&self, page: &[u8], header: usize) -> Option<Vec<usize>> {
        let half = |at: usize| {
            let bytes = page.get(at..at + 2)?;
            Some(usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
        };
        let first = header + if page[header] == INTERIOR { 12 } else { 8 };
        let count = half(header + 3)?;
        (0..count).map(|at| half(first + 2 * at)).collect()
    }

    /// The payload of a leaf's cell; what does not fit is in a chain of other pages.
    fn record(&self, page: &[u8], cell: usize) -> Option<Vec<u8>> {
        let (length, after_length) = varint(page, cell)?;
        let (_, start) = varint(page, after_length)?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= PAYLOAD_MAX)?;
        let usable = self.usable;
        let (most, least) = (usable - 35, (usable - 12) * 32 / 255 - 23);
        if length <= most {
            return page.get(start..start + length).map(<[u8]>::to_vec);
        }
        let surplus = least + (length - least) % (usable - 4);
        let local = if surplus <= most { surplus } else { least };
        let mut record = page.get(start..start + local)?.to_vec();
        let mut next = big(page, start + local)?;
        while record.len() < length {
            let page = self.page(next)?;
            let piece = (length - record.len()).min(usable - 4);
            record.extend_from_slice(&page[4..4 + piece]);
            next = big(page, 0)?;
        }
        Some(record)
    }
}

/// The values of a record, as their bytes. One that is malformed ends early.
fn columns(record: &[u8]) -> Vec<&[u8]> {
    let mut values = Vec::new();
    let Some((header, mut at)) = varint(record, 0) else {
        return values;
    };
    let header = usize::try_from(header).unwrap_or(usize::MAX);
    let mut body = header;
    while at < header {
        let Some((kind, next)) = varint(record, at) else {
            break;
        };
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            kind => kind.saturating_sub(12) / 2,
        };
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| body.checked_add(length));
        let Some(value) = end.and_then(|end| record.get(body..end)) else {
            break;
        };
        values.push(value);
        (at, body) = (next, body + value.len());
    }
    values
}

/// Seven bits in each byte, the most significant first; a ninth byte has eight.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for number in 0..9 {
        let byte = *bytes.get(at + number)?;
        if number == 8 {
            return Some((value << 8 | u64::from(byte), at + 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + number + 1));
        }
    }
    None
}
