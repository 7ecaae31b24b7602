//! Directory trees and layers, and the copying between them.
//!
//! Two shapes hold the same thing: a directory ([`DirTree`]) and a stack of layer tars ([`View`]). Both are a [`Tree`], and
//! everything that only looks (COPY planning, accounts, digests, listings) is written against that trait. The one invariant
//! of the crate: no path that somebody else wrote is ever handed to the kernel except beneath a [`Root`].
#![forbid(unsafe_code)]

pub mod accounts;
pub mod certificates;
pub mod changeset;
pub mod closure;
mod codec;
pub mod copy;
pub mod digests;
pub mod entry;
mod first_names;
pub mod inventory;
pub mod layer;
pub mod listing;
mod metadata;
pub mod moments;
mod names;
mod note;
pub mod noted;
pub mod owners;
mod ownership;
mod packed;
mod path;
pub mod records;
mod redirect;
mod root;
pub mod scatter;
mod single;
mod sorted;
mod spool;
pub mod tree;
pub mod trees;
pub mod unpack;
mod view;
mod walk;
pub mod xattr;

pub use entry::{Entry, Kind, Time};
pub use first_names::FirstNames;
pub use image::Scratch;
pub use layer::{LayerIndex, LayerReader, LayerTimes, LayerWriter};
pub use metadata::own;
pub use names::Names;
pub use note::Note;
pub use ownership::{OwnerId, Ownership, OwnershipError};
pub use packed::{PackedTar, PackedTree, index_tar};
pub use path::{PathError, TreePath};
pub use redirect::redirect;
pub use root::{Call, Root, RootError};
pub use single::{SingleError, SingleFile, SingleMeta};
pub use sorted::ScratchError;
pub use tree::{Content, DirTree, Meta, NodeKind, OpenFile, Tree, TreeError};
pub use view::{Aspect, Change, Difference, LayerContents, SquashError, View};
