//! What programs need to start, against what real loaders map and against what they are specified to map.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a test that cannot run says so in a line that is counted"
)]

extern crate rbuild_rootfs as rootfs;

mod compiled;
mod forge;
mod glibc;
mod hostile;
mod musl;
mod oracle;
mod programs;
mod tree;
