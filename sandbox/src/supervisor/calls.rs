//! The answer to each call. The invariant: a call that shows or changes nothing that is noted is continued, so that the kernel
//! answers it as always; what is answered here has been done, or changed nothing.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use rustix::fs::{FileType, Mode, OFlags};

use super::caller::{Caller, kernel};
use super::credentials::Table;
use super::identity::{assume, credentials, identity};
use super::owners::{FileOwner, LinkOwners, OwnerNotes, Owners};
use super::request::{Named, Request};
use crate::sys;

/// What the kernel does with a call.
pub(super) enum Answer {
    /// What it always does.
    Continue,
    /// The call returns this.
    Value(i64),
    /// The call fails.
    Fail(Errno),
    /// It was answered already.
    Given,
}

impl From<Result<Self, Errno>> for Answer {
    fn from(result: Result<Self, Errno>) -> Self {
        result.unwrap_or_else(Self::Fail)
    }
}

/// What the supervisor of a step knows.
pub(super) struct State {
    listener: OwnedFd,
    owners: Owners,
}

impl State {
    /// To be made in the step's mount namespace.
    pub(super) fn new(listener: OwnedFd, notes: Box<dyn OwnerNotes>) -> Result<Self, Errno> {
        Ok(Self {
            listener,
            owners: Owners::new(notes)?,
        })
    }

    pub(super) fn answer(
        &mut self,
        caller: &Caller,
        call: &libc::seccomp_notif,
        table: &mut Table,
    ) -> Answer {
        let (id, args, number) = (call.id, &call.data.args, i64::from(call.data.nr));
        if let Some(answer) = identity(caller, number, args, table) {
            return answer;
        }
        match Request::of(number, args) {
            Some(Request::Status { named, into }) => self.stat(caller, id, &named, into),
            Some(Request::Extended { named, mask, into }) => {
                self.statx(caller, id, &named, mask, into)
            }
            Some(Request::Chown { named, owner }) => self.chown(caller, id, table, &named, owner),
            Some(Request::Mkdir { named, mode }) => self.mkdir(caller, id, table, &named, mode),
            Some(Request::Symlink { named, target }) => {
                self.symlink(caller, id, table, &named, target)
            }
            Some(Request::Mknod { named, mode }) => self.mknod(caller, id, table, &named, mode),
            Some(Request::Create { named, mode }) => self.create(caller, id, table, &named, mode),
            Some(Request::Move { named }) => self.pin(caller, id, &named),
            Some(Request::Execute { named }) => self.execute(caller, table, &named),
            None => Answer::Continue,
        }
    }

    /// Whether what was read from the caller's memory is still the caller's: its number may be another's by now.
    fn still_waits(&self, id: u64) -> Result<(), Errno> {
        match sys::notification_is_valid(&self.listener, id) {
            true => Ok(()),
            false => Err(Errno::ESRCH),
        }
    }

    /// The owner of an open file where it is another than what the kernel says.
    fn owner(&mut self, caller: &Caller, named: &Named, file: &OwnedFd) -> Option<FileOwner> {
        let owner = self.owners.of(file);
        owner.or_else(|| self.owner_of_link(caller, named, file))
    }

    /// The owner that a link's directory says.
    fn owner_of_link(
        &mut self,
        caller: &Caller,
        named: &Named,
        file: &OwnedFd,
    ) -> Option<FileOwner> {
        if named.follow() || named.path == 0 {
            return None;
        }
        self.owners.of_link(file, || {
            let path = caller.text(named.path)?;
            Ok(caller.parent(named.directory, &path)?.0)
        })
    }

    /// What was given to links.
    pub(super) fn into_links(self) -> LinkOwners {
        self.owners.into_links()
    }

    fn stat(&mut self, caller: &Caller, id: u64, named: &Named, into: u64) -> Answer {
        let places = [
            std::mem::offset_of!(libc::stat, st_uid),
            std::mem::offset_of!(libc::stat, st_gid),
        ];
        self.show(caller, id, named, into, places, |file| {
            sys::raw_status(file)
        })
    }

