//! Memory of another process. Invariant: what is read is a copy, so what that process writes afterwards changes nothing here.

use std::io::IoSliceMut;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// PATH_MAX of linux/limits.h, with the terminating zero.
const LONGEST_PATH: usize = 4096;
/// No page is smaller.
const PAGE: usize = 4096;

/// As many of `length` bytes as there are; whoever needs all of them counts.
///
/// # Errors
/// Those of process_vm_readv(2), when the first one is not there.
pub(crate) fn read(pid: Pid, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    let mut bytes = vec![0; length];
    // It may end right before memory that is not there: reading stops between the parts, process_vm_readv(2).
    let first = (PAGE - base % PAGE).min(length);
    let parts = [
        RemoteIoVec { base, len: first },
        RemoteIoVec {
            base: base.wrapping_add(first),
            len: length - first,
        },
    ];
    let read = process_vm_readv(pid, &mut [IoSliceMut::new(&mut bytes)], &parts)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// A text that ends with a zero, without it.
///
/// # Errors
/// As [`read`]; ENAMETOOLONG where no zero follows.
pub(crate) fn text(pid: Pid, address: u64) -> Result<Vec<u8>, Errno> {
    let mut text = read(pid, address, LONGEST_PATH)?;
    let end = text.iter().position(|byte| *byte == 0);
    text.truncate(end.ok_or(Errno::ENAMETOOLONG)?);
    Ok(text)
}
