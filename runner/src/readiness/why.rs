//! Calls that failed, as sentences and the lines that mend them. The invariant: a path that is looked for in several places counts as
//! missing only where none of them is there.

use std::collections::BTreeSet;

use rootfs::certificates::BUNDLES;
use sandbox::Errno;
use sandbox::trial::Observation;

/// What is known of an image's files.
pub trait ImageFiles {
    /// Whether a path leads to something.
    fn exists(&self, path: &str) -> bool;
    /// Whether a file anywhere has this name.
    fn has_name(&self, name: &str) -> bool;
    /// Owner, group and permission bits of what a path leads to.
    fn owner(&self, path: &str) -> Option<(u32, u32, u32)>;
}

/// Why something did not work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// What was seen.
    pub said: String,
    /// What mends it.
    pub remedy: Option<String>,
    /// Whether nothing is known but that a path is not there, which need not matter.
    pub vague: bool,
}

impl Reason {
    fn new(said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            said: said.into(),
            remedy: Some(remedy.into()),
            vague: false,
        }
    }
}

/// Where an OpenSSL of Debian and one of its own makers look, beside the places of distributions.
const OPENSSL: [&str; 2] = ["/usr/lib/ssl/cert.pem", "/usr/local/ssl/cert.pem"];

/// Where libraries that speak TLS look for certificates (Go's crypto/x509, OpenSSL, rustls-native-certs, libcurl).
fn bundles() -> impl Iterator<Item = &'static str> {
    BUNDLES.into_iter().chain(OPENSSL)
}

/// What every start of a program looks for, and does without.
const USUAL: [&str; 8] = [
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
];

/// Why a program that was observed did not do what it should, most telling first.
pub fn reasons(observed: &[Observation], user: (u32, u32), files: &dyn ImageFiles) -> Vec<Reason> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for one in observed {
        let reason = match Errno::from_raw(one.errno) {
            Errno::ENOENT => absent(one, files),
            Errno::EACCES => denied(one, user, files),
            Errno::EROFS => Some(Reason::new(
                format!(
                    "{} could not be written: the root is read-only",
                    one.subject
                ),
                mount_for(&one.subject),
            )),
            Errno::EPERM => forbidden(one),
            Errno::EINVAL => unmapped(one),
            _ => None,
        };
        if let Some(reason) = reason.filter(|reason| known.insert(reason.said.clone())) {
            found.push(reason);
        }
    }
    let (vague, telling): (Vec<_>, Vec<_>) = found.into_iter().partition(|reason| reason.vague);
    if telling.is_empty() {
        // Of what only is not there, the last before the end says most.
        return vague.into_iter().rev().take(3).collect();
    }
    telling
}

fn mount_for(path: &str) -> String {
    let write = Observation {
        call: String::new(),
        subject: path.to_owned(),
        errno: 0,
        writes: true,
    };
    let place = super::places(&[write], &[]).pop();
    place.map_or_else(String::new, |place| place.line())
}

fn absent(one: &Observation, files: &dyn ImageFiles) -> Option<Reason> {
    let path = one.subject.as_str();
    let name = path.rsplit('/').next().unwrap_or(path);
    if path.is_empty()
        || USUAL.contains(&path)
        || ["/proc/", "/sys/", "/dev/"]
            .iter()
            .any(|other| path.starts_with(other))
    {
        return None;
    }
    if bundles().any(|bundle| bundle == path) || path.starts_with("/etc/ssl/certs") {
        let there = bundles().any(|bundle| files.exists(bundle));
        return (!there).then(|| {
            let said = format!("{path} was looked for: the image has no certificates to trust");
            Reason::new(said, "# rbuild:ca-certificates")
        });
    }
    if matches!(path, "/etc/passwd" | "/etc/group") {
        return Some(Reason::new(
            format!("{path} was looked for"),
            "# rbuild:accounts",
        ));
    }
    if path == "/tmp" || path.starts_with("/tmp/") && !files.exists("/tmp") {
        return Some(Reason::new(
            "/tmp was looked for: the image has none",
            "# rbuild:accounts (it makes /tmp, too)",
        ));
    }
    if let Some((_, zone)) = path.split_once("/zoneinfo/") {
        let wanted = format!("/usr/share/zoneinfo/{zone}");
        return (!files.exists(&wanted)).then(|| {
            let remedy = format!("COPY --from=build {wanted} {wanted}");
            Reason::new(
                format!("the time zone {zone} was looked for: times are UTC"),
                remedy,
            )
        });
    }
    if is_library(name) {
        return (!files.has_name(name)).then(|| {
            let remedy = "write above the COPY --from that brings the program: # rbuild:closure";
            Reason::new(format!("the library {name} was looked for"), remedy)
        });
    }
    if one.call == "execute" || is_program(path) {
        return (!files.has_name(name)).then(|| {
            let remedy = format!(
                "COPY {name} and what it needs into the image, with # rbuild:closure above"
            );
            let said =
                format!("the program {name} was looked for, and the image has none of that name");
            Reason::new(said, remedy)
        });
    }
    let usual = path.contains("/glibc-hwcaps") || path.contains("/locale");
    (!usual && !files.exists(path)).then(|| Reason {
        said: format!("{path} was looked for, and is not there"),
        remedy: None,
        vague: true,
    })
}

