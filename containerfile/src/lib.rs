//! Containerfile text to syntax tree with byte spans: everything that can be known about a build before anything is looked up.
//!
//! [`parse`] takes a [`Source`] and returns the tree and all diagnostics; [`expand`] gives words their values, [`mount`] gives mount
//! options their meaning, [`mode`] the values of `--chmod`, [`ports`] those of `EXPOSE`, [`user`] those of `USER`; [`ignore`] and [`glob`]
//! decide about paths; [`lint`] examines a whole file, and [`editor`] answers who is writing one. Semantics are BuildKit's.
//! Invariant: this crate touches no file, no network, no environment and no clock.
#![forbid(unsafe_code)]

pub mod ast;
pub mod diagnostics;
mod directives;
pub mod dump;
pub mod editor;
pub mod expand;
pub mod extensions;
mod flags;
pub mod glob;
mod heredoc;
pub mod ignore;
mod instructions;
mod lines;
pub mod lint;
pub mod mode;
pub mod mount;
pub mod outline;
mod parse;
mod path;
pub mod ports;
mod rare;
pub mod source;
mod statement;
pub mod suggest;
mod text;
pub mod user;
mod words;

pub use ast::*;
pub use diagnostics::{Diagnostic, Fix, Severity};
pub use directives::CheckError;
pub use extensions::{Extension, ExtensionName, ExtensionOption};
pub use mount::{MountError, MountSpec, Sharing};
pub use outline::Outline;
pub use parse::{Parsed, parse, parse_onbuild_trigger};
pub use source::{LineCol, Source};
