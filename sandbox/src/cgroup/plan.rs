//! How a place for the cgroups of steps is made, as data. The invariant: [`preparation`] is pure; [`perform`] does its operations
//! in order and, when one fails, undoes those before it in reverse, and the same list of undoing takes the place away at the end.

use std::collections::BTreeSet;
use std::fmt;

use rustix::io::Errno;

use super::Controller;

/// One operation; cgroups are named from the parent on, which is the empty name itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Make a cgroup.
    Create(String),
    /// Remove it.
    Remove(String),
    /// Move this process into a cgroup.
    Enter(String),
    /// Move this process back to where it was.
    Return,
    /// Make sure that no process is in the parent.
    ExpectEmpty,
    /// Turn controllers on for the children of a cgroup.
    Enable(String, Vec<Controller>),
    /// Turn them off.
    Disable(String, Vec<Controller>),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |cgroup: &str| match cgroup {
            "" => "the parent".to_owned(),
            name => name.to_owned(),
        };
        let list = |controllers: &[Controller]| {
            let names: Vec<_> = controllers.iter().map(|one| one.name()).collect();
            names.join(", ")
        };
        match self {
            Self::Create(cgroup) => write!(f, "make the cgroup {cgroup}"),
            Self::Remove(cgroup) => write!(f, "remove the cgroup {cgroup}"),
            Self::Enter(cgroup) => write!(f, "enter the cgroup {cgroup}"),
            Self::Return => f.write_str("return to the cgroup that rbuild was started in"),
            Self::ExpectEmpty => f.write_str("find no process in the parent"),
            Self::Enable(cgroup, controllers) => {
                write!(f, "enable {} below {}", list(controllers), of(cgroup))
            }
            Self::Disable(cgroup, controllers) => {
                write!(f, "disable {} below {}", list(controllers), of(cgroup))
            }
        }
    }
}

/// What is known of the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether this process is in it.
    pub(super) own: bool,
    /// Whether it is the root of the hierarchy, which may hold processes beside cgroups with controllers.
    pub(super) root: bool,
    /// The controllers that are on for its children.
    pub(super) enabled: BTreeSet<Controller>,
}

/// An operation and what undoes it.
pub(super) type Doable = (Op, Option<Op>);

/// Where this process goes when it must leave the parent.
pub(super) const SELF: &str = "self";

/// Makes `name` in the parent, a place for cgroups with these controllers.
///
/// This process enters the place even where it need not stay: whether the kernel lets a user move processes there depends on
/// the common ancestor of both cgroups (cgroups(7), "Cgroup delegation containment rules"), and a step should not be the first
/// to find out.
pub(super) fn preparation(name: &str, needed: &BTreeSet<Controller>, facts: &Facts) -> Vec<Doable> {
    let own = format!("{name}/{SELF}");
    let create = |name: &str| {
        let name = name.to_owned();
        (Op::Create(name.clone()), Some(Op::Remove(name)))
    };
    let mut ops = vec![create(name), create(&own)];
    let must_leave = facts.own && !facts.root;
    if must_leave {
        ops.push((Op::Enter(own), Some(Op::Return)));
    } else {
        ops.push((Op::Enter(own), None));
        ops.push((Op::Return, None));
    }
    let missing: Vec<Controller> = needed.difference(&facts.enabled).copied().collect();
    if !missing.is_empty() {
        if !facts.root {
            ops.push((Op::ExpectEmpty, None));
        }
        // It goes off again only where this process must get back in. Elsewhere another rbuild may count on it.
        let off = must_leave.then(|| Op::Disable(String::new(), missing.clone()));
        ops.push((Op::Enable(String::new(), missing), off));
    }
    if !needed.is_empty() {
        let needed: Vec<Controller> = needed.iter().copied().collect();
        let off = Op::Disable(name.to_owned(), needed.clone());
        ops.push((Op::Enable(name.to_owned(), needed), Some(off)));
    }
    ops
}

/// Performs the operations; returns what undoes them, in the order of undoing.
pub(super) fn perform(
    ops: Vec<Doable>,
    act: &mut dyn FnMut(&Op) -> Result<(), Errno>,
) -> Result<Vec<Op>, (Op, Errno)> {
    let mut undo = Vec::new();
    for (op, undoing) in ops {
        if let Err(errno) = act(&op) {
            take_back(&undo, act);
            return Err((op, errno));
        }
        if let Some(undoing) = undoing {
            undo.insert(0, undoing);
        }
    }
    Ok(undo)
}

/// Performs what undoes, whatever fails of it: what is left is removed by the next rbuild, or with the parent.
pub(super) fn take_back(undo: &[Op], act: &mut dyn FnMut(&Op) -> Result<(), Errno>) {
    for op in undo {
        let _ = act(op);
    }
}
