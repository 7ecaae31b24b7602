//! What a process can see of itself and its surroundings. The invariant: facts are reported as the kernel states them; the
//! tests judge.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde::{Deserialize, Serialize};

/// The surroundings of the drill.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// getcwd(2).
    pub cwd: String,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What each open descriptor leads to, but for the one that lists them.
    pub fds: BTreeMap<u32, String>,
    /// /proc/self/status.
    pub status: BTreeMap<String, String>,
    /// /proc/self/mountinfo.
    pub mounts: Vec<Mount>,
    /// /dev: name to kind.
    pub dev: BTreeMap<String, String>,
    /// The names in /.
    pub root: Vec<String>,
    /// The group of a new pseudo terminal in /dev/pts.
    pub pts_gid: Option<u32>,
    /// uname(2).
    pub hostname: String,
    /// /proc/self/{uid_map,gid_map,setgroups}, words separated by single spaces.
    pub maps: [String; 3],
    /// The network interfaces in /proc/net/dev.
    pub interfaces: Vec<String>,
    /// The network namespace, by its number.
    pub network: String,
    /// The process ids in /proc.
    pub processes: Vec<u32>,
    /// The file mode mask.
    pub umask: u32,
    /// The errors of opening an entry of /dev for writing: what a program there would get.
    pub null: String,
}

/// A line of mountinfo.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// Where.
    pub point: String,
    /// Its type.
    pub filesystem: String,
    /// Its own options.
    pub options: String,
    /// The directory of the file system that is mounted.
    pub root: String,
}

impl Facts {
    /// Looks around.
    pub(crate) fn collect() -> Self {
        Self {
            cwd: std::env::current_dir()
                .expect("there is a working directory")
                .display()
                .to_string(),
            env: std::env::vars().collect(),
            fds: descriptors(),
            status: status(),
            mounts: lines("/proc/self/mountinfo")
                .iter()
                .map(|line| mount(line))
                .collect(),
            dev: dev(),
            root: names("/"),
            pts_gid: pts_gid(),
            hostname: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            maps: ["uid_map", "gid_map", "setgroups"]
                .map(|name| words(&text(&format!("/proc/self/{name}")))),
            interfaces: interfaces(),
            network: fs::read_link("/proc/self/ns/net")
                .expect("/proc is mounted")
                .display()
                .to_string(),
            processes: names("/proc")
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
            umask: rustix::process::umask(rustix::fs::Mode::empty()).as_raw_mode(),
            null: fs::write("/dev/null", "x")
                .map_or_else(|error| error.to_string(), |()| "written".to_owned()),
        }
    }

    /// The mount at a path.
    pub(crate) fn mount(&self, point: &str) -> &Mount {
        let found = self.mounts.iter().rfind(|mount| mount.point == point);
        found.unwrap_or_else(|| panic!("nothing is mounted at {point}: {:?}", self.mounts))
    }
}

impl Mount {
    /// Whether the mount has an option.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|each| each == option)
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn lines(path: &str) -> Vec<String> {
    text(path).lines().map(str::to_owned).collect()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn descriptors() -> BTreeMap<u32, String> {
    // What cannot be read any more was the descriptor of the listing itself.
    let target = |fd: &String| fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    names("/proc/self/fd")
        .iter()
        .filter_map(|fd| Some((fd.parse().ok()?, target(fd)?.display().to_string())))
        .collect()
}

fn status() -> BTreeMap<String, String> {
    let lines = lines("/proc/self/status");
    let pairs = lines.iter().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(key, value)| (key.to_owned(), words(value)))
        .collect()
}

/// Fields as in proc_pid_mountinfo(5): id, parent, device, root, point, options, optional fields, `-`, type, source.
fn mount(line: &str) -> Mount {
    let fields: Vec<&str> = line.split(' ').collect();
    let dash = fields
        .iter()
        .position(|field| *field == "-")
        .expect("the format is documented");
    let field = |index: usize| fields[index].to_owned();
    Mount {
        root: field(3),
        point: field(4),
        options: field(5),
        filesystem: field(dash + 1),
    }
}

fn dev() -> BTreeMap<String, String> {
    let kind = |name: &String| {
        let metadata = fs::symlink_metadata(format!("/dev/{name}")).expect("it was just listed");
        let kind = metadata.file_type();
        if kind.is_char_device() {
            let number = metadata.rdev();
            format!(
                "char {}:{}",
                rustix::fs::major(number),
                rustix::fs::minor(number)
            )
        } else if kind.is_symlink() {
            let target = fs::read_link(format!("/dev/{name}")).expect("it is a link");
            format!("link {}", target.display())
        } else {
            (if kind.is_dir() { "directory" } else { "other" }).to_owned()
        }
    };
    names("/dev")
        .into_iter()
        .map(|name| (name.clone(), kind(&name)))
        .collect()
}

fn pts_gid() -> Option<u32> {
    let terminal =
        rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY)
            .ok()?;
    rustix::pty::unlockpt(&terminal).ok()?;
    let name = rustix::pty::ptsname(&terminal, Vec::new()).ok()?;
    Some(fs::metadata(name.to_str().ok()?).ok()?.gid())
}

fn interfaces() -> Vec<String> {
    let lines = lines("/proc/net/dev");
    let names = lines.iter().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}
