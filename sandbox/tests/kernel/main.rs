//! What the crate asks of the kernel, tried on the kernel: sessions, steps, and a drill of escapes from them.
//!
//! The program is several in one, told apart by `argv[0]` as rbuild itself is: the tests, the session and the steps that the
//! crate re-executes, the drill that runs inside steps, and the callers that the tests kill. The invariant: nothing but
//! `divert` happens before the program knows which of them it is.

// As the rest of the workspace calls it.
extern crate rbuild_sandbox as sandbox;

mod death;
mod drill;
mod host;
mod images;
mod isolation;
mod network;
mod processes;
mod sessions;
mod setup;
mod stage;
mod trial;

use std::process::ExitCode;

fn main() -> ExitCode {
    let entries: [sandbox::Entry; 4] = [
        (stage::ENTRY, stage::main),
        (stage::DESCRIPTORS, stage::list_descriptors),
        (stage::CLEANING, stage::clean_up),
        (stage::PANICKING, stage::panic_in_a_thread),
    ];
    let diverted = sandbox::divert(&entries);
    if let Some(code) = diverted.or_else(drill::divert) {
        return code;
    }
    trial::run(&[
        ("sessions", sessions::TRIALS),
        ("setup", setup::TRIALS),
        ("images", images::TRIALS),
        ("processes", processes::TRIALS),
        ("death", death::TRIALS),
        ("network", network::TRIALS),
        ("isolation", isolation::TRIALS),
    ])
}
