//! What a trial of an image means: why it failed, and what it needs to write. The invariant: pure functions of what was observed and
//! of what the image has; nothing is said that was not seen.

mod why;
mod writes;

pub use why::{ImageFiles, Reason, reasons};
pub use writes::{Place, places};