    fn statx(&mut self, caller: &Caller, id: u64, named: &Named, mask: u32, into: u64) -> Answer {
        let places = [
            std::mem::offset_of!(libc::statx, stx_uid),
            std::mem::offset_of!(libc::statx, stx_gid),
        ];
        let sync = named.flags & libc::AT_STATX_SYNC_TYPE;
        self.show(caller, id, named, into, places, |file| {
            sys::raw_statx(file, sync, mask)
        })
    }

    /// stat(2) and its kin: a status with the noted owner at these places. What cannot be opened the kernel explains better.
    fn show<const N: usize>(
        &mut self,
        caller: &Caller,
        id: u64,
        named: &Named,
        into: u64,
        [uid, gid]: [usize; 2],
        status: impl FnOnce(&OwnedFd) -> Result<[u8; N], Errno>,
    ) -> Answer {
        let Ok(file) = named.open(caller) else {
            return Answer::Continue;
        };
        let Some(owner) = self.owner(caller, named, &file) else {
            return Answer::Continue;
        };
        let shown = status(&file).and_then(|mut status| {
            put(&mut status, uid, owner.uid);
            put(&mut status, gid, owner.gid);
            self.still_waits(id)?;
            caller.write(into, &status)
        });
        shown.map(|()| Answer::Value(0)).into()
    }

    fn chown(
        &mut self,
        caller: &Caller,
        id: u64,
        table: &Table,
        named: &Named,
        owner: [u32; 2],
    ) -> Answer {
        let changed = named.open(caller).and_then(|file| {
            let old = self.owner(caller, named, &file).unwrap_or(FileOwner::ROOT);
            let by = credentials(caller, table)?;
            self.still_waits(id)?;
            self.owners.change(&file, old, owner, by)
        });
        changed.map(|()| Answer::Value(0)).into()
    }

    /// rename(2) and link(2): the owner of a link is noted in its directory, so that of one which leaves it is remembered.
    fn pin(&mut self, caller: &Caller, id: u64, named: &Named) -> Answer {
        let Ok(file) = named.open(caller) else {
            return Answer::Continue;
        };
        if self.owners.of(&file).is_some() {
            return Answer::Continue;
        }
        let Some(owner) = self.owner_of_link(caller, named, &file) else {
            return Answer::Continue;
        };
        let pinned = self
            .still_waits(id)
            .and_then(|()| self.owners.pin(&file, owner));
        pinned.map(|()| Answer::Continue).into()
    }

    /// mkdir(2), symlink(2) and mknod(2), where what they make is not image root's: `make` makes it, for a file mode creation mask.
    fn make(
        &mut self,
        caller: &Caller,
        id: u64,
        table: &Table,
        named: &Named,
        make: impl FnOnce(&OwnedFd, &[u8], u32) -> Result<(), Errno>,
    ) -> Answer {
        let Some((parent, name, owner)) = self.made(caller, table, named) else {
            return Answer::Continue;
        };
        let made = caller.umask().and_then(|umask| {
            self.still_waits(id)?;
            make(&parent, &name, umask)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(&parent, name.as_slice(), flags, Mode::empty());
            self.owners.note(&made.map_err(kernel)?, owner)
        });
        made.map(|()| Answer::Value(0)).into()
    }

    fn mkdir(
        &mut self,
        caller: &Caller,
        id: u64,
        table: &Table,
        named: &Named,
        mode: u32,
    ) -> Answer {
        self.make(caller, id, table, named, |parent, name, umask| {
            let mode = Mode::from_raw_mode(mode & 0o1777 & !umask);
            rustix::fs::mkdirat(parent, name, mode).map_err(kernel)
        })
    }

