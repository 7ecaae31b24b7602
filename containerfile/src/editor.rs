//! Answers for somebody who is writing a Containerfile: what can come next, what something means, what can be done about a finding.
//!
//! Invariant: texts and offsets in, texts and edits out; which editor asks, and how, is not known here.

mod action;
mod completion;
mod hover;
mod manual;
mod position;

pub use action::{Action, actions, fix_all};
pub use completion::{Completion, CompletionKind, completions};
pub use hover::{Hover, hover};
pub use position::{Position, Positions};
