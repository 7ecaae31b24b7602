//! System calls that neither nix nor rustix offers safely. The invariant: every `unsafe` block of rbuild is in this file,
//! is a handful of lines, and says why it is needed and why it is sound.
#![expect(unsafe_code, reason = "this is the one file of the project that may")]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;
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

/// Forks the calling process, which must have one thread only, and puts the child into new `namespaces`, clone(2): of a new pid
/// namespace it is the first process.
///
/// # Errors
/// As [`fork`], and those of clone(2) for the namespaces.
pub(crate) fn fork_into(namespaces: CloneFlags) -> Result<Forked, Errno> {
    if thread_count() != Some(1) {
        return Err(Errno::EDEADLK);
    }
    let flags = namespaces.bits() | libc::SIGCHLD;
    // JUSTIFICATION: fork(2) makes no namespaces, and unshare(2) would need one more process, since the caller must not enter them.
    // SAFETY: without CLONE_VM and with no stack this is fork(2): the child has its own copy of everything. The process has
    // exactly one thread, checked above, so no lock can be held by a thread that is not copied. What libc's fork does beside is
    // for processes with threads, but for the thread id that it remembers, which nothing here reads.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match Errno::result(result)? {
        0 => Ok(Forked::Child),
        pid => i32::try_from(pid)
            .map(|pid| Forked::Parent(Pid::from_raw(pid)))
            .map_err(|_| Errno::EOVERFLOW),
    }
}

fn thread_count() -> Option<usize> {
    // The link count of a proc task directory is 2 + threads; reading it costs one system call.
    let stat = rustix::fs::stat("/proc/self/task").ok()?;
    usize::try_from(stat.st_nlink).ok()?.checked_sub(2)
}

/// The mount namespace of the process that `pidfd` refers to, PIDFD_GET_MNT_NAMESPACE of linux/pidfd.h (Linux 6.11).
pub(crate) fn mount_namespace_of(pidfd: impl AsFd) -> Result<OwnedFd, Errno> {
    const GET_MOUNT_NAMESPACE: libc::c_ulong = 0xff03;
    // JUSTIFICATION: no crate we use has the requests of pidfds.
    // SAFETY: the argument of this request is 0; no memory is passed.
    let fd = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), GET_MOUNT_NAMESPACE, 0) };
    let fd = Errno::result(fd)?;
    // SAFETY: the call has just returned this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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

/// Lets a traced process that stands still go on, with a signal or without (0), ptrace(2).
pub(crate) fn resume(pid: Pid, request: libc::c_uint, signal: i32) -> Result<(), Errno> {
    // JUSTIFICATION: nix's calls take none of the real-time signals, which threads of every libc use.
    // SAFETY: the requests that continue take a number as data and no address.
    let result = unsafe {
        libc::ptrace(
            request,
            pid.as_raw(),
            std::ptr::null_mut::<libc::c_void>(),
            libc::c_long::from(signal),
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

/// Installs a seccomp filter as [`install_filter`] does and returns the descriptor where its notifications arrive,
/// seccomp_unotify(2).
pub(crate) fn install_listener(program: &[seccompiler::sock_filter]) -> Result<OwnedFd, Errno> {
    /// linux/seccomp.h, Linux 5.19: a signal that does not kill no longer interrupts a call that is being answered.
    const WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    let install = |flags: libc::c_ulong| {
        // JUSTIFICATION: as for `install_filter`; no crate offers listeners without libseccomp.
        // SAFETY: as for `install_filter`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                std::ptr::from_ref(&filter),
            )
        };
        Errno::result(result)
    };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = match install(listener | WAIT_KILLABLE_RECV) {
        Err(Errno::EINVAL) => install(listener)?,
        other => other?,
    };
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the call has just returned this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One request of ioctl(2) to a seccomp listener.
fn listener_ioctl<T>(
    listener: impl AsFd,
    request: libc::c_ulong,
    value: &mut T,
) -> Result<i32, Errno> {
    // JUSTIFICATION: seccomp_unotify(2) is these requests; no crate offers them without libseccomp.
    // SAFETY: every caller in this file gives the type that linux/seccomp.h has for the request; it is plain data and lives
    // until the call returns.
    let result = unsafe {
        libc::ioctl(
            listener.as_fd().as_raw_fd(),
            request,
            std::ptr::from_mut(value),
        )
    };
    Errno::result(result)
}

/// The next call that waits for an answer, SECCOMP_IOCTL_NOTIF_RECV.
///
/// # Errors
/// `ENOENT` where its thread was killed meanwhile.
pub(crate) fn receive_notification(listener: impl AsFd) -> Result<libc::seccomp_notif, Errno> {
    // SAFETY: plain data for which all zeroes is a valid value; the kernel wants it zeroed.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    listener_ioctl(listener, 0xc050_2100, &mut call)?;
    Ok(call)
}

/// SECCOMP_IOCTL_NOTIF_SEND.
pub(crate) fn answer_notification(
    listener: impl AsFd,
    mut answer: libc::seccomp_notif_resp,
) -> Result<(), Errno> {
    listener_ioctl(listener, 0xc018_2101, &mut answer).map(drop)
}

/// Whether the thread of a call still waits, SECCOMP_IOCTL_NOTIF_ID_VALID: its number has not become another's.
pub(crate) fn notification_is_valid(listener: impl AsFd, mut id: u64) -> bool {
    listener_ioctl(listener, 0x4008_2102, &mut id).is_ok()
}

/// Gives the calling process a descriptor and makes its number the result, SECCOMP_IOCTL_NOTIF_ADDFD (Linux 5.14).
pub(crate) fn answer_with_descriptor(
    listener: impl AsFd,
    id: u64,
    descriptor: impl AsFd,
    close_on_exec: bool,
) -> Result<(), Errno> {
    let mut given = libc::seccomp_notif_addfd {
        id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: descriptor.as_fd().as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: if close_on_exec {
            libc::O_CLOEXEC.cast_unsigned()
        } else {
            0
        },
    };
    listener_ioctl(listener, 0x4018_2103, &mut given).map(drop)
}

/// Has the kernel switch straight between a caller and who answers, SECCOMP_IOCTL_NOTIF_SET_FLAGS (Linux 6.6).
pub(crate) fn answer_on_the_callers_processor(listener: impl AsFd) -> Result<(), Errno> {
    let request = 0x4008_2104;
    // SAFETY: the argument of this request is an integer, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP.
    let result = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), request, 1_u64) };
    Errno::result(result).map(drop)
}

