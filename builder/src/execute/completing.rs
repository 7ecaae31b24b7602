//! What a COPY adds to the programs that it copies: what they need of the stage that they come from. The invariant: nothing of
//! a stage is executed to find out, and nothing that the image has is replaced.

use std::collections::BTreeSet;

use rootfs::closure::{Choice, Closure, Resolver, RuleSet, Settings};
use rootfs::copy::CopyError;
use rootfs::{Tree, TreePath};

use super::Workshop;
use crate::event::BuildEvent;
use crate::job::StepFailure;
use crate::starts::sentence;
use crate::step::{CopyClosure, CopyStep};

/// What finding it out gave.
#[derive(Default)]
pub(super) struct Found {
    /// What would not start even so.
    broken: Vec<Closure>,
    /// What was asked for and is not there.
    unmet: Vec<String>,
}

impl CopyClosure {
    fn settings(&self) -> Settings {
        Settings {
            library_path: self.library_path.clone().into_bytes(),
            path: self.path.clone().into_bytes(),
            architecture: Some(self.architecture.clone()).filter(|name| !name.is_empty()),
        }
    }

    /// The paths that are needed beside those that are copied.
    pub(super) fn needed(
        &self,
        tree: &dyn Tree,
        copied: &[TreePath],
        rules: &RuleSet,
        found: &mut Found,
    ) -> Result<Vec<TreePath>, CopyError> {
        let resolver = Resolver::new(tree, self.settings());
        let choice = Choice {
            with: self.with.clone(),
            without: self.without.clone(),
            env: self.env.clone(),
            also: self.also.clone(),
        };
        let needs = resolver.needs_with(copied, rules, &choice);
        found.broken = needs.broken;
        found.unmet = needs.unmet;
        Ok(needs.files.into_iter().map(|file| file.path).collect())
    }
}

impl Workshop<'_> {
    /// Says what would not start. Where the COPY names the program itself and the file asks for its closure, that is an error.
    pub(super) fn tell_broken(&self, copy: &CopyStep, found: &Found) -> Result<(), StepFailure> {
        let Some(closure) = &copy.closure else {
            return Ok(());
        };
        let literal = copy
            .sources
            .iter()
            .filter(|source| !source.contains(['*', '?', '[']));
        let named: BTreeSet<&[u8]> = literal
            .chain([&copy.destination])
            .filter_map(|source| source.rsplit('/').next())
            .map(str::as_bytes)
            .collect();
        if let Some(unmet) = found.unmet.first() {
            let failure = format!("complete a program: {unmet} names nothing that is in the stage");
            return Err(StepFailure::saying(failure));
        }
        for broken in &found.broken {
            let said = sentence(broken);
            let name = broken.program.file_name().unwrap_or_default();
            if closure.asked && named.contains(name) {
                let failure = StepFailure::saying(format!("complete a program: {said}"));
                let hint = "install what is missing in the stage that the program comes from";
                return Err(failure.hint(hint));
            }
            self.tell(BuildEvent::Notice { message: said });
        }
        Ok(())
    }
}
