//! How an image's owners are stored on disk.
//!
//! Invariant: an image id never becomes id 0 of the session, which is the invoking user (ARCHITECTURE.md, "Image ids are
//! shifted by one").

use thiserror::Error;

use crate::path::TreePath;

/// A uid or gid as the image means it.
pub type OwnerId = u32;

/// An owner that a tree on disk cannot hold, or must not hold.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnershipError {
    /// The session maps too few ids.
    #[error(
        "store the owner of '{path}': id {id} is outside the mapped range 0..={last}; add subordinate ids for it"
    )]
    OutOfRange {
        /// The entry.
        path: TreePath,
        /// The id the image asks for.
        id: OwnerId,
        /// The largest id that can be stored.
        last: OwnerId,
    },
    /// A file of the invoking user inside an image tree: something created it without becoming image root first.
    #[error(
        "read the owner of '{path}': it belongs to id {id} on disk, which is no id of the image"
    )]
    Foreign {
        /// The entry.
        path: TreePath,
        /// The id on disk.
        id: u32,
    },
}

/// Where the owners of a tree are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Image id k is id k + `shift` on disk, for k in `0..count`.
    Mapped {
        /// What is added on disk; 1 in a session.
        shift: u32,
        /// How many image ids there are.
        count: u32,
    },
    /// A session of a single id: on disk everything belongs to the caller, and owners are [noted](crate::noted) on the inodes.
    Noted,
    /// A copy for the caller: everything belongs to the caller and reads as 0:0.
    Squashed,
    /// The tree is nobody's: owners are data in the layer writer, and whatever is on disk (a build context) reads as 0:0.
    Recorded,
}

impl Ownership {
    /// The session's map: 65,536 image ids, shifted by one.
    pub const SESSION: Self = Self::Mapped {
        shift: 1,
        count: 65_536,
    };
    /// Ids on disk as they are, for trees that were written by an ordinary root.
    pub const PLAIN: Self = Self::Mapped {
        shift: 0,
        count: u32::MAX,
    };

    /// That of a session which stores so many image user and group ids, or only one id.
    pub fn of_session(single_id: bool, image_ids: (u32, u32)) -> Self {
        if single_id {
            return Self::Noted;
        }
        Self::Mapped {
            shift: 1,
            count: image_ids.0.min(image_ids.1),
        }
    }

    /// The id to store for `id`; `None` when owners are not stored on disk.
    pub fn to_disk(self, id: OwnerId, path: &TreePath) -> Result<Option<u32>, OwnershipError> {
        match self {
            Self::Mapped { shift, count } if id < count => match id.checked_add(shift) {
                Some(disk) => Ok(Some(disk)),
                None => Err(OwnershipError::OutOfRange {
                    path: path.clone(),
                    id,
                    last: count - 1,
                }),
            },
            Self::Mapped { count, .. } => Err(OwnershipError::OutOfRange {
                path: path.clone(),
                id,
                last: count.saturating_sub(1),
            }),
            Self::Noted | Self::Squashed | Self::Recorded => Ok(None),
        }
    }

    /// The image id that `disk` stands for.
    pub fn from_disk(self, disk: u32, path: &TreePath) -> Result<OwnerId, OwnershipError> {
        match self {
            Self::Mapped { shift, count } => disk
                .checked_sub(shift)
                .filter(|id| *id < count)
                .ok_or_else(|| OwnershipError::Foreign {
                    path: path.clone(),
                    id: disk,
                }),
            Self::Noted | Self::Squashed | Self::Recorded => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_maps_image_root_to_the_first_subordinate_id() {
        let path = TreePath::root();
        assert_eq!(Ownership::SESSION.to_disk(0, &path), Ok(Some(1)));
        assert_eq!(Ownership::SESSION.to_disk(65_535, &path), Ok(Some(65_536)));
        assert_eq!(Ownership::SESSION.from_disk(1, &path), Ok(0));
    }

    #[test]
    fn an_id_out_of_range_names_path_id_and_range() {
        let path = TreePath::scoped("etc/x").expect("valid");
        let error = Ownership::SESSION
            .to_disk(70_000, &path)
            .expect_err("out of range");
        let text = error.to_string();
        assert!(
            text.contains("/etc/x") && text.contains("70000") && text.contains("65535"),
            "{text}"
        );
    }

    #[test]
    fn the_invoking_user_owns_nothing_in_an_image() {
        assert!(matches!(
            Ownership::SESSION.from_disk(0, &TreePath::root()),
            Err(OwnershipError::Foreign { id: 0, .. })
        ));
        assert_eq!(Ownership::Squashed.from_disk(0, &TreePath::root()), Ok(0));
    }
}
