//! The program inside the steps. The invariant: it is one static file that needs nothing of the image, and what it is to do
//! is its first argument, a name in [`VERBS`].

pub(crate) mod facts;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;

use crate::stage::{DRILL, send};

/// What the drill can do, and with which arguments.
const VERBS: [(&str, fn(&[String])); 4] = [
    ("facts", |_| {
        send(std::io::stdout(), &facts::Facts::collect())
    }),
    ("make", |paths| {
        paths.iter().for_each(|directory| make(directory))
    }),
    ("reopen", |_| reopen()),
    ("write", |arguments| {
        fs::write(&arguments[0], &arguments[1]).expect("the file is writable")
    }),
];

/// The drill, when the process was started as such.
pub(crate) fn divert() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    if Path::new(arguments.first()?).file_name() != Path::new(DRILL).file_name() {
        return None;
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

/// Makes one of each kind of entry in a directory, and changes what is there.
fn make(directory: &str) {
    let at = |name: &str| format!("{directory}/{name}");
    fs::create_dir_all(at("directory/below")).expect("the directory is writable");
    fs::write(at("file"), "text").expect("the directory is writable");
    fs::hard_link(at("file"), at("hard")).expect("the file is one's own");
    symlink("file", at("link")).expect("the directory is writable");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
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
        let mut file = open_for_writing(path);
        writeln!(file, "{word}").expect("the pipe is read");
    }
}

fn open_for_writing(path: &str) -> File {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}
