//! Whom a supervised process takes itself for. The invariant: what a call changes is what Linux would change for a process with
//! these ids whose capabilities come and go with user id 0, credentials(7); nothing here has any power.
//!
//! The kernel keeps them for us: the soft limit RLIMIT_LOCKS, which no kernel since 2.4.25 looks at, is inherited by fork(2) and
//! kept by execve(2) exactly as ids are. It holds the position in a table. A process that sets it itself deceives itself only.

use std::collections::HashMap;

use nix::errno::Errno;

use crate::spec::UserSpec;

/// The ids of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    /// Who makes files.
    pub(super) filesystem: u32,
}

impl Ids {
    fn all(id: u32) -> Self {
        Self {
            real: id,
            effective: id,
            saved: id,
            filesystem: id,
        }
    }

    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setuid(2), setgid(2)
    fn set(self, id: u32, privileged: bool) -> Result<Self, Errno> {
        match (privileged, id == self.real || id == self.saved) {
            (true, _) => Ok(Self::all(id)),
            (false, true) => Ok(Self {
                effective: id,
                filesystem: id,
                ..self
            }),
            (false, false) => Err(Errno::EPERM),
        }
    }

    /// setreuid(2), setregid(2)
    fn set_two(self, real: u32, effective: u32, privileged: bool) -> Result<Self, Errno> {
        let mut new = self;
        if real != KEEP {
            if !privileged && real != self.real && real != self.effective {
                return Err(Errno::EPERM);
            }
            new.real = real;
        }
        if effective != KEEP {
            if !privileged && !self.has(effective) {
                return Err(Errno::EPERM);
            }
            new.effective = effective;
        }
        if real != KEEP || (effective != KEEP && effective != self.real) {
            new.saved = new.effective;
        }
        new.filesystem = new.effective;
        Ok(new)
    }

    /// setresuid(2), setresgid(2)
    fn set_three(
        self,
        [real, effective, saved]: [u32; 3],
        privileged: bool,
    ) -> Result<Self, Errno> {
        let asked = [real, effective, saved];
        if !privileged && asked.iter().any(|id| *id != KEEP && !self.has(*id)) {
            return Err(Errno::EPERM);
        }
        let or = |new: u32, old: u32| if new == KEEP { old } else { new };
        let effective = or(effective, self.effective);
        Ok(Self {
            real: or(real, self.real),
            effective,
            saved: or(saved, self.saved),
            filesystem: effective,
        })
    }

    /// setfsuid(2), setfsgid(2): there is no error.
    fn set_filesystem(self, id: u32, privileged: bool) -> Self {
        let known = id != KEEP && known(id).is_ok();
        if known && (privileged || self.has(id) || id == self.filesystem) {
            return Self {
                filesystem: id,
                ..self
            };
        }
        self
    }
}

/// -1: stays as it is.
pub(super) const KEEP: u32 = u32::MAX;

/// How many ids there are, as with a subordinate range of the usual size: the same ids are refused here and there.
pub const IMITATED_IDS: u32 = 65_536;

/// An id that a user namespace has, or one that stays as it is.
///
/// # Errors
/// `EINVAL`, as the kernel says for an id without a mapping.
pub(super) fn known(id: u32) -> Result<(), Errno> {
    match id < IMITATED_IDS || id == KEEP {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    }
}

/// Which kind of ids a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

/// How a call changes ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    One(u32),
    Two(u32, u32),
    Three([u32; 3]),
    FileSystem(u32),
}

impl Change {
    fn ids(self) -> [u32; 3] {
        match self {
            Self::One(id) => [id, KEEP, KEEP],
            Self::Two(real, effective) => [real, effective, KEEP],
            Self::Three(ids) => ids,
            // It has no errors, and an unknown id changes nothing.
            Self::FileSystem(_) => [KEEP; 3],
        }
    }
}

/// All ids of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Credentials {
    pub(super) users: Ids,
    pub(super) groups: Ids,
    pub(super) supplementary: Vec<u32>,
    /// PR_SET_KEEPCAPS(2const)
    keep: bool,
    /// Whether capabilities were kept when user id 0 was given up.
    kept: bool,
}

impl Credentials {
    pub(super) fn of(user: &UserSpec) -> Self {
        Self {
            users: Ids::all(user.uid),
            groups: Ids::all(user.gid),
            supplementary: user.groups.clone(),
            keep: false,
            kept: false,
        }
    }

    /// What Linux asks CAP_SETUID, CAP_SETGID and CAP_CHOWN for.
    pub(super) fn is_privileged(&self) -> bool {
        self.users.effective == 0 || self.kept
    }

    pub(super) fn is_in(&self, group: u32) -> bool {
        self.groups.filesystem == group || self.supplementary.contains(&group)
    }

    pub(super) fn ids(&self, kind: Kind) -> Ids {
        match kind {
            Kind::User => self.users,
            Kind::Group => self.groups,
        }
    }

    /// The credentials after a call.
    pub(super) fn changed(&self, kind: Kind, change: Change) -> Result<Self, Errno> {
        let (ids, privileged) = (self.ids(kind), self.is_privileged());
        change.ids().into_iter().try_for_each(known)?;
        let ids = match change {
            // (uid_t) -1 is no id.
            Change::One(KEEP) => return Err(Errno::EINVAL),
            Change::One(id) => ids.set(id, privileged)?,
            Change::Two(real, effective) => ids.set_two(real, effective, privileged)?,
            Change::Three(asked) => ids.set_three(asked, privileged)?,
            Change::FileSystem(id) => ids.set_filesystem(id, privileged),
        };
        let mut new = self.clone();
        match kind {
            Kind::User => {
                new.users = ids;
                if self.users.has(0) && !ids.has(0) {
                    new.kept = self.keep;
                }
            }
            Kind::Group => new.groups = ids,
        }
        Ok(new)
    }

