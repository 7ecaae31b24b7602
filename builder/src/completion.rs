//! The rules about what programs open by themselves, as a request has them. The invariant: their digest changes with every change
//! of their text, so that a step that used them is not taken for one that did not.

use std::sync::OnceLock;

use image::Digest;
use rootfs::closure::{RuleError, RuleSet};
use serde::{Deserialize, Serialize};

/// The built-in rules, and those of the user on top of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClosureRules {
    texts: Vec<String>,
    #[serde(skip)]
    read: OnceLock<RuleSet>,
}

impl ClosureRules {
    /// Adds the rules of a text: one with a name that is known replaces that.
    ///
    /// # Errors
    /// For the first line that cannot be understood.
    pub fn add(&mut self, text: String) -> Result<(), RuleError> {
        RuleSet::default().add(&text)?;
        self.texts.push(text);
        self.read = OnceLock::new();
        Ok(())
    }

    /// The rules.
    pub(crate) fn set(&self) -> &RuleSet {
        self.read.get_or_init(|| {
            let mut set = RuleSet::built_in();
            for text in &self.texts {
                // They were read when they were added.
                let _ = set.add(text);
            }
            set
        })
    }

    /// Identifies them.
    pub(crate) fn digest(&self) -> String {
        let mut all = RuleSet::built_in_text();
        for text in &self.texts {
            all.push('\0');
            all.push_str(text);
        }
        Digest::of(all).to_string()
    }
}
