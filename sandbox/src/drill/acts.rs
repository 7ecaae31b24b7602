//! What the probes do. The invariant: an act that succeeds harms nothing, so that it can be tried on the host too; its error
//! is the kernel's, or ENODATA where there was nothing to be had.

use std::ffi::{CStr, CString};
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use rustix::fs::{CWD, FileType, MemfdFlags, Mode};

use super::canary::Canary;
use crate::sys::{Argument, raw_call};

type Attempt = Result<(), Errno>;

fn kernels(error: &io::Error) -> Errno {
    // Only a connection that takes too long fails without the kernel.
    error
        .raw_os_error()
        .map_or(Errno::ETIMEDOUT, Errno::from_raw)
}

fn rustixs(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

pub(crate) fn call<const N: usize>(number: i64, arguments: [Argument<'_>; N]) -> Attempt {
    raw_call(number, arguments).map(drop)
}

/// An error that the kernel gives only to those who may.
pub(crate) fn reached(errno: Errno, attempt: Attempt) -> Attempt {
    match attempt {
        Err(found) if found == errno => Ok(()),
        other => other,
    }
}

pub(crate) fn read(path: &Path) -> Attempt {
    let bytes = fs::read(path).map_err(|error| kernels(&error))?;
    if bytes.is_empty() {
        Err(Errno::ENODATA)
    } else {
        Ok(())
    }
}

pub(crate) fn exists(path: &Path) -> Attempt {
    fs::symlink_metadata(path)
        .map(drop)
        .map_err(|error| kernels(&error))
}

pub(crate) fn open_for_writing(path: &Path) -> Attempt {
    OpenOptions::new()
        .write(true)
        .open(path)
        .map(drop)
        .map_err(|error| kernels(&error))
}

pub(crate) fn write(path: &Path, text: &str) -> Attempt {
    fs::write(path, text).map_err(|error| kernels(&error))
}

/// A path that leaves `start` upwards as far as it goes, and then leads to `target`.
pub(crate) fn up_and_to(start: &Path, target: &Path) -> PathBuf {
    let target = target
        .strip_prefix("/")
        .expect("the canary's path is absolute");
    start.join("../".repeat(40)).join(target)
}

pub(crate) fn read_through_descriptors(target: &Path) -> Attempt {
    let descriptors = fs::read_dir("/proc/self/fd").map_err(|error| kernels(&error))?;
    let attempts = descriptors
        .flatten()
        .map(|entry| read(&up_and_to(&entry.path(), target)));
    attempts.reduce(Result::or).unwrap_or(Err(Errno::ENOENT))
}

pub(crate) fn signal(pid: i32, number: i32) -> Attempt {
    call(libc::SYS_kill, [pid.into(), number.into()])
}

pub(crate) fn mount(
    source: &CStr,
    target: &CStr,
    filesystem: &CStr,
    flags: libc::c_ulong,
) -> Attempt {
    let flags = i32::try_from(flags).expect("the drill's flags are small");
    call(
        libc::SYS_mount,
        [
            source.into(),
            target.into(),
            filesystem.into(),
            flags.into(),
            0.into(),
        ],
    )
}

pub(crate) fn unmount(target: &CStr) -> Attempt {
    call(libc::SYS_umount2, [target.into(), libc::MNT_DETACH.into()])
}

pub(crate) fn move_nothing() -> Attempt {
    call(
        libc::SYS_move_mount,
        [
            libc::AT_FDCWD.into(),
            c"/nowhere".into(),
            libc::AT_FDCWD.into(),
            c"/nowhere".into(),
            0.into(),
        ],
    )
}

/// Changes nothing, for those who may change something.
pub(crate) fn set_no_attribute() -> Attempt {
    let mut attributes = [0_u8; size_of::<libc::mount_attr>()];
    let size = 32;
    call(
        libc::SYS_mount_setattr,
        [
            libc::AT_FDCWD.into(),
            c"/".into(),
            0.into(),
            (&mut attributes[..]).into(),
            size.into(),
        ],
    )
}

/// The classic: a directory above the new root stays open.
pub(crate) fn escape_by_chroot(target: &Path) -> Attempt {
    let outside = fs::File::open("/").map_err(|error| kernels(&error))?;
    rustix::process::chroot("/tmp").map_err(rustixs)?;
    rustix::process::fchdir(&outside).map_err(rustixs)?;
    read(&up_and_to(Path::new("."), target))
}

pub(crate) fn unshare(flags: i32) -> Attempt {
    call(libc::SYS_unshare, [flags.into()])
}

/// A child that ends at once would need care in a process with Rust's runtime; a stack of 0 makes it fork(2).
pub(crate) fn clone(flags: i32) -> Attempt {
    let child = raw_call(
        libc::SYS_clone,
        [
            (flags | libc::SIGCHLD).into(),
            0.into(),
            0.into(),
            0.into(),
            0.into(),
        ],
    )?;
    if child == 0 {
        std::process::exit(0);
    }
    Ok(())
}

pub(crate) fn join_own_uts() -> Attempt {
    let own = fs::File::open("/proc/self/ns/uts").map_err(|error| kernels(&error))?;
    call(libc::SYS_setns, [own.as_raw_fd().into(), 0.into()])
}

/// What Podman masks, as far as it can be read without a mask by anybody.
pub(crate) fn read_any_masked() -> Attempt {
    let files = [
        "acpi",
        "interrupts",
        "kcore",
        "keys",
        "latency_stats",
        "sched_debug",
        "scsi",
        "timer_list",
        "timer_stats",
    ];
    let files = files.map(|name| read(&Path::new("/proc").join(name)));
    let directories = [
        "dev/block",
        "devices/virtual/powercap",
        "firmware",
        "fs/selinux",
    ];
    let directories = directories.map(|name| list(&Path::new("/sys").join(name)));
    let attempts = files.into_iter().chain(directories);
    if attempts.into_iter().any(|attempt| attempt.is_ok()) {
        Ok(())
    } else {
        Err(Errno::ENODATA)
    }
}

fn list(directory: &Path) -> Attempt {
    let mut entries = fs::read_dir(directory).map_err(|error| kernels(&error))?;
    if entries.next().is_some() {
        Ok(())
    } else {
        Err(Errno::ENODATA)
    }
}

/// Opens every file of a tree for writing, writes nothing, and reports the first success or the last error.
pub(crate) fn open_any_for_writing(root: &str) -> Attempt {
    let mut pending = vec![PathBuf::from(root)];
    let mut last = Err(Errno::ENOENT);
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                Ok(kind) if kind.is_file() => last = open_for_writing(&entry.path()),
                _ => {}
            }
            if last.is_ok() {
                return last;
            }
        }
    }
    last
}

