//! Structure tests: files that say what an image has and what its commands print, in the form of container-structure-test. The
//! invariant: reading them and judging by them is pure; commands run elsewhere, and files are read without starting anything.

mod config;
mod fields;
mod files;
mod judge;
mod yaml;

pub use config::{
    CommandTest, ContentTest, Contents, ExistenceTest, HttpTest, LicenceTest, MetadataTest,
    OwnTests, RunOptions, StructureTests, Variable, Wanted, parse,
};
pub use files::{content, existence, go_mode, licence};
pub use judge::{command, expand, http, metadata};
pub use yaml::{MAX_DOCUMENT, Problem};
