//! What a program writes, as mounts that a read-only root needs. The invariant: a directory is named once, and none that lies in
//! another one that is named.

use std::collections::BTreeSet;

use sandbox::Errno;
use sandbox::trial::Observation;

/// Where what is written may be gone after the container.
const PASSING: [&str; 6] = [
    "/tmp",
    "/run",
    "/var/tmp",
    "/var/run",
    "/var/cache",
    "/var/log",
];
/// What is not the image's.
const OTHERS: [&str; 4] = ["/proc", "/sys", "/dev", "/.rbuild-trial"];

/// A directory that must be writable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The directory.
    pub directory: String,
    /// Whether memory will do.
    pub passing: bool,
    /// What was written there, at most a few.
    pub files: Vec<String>,
}

impl Place {
    /// The line of a Quadlet unit.
    pub fn line(&self) -> String {
        let directory = &self.directory;
        match (self.passing, directory.as_str()) {
            (_, "/") => format!(
                "have it write {} somewhere else than in /",
                self.files.join(", ")
            ),
            (true, _) => format!("Tmpfs={directory}"),
            (false, _) => {
                let name = directory.rsplit('/').next().unwrap_or("data");
                format!("Volume={name}:{directory}")
            }
        }
    }
}

/// The directories that a program writes, or tried to.
pub fn places(observed: &[Observation], volumes: &[String]) -> Vec<Place> {
    let files: BTreeSet<&str> = observed
        .iter()
        .filter(|one| one.writes && is_attempt(one))
        .map(|one| one.subject.as_str())
        .filter(|path| !OTHERS.iter().any(|other| is_below(path, other)))
        .collect();
    let mut directories: BTreeSet<String> = files
        .iter()
        .map(|file| directory_of(file, volumes))
        .collect();
    let all = directories.clone();
    directories.retain(|own| {
        let others = all.iter().filter(|other| *other != own && *other != "/");
        !others.into_iter().any(|other| is_below(own, other))
    });
    let places = directories.into_iter().map(|directory| {
        let its = |file: &&&str| match directory.as_str() {
            "/" => file.rfind('/') == Some(0),
            _ => is_below(file, &directory),
        };
        let files = files.iter().filter(its).take(5);
        Place {
            passing: PASSING.iter().any(|passing| is_below(&directory, passing)),
            files: files.map(|file| (*file).to_owned()).collect(),
            directory,
        }
    });
    places.collect()
}

/// It was written, or could not be: because it may not, or because its directory is not there.
fn is_attempt(one: &Observation) -> bool {
    match Errno::from_raw(one.errno) {
        Errno::EROFS | Errno::EACCES | Errno::EPERM => true,
        Errno::ENOENT => matches!(one.call.as_str(), "open" | "make the directory"),
        _ => one.errno == 0,
    }
}

fn directory_of(file: &str, volumes: &[String]) -> String {
    let known = volumes
        .iter()
        .map(String::as_str)
        .chain(["/tmp", "/var/tmp"]);
    for directory in known {
        if is_below(file, directory) {
            return directory.to_owned();
        }
    }
    match file.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((parent, _)) => parent.to_owned(),
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    let rest = path.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &str, errno: i32) -> Observation {
        Observation {
            call: "open".into(),
            subject: path.into(),
            errno,
            writes: true,
        }
    }

    #[test]
    fn each_directory_is_named_once_with_the_mount_that_serves() {
        let observed = [
            written("/tmp/x/y", 0),
            written("/var/log/app/log", 30),
            written("/var/lib/app/db", 13),
            written("/var/lib/app/wal/1", 13),
            written("/dev/null", 0),
            written("/proc/self/oom_score_adj", 0),
            written("/data/in/volume", 0),
            Observation {
                call: "remove".into(),
                ..written("/gone", 2)
            },
            written("/pid", 0),
        ];
        let places = places(&observed, &["/data".to_owned()]);
        let lines: Vec<String> = places.iter().map(Place::line).collect();
        assert_eq!(
            lines,
            [
                "have it write /pid somewhere else than in /",
                "Volume=data:/data",
                "Tmpfs=/tmp",
                "Volume=app:/var/lib/app",
                "Tmpfs=/var/log/app",
            ]
        );
        assert_eq!(places[3].files, ["/var/lib/app/db", "/var/lib/app/wal/1"]);
    }

    #[test]
    fn reading_needs_no_mount() {
        let read = Observation {
            writes: false,
            ..written("/etc/x", 13)
        };
        assert!(places(&[read], &[]).is_empty());
    }
}
