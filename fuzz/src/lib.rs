//! What is fuzzed: one function for each kind of input that rbuild did not make. Invariant: each takes any bytes, and panics only
//! where rbuild is wrong.
#![forbid(unsafe_code)]

pub mod archive;
pub mod closure;
pub mod language;
