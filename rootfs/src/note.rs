//! Things that are left out on purpose, told to the caller instead of done silently.

use std::fmt;

use crate::path::{TreePath, escape};

/// Something in a tree or layer that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// `user.overlay.*` would be obeyed by the kernel as if rbuild had written it (S14).
    OverlayXattr {
        /// The entry.
        path: TreePath,
        /// The attribute's name.
        name: String,
    },
    /// Sockets live only as long as their process.
    Socket {
        /// The entry.
        path: TreePath,
    },
    /// A device node, which a user namespace cannot make.
    Device {
        /// The entry.
        path: TreePath,
    },
    /// An attribute that this file system or namespace refuses.
    Xattr {
        /// The entry.
        path: TreePath,
        /// The attribute's name.
        name: String,
    },
}

impl Note {
    pub(crate) fn overlay_xattr(path: &TreePath, name: &[u8]) -> Self {
        Self::OverlayXattr {
            path: path.clone(),
            name: escape(name),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverlayXattr { path, name } => write!(
                formatter,
                "'{path}': attribute {name} dropped, it belongs to overlayfs"
            ),
            Self::Socket { path } => write!(formatter, "'{path}': socket skipped"),
            Self::Device { path } => write!(formatter, "'{path}': device node skipped"),
            Self::Xattr { path, name } => write!(
                formatter,
                "'{path}': attribute {name} cannot be stored here, skipped"
            ),
        }
    }
}
