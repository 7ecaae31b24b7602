//! Cache keys. The invariant: a key is H(format version, parent key, typed step, input digests), every part prefixed with
//! its length, so that two different builds never meet in one key; text made for people is in none.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use image::{ChainId, Digest, ParseDigestError};
use serde::{Deserialize, Serialize};

use crate::graph::StageId;
use crate::step::{CopyFrom, CopyStep, Step, StepKind};
use crate::times::Times;

/// Changes whenever the meaning of a step or of its stored result does.
pub(crate) const VERSION: &[u8] = b"rbuild step 3";

/// How the steps of a stage store owners. The image is the same; the trees are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// On disk.
    True,
    /// As notes, in a session of one id.
    Noted,
}

/// Identifies a file system state: everything that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct CacheKey(Digest);

impl CacheKey {
    /// The state of a stage that starts from nothing, or from an image with these layers, made at `created`. `times` tells how
    /// the trees of the stage's steps store times: results that differ in that are different results.
    pub(crate) fn of_base(chain: Option<&ChainId>, created: i64, times: Times) -> Self {
        let times: &[u8] = match times {
            Times::Newest => b"newest",
            Times::Commit(_) | Times::NotAfter(_) | Times::Exactly(_) => b"epoch",
        };
        let created = created.to_le_bytes();
        match chain {
            Some(chain) => {
                let chain = chain.to_string();
                Self(hash(&[b"image", times, &created, chain.as_bytes()]))
            }
            None => Self(hash(&[b"scratch", times, &created])),
        }
    }

    /// Where the store keeps the record of a step: its trees are of one way to store owners, and other machines have another.
    pub(crate) fn stored(&self, owners: Owners) -> Self {
        match owners {
            Owners::True => *self,
            Owners::Noted => Self(hash(&[b"noted", self.0.to_string().as_bytes()])),
        }
    }

    /// The state after a step that is made straight into a layer, which has these times.
    pub(crate) fn packed(&self, times: Times) -> Self {
        let Some(epoch) = times.epoch() else {
            return *self;
        };
        let exact: &[u8] = match times {
            Times::Exactly(_) => b"exactly",
            Times::Newest | Times::Commit(_) | Times::NotAfter(_) => b"limited",
        };
        let key = self.0.to_string();
        Self(hash(&[
            b"packed",
            key.as_bytes(),
            exact,
            &epoch.to_le_bytes(),
        ]))
    }

    /// The state after a step whose inputs, beyond the parent state, have this digest.
    pub(crate) fn after(&self, step: &Step, inputs: Option<&Digest>) -> Self {
        let typed = serde_json::to_vec(&placeless(step)).expect("a step is plain data");
        let inputs = inputs.map(Digest::to_string).unwrap_or_default();
        Self(hash(&[
            b"step",
            self.0.to_string().as_bytes(),
            &typed,
            inputs.as_bytes(),
        ]))
    }

    /// The digest as a file name.
    pub(crate) fn hex(&self) -> String {
        self.0.hex()
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CacheKey {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Where a stage stands in its Containerfile says nothing about what is copied from it, which is one of the inputs.
pub(crate) fn placeless(step: &Step) -> Cow<'_, Step> {
    let mut step = Cow::Borrowed(step);
    if let StepKind::Copy(CopyStep {
        from: CopyFrom::Stage(_),
        ..
    }) = &step.kind
        && let StepKind::Copy(copy) = &mut step.to_mut().kind
    {
        copy.from = CopyFrom::Stage(StageId(0));
    }
    step
}

/// Hashes parts so that no two lists of parts give the same bytes.
pub(crate) fn hash(parts: &[&[u8]]) -> Digest {
    let mut bytes = Vec::new();
    for part in [VERSION].iter().chain(parts) {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(*part);
    }
    Digest::of(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{RunNetwork, RunStep};

    fn base() -> CacheKey {
        CacheKey::of_base(None, 0, Times::Newest)
    }

    fn run(argv: &[&str]) -> Step {
        Step {
            kind: StepKind::Run(RunStep {
                argv: argv.iter().map(|a| (*a).to_owned()).collect(),
                script: None,
                network: RunNetwork::Default,
                args: Vec::new(),
                mounts: Vec::new(),
                secret_env: Vec::new(),
                settings: crate::settings::RunSettings::default(),
            }),
            env: Vec::new(),
            user: String::new(),
            workdir: "/".to_owned(),
        }
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        let base = base();
        assert_ne!(
            base.after(&run(&["a b"]), None),
            base.after(&run(&["a", "b"]), None)
        );
    }

    #[test]
    fn environment_user_and_build_arguments_are_part_of_the_key() {
        let base = base();
        let plain = base.after(&run(&["a"]), None);
        let mut other = run(&["a"]);
        other.env.push(("A".into(), "1".into()));
        assert_ne!(plain, base.after(&other, None));
        let mut other = run(&["a"]);
        if let StepKind::Run(step) = &mut other.kind {
            step.args.push(("A".into(), "1".into()));
        }
        assert_ne!(plain, base.after(&other, None));
        let mut other = run(&["a"]);
        other.user = "1".into();
        assert_ne!(plain, base.after(&other, None));
    }

    #[test]
    fn trees_with_noted_owners_have_records_of_their_own_and_the_same_key() {
        assert_eq!(base().stored(Owners::True), base());
        assert_ne!(base().stored(Owners::Noted), base());
    }

    #[test]
    fn trees_are_shared_by_epochs_and_layers_are_not() {
        let of = |times| CacheKey::of_base(None, 0, times);
        let [one, two] = [Times::Commit(1), Times::NotAfter(2)];
        assert_eq!(of(one), of(two));
        assert_ne!(of(one), of(Times::Newest));
        assert_ne!(of(one).packed(one), of(two).packed(two));
        assert_ne!(of(one).packed(one), of(one).packed(Times::Exactly(1)));
        assert_ne!(of(one), CacheKey::of_base(None, 1, one));
    }

    #[test]
    fn a_key_depends_on_the_parent_and_on_the_inputs() {
        let step = run(&["a"]);
        let base = base();
        let digest = Digest::of(b"x");
        assert_ne!(
            base.after(&step, None),
            base.after(&step, None).after(&step, None)
        );
        assert_ne!(base.after(&step, None), base.after(&step, Some(&digest)));
    }
}
