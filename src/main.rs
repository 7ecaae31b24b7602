//! The rbuild binary: the command line, and nothing else.
//!
//! A command is: read the arguments ([`args`]), look at the surroundings once ([`surroundings`]), call one library function,
//! show what happens ([`show`]). The invariant: only this crate prints, and only [`surroundings`] reads the environment, the
//! home directory and the clock.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod credentials;
mod failure;
mod host;
mod ranges;
mod show;
mod signals;
mod stdout;
mod surroundings;
mod terminal;
mod worktree;

use std::process::ExitCode;

fn main() -> ExitCode {
    tighten_umask();
    // Before anything else: this may be a process that rbuild started inside a namespace.
    if let Some(code) = sandbox::divert(commands::SESSION_ENTRIES) {
        return code;
    }
    commands::main()
}

/// Whatever the caller's umask allows, nothing that rbuild makes is writable for others. A step's program has its own umask.
fn tighten_umask() {
    use rustix::fs::Mode;
    use rustix::process::umask;
    let others = Mode::WGRP | Mode::WOTH;
    let callers = umask(others);
    umask(callers | others);
}
