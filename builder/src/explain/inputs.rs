//! The inputs of a step, by name. The invariant: everything that a [`Step`] is hashed of is in a part of its own or in the part
//! [`Cause::Other`], as a digest; only what is public (names of images and steps, digests of what was fetched) is there in words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::listing::Listing;
use super::{Cause, Change, Reason};
use crate::key;
use crate::remote::Pinned;
use crate::settings::RunSettings;
use crate::step::{CopyStep, RunStep, Step, StepKind};

/// What a step is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    parts: Vec<Part>,
    listings: Vec<Listing>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    cause: Cause,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    /// The beginning of a digest.
    print: String,
    /// What may be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<String>,
}

impl Inputs {
    /// The inputs that a step says itself.
    pub(crate) fn of(step: &Step) -> Self {
        let mut inputs = Self::default();
        for (name, value) in &step.env {
            inputs.add(Cause::Env, name, value);
        }
        inputs.add(Cause::User, "", &step.user);
        inputs.add(Cause::Workdir, "", &step.workdir);
        match &step.kind {
            StepKind::Run(run) => inputs.add_run(run),
            StepKind::Copy(copy) => inputs.add_copy(copy),
            StepKind::Furnish(furnish) => inputs.add(Cause::Flag, "rbuild", furnish),
            StepKind::Workdir => {}
        }
        inputs.add(Cause::Other, "", &key::placeless(step));
        inputs
    }

    fn add_run(&mut self, run: &RunStep) {
        let (last, before) = match (&run.script, run.argv.split_last()) {
            (Some(script), _) => (script.as_str(), &[][..]),
            (None, Some((last, before))) => (last.as_str(), before),
            (None, None) => ("", &[][..]),
        };
        self.add(Cause::Command, "", last);
        self.add(Cause::Shell, "", before);
        self.add(Cause::Network, "", &run.network);
        for (name, value) in &run.args {
            self.add(Cause::Arg, name, value);
        }
        for mount in &run.mounts {
            self.add(Cause::Mount, &mount.target, &mount.source);
        }
        for secret in &run.secret_env {
            self.add(Cause::SecretVariable, &secret.name, secret);
        }
        let RunSettings {
            cap_add,
            cap_drop,
            hosts,
            hostname,
            shm_size,
            ulimits,
            keep_id,
        } = &run.settings;
        self.add(Cause::Flag, "--cap-add", cap_add);
        self.add(Cause::Flag, "--cap-drop", cap_drop);
        self.add(Cause::Flag, "--add-host", hosts);
        self.add(Cause::Arg, "BUILDKIT_SANDBOX_HOSTNAME", hostname);
        self.add(Cause::Flag, "--shm-size", shm_size);
        self.add(Cause::Flag, "--ulimit", ulimits);
        self.add(Cause::Flag, "--userns", keep_id);
    }

    fn add_copy(&mut self, copy: &CopyStep) {
        self.add(Cause::Flag, "--from", &copy.from);
        self.add(Cause::Sources, "", &(&copy.sources, &copy.destination));
        for (name, content) in &copy.inline {
            self.add(Cause::Inline, name, content);
        }
        for (number, fetched) in copy.fetched.iter().enumerate() {
            let shown = match &fetched.pinned {
                Pinned::File { digest, .. } => digest.to_string(),
                Pinned::Tree { commit, .. } => format!("commit {commit}"),
            };
            self.add_shown(Cause::Fetched, &(number + 1).to_string(), fetched, shown);
        }
        self.add(Cause::Flag, "--chown", &copy.chown);
        self.add(Cause::Flag, "--chmod", &copy.chmod);
        self.add(Cause::Flag, "--exclude", &copy.excludes);
        self.add(Cause::Flag, "--parents", &copy.parents);
        self.add(Cause::Flag, "--link", &copy.link);
        self.add(Cause::Flag, "--unpack", &copy.unpack);
    }

    /// Adds one that is only compared.
    pub(crate) fn add(&mut self, cause: Cause, name: &str, value: &(impl Serialize + ?Sized)) {
        self.push(cause, name, value, None);
    }

    /// Adds one that is public.
    pub(crate) fn add_shown(
        &mut self,
        cause: Cause,
        name: &str,
        value: &impl Serialize,
        shown: String,
    ) {
        self.push(cause, name, value, Some(shown));
    }

    fn push(
        &mut self,
        cause: Cause,
        name: &str,
        value: &(impl Serialize + ?Sized),
        shown: Option<String>,
    ) {
        // The name is hashed too: equal values of two variables are not seen to be equal.
        let value = serde_json::to_vec(value).unwrap_or_default();
        let print = key::hash(&[b"input", name.as_bytes(), &value]).hex()[..16].to_owned();
        self.parts.push(Part {
            cause,
            name: name.to_owned(),
            print,
            shown,
        });
    }

    /// Adds the files of a source.
    pub(crate) fn add_files(&mut self, listing: Listing) {
        self.listings.push(listing);
    }

    /// Adds all of others.
    pub(crate) fn extend(&mut self, others: Self) {
        self.parts.extend(others.parts);
        self.listings.extend(others.listings);
    }

    /// Forgets files: where those of the other side cannot be known.
    pub(crate) fn without_files(mut self) -> Self {
        self.listings.clear();
        let files = [Cause::Image, Cause::Stage];
        self.parts.retain(|part| !files.contains(&part.cause));
        self
    }

    /// What differs in `new`.
    pub(super) fn differences(&self, new: &Self) -> Vec<Reason> {
        let (before, after) = (self.by_name(), new.by_name());
        let mut reasons = Vec::new();
        for (id, part) in &after {
            match before.get(id) {
                None => reasons.push(reason(Change::Added, None, Some(part))),
                Some(old) if old.print != part.print => {
                    reasons.push(reason(Change::Changed, Some(old), Some(part)));
                }
                Some(_) => {}
            }
        }
        let removed = before.iter().filter(|(id, _)| !after.contains_key(*id));
        reasons.extend(removed.map(|(_, part)| reason(Change::Removed, Some(part), None)));
        // Sources of the same name come in the same order.
        let mut known: Vec<&Listing> = self.listings.iter().collect();
        for listing in &new.listings {
            let same = known.iter().position(|old| old.from() == listing.from());
            let old = same.map(|position| known.remove(position));
            reasons.extend(old.into_iter().flat_map(|old| old.differences(listing)));
        }
        reasons
    }

    /// The parts by what they are; of those that are called the same, the first with the first, and so on.
    fn by_name(&self) -> BTreeMap<(Cause, &str, usize), &Part> {
        let mut named = BTreeMap::new();
        for part in &self.parts {
            let mut number = 0;
            while named.contains_key(&(part.cause, part.name.as_str(), number)) {
                number += 1;
            }
            named.insert((part.cause, part.name.as_str(), number), part);
        }
        named
    }
}

fn reason(change: Change, old: Option<&Part>, new: Option<&Part>) -> Reason {
    let part = new.or(old);
    let (cause, name) = part.map_or((Cause::Other, ""), |part| (part.cause, &part.name));
    Reason {
        cause,
        name: name.to_owned(),
        change,
        old: old.and_then(|part| part.shown.clone()),
        new: new.and_then(|part| part.shown.clone()),
    }
}