pub(crate) fn make_device(canary: &Canary, kind: FileType) -> Attempt {
    // Beside the canary where there is one, else in the step's /tmp.
    let place = canary
        .file
        .parent()
        .filter(|place| place.is_dir())
        .unwrap_or(Path::new("/tmp"));
    let path = place.join(format!("device-{kind:?}"));
    let device = rustix::fs::makedev(1, 7);
    rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), device).map_err(rustixs)?;
    let _ = fs::remove_file(path);
    Ok(())
}

pub(crate) fn chown_new_file(id: u32) -> Attempt {
    let file = rustix::fs::memfd_create("drill", MemfdFlags::CLOEXEC).map_err(rustixs)?;
    std::os::unix::fs::fchown(&file, Some(id), Some(id)).map_err(|error| kernels(&error))
}

pub(crate) fn trace(pid: i32) -> Attempt {
    call(
        libc::SYS_ptrace,
        [
            libc::PTRACE_SEIZE.cast_signed().into(),
            pid.into(),
            0.into(),
            0.into(),
        ],
    )
}

pub(crate) fn io_uring() -> Attempt {
    let mut parameters = [0_u8; 120];
    call(
        libc::SYS_io_uring_setup,
        [1.into(), (&mut parameters[..]).into()],
    )
}

/// Counts the own process's time, which is software and needs no hardware counter.
pub(crate) fn perf_event() -> Attempt {
    let mut attributes = [0_u8; 64];
    attributes[..16].copy_from_slice(&[1, 0, 0, 0, 64, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    call(
        libc::SYS_perf_event_open,
        [
            (&mut attributes[..]).into(),
            0.into(),
            (-1).into(),
            (-1).into(),
            0.into(),
        ],
    )
}

pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> Attempt {
    call(
        libc::SYS_socket,
        [family.into(), kind.into(), protocol.into()],
    )
}

pub(crate) fn connect_abstract(name: &str) -> Attempt {
    let address = SocketAddr::from_abstract_name(name).map_err(|error| kernels(&error))?;
    UnixStream::connect_addr(&address)
        .map(drop)
        .map_err(|error| kernels(&error))
}

pub(crate) fn connect_tcp(address: Ipv4Addr, port: u16) -> Attempt {
    let address = SocketAddrV4::new(address, port).into();
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    stream.map(drop).map_err(|error| kernels(&error))
}

/// The default gateway in /proc/net/route, whose numbers are in the machine's byte order.
pub(crate) fn gateway() -> Result<Ipv4Addr, Errno> {
    let routes = fs::read_to_string("/proc/net/route").map_err(|error| kernels(&error))?;
    let fields = routes
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let default = fields.into_iter().find_map(|fields| match fields[..] {
        [_, "00000000", gateway, ..] => u32::from_str_radix(gateway, 16).ok(),
        _ => None,
    });
    default
        .map(|gateway| Ipv4Addr::from(gateway.to_ne_bytes()))
        .ok_or(Errno::ENETUNREACH)
}

pub(crate) fn open_queue(name: &str) -> Attempt {
    let name = c_string(name);
    call(
        libc::SYS_mq_open,
        [
            name.as_c_str().into(),
            libc::O_RDONLY.into(),
            0.into(),
            0.into(),
        ],
    )
}

/// The descriptor stays open until the process ends.
pub(crate) fn make_queue(name: &str) -> Attempt {
    let (name, flags) = (c_string(name), libc::O_CREAT | libc::O_RDWR);
    call(
        libc::SYS_mq_open,
        [name.as_c_str().into(), flags.into(), 0o666.into(), 0.into()],
    )
}

pub(crate) fn remove_queue(name: &str) -> Attempt {
    call(libc::SYS_mq_unlink, [c_string(name).as_c_str().into()])
}

pub(crate) fn make_segment(key: i32) -> Attempt {
    call(
        libc::SYS_shmget,
        [key.into(), 4096.into(), (libc::IPC_CREAT | 0o666).into()],
    )
}

pub(crate) fn remove_segment(key: i32) -> Attempt {
    let id = raw_call(libc::SYS_shmget, [key.into(), 0.into(), 0.into()])?;
    let id = i32::try_from(id).expect("ids of segments are ints");
    call(
        libc::SYS_shmctl,
        [id.into(), libc::IPC_RMID.into(), 0.into()],
    )
}

/// KEY_SPEC_SESSION_KEYRING, keyctl(2).
const SESSION_KEYRING: i32 = -3;

/// Looks for a key in the keyring of the session, which a child inherits.
pub(crate) fn find_key(name: &str) -> Attempt {
    search_key(name).map(drop)
}

fn search_key(name: &str) -> Result<i64, Errno> {
    const SEARCH: i32 = 10;
    let name = c_string(name);
    raw_call(
        libc::SYS_keyctl,
        [
            SEARCH.into(),
            SESSION_KEYRING.into(),
            c"user".into(),
            name.as_c_str().into(),
            0.into(),
        ],
    )
}

pub(crate) fn make_key(name: &str) -> Attempt {
    let name = c_string(name);
    call(
        libc::SYS_add_key,
        [
            c"user".into(),
            name.as_c_str().into(),
            c"x".into(),
            1.into(),
            SESSION_KEYRING.into(),
        ],
    )
}

pub(crate) fn remove_key(name: &str) -> Attempt {
    const UNLINK: i32 = 9;
    let key = i32::try_from(search_key(name)?).expect("ids of keys are ints");
    call(
        libc::SYS_keyctl,
        [UNLINK.into(), key.into(), SESSION_KEYRING.into()],
    )
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("there is no NUL in it")
}

/// A device of the host that the OCI runtime specification does not list, nor anybody makes.
pub(crate) fn find_other_device() -> Attempt {
    const USUAL: [&str; 16] = [
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd",
        "stdin", "stdout", "stderr", "console", "core",
    ];
    let entries = fs::read_dir("/dev").map_err(|error| kernels(&error))?;
    let mut names = entries.flatten().map(|entry| entry.file_name());
    match names.any(|name| !USUAL.iter().any(|usual| name.to_str() == Some(usual))) {
        true => Ok(()),
        false => Err(Errno::ENOENT),
    }
}

/// A line of /proc/self/status, as a number of base 16.
fn status(key: &str) -> Result<u64, Errno> {
    let text = fs::read_to_string("/proc/self/status").map_err(|error| kernels(&error))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    let value = value.and_then(|value| u64::from_str_radix(value.trim(), 16).ok());
    value.ok_or(Errno::ENODATA)
}

/// Whether there is no filter of system calls.
pub(crate) fn be_unfiltered() -> Attempt {
    match status("Seccomp:")? {
        2 => Err(Errno::EACCES),
        _ => Ok(()),
    }
}

/// A capability that podman's containers do not have, among those that can be gained.
pub(crate) fn gain_rare_capability() -> Attempt {
    const PODMANS: u64 = 0x8004_05fb;
    match status("CapBnd:")? & !PODMANS {
        0 => Err(Errno::ENODATA),
        _ => Ok(()),
    }
}

/// Capabilities that whatever is executed gets (CVE-2022-24769).
pub(crate) fn hand_capabilities_on() -> Attempt {
    match status("CapInh:")? {
        0 => Err(Errno::ENODATA),
        _ => Ok(()),
    }
}

/// Whether every id of the machine has a meaning here.
pub(crate) fn be_on_the_host() -> Attempt {
    let map = fs::read_to_string("/proc/self/uid_map").map_err(|error| kernels(&error))?;
    let counts = map
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    match counts.sum::<u64>() {
        4_294_967_295 => Ok(()),
        _ => Err(Errno::ENODATA),
    }
}

/// A descriptor beside the standard streams, and the one that lists them.
pub(crate) fn find_descriptor() -> Attempt {
    let entries = fs::read_dir("/proc/self/fd").map_err(|error| kernels(&error))?;
    let names = entries.flatten().filter(|entry| {
        let own = fs::read_link(entry.path());
        own.is_ok_and(|target| !target.starts_with("/proc"))
    });
    let numbers = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    match numbers.filter(|number| *number > 2).count() {
        0 => Err(Errno::ENOENT),
        _ => Ok(()),
    }
}

/// Whether executing a set-user-ID file would change the user (PR_SET_NO_NEW_PRIVS(2const)).
pub(crate) fn may_gain_privileges() -> Attempt {
    match status("NoNewPrivs:")? {
        1 => Err(Errno::EACCES),
        _ => Ok(()),
    }
}

/// Something in a directory.
pub(crate) fn find_entry(directory: &Path) -> Attempt {
    let mut entries = fs::read_dir(directory).map_err(|error| kernels(&error))?;
    entries.next().map(drop).ok_or(Errno::ENODATA)
}

/// A second name for a file, which is taken away again.
pub(crate) fn link_beside(file: &Path) -> Attempt {
    let name = file.with_extension("linked");
    fs::hard_link(file, &name)
        .and_then(|()| fs::remove_file(&name))
        .map_err(|error| kernels(&error))
}

/// Another name for a file, and its own again.
pub(crate) fn rename_and_back(file: &Path) -> Attempt {
    let name = file.with_extension("renamed");
    fs::rename(file, &name)
        .and_then(|()| fs::rename(&name, file))
        .map_err(|error| kernels(&error))
}

fn mounts() -> Result<String, Errno> {
    fs::read_to_string("/proc/self/mountinfo").map_err(|error| kernels(&error))
}

/// The directories that an overlay is made of, proc_pid_mountinfo(5): inside, their paths lead nowhere.
pub(crate) fn enter_overlay() -> Attempt {
    let mounts = mounts()?;
    let options = mounts.split([' ', ',', '\n']);
    let named = options.filter_map(|option| {
        let (name, value) = option.split_once('=')?;
        matches!(name, "upperdir" | "workdir" | "lowerdir" | "lowerdir+").then_some(value)
    });
    let mut directories = named.flat_map(|value| value.split(':'));
    let there = |path: &str| path.starts_with('/') && path != "/" && fs::read_dir(path).is_ok();
    match directories.any(there) {
        true => Ok(()),
        false => Err(Errno::ENOENT),
    }
}

/// A mount that shows what is mounted elsewhere, or that shows itself there (mount_namespaces(7)).
pub(crate) fn find_shared_mount() -> Attempt {
    let mounts = mounts()?;
    let tags = |line: &str| {
        let mut optional = line.split(' ').skip(6).take_while(|word| *word != "-");
        optional.any(|word| word.starts_with("shared:") || word.starts_with("master:"))
    };
    match mounts.lines().any(tags) {
        true => Ok(()),
        false => Err(Errno::ENODATA),
    }
}