    fn symlink(
        &mut self,
        caller: &Caller,
        id: u64,
        table: &Table,
        named: &Named,
        target: u64,
    ) -> Answer {
        self.make(caller, id, table, named, |parent, name, _| {
            let target = caller.text(target)?;
            rustix::fs::symlinkat(target.as_slice(), parent, name).map_err(kernel)
        })
    }

    /// Devices are refused by the kernel, as they are where there are many ids.
    fn mknod(
        &mut self,
        caller: &Caller,
        id: u64,
        table: &Table,
        named: &Named,
        mode: u32,
    ) -> Answer {
        let kind = match FileType::from_raw_mode(mode) {
            FileType::CharacterDevice | FileType::BlockDevice => return Answer::Continue,
            _ if mode & libc::S_IFMT == 0 => FileType::RegularFile,
            kind => kind,
        };
        self.make(caller, id, table, named, |parent, name, umask| {
            let mode = Mode::from_raw_mode(mode & 0o7777 & !umask);
            rustix::fs::mknodat(parent, name, kind, mode, 0).map_err(kernel)
        })
    }

    /// open(2) with O_CREAT, where a new file is not image root's. A file that is there is opened by the kernel.
    fn create(
        &mut self,
        caller: &Caller,
        id: u64,
        table: &Table,
        named: &Named,
        mode: u32,
    ) -> Answer {
        let Some((parent, name, owner)) = self.made(caller, table, named) else {
            return Answer::Continue;
        };
        let made = caller.umask().and_then(|umask| {
            self.still_waits(id)?;
            let flags = OFlags::from_bits_retain(named.flags.cast_unsigned())
                | OFlags::CREATE
                | OFlags::EXCL
                | OFlags::NOFOLLOW
                | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(mode & 0o7777 & !umask);
            let file = rustix::fs::openat(&parent, name.as_slice(), flags, mode).map_err(kernel)?;
            self.owners.note(&file, owner)?;
            let close_on_exec = named.flags & libc::O_CLOEXEC != 0;
            sys::answer_with_descriptor(&self.listener, id, &file, close_on_exec)
        });
        match made {
            Ok(()) => Answer::Given,
            Err(Errno::EEXIST) => Answer::Continue,
            Err(errno) => Answer::Fail(errno),
        }
    }

    /// Where something new is to be, and whose it will be unless it is image root's.
    fn made(
        &self,
        caller: &Caller,
        table: &Table,
        named: &Named,
    ) -> Option<(OwnedFd, Vec<u8>, FileOwner)> {
        let by = credentials(caller, table).ok()?;
        let path = caller.text(named.path).ok()?;
        let (parent, name) = caller.parent(named.directory, &path).ok()?;
        let owner = self.owners.of_new(&parent, by)?;
        Some((parent, name, owner))
    }

    /// execve(2): a set-user-ID program makes its process its owner's. Whether it can be executed the kernel says.
    fn execute(&self, caller: &Caller, table: &mut Table, named: &Named) -> Answer {
        let Ok(file) = named.open(caller) else {
            return Answer::Continue;
        };
        let bits = rustix::fs::fstat(&file).map_or(0, |status| status.st_mode);
        let regular = bits & libc::S_IFMT == libc::S_IFREG;
        let set = |bit: u32| regular && bits & bit != 0;
        let owner = || self.owners.of(&file).unwrap_or(FileOwner::ROOT);
        let user = set(libc::S_ISUID).then(|| owner().uid);
        // Without the group's right to execute it means something else, chmod(2).
        let group = (set(libc::S_ISGID) && set(libc::S_IXGRP)).then(|| owner().gid);
        let new = credentials(caller, table).map(|by| {
            let new = by.executing(user, group);
            (new != *by).then_some(new)
        });
        let done = new.and_then(|new| match new {
            Some(new) => assume(caller, table, new),
            None => Ok(()),
        });
        done.map(|()| Answer::Continue).into()
    }
}

fn put(bytes: &mut [u8], at: usize, id: u32) {
    bytes[at..at + 4].copy_from_slice(&id.to_ne_bytes());
}
