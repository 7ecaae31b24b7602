//! Extended attributes between disk and layer.
//!
//! Invariant: a layer never holds an id of this machine: `security.capability` is v2 (no root id) and POSIX ACLs name image ids.

use std::os::fd::OwnedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::entry::Xattrs;
use crate::note::Note;
use crate::noted::is_note;
use crate::ownership::{Ownership, OwnershipError};
use crate::path::{TreePath, escape};
use crate::root::{Call, RootError};

pub(crate) const CAPABILITY: &[u8] = b"security.capability";
const ACL_PREFIX: &[u8] = b"system.posix_acl_";
pub(crate) const OPAQUE: &str = "user.overlay.opaque";

/// Attributes that only overlayfs may write.
pub(crate) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
}

/// Attributes of an image tree that mean something on another machine: no SELinux label, no IMA signature.
fn travels(name: &[u8]) -> bool {
    name == CAPABILITY || name.starts_with(b"user.") || name.starts_with(ACL_PREFIX)
}

/// All attributes of an open file or directory, as they are on disk.
pub(crate) fn read_raw(file: &OwnedFd, path: &TreePath) -> Result<Xattrs, RootError> {
    let mut inline = [0_u8; 512];
    let fail = |errno| RootError::call(Call::ReadXattr, path)(errno);
    let names = match rustix::fs::flistxattr(file, &mut inline[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
        Ok(length) => inline[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut names = vec![0; 64 * 1024];
            let length = rustix::fs::flistxattr(file, &mut names[..]).map_err(fail)?;
            names.truncate(length);
            names
        }
        Err(errno) => return Err(fail(errno)),
    };
    let mut found = Xattrs::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 64 * 1024];
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            // Removed since it was listed, or not ours to see (trusted.* outside the initial namespace).
            Err(Errno::NODATA | Errno::PERM | Errno::OPNOTSUPP) => continue,
            Err(errno) => return Err(fail(errno)),
        }
        value.shrink_to_fit();
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}

/// What of `raw` belongs in a layer, in image ids.
pub(crate) fn to_image(
    raw: Xattrs,
    path: &TreePath,
    ownership: Ownership,
) -> Result<Xattrs, OwnershipError> {
    if raw.is_empty() {
        return Ok(raw);
    }
    let mut kept = Xattrs::new();
    for (name, value) in raw {
        if !travels(&name) || is_overlay(&name) || is_note(&name) {
            continue;
        }
        if name == CAPABILITY {
            kept.insert(name, capability_v2(value));
        } else if name.starts_with(ACL_PREFIX) {
            // The ids in a context's or squashed tree's ACL are this machine's: they mean nothing elsewhere.
            if let Ownership::Mapped { .. } = ownership {
                let mapped = map_acl(value, |id| ownership.from_disk(id, path))?;
                kept.insert(name, mapped);
            }
        } else {
            kept.insert(name, value);
        }
    }
    Ok(kept)
}

/// Sets what can be set; what this file system or namespace has no room for is noted.
pub(crate) fn write(
    file: &OwnedFd,
    path: &TreePath,
    xattrs: &Xattrs,
    ownership: Ownership,
    notes: &mut Vec<Note>,
) -> Result<(), crate::tree::TreeError> {
    for (name, value) in xattrs.iter().filter(|(name, _)| !is_note(name)) {
        let value = if name == CAPABILITY {
            capability_on_disk(value.clone(), path, ownership)?
        } else if name.starts_with(ACL_PREFIX) {
            map_acl(value.clone(), |id| {
                Ok(ownership.to_disk(id, path)?.unwrap_or(id))
            })?
        } else {
            value.clone()
        };
        match rustix::fs::fsetxattr(file, name.as_slice(), &value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::PERM) => notes.push(Note::Xattr {
                path: path.clone(),
                name: escape(name),
            }),
            Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) if value.len() > 2048 => {
                return Err(RootError::XattrTooLarge {
                    path: path.clone(),
                    name: escape(name),
                    size: value.len(),
                }
                .into());
            }
            Err(errno) => return Err(RootError::call(Call::SetXattr, path)(errno).into()),
        }
    }
    Ok(())
}

/// The ids that the ACLs in `xattrs` name: users, then groups.
pub(crate) fn acl_ids(xattrs: &Xattrs) -> (Vec<u32>, Vec<u32>) {
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for (_, value) in xattrs
        .iter()
        .filter(|(name, _)| name.starts_with(ACL_PREFIX))
    {
        for entry in acl_entries(value) {
            match tag(entry) {
                ACL_USER => users.push(id(entry)),
                ACL_GROUP => groups.push(id(entry)),
                _ => {}
            }
        }
    }
    (users, groups)
}

