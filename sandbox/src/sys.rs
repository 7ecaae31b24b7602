//! System calls that neither nix nor rustix offers safely. The invariant: every `unsafe` block of rbuild is in this file,
//! is a handful of lines, and says why it is needed and why it is sound.
#![expect(unsafe_code, reason = "this is the one file of the project that may")]

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

/// The process that [`fork`] returns in.
pub(crate) enum Forked {
    /// The parent, with the child's process id as the parent's namespace counts it.
    Parent(Pid),
    /// The child.
    Child,
}

/// Forks the calling process, which must have one thread only.
///
/// # Errors
/// `EAGAIN` or `ENOMEM` of fork(2); `EDEADLK` where the process has more than one thread.
pub(crate) fn fork() -> Result<Forked, Errno> {
    // A child of a threaded process may call only async-signal-safe functions (fork(2)); ours allocates. So the
    // precondition is checked rather than trusted.
    if thread_count() != Some(1) {
        return Err(Errno::EDEADLK);
    }
    // JUSTIFICATION: creating pid 1 of a new pid namespace needs fork after unshare(CLONE_NEWPID), pid_namespaces(7).
    // SAFETY: the process has exactly one thread, checked above, so no lock can be held by a thread that is not copied.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        ForkResult::Child => Ok(Forked::Child),
    }
}

fn thread_count() -> Option<usize> {
    // The link count of a proc task directory is 2 + threads; reading it costs one system call.
    let stat = rustix::fs::stat("/proc/self/task").ok()?;
    usize::try_from(stat.st_nlink).ok()?.checked_sub(2)
}

/// Changes mount attributes of the mount (and with `recursive` of all below it) that `mount` refers to, mount_setattr(2).
pub(crate) fn mount_setattr(mount: impl AsFd, recursive: bool, set: u64) -> Result<(), Errno> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // JUSTIFICATION: no crate we use wraps mount_setattr(2).
    // SAFETY: the path is a NUL-terminated literal, `attr` is a live, fully initialised value, its exact size is given,
    // and the kernel only reads from both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attr),
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Joins a new, empty, anonymous session keyring, so that the caller's keys are out of reach, keyctl(2).
pub(crate) fn join_new_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_ulong = 1;
    // JUSTIFICATION: keyctl(2) has no wrapper in libc.
    // SAFETY: a null name asks for an anonymous keyring; no other memory is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Brings the loopback interface of the calling thread's network namespace up, netdevice(7).
pub(crate) fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    // SAFETY: `ifreq` is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("flags fit a short");
    // JUSTIFICATION: one ioctl instead of a netlink crate.
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives until the call returns; the name is NUL-terminated by the zeroes.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            std::ptr::from_ref(&request),
        )
    };
    Errno::result(result).map(drop)
}

/// Makes the terminal on standard input the controlling terminal of the calling session leader, ioctl_tty(2).
pub(crate) fn take_terminal() -> Result<(), Errno> {
    // JUSTIFICATION: rustix marks TIOCSCTTY as safe only with its `process` ioctl, which takes no argument.
    // SAFETY: the argument is an integer (0: do not steal); no memory is passed.
    let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
    Errno::result(result).map(drop)
}

/// Closes every descriptor from `first` upwards. Only for a process that has just started or was just forked, that executes
/// a program, or that ends right after.
pub(crate) fn close_from(first: u32) -> Result<(), Errno> {
    // JUSTIFICATION: the program's path must not be resolvable through an open descriptor (CVE-2024-21626), so closing at
    // execve(2) is too late.
    // SAFETY: no owner of a closed descriptor is used or dropped: at the start of `main` none exists; later the caller's
    // frames are left behind by execve(2), or by `std::process::exit`, which runs no destructors of theirs.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    Errno::result(result).map(drop)
}

/// Installs a seccomp filter for the calling thread and its future children, seccomp(2).
pub(crate) fn install_filter(program: &[seccompiler::sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // JUSTIFICATION: seccompiler's own installer always sets no_new_privs, which a build step must not have.
    // SAFETY: `filter` points at `len` instructions that live until the call returns; seccompiler's `sock_filter` is
    // `repr(C)` with the fields of linux/filter.h, as libc's is; the kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            std::ptr::from_ref(&filter),
        )
    };
    Errno::result(result).map(drop)
}

/// Gives every signal its default action and unblocks all, so that a program starts as after a login: Rust's runtime ignores
/// SIGPIPE, and a shell ignores SIGINT for what it starts in the background.
pub(crate) fn reset_signals() -> Result<(), Errno> {
    use nix::sys::signal::SigSet;
    /// _NSIG of the kernel, asm-generic/signal.h.
    const LAST: i32 = 64;
    // The kernel's `struct sigaction`: a handler, flags, a restorer and a mask. Zeroes say SIG_DFL, and nothing else.
    let default = [0_u64; 4];
    for signal in (1..=LAST).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // JUSTIFICATION: only sigaction(2) changes what is ignored across execve(2), and libc's refuses the first two
        // real-time signals, which a caller may ignore like any other.
        // SAFETY: no handler function is installed, so none can run in a bad moment; the kernel reads at most the 32
        // bytes of `default`, and 8 is the size of its signal mask.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                8,
            )
        };
        Errno::result(result)?;
    }
    SigSet::all().thread_unblock()
}

/// Ignores what a terminal sends to its foreground processes, signal(7).
pub(crate) fn ignore_terminal_signals() -> Result<(), Errno> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    for each in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
        // JUSTIFICATION: nix marks every change of a signal's action as unsafe.
        // SAFETY: no handler function is installed, so none can run in a bad moment.
        unsafe { signal(each, SigHandler::SigIgn) }?;
    }
    Ok(())
}
