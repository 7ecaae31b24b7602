//! The program inside the steps. The invariant: it is one static file that needs nothing of the image, and what it is to do
//! is its first argument, a name in [`VERBS`].

pub(crate) mod facts;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use sandbox::Errno;

use crate::host;
use crate::stage::{self, DRILL, Job, send};

/// The interpreter of a script that wants to be run by whatever program executes it (CVE-2019-5736).
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Something that the drill can do.
type Verb = fn(&[String]);

/// What the drill can do, and with which arguments.
const VERBS: [(&str, Verb); 13] = [
    ("facts", |_| {
        send(std::io::stdout(), &facts::Facts::collect())
    }),
    ("make", |directories| {
        directories.iter().for_each(|directory| make(directory))
    }),
    ("reopen", |_| reopen()),
    ("write", |arguments| {
        fs::write(&arguments[0], &arguments[1]).expect("the file is writable")
    }),
    ("reach-executable", |_| reach_executable()),
    ("overwrite", |arguments| overwrite(&arguments[0])),
    ("sleep", |_| std::thread::sleep(Duration::from_secs(60))),
    ("caller", |arguments| caller(&arguments[0])),
    ("nest", |_| nest()),
    ("listen", |arguments| listen(&arguments[0])),
    ("daemon", |arguments| daemon(&arguments[0])),
    ("abort", |_| std::process::abort()),
    ("kill-all", |_| kill_all()),
];

/// The drill, when the process was started as such.
pub(crate) fn divert() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.first()? == OWN_EXECUTABLE {
        reach_executable();
    }
    if Path::new(arguments.first()?).file_name() != Path::new(DRILL).file_name() {
        return None;
    }
    if arguments.get(1).is_some_and(|verb| verb == "probe") {
        return Some(sandbox::drill::main(&arguments[1..]));
    }
    let (verb, rest) = arguments[1..]
        .split_first()
        .expect("the drill is given a verb");
    let (_, act) = VERBS
        .iter()
        .find(|(name, _)| name == verb)
        .expect("the verb is known");
    act(rest);
    Some(ExitCode::SUCCESS)
}

/// A command that runs the drill outside of any step.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(DRILL).args(arguments);
    command
}

/// Makes one of each kind of entry in a directory, and changes what is there.
fn make(directory: &str) {
    let at = |name: &str| format!("{directory}/{name}");
    fs::create_dir_all(at("directory/below")).expect("the directory is writable");
    fs::write(at("file"), "text").expect("the directory is writable");
    fs::hard_link(at("file"), at("hard")).expect("the file is one's own");
    symlink("file", at("link")).expect("the directory is writable");
    let (fifo, mode) = (
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
    );
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, mode, 0)
        .expect("anybody may make a fifo");
    fs::rename(at("hard"), at("renamed")).expect("the directory is writable");
}

/// Says a word through each of the names that standard output and error have in a file system.
fn reopen() {
    for (path, word) in [
        ("/dev/stdout", "out"),
        ("/dev/stderr", "err"),
        ("/proc/self/fd/1", "again"),
    ] {
        let file = fs::OpenOptions::new().write(true).open(path);
        writeln!(
            file.unwrap_or_else(|error| panic!("{path}: {error}")),
            "{word}"
        )
        .expect("the pipe is read");
    }
}

/// Keeps a handle of the program that this process executes while it becomes another one.
fn reach_executable() -> ! {
    let flags = rustix::fs::OFlags::PATH;
    let handle = rustix::fs::open(OWN_EXECUTABLE, flags, rustix::fs::Mode::empty())
        .expect("/proc is mounted");
    let error = Command::new(DRILL)
        .args(["overwrite", &handle.as_raw_fd().to_string()])
        .exec();
    panic!("{DRILL}: {error}");
}

/// Tries to write to what a handle refers to, and to change its mode, and says how that went.
#[expect(clippy::print_stdout, reason = "that is what the drill is for")]
fn overwrite(handle: &str) {
    let path = format!("/proc/self/fd/{handle}");
    let write = |mut file: fs::File| file.write_all(b"overwritten");
    let written = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(write);
    // The kernel refuses to write to a program that runs, but lets its owner change its mode.
    let changed = fs::set_permissions(&path, fs::Permissions::from_mode(0o755));
    let name = |result: std::io::Result<()>| match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    };
    println!("{} {}", name(written), name(changed));
}

/// Runs a job as rbuild would, to be killed.
fn caller(job: &str) {
    let job: Job = serde_json::from_str(job).expect("the tests send a job");
    let plan = host::ranged().unwrap_or_else(|_| host::single());
    drop(job.run(&plan));
}

/// Tries to start a session, and says how that went.
#[expect(clippy::print_stdout, reason = "that is what the drill is for")]
fn nest() {
    println!("{}", stage::failure_to_start(&host::single()));
}

/// Binds a port of every address.
#[expect(clippy::print_stdout, reason = "that is what the drill is for")]
fn listen(port: &str) {
    let port = port.parse().expect("the tests send a number");
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    println!(
        "{}",
        listener.map_or_else(|error| error.to_string(), |_| "listening".to_owned())
    );
}

/// Starts a process that nobody waits for, in a session of its own, and ends.
#[expect(clippy::print_stdout, reason = "that is what the drill is for")]
#[expect(clippy::zombie_processes, reason = "that is what the drill is for")]
fn daemon(marker: &str) {
    let nothing = std::process::Stdio::null;
    let mut child = command(&["sleep", marker]);
    child
        .process_group(0)
        .stdin(nothing())
        .stdout(nothing())
        .stderr(nothing());
    child.spawn().expect("/proc is mounted");
    println!("started");
}

/// Kills whatever can be seen. Only where the process is the first of a namespace.
fn kill_all() {
    assert_eq!(std::process::id(), 1, "never outside of a step");
    // ESRCH: there was nobody else.
    let attempt = sandbox::drill::signal(-1, libc::SIGKILL);
    assert!(matches!(attempt, Ok(()) | Err(Errno::ESRCH)), "{attempt:?}");
}
