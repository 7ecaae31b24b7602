//! What one header means: its length, its name, its kind, and the `.wh.` names.
//!
//! Invariant: a header that means one thing to one parser and another thing to the next has no meaning here (S04, S13).

use tar::{EntryType, Header};

use crate::entry::{Device, Entry, Kind};
use crate::layer::error::ReadError;
use crate::layer::header::{natural, text};
use crate::layer::pax::Extensions;
use crate::path::TreePath;

/// Bytes that follow the header. A PAX size is needed only where the header's 11 octal digits end (8 GiB); anywhere else two
/// sizes that differ are an attempt to show different members to different parsers.
pub(super) fn stored_size(header: &Header, pax: &Extensions, start: u64) -> Result<u64, ReadError> {
    const OCTAL_END: u64 = 0o77_777_777_777;
    let stated = natural(&header.as_old().size).map_err(|problem| ReadError::Header {
        offset: start,
        problem,
    })?;
    match pax.size {
        Some(size) if size != stated && size <= OCTAL_END => Err(ReadError::SizeConflict {
            offset: start,
            header: stated,
            pax: size,
        }),
        Some(size) => Ok(size),
        None => Ok(stated),
    }
}

pub(super) fn header_path(header: &Header) -> Vec<u8> {
    let name = text(&header.as_old().name);
    match header.as_ustar().map(|ustar| text(&ustar.prefix)) {
        Some(prefix) if !prefix.is_empty() => [prefix, b"/", name].concat(),
        _ => name.to_vec(),
    }
}

pub(super) fn kind(
    header: &Header,
    raw_path: &[u8],
    link: Vec<u8>,
    size: u64,
    start: u64,
) -> Result<Kind, ReadError> {
    let at = |problem| ReadError::Header {
        offset: start,
        problem,
    };
    Ok(match header.entry_type() {
        // Before POSIX a trailing slash was all that made a directory.
        EntryType::Regular if raw_path.ends_with(b"/") && size == 0 => Kind::Dir,
        EntryType::Regular if raw_path.ends_with(b"/") => {
            return Err(at("a directory with content"));
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File { size },
        EntryType::Directory => Kind::Dir,
        EntryType::Symlink if link.is_empty() => {
            return Err(at("a symbolic link without a target"));
        }
        EntryType::Symlink => Kind::Symlink(link),
        // A hard link's target is a member name: from the root of the archive, never from a working directory (S10).
        EntryType::Link => {
            Kind::Hardlink(TreePath::scoped(&link).map_err(|source| ReadError::Name {
                offset: start,
                source,
            })?)
        }
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => match device(header, start)? {
            // On disk this is overlayfs' own whiteout (S14).
            Device { major: 0, minor: 0 } => return Err(at("a character device 0:0")),
            device => Kind::Char(device),
        },
        EntryType::Block => Kind::Block(device(header, start)?),
        _ => return Err(at("an entry of unknown type")),
    })
}

fn device(header: &Header, start: u64) -> Result<Device, ReadError> {
    let at = |problem| ReadError::Header {
        offset: start,
        problem,
    };
    let bytes = header.as_bytes();
    // Linux has 12 bits of major and 20 of minor numbers (makedev(3)).
    let part = |field: &[u8], limit: u64| match natural(field).map_err(at)? {
        value if value < limit => {
            u32::try_from(value).map_err(|_| at("a device number out of range"))
        }
        _ => Err(at("a device number out of range")),
    };
    Ok(Device {
        major: part(&bytes[329..337], 1 << 12)?,
        minor: part(&bytes[337..345], 1 << 20)?,
    })
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Turns `.wh.` names into what they mean; a marker in the middle of a path, or for no name at all, is refused (S13).
pub(super) fn whiteout(entry: &mut Entry, start: u64) -> Result<(), ReadError> {
    if !entry
        .path
        .components()
        .any(|name| name.starts_with(WHITEOUT))
    {
        return Ok(());
    }
    let fail = |problem| ReadError::Whiteout {
        offset: start,
        path: entry.path.clone(),
        problem,
    };
    let parent = entry.path.parent();
    if parent.components().any(|name| name.starts_with(WHITEOUT)) {
        return Err(fail("it is not the last name of the path"));
    }
    let name = entry.path.file_name().unwrap_or_default();
    if name == OPAQUE {
        if !matches!(entry.kind, Kind::File { .. }) {
            return Err(fail("it is not a regular file"));
        }
        (entry.path, entry.kind) = (parent, Kind::Opaque);
        return Ok(());
    }
    let target = match &name[WHITEOUT.len()..] {
        b"" | b"." | b".." => return Err(fail("it names nothing")),
        reserved if reserved.starts_with(WHITEOUT) => return Err(fail("the name is reserved")),
        target => parent.child(target),
    };
    if !matches!(entry.kind, Kind::File { .. } | Kind::Hardlink(_)) {
        return Err(fail("it is not a regular file"));
    }
    (entry.path, entry.kind) = (target, Kind::Whiteout);
    Ok(())
}