/// Sets RLIMIT_LOCKS of a process where `new` is given, and returns what it was, prlimit(2).
pub(crate) fn lock_limit(pid: Pid, new: Option<u64>) -> Result<u64, Errno> {
    let new = new.map(|soft| libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: libc::RLIM64_INFINITY,
    });
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // JUSTIFICATION: rustix can read the limits of the calling process only.
    // SAFETY: both pointers are null or lead to live values of the type that the call has.
    let result = unsafe {
        libc::prlimit64(
            pid.as_raw(),
            libc::RLIMIT_LOCKS,
            new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
            &raw mut old,
        )
    };
    Errno::result(result).map(|_| old.rlim_cur)
}

/// The status of an open file as the kernel writes it for stat(2) on this processor.
pub(crate) fn raw_status(file: impl AsFd) -> Result<[u8; size_of::<libc::stat>()], Errno> {
    let mut status = [0; size_of::<libc::stat>()];
    // JUSTIFICATION: the bytes go into another process as they are; the types of libc and rustix hide their padding.
    // SAFETY: the path is a literal, and the buffer has the size of the `struct stat` of this processor (libc's is the
    // kernel's on 64-bit Linux).
    let result = unsafe {
        libc::syscall(
            libc::SYS_newfstatat,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            status.as_mut_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::result(result).map(|_| status)
}

/// The extended status of an open file as the kernel writes it for statx(2).
pub(crate) fn raw_statx(
    file: impl AsFd,
    flags: i32,
    mask: u32,
) -> Result<[u8; size_of::<libc::statx>()], Errno> {
    let mut status = [0; size_of::<libc::statx>()];
    // JUSTIFICATION: as for `raw_status`.
    // SAFETY: the path is a literal, and the buffer has the size of the kernel's `struct statx`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            mask,
            status.as_mut_ptr(),
        )
    };
    Errno::result(result).map(|_| status)
}

/// One argument of a system call.
pub(crate) struct Argument<'a>(usize, PhantomData<&'a mut [u8]>);

impl From<i32> for Argument<'_> {
    fn from(value: i32) -> Self {
        Self(value as isize as usize, PhantomData)
    }
}

impl<'a> From<&'a CStr> for Argument<'a> {
    fn from(text: &'a CStr) -> Self {
        Self(text.as_ptr() as usize, PhantomData)
    }
}

impl<'a> From<&'a mut [u8]> for Argument<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Self(bytes.as_mut_ptr() as usize, PhantomData)
    }
}

/// Makes a system call for the isolation drill, which tries what safe interfaces leave out. An integer must not be an address.
pub(crate) fn raw_call<const N: usize>(
    number: i64,
    arguments: [Argument<'_>; N],
) -> Result<i64, Errno> {
    let mut words = [0; 6];
    for (word, argument) in words.iter_mut().zip(&arguments) {
        *word = argument.0;
    }
    let [a, b, c, d, e, f] = words;
    // JUSTIFICATION: no crate wraps calls that no program should make.
    // SAFETY: texts end with NUL and live as long as `arguments`; buffers are as large as what the drill's calls fill in;
    // the calls that the drill makes change neither memory maps nor descriptors that Rust code owns.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// Makes a system call without arguments through the 32-bit entry point, for which a filter of 64-bit calls says nothing.
#[cfg(target_arch = "x86_64")]
pub(crate) fn int_0x80(number: u32) -> Result<i64, Errno> {
    let mut result = u64::from(number);
    // JUSTIFICATION: the 32-bit entry point can only be reached by its instruction.
    // SAFETY: the calls that the drill makes this way take no arguments and touch no memory; older kernels clear r8 to r11.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inout("rax") result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // A 32-bit result: errors are small negative numbers.
    match result as u32 as i32 {
        error @ -4095..0 => Err(Errno::from_raw(-error)),
        value => Ok(value.into()),
    }
}

/// Other architectures have no such entry point.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn int_0x80(_: u32) -> Result<i64, Errno> {
    Err(Errno::ENOSYS)
}
