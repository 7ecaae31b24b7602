//! System calls that no crate wraps, because no program should make them. The invariant: the kernel is given only memory
//! that is borrowed for the call, and may write only where the borrow is exclusive.
#![expect(unsafe_code, reason = "a drill tries what safe interfaces leave out")]

use std::ffi::CStr;
use std::marker::PhantomData;

use sandbox::Errno;

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

/// Makes a system call. An integer must not be an address.
pub(crate) fn call<const N: usize>(
    number: i64,
    arguments: [Argument<'_>; N],
) -> Result<i64, Errno> {
    let mut words = [0; 6];
    for (word, argument) in words.iter_mut().zip(&arguments) {
        *word = argument.0;
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: texts end with NUL and live as long as `arguments`; buffers are as large as what the drill's calls fill in;
    // the calls that the drill makes change neither memory maps nor descriptors that Rust code owns.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// Makes a system call without arguments through the 32-bit entry point, for which a filter of 64-bit calls says nothing.
#[cfg(target_arch = "x86_64")]
pub(crate) fn int_0x80(number: u32) -> Result<i64, Errno> {
    let mut result = u64::from(number);
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
