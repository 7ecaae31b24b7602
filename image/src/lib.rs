//! OCI objects and where they live: local store, layout directories, archives, registries.
//!
//! Invariant: bytes are hashed before they mean anything, and nothing is found under a digest that it does not have.
#![forbid(unsafe_code)]

pub mod attachment;
pub mod auth;
mod authority;
pub mod cached;
pub mod compress;
pub mod config;
pub mod copy;
pub mod digest;
pub mod directory;
pub mod docker_archive;
pub mod export;
pub mod fetch;
pub mod image;
mod ingest;
mod json;
pub mod layout;
pub mod manifest;
pub mod media_type;
mod packed;
pub mod platform;
pub mod reference;
pub mod registries;
pub mod registry;
pub mod signature;
mod stop;
pub mod store;
mod tarball;
pub mod transport;

pub use attachment::Attachment;
pub use auth::{AuthError, Credentials};
pub use authority::{Authority, AuthorityError};
pub use compress::Packing;
pub use config::{ContainerConfig, Empty, Healthcheck, History, ImageConfig, Names, RootFs};
pub use copy::{Copy, CopyError};
pub use digest::{ChainId, DiffId, Digest, Hasher, ImageId, ParseDigestError};
pub use docker_archive::{DockerArchive, DockerArchiveError};
pub use export::{Export, ExportBlob, ExportError, LayerElsewhere, PackedLayer, Shipment};
pub use image::{BlobError, BlobSource, Image, ImageError, Layer};
pub use ingest::{LayerError, LayerObserver, LayerStream, Unobserved, take_layer};
pub use json::{DOCUMENT_MAX, DocumentError};
pub use layout::{Layout, LayoutError};
pub use manifest::{Descriptor, Document, Index, Manifest};
pub use media_type::{Compression, Format, MediaType};
pub use platform::{ParsePlatformError, Platform};
pub use reference::{ParseReferenceError, Reference, Tag, Version};
pub use registries::{Endpoint, Registries, RegistriesError};
pub use registry::{Access, Pull, RegistryError, RegistryOptions, Remote, TransferEvent};
pub use signature::{PublicKey, Signer};
pub use stop::{Stop, Stopped};
pub use store::{Area, Scratch, Store, StoreError};
pub use tarball::ArchiveError;
pub use transport::{ParseTransportError, Transport};
