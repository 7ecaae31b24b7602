//! Image to running container: id maps, mounts, network.
#![forbid(unsafe_code)]