fn is_library(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.")
}

/// Shells look in the directories of PATH before they execute.
fn is_program(path: &str) -> bool {
    let directory = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    directory.ends_with("/bin") || directory.ends_with("/sbin")
}

fn denied(one: &Observation, (uid, gid): (u32, u32), files: &dyn ImageFiles) -> Option<Reason> {
    let path = one.subject.as_str();
    if one.call == "bind" {
        return low_port(path);
    }
    if path.is_empty() || path.starts_with("/proc/") || path.starts_with("/sys/") {
        return None;
    }
    if one.writes {
        let directory = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
        let of = match files.owner(path).is_some() {
            true => path,
            false if directory.is_empty() => "/",
            false => directory,
        };
        let owner = files.owner(of).map_or(String::new(), |(own, group, mode)| {
            format!(" ({of} is {own}:{group}, mode {mode:04o})")
        });
        let said = format!("{path} could not be written by user {uid}{owner}");
        let remedy = format!(
            "{}, or give it to USER: COPY --chown={uid}:{gid}",
            mount_for(path)
        );
        return Some(Reason::new(said, remedy));
    }
    let (verb, mode) = match one.call.as_str() {
        "execute" => ("executed", "--chmod=0755"),
        _ => ("read", "--chmod=a+rX"),
    };
    let said = format!("{path} could not be {verb} by user {uid}");
    Some(Reason::new(
        said,
        format!("COPY {mode}, or COPY --chown={uid}:{gid}"),
    ))
}

fn low_port(address: &str) -> Option<Reason> {
    let port: u16 = address.rsplit_once(':')?.1.parse().ok()?;
    let said = format!("it may not listen at {address}: ports below 1024 need a capability");
    let high = 8000_u16.saturating_add(port);
    Some(Reason::new(
        said,
        format!(
            "let it listen at {high} and publish that: PublishPort={port}:{high}; or AddCapability=NET_BIND_SERVICE"
        ),
    ))
}

fn forbidden(one: &Observation) -> Option<Reason> {
    match one.call.as_str() {
        "bind" => low_port(&one.subject),
        "change the owner of" => Some(Reason::new(
            format!("it may not change the owner of {}", one.subject),
            "set owners in the image: COPY --chown=UID:GID; for volumes: Volume=...:U",
        )),
        "setuid" | "setgid" | "setreuid" | "setregid" | "setresuid" | "setresgid" | "setgroups" => {
            Some(Reason::new(
                format!("it may not become another user ({})", one.call),
                "start as that user: USER UID:GID, without gosu or su-exec",
            ))
        }
        "chroot to" => Some(Reason::new("it may not chroot", "AddCapability=SYS_CHROOT")),
        "socket" => Some(Reason::new(
            "it may not open a raw socket",
            "AddCapability=NET_RAW; ping needs none where net.ipv4.ping_group_range has its group",
        )),
        _ => None,
    }
}

