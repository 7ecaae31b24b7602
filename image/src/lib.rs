//! OCI objects and where they live: local store, layout directories, archives, registries.
#![forbid(unsafe_code)]