    /// setgroups(2)
    pub(super) fn with_groups(&self, groups: Vec<u32>) -> Result<Self, Errno> {
        if !self.is_privileged() {
            return Err(Errno::EPERM);
        }
        groups.iter().copied().try_for_each(known)?;
        Ok(Self {
            supplementary: groups,
            ..self.clone()
        })
    }

    /// After PR_SET_KEEPCAPS(2const).
    pub(super) fn keeping(&self, keep: bool) -> Self {
        Self {
            keep,
            ..self.clone()
        }
    }

    /// After execve(2) of a program that is set-user-ID or set-group-ID for these owners, or for nobody.
    pub(super) fn executing(&self, user: Option<u32>, group: Option<u32>) -> Self {
        let after = |ids: Ids, owner: Option<u32>| {
            let effective = owner.unwrap_or(ids.effective);
            Ids {
                real: ids.real,
                effective,
                saved: effective,
                filesystem: effective,
            }
        };
        Self {
            users: after(self.users, user),
            groups: after(self.groups, group),
            supplementary: self.supplementary.clone(),
            keep: false,
            kept: false,
        }
    }
}

/// All credentials that processes of a step have had; a process knows the position of its own.
#[derive(Debug)]
pub(super) struct Table {
    known: Vec<Credentials>,
    positions: HashMap<Credentials, u64>,
}

impl Table {
    /// More would be a step that floods its supervisor.
    const LARGEST: usize = 1 << 14;

    /// A table whose first credentials are those of the step's user.
    pub(super) fn new(first: Credentials) -> Self {
        Self {
            positions: HashMap::from([(first.clone(), 0)]),
            known: vec![first],
        }
    }

    /// What stands at a position; the first where there is none.
    pub(super) fn get(&self, position: u64) -> &Credentials {
        let known = usize::try_from(position)
            .ok()
            .and_then(|at| self.known.get(at));
        known.unwrap_or(&self.known[0])
    }

    /// The position of some credentials.
    pub(super) fn position(&mut self, credentials: Credentials) -> Result<u64, Errno> {
        if let Some(position) = self.positions.get(&credentials) {
            return Ok(*position);
        }
        if self.known.len() >= Self::LARGEST {
            return Err(Errno::EAGAIN);
        }
        let position = self.known.len() as u64;
        self.positions.insert(credentials.clone(), position);
        self.known.push(credentials);
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32) -> Credentials {
        Credentials::of(&UserSpec {
            uid,
            gid: uid,
            groups: Vec::new(),
        })
    }

    #[test]
    fn root_becomes_another_for_good_and_others_do_not() {
        let root = user(0);
        let daemon = root.changed(Kind::User, Change::One(33)).expect("root may");
        assert_eq!(daemon.users, Ids::all(33));
        assert_eq!(
            daemon.changed(Kind::User, Change::One(0)),
            Err(Errno::EPERM)
        );
        assert_eq!(
            daemon.changed(Kind::Group, Change::One(5)),
            Err(Errno::EPERM)
        );
        assert_eq!(daemon.with_groups(vec![4]), Err(Errno::EPERM));
    }

    #[test]
    fn an_effective_id_can_be_given_back() {
        let root = user(0);
        let for_a_while = root
            .changed(Kind::User, Change::Three([KEEP, 33, KEEP]))
            .expect("root may");
        assert_eq!(for_a_while.users.filesystem, 33);
        assert!(!for_a_while.is_privileged());
        let again = for_a_while
            .changed(Kind::User, Change::Two(KEEP, 0))
            .expect("it was saved");
        assert_eq!(again.users, Ids::all(0));
    }

    #[test]
    fn a_set_user_id_program_has_its_owners_id_until_it_gives_it_up() {
        let su = user(1000).executing(Some(0), None);
        assert_eq!(
            (su.users.real, su.users.effective, su.users.saved),
            (1000, 0, 0)
        );
        let shell = su.changed(Kind::User, Change::One(0)).expect("privileged");
        assert_eq!(shell.users, Ids::all(0));
    }

    #[test]
    fn kept_capabilities_last_until_a_program_is_executed() {
        let kept = user(0)
            .keeping(true)
            .changed(Kind::User, Change::One(33))
            .expect("root may");
        let group = kept
            .changed(Kind::Group, Change::One(5))
            .expect("it kept them");
        assert_eq!(group.groups, Ids::all(5));
        assert!(!group.executing(None, None).is_privileged());
    }

    #[test]
    fn ids_that_no_range_has_are_refused() {
        let root = user(0);
        assert_eq!(
            root.changed(Kind::User, Change::One(65_536)),
            Err(Errno::EINVAL)
        );
        assert_eq!(root.with_groups(vec![1, 1 << 31]), Err(Errno::EINVAL));
        let same = root.changed(Kind::User, Change::FileSystem(1 << 31));
        assert_eq!(same, Ok(root));
    }

    #[test]
    fn every_credentials_have_one_position_and_nonsense_means_the_first() {
        let mut table = Table::new(user(0));
        let position = table.position(user(33)).expect("there is room");
        assert_eq!(table.position(user(33)), Ok(position));
        assert_eq!(table.get(position), &user(33));
        assert_eq!(table.get(u64::MAX), &user(0));
    }
}
