//! Containerfile text to syntax tree with byte spans.
#![forbid(unsafe_code)]

pub mod ast;
pub mod diagnostics;
pub mod mount;
pub mod source;

pub use ast::*;
pub use diagnostics::{Diagnostic, Fix, Severity};
pub use mount::{MountSpec, Sharing};
pub use source::{LineCol, Source};