// linux/posix_acl_xattr.h: a u32 version, then entries of u16 tag, u16 permissions, u32 id, all little endian.
const ACL_HEADER: usize = 4;
const ACL_ENTRY: usize = 8;
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;

fn acl_entries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .get(ACL_HEADER..)
        .unwrap_or_default()
        .chunks_exact(ACL_ENTRY)
}

fn tag(entry: &[u8]) -> u16 {
    u16::from_le_bytes([entry[0], entry[1]])
}

fn id(entry: &[u8]) -> u32 {
    u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]])
}

fn map_acl(
    mut value: Vec<u8>,
    map: impl Fn(u32) -> Result<u32, OwnershipError>,
) -> Result<Vec<u8>, OwnershipError> {
    for entry in value
        .get_mut(ACL_HEADER..)
        .unwrap_or_default()
        .chunks_exact_mut(ACL_ENTRY)
    {
        if matches!(tag(entry), ACL_USER | ACL_GROUP) {
            let mapped = map(id(entry))?;
            entry[4..8].copy_from_slice(&mapped.to_le_bytes());
        }
    }
    Ok(value)
}

// linux/capability.h: the revision is the top byte of the first little-endian word, bit 0 the effective flag; v3 is v2 with
// the root id of the namespace that wrote it as a last word.
const CAP_REVISION: u32 = 0xff00_0000;
const CAP_V2: u32 = 0x0200_0000;
const CAP_V3: u32 = 0x0300_0000;
const CAP_V2_SIZE: usize = 20;
const CAP_V3_SIZE: usize = 24;

fn cap_magic(value: &[u8]) -> Option<u32> {
    value
        .first_chunk::<4>()
        .map(|word| u32::from_le_bytes(*word))
}

/// A capability read inside a user namespace is v3 with a root id of this machine.
fn capability_v2(mut value: Vec<u8>) -> Vec<u8> {
    if let Some(magic) = cap_magic(&value)
        && magic & CAP_REVISION == CAP_V3
        && value.len() == CAP_V3_SIZE
    {
        value.truncate(CAP_V2_SIZE);
        value[..4].copy_from_slice(&((magic & !CAP_REVISION) | CAP_V2).to_le_bytes());
    }
    value
}

/// In a shifted tree the capability must count for image root, so the root id is written out.
fn capability_on_disk(
    value: Vec<u8>,
    path: &TreePath,
    ownership: Ownership,
) -> Result<Vec<u8>, OwnershipError> {
    let mut value = capability_v2(value);
    let root = ownership.to_disk(0, path)?.unwrap_or(0);
    if let (true, Some(magic)) = (root != 0 && value.len() == CAP_V2_SIZE, cap_magic(&value)) {
        value[..4].copy_from_slice(&((magic & !CAP_REVISION) | CAP_V3).to_le_bytes());
        value.extend_from_slice(&root.to_le_bytes());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f29_a_capability_loses_the_root_id_on_its_way_into_a_layer() {
        let mut v3 = vec![1, 0, 0, 3];
        v3.extend_from_slice(&[7; 16]);
        v3.extend_from_slice(&1_u32.to_le_bytes());
        let v2 = capability_v2(v3.clone());
        assert_eq!(v2.len(), 20);
        assert_eq!(v2[..4], [1, 0, 0, 2]);
        assert_eq!(
            capability_on_disk(v2, &TreePath::root(), Ownership::SESSION),
            Ok(v3)
        );
    }

    #[test]
    fn acl_ids_are_mapped_and_the_mask_is_not() {
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for (tag, id) in [(ACL_USER, 1001_u32), (ACL_GROUP, 51), (0x10, u32::MAX)] {
            acl.extend_from_slice(&tag.to_le_bytes());
            acl.extend_from_slice(&[7, 0]);
            acl.extend_from_slice(&id.to_le_bytes());
        }
        let raw = Xattrs::from([(b"system.posix_acl_access".to_vec(), acl)]);
        let image = to_image(raw, &TreePath::root(), Ownership::SESSION).expect("in range");
        assert_eq!(acl_ids(&image), (vec![1000], vec![50]));
    }

    #[test]
    fn labels_of_this_machine_do_not_travel() {
        let raw = Xattrs::from([
            (b"security.selinux".to_vec(), b"x".to_vec()),
            (b"user.overlay.opaque".to_vec(), b"y".to_vec()),
            (b"user.keep".to_vec(), b"1".to_vec()),
        ]);
        let image = to_image(raw, &TreePath::root(), Ownership::Recorded).expect("no ids");
        assert_eq!(
            image.into_keys().collect::<Vec<_>>(),
            [b"user.keep".to_vec()]
        );
    }
}
