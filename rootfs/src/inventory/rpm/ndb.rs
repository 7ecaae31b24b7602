//! rpm's own database of SUSE systems (rpm's lib/backend/ndb/rpmpkg.c): slots that say where each header is.
//!
//! Invariant: a slot that leads to something else than its package's blob is an error, not a package.

use super::{Reason, little};

const MAGIC: &[u8] = b"RpmP";
const SLOT: &[u8] = b"Slot";
const BLOB: &[u8] = b"BlbS";
const PAGE: usize = 4096;
const SLOT_SIZE: usize = 16;
const BLOCK: usize = 16;
/// The file's header takes the place of two slots.
const FIRST: usize = 32;

pub(super) fn walk(bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), Reason> {
    const MALFORMED: Reason = "it is no ndb database that can be read";
    if !bytes.starts_with(MAGIC) {
        return Err(MALFORMED);
    }
    // Magic, version, generation, pages of slots.
    let pages = little(bytes, 12).ok_or(MALFORMED)?;
    let end = pages.checked_mul(PAGE).ok_or(MALFORMED)?;
    let slots = bytes.get(FIRST..end).ok_or(MALFORMED)?;
    for slot in slots.chunks_exact(SLOT_SIZE) {
        // Magic, package, block, count of blocks. The first package is 1.
        let package = little(slot, 4).ok_or(MALFORMED)?;
        if !slot.starts_with(SLOT) || package == 0 {
            continue;
        }
        let block = little(slot, 8).and_then(|block| block.checked_mul(BLOCK));
        let blob = block
            .and_then(|start| bytes.get(start..))
            .ok_or(MALFORMED)?;
        // Magic, package, generation, length.
        let length = little(blob, 12).ok_or(MALFORMED)?;
        let header = blob.get(16..).and_then(|rest| rest.get(..length));
        match header.filter(|_| blob.starts_with(BLOB) && little(blob, 4) == Some(package)) {
            Some(header) => take(header),
            None => return Err(MALFORMED),
        }
    }
    Ok(())
}
