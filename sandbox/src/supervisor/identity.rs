//! The answers to calls about a process's own ids. The invariant: they read and change the table's credentials and nothing else.

use nix::errno::Errno;

use super::caller::Caller;
use super::calls::Answer;
use super::credentials::{Change, Credentials, Ids, Kind, Table};
use super::request::{int, word};
use crate::sys;

pub(super) fn credentials<'t>(caller: &Caller, table: &'t Table) -> Result<&'t Credentials, Errno> {
    Ok(table.get(sys::lock_limit(caller.pid(), None)?))
}

pub(super) fn assume(caller: &Caller, table: &mut Table, new: Credentials) -> Result<(), Errno> {
    let position = table.position(new)?;
    sys::lock_limit(caller.pid(), Some(position)).map(drop)
}

/// Calls that are about a process's own ids; `None` for all others.
pub(super) fn identity(
    caller: &Caller,
    number: i64,
    args: &[u64; 6],
    table: &mut Table,
) -> Option<Answer> {
    use Change::{FileSystem, One, Three, Two};
    use Kind::{Group, User};
    let three = || Three([word(args[0]), word(args[1]), word(args[2])]);
    let answer = match number {
        libc::SYS_getuid => show(caller, table, User, |ids| ids.real),
        libc::SYS_geteuid => show(caller, table, User, |ids| ids.effective),
        libc::SYS_getgid => show(caller, table, Group, |ids| ids.real),
        libc::SYS_getegid => show(caller, table, Group, |ids| ids.effective),
        libc::SYS_getresuid => show_three(caller, table, User, args),
        libc::SYS_getresgid => show_three(caller, table, Group, args),
        libc::SYS_setuid => change(caller, table, User, One(word(args[0]))),
        libc::SYS_setgid => change(caller, table, Group, One(word(args[0]))),
        libc::SYS_setreuid => change(caller, table, User, Two(word(args[0]), word(args[1]))),
        libc::SYS_setregid => change(caller, table, Group, Two(word(args[0]), word(args[1]))),
        libc::SYS_setresuid => change(caller, table, User, three()),
        libc::SYS_setresgid => change(caller, table, Group, three()),
        libc::SYS_setfsuid => change_filesystem(caller, table, User, FileSystem(word(args[0]))),
        libc::SYS_setfsgid => change_filesystem(caller, table, Group, FileSystem(word(args[0]))),
        libc::SYS_prctl => credentials(caller, table)
            .map(|by| by.keeping(args[1] == 1))
            .and_then(|new| assume(caller, table, new))
            .map(|()| Answer::Continue),
        libc::SYS_prlimit64 => lock_limit(caller, args[3]),
        libc::SYS_getrlimit => lock_limit(caller, args[1]),
        libc::SYS_setrlimit => Ok(Answer::Value(0)),
        libc::SYS_getgroups => show_groups(caller, table, int(args[0]), args[1]),
        libc::SYS_setgroups => set_groups(caller, table, args[0], args[1]),
        _ => return None,
    };
    Some(answer.into())
}

fn show(
    caller: &Caller,
    table: &Table,
    kind: Kind,
    which: fn(Ids) -> u32,
) -> Result<Answer, Errno> {
    let id = which(credentials(caller, table)?.ids(kind));
    Ok(Answer::Value(id.into()))
}

fn show_three(
    caller: &Caller,
    table: &Table,
    kind: Kind,
    args: &[u64; 6],
) -> Result<Answer, Errno> {
    let ids = credentials(caller, table)?.ids(kind);
    for (address, id) in args.iter().zip([ids.real, ids.effective, ids.saved]) {
        caller.write(*address, &id.to_ne_bytes())?;
    }
    Ok(Answer::Value(0))
}

fn change(caller: &Caller, table: &mut Table, kind: Kind, change: Change) -> Result<Answer, Errno> {
    let new = credentials(caller, table)?.changed(kind, change)?;
    assume(caller, table, new).map(|()| Answer::Value(0))
}

/// These calls return what was before.
fn change_filesystem(
    caller: &Caller,
    table: &mut Table,
    kind: Kind,
    asked: Change,
) -> Result<Answer, Errno> {
    let before = credentials(caller, table)?.ids(kind).filesystem;
    change(caller, table, kind, asked)?;
    Ok(Answer::Value(before.into()))
}

/// RLIMIT_LOCKS as everybody expects it: without a limit, and whatever is set has no effect.
fn lock_limit(caller: &Caller, into: u64) -> Result<Answer, Errno> {
    if into != 0 {
        caller.write(into, &[0xff; size_of::<libc::rlimit64>()])?;
    }
    Ok(Answer::Value(0))
}

fn show_groups(caller: &Caller, table: &Table, room: i32, into: u64) -> Result<Answer, Errno> {
    let groups = &credentials(caller, table)?.supplementary;
    let count = i32::try_from(groups.len()).map_err(|_| Errno::EINVAL)?;
    if room != 0 {
        if room < count {
            return Err(Errno::EINVAL);
        }
        let bytes: Vec<u8> = groups.iter().flat_map(|id| id.to_ne_bytes()).collect();
        if !bytes.is_empty() {
            caller.write(into, &bytes)?;
        }
    }
    Ok(Answer::Value(count.into()))
}

fn set_groups(caller: &Caller, table: &mut Table, count: u64, from: u64) -> Result<Answer, Errno> {
    /// NGROUPS_MAX of linux/limits.h.
    const MOST: u64 = 65_536;
    if count > MOST {
        return Err(Errno::EINVAL);
    }
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let groups = if count == 0 {
        Vec::new()
    } else {
        caller.ids(from, count)?
    };
    let new = credentials(caller, table)?.with_groups(groups)?;
    assume(caller, table, new).map(|()| Answer::Value(0))
}
