//! What programs need to start, against what real loaders map and against what they are specified to map.
#![forbid(unsafe_code)]

extern crate rbuild_rootfs as rootfs;

mod compiled;
mod forge;
mod glibc;
mod hostile;
mod musl;
mod oracle;
mod programs;
mod tree;
