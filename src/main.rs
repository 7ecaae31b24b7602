//! The command line of rbuild.
fn main() {}