/// EINVAL of an id means that the container's map has no place for it, user_namespaces(7).
fn unmapped(one: &Observation) -> Option<Reason> {
    let of_ids = one.call.starts_with("set") || one.call == "change the owner of";
    of_ids.then(|| {
        Reason::new(
            format!(
                "{} {}: that id is not mapped into the container",
                one.call, one.subject
            ),
            "use ids below 65536; `rbuild doctor` says how many there are",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(&'static [&'static str]);

    impl ImageFiles for Files {
        fn exists(&self, path: &str) -> bool {
            self.0.contains(&path)
        }
        fn has_name(&self, name: &str) -> bool {
            self.0
                .iter()
                .any(|path| path.rsplit('/').next() == Some(name))
        }
        fn owner(&self, path: &str) -> Option<(u32, u32, u32)> {
            self.exists(path).then_some((0, 0, 0o755))
        }
    }

    fn seen(call: &str, subject: &str, errno: Errno, writes: bool) -> Observation {
        Observation {
            call: call.into(),
            subject: subject.into(),
            errno: errno as i32,
            writes,
        }
    }

    fn one(files: &'static [&'static str], observation: Observation) -> Option<(String, String)> {
        let found = reasons(&[observation], (65532, 65532), &Files(files));
        found
            .into_iter()
            .next()
            .map(|reason| (reason.said, reason.remedy.unwrap_or_default()))
    }

    #[test]
    fn a_bundle_is_missing_only_where_none_is_there() {
        let look = || {
            seen(
                "open",
                "/etc/ssl/certs/ca-certificates.crt",
                Errno::ENOENT,
                false,
            )
        };
        assert_eq!(
            one(&[], look()),
            Some((
                "/etc/ssl/certs/ca-certificates.crt was looked for: the image has no certificates to trust".into(),
                "# rbuild:ca-certificates".into()
            ))
        );
        assert_eq!(one(&["/etc/ssl/cert.pem"], look()), None);
    }

    #[test]
    fn failures_become_the_lines_that_mend_them() {
        for (call, subject, errno, writes, remedy) in [
            (
                "open",
                "/lib/libz.so.1",
                Errno::ENOENT,
                false,
                "# rbuild:closure",
            ),
            (
                "open",
                "/etc/passwd",
                Errno::ENOENT,
                false,
                "# rbuild:accounts",
            ),
            (
                "open",
                "/usr/share/zoneinfo/Asia/Shanghai",
                Errno::ENOENT,
                false,
                "COPY --from=build",
            ),
            ("execute", "/usr/bin/git", Errno::ENOENT, false, "COPY git"),
            (
                "open",
                "/var/log/app/x",
                Errno::EROFS,
                true,
                "Tmpfs=/var/log/app",
            ),
            (
                "open",
                "/srv/app/x",
                Errno::EACCES,
                true,
                "Volume=app:/srv/app",
            ),
            ("open", "/etc/key", Errno::EACCES, false, "--chmod"),
            (
                "bind",
                "0.0.0.0:80",
                Errno::EACCES,
                false,
                "PublishPort=80:8080",
            ),
            (
                "change the owner of",
                "/data",
                Errno::EPERM,
                true,
                "COPY --chown",
            ),
            ("setuid", "", Errno::EPERM, false, "USER UID:GID"),
            ("setuid", "", Errno::EINVAL, false, "below 65536"),
        ] {
            let found = one(&[], seen(call, subject, errno, writes));
            let (said, mends) = found.unwrap_or_else(|| panic!("{call} {subject}: nothing"));
            assert!(mends.contains(remedy), "{said}: {mends}");
        }
    }

    #[test]
    fn what_every_program_looks_for_is_no_reason() {
        for path in [
            "/etc/ld.so.preload",
            "/proc/self/x",
            "/usr/lib/locale/locale-archive",
        ] {
            assert_eq!(
                one(&[], seen("open", path, Errno::ENOENT, false)),
                None,
                "{path}"
            );
        }
        // The loader asks in several directories; one of them has it.
        let look = seen("open", "/lib/tls/libc.so.6", Errno::ENOENT, false);
        assert_eq!(one(&["/lib/libc.so.6"], look), None);
    }

    #[test]
    fn of_paths_that_are_not_there_the_last_are_named() {
        let all: Vec<_> = (0..9)
            .map(|n| seen("open", &format!("/conf/{n}"), Errno::ENOENT, false))
            .collect();
        let found = reasons(&all, (1, 1), &Files(&[]));
        let said: Vec<_> = found.iter().map(|reason| reason.said.clone()).collect();
        assert_eq!(said.len(), 3);
        assert!(said[0].starts_with("/conf/8"), "{said:?}");
    }
}
