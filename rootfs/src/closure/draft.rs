//! A closure that is being put together.
//!
//! Invariant: the first reason for a file stays, and the finished lists are in the order of their bytes: the same tree gives the
//! same answer.

use std::collections::{BTreeMap, BTreeSet};

use super::places::{Absent, Place};
use super::reason::{Reason, Why};
use super::{Closure, ClosureFile, Finding};
use crate::path::{TreePath, escape};
use crate::tree::NodeKind;

pub(super) struct Draft {
    program: TreePath,
    files: BTreeMap<TreePath, ClosureFile>,
    missing: BTreeSet<Vec<u8>>,
    findings: BTreeSet<Finding>,
}

impl Draft {
    pub(super) fn new(program: &TreePath) -> Self {
        Self {
            program: program.clone(),
            files: BTreeMap::new(),
            missing: BTreeSet::new(),
            findings: BTreeSet::new(),
        }
    }

    /// A file and the links that lead to it.
    pub(super) fn add(&mut self, place: &Place, reason: Reason) {
        for link in &place.links {
            let by = place.path.clone();
            let why = Why::Link;
            self.insert(&link.path, Some(link.target.clone()), Reason { by, why });
        }
        // A directory or device in a program's place is a finding, and nothing that anybody needs.
        if place.path != self.program && place.meta.kind == NodeKind::File {
            self.insert(&place.path, None, reason);
        }
    }

    fn insert(&mut self, path: &TreePath, target: Option<Vec<u8>>, reason: Reason) {
        self.files.entry(path.clone()).or_insert(ClosureFile {
            path: path.clone(),
            target,
            reason,
        });
    }

    /// Something that is needed and not there, and what is said about it.
    pub(super) fn lack(&mut self, name: &[u8], by: &TreePath, message: &str) {
        self.missing.insert(name.to_vec());
        self.fatal(by, format!("{}: {message}", escape(name)));
    }

    /// A path that leads to nothing.
    pub(super) fn lack_path(&mut self, raw: &[u8], by: &TreePath, absent: &Absent) {
        self.lack(raw, by, &said(absent));
    }

    /// The program does not start.
    pub(super) fn fatal(&mut self, path: &TreePath, message: impl Into<String>) {
        self.find(path, message.into(), true);
    }

    /// Worth knowing.
    pub(super) fn note(&mut self, path: &TreePath, message: impl Into<String>) {
        self.find(path, message.into(), false);
    }

    fn find(&mut self, path: &TreePath, message: String, fatal: bool) {
        self.findings.insert(Finding {
            path: path.clone(),
            message,
            fatal,
        });
    }

    pub(super) fn finish(self) -> Closure {
        Closure {
            program: self.program,
            files: self.files.into_values().collect(),
            missing: self.missing.into_iter().collect(),
            findings: self.findings.into_iter().collect(),
        }
    }
}

/// What the kernel would say.
pub(super) fn said(absent: &Absent) -> String {
    match absent {
        Absent::Missing => "No such file or directory".to_owned(),
        Absent::Loop => "Too many levels of symbolic links".to_owned(),
        Absent::Tree(error) => chain(error),
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
