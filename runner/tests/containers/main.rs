//! Containers on the real kernel. The invariant: this one static program is everything that a run needs: the caller, its
//! session, the step, and the program inside the image, so that nothing of the machine but the kernel is tested.
//!
//! It speaks libtest's dialect as far as tests/run.sh needs it. Started as root by hand it drops to the account
//! `rbuild-test`; tests/run.sh says in `RBUILD_TEST_USER` who it is to be.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program prints its results"
)]

mod cases;
mod driver;
mod fixture;
mod probe;

use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    if let Some(code) = sandbox::divert(&[(runner::ENTRY, runner::session_entry)]) {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("probe") => probe::main(&args[1..]),
        Some("drive") => driver::main(&args[1..]),
        _ => run_tests(&args),
    }
}

/// An ordinary user is what rbuild is for; a program that cannot be re-executed as one is tested as it was started.
fn drop_privileges(args: &[String]) {
    let given = std::env::var_os("RBUILD_TEST_USER").is_some();
    if given || !rustix::process::geteuid().is_root() {
        return;
    }
    let known = Command::new("id")
        .arg("rbuild-test")
        .output()
        .is_ok_and(|id| id.status.success());
    if !known {
        eprintln!("there is no account rbuild-test: the tests run as root");
        return;
    }
    // Not own_program(): that would be setpriv by then.
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let error = Command::new("setpriv")
        .args([
            "--reuid",
            "rbuild-test",
            "--regid",
            "rbuild-test",
            "--clear-groups",
            "--reset-env",
        ])
        .arg(program)
        .args(args)
        .exec();
    eprintln!("setpriv did not start ({error}): the tests run as root");
}

fn run_tests(args: &[String]) -> ExitCode {
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    if args.iter().any(|arg| arg == "--list") {
        cases::ALL
            .iter()
            .for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    drop_privileges(args);
    let tests: Vec<_> = cases::ALL.iter().filter(|(name, _)| wanted(name)).collect();
    println!("\nrunning {} tests", tests.len());
    let fixture = match fixture::Fixture::new() {
        Ok(fixture) => fixture,
        Err(why) => {
            for (name, _) in &tests {
                println!("---- {name} stdout ----\nSKIP user_namespaces: {why}");
            }
            println!(
                "test result: ok. {} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
                tests.len()
            );
            return ExitCode::SUCCESS;
        }
    };
    let mut failed = 0;
    for (name, test) in &tests {
        let passed = catch_unwind(AssertUnwindSafe(|| test(&fixture))).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let (passed, filtered) = (tests.len() - failed, cases::ALL.len() - tests.len());
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {filtered} filtered out"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(101)
    }
}

/// The path of this very program, for what is copied or started.
fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}
