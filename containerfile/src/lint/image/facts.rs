//! What is known of an image. Invariant: plain data; paths are absolute and clean, links in them as the image has them.

use std::collections::BTreeMap;

use crate::path;

/// An image: what a container of it starts with, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// What it is called.
    pub name: String,
    /// The processor that it is for, as the image specification names it.
    pub architecture: String,
    /// `USER`, as the configuration has it; empty is root.
    pub user: String,
    /// Who that is; `None` for a name that the image does not know.
    pub account: Option<Account>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// What always runs.
    pub entrypoint: Vec<String>,
    /// What runs, or the arguments of the entry point.
    pub cmd: Vec<String>,
    /// Where it starts; empty for `/`.
    pub working_dir: String,
    /// `PORT/PROTOCOL`.
    pub ports: Vec<String>,
    /// Where volumes are.
    pub volumes: Vec<String>,
    /// Whether it has instructions for images that are built from it.
    pub has_triggers: bool,
    /// Its users: name, id and group.
    pub users: Vec<(String, u32, u32)>,
    /// The test of the health check, with its first word.
    pub healthcheck: Vec<String>,
    /// Everything in it, by path.
    pub files: BTreeMap<String, FileFact>,
    /// What single layers hold that cannot be unpacked everywhere, also where a later layer hides it.
    pub layers: Vec<LayerFact>,
    /// Links of a lower layer that are directories now.
    pub replaced_links: Vec<String>,
    /// The programs in it: executable ELF files, and what is started.
    pub programs: Vec<ProgramFact>,
    /// Shared objects that no program is linked with.
    pub modules: Vec<ModuleFact>,
}

/// A user, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The user's id.
    pub uid: u32,
    /// The ids of its groups.
    pub groups: Vec<u32>,
    /// Its home directory, where passwd knows the user.
    pub home: Option<String>,
}

/// What something in an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Link(String),
    /// Anything else.
    Other,
}

/// Something in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFact {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Whether it has file capabilities.
    pub capabilities: bool,
}

/// Something in a layer that not everybody can unpack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFact {
    /// The number of the layer, from 1.
    pub layer: usize,
    /// Where it is.
    pub path: String,
    /// What is special about it: "a device node", "the attribute trusted.x", "file capabilities".
    pub what: String,
}

/// A kind of library that speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// OpenSSL and its kin: heeds `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    OpenSsl,
    /// GnuTLS: heeds neither.
    GnuTls,
    /// The program or a library of it names the usual bundles itself (Go, rustls, libcurl).
    BuiltIn,
}

/// A program of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramFact {
    /// Where it is, links followed.
    pub path: String,
    /// What it is for; `None` for a script.
    pub architecture: Option<String>,
    /// Whether it needs a loader.
    pub dynamic: bool,
    /// Whether it is packed by UPX.
    pub packed: bool,
    /// Whether it is an ELF file that has no build id.
    pub unidentified: bool,
    /// Whether it was started with: the entry point or the health check.
    pub started: bool,
    /// Names of libraries and interpreters that it needs and that are not there.
    pub missing: Vec<String>,
    /// What else keeps it from starting, in the loader's words.
    pub troubles: Vec<String>,
    /// Everything that it maps, itself included.
    pub closure: Vec<String>,
    /// What of it speaks TLS.
    pub tls: Vec<Tls>,
    /// The directory that its OpenSSL looks into (`OPENSSLDIR`).
    pub openssl_dir: Option<String>,
}

/// A shared object that a program may open while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleFact {
    /// Where it is.
    pub path: String,
    /// Names of libraries that it needs and that are nowhere in the image.
    pub missing: Vec<String>,
    /// Whether it needs a library that speaks TLS.
    pub tls: bool,
}

const MAX_LINKS: usize = 40;

impl ImageFacts {
    /// What a path leads to, links followed.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(String, &FileFact)> {
        let mut waiting: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut here = String::new();
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    here.truncate(here.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = format!("{here}/{name}");
            match &self.files.get(&next)?.kind {
                FileKind::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        here.clear();
                    }
                    waiting.extend(target.split('/').rev().map(str::to_owned));
                }
                _ => here = next,
            }
        }
        if here.is_empty() {
            here.push('/');
        }
        let fact = self.files.get(&here)?;
        Some((here, fact))
    }

    /// The value of a variable, where it is set to anything.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().rev().find(|(own, _)| own == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// What is started: the entry point, else the command.
    pub(super) fn started(&self) -> Option<&str> {
        let words = self.entrypoint.first().or(self.cmd.first())?;
        Some(words)
            .filter(|word| !word.is_empty())
            .map(String::as_str)
    }

    /// Where a program is that is called so: through PATH, or from the working directory.
    #[must_use]
    pub fn program_path(&self, name: &str) -> Option<String> {
        if name.contains('/') {
            let absolute = path::join(&path::join("/", &self.working_dir), name);
            return self.find(&absolute).map(|_| absolute);
        }
        let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let search = self.variable("PATH").unwrap_or(usual);
        let mut candidates = search
            .split(':')
            .filter(|directory| directory.starts_with('/'));
        candidates.find_map(|directory| {
            let candidate = path::join(directory, name);
            let found = self.find(&candidate)?.1;
            (found.kind == FileKind::File && found.mode & 0o111 != 0).then_some(candidate)
        })
    }

    /// The program that a container starts.
    pub(super) fn entry(&self) -> Option<&ProgramFact> {
        let path = self.program_path(self.started()?)?;
        let path = self.find(&path)?.0;
        self.programs.iter().find(|program| program.path == path)
    }

    /// Whether the user of the image may do to a file what the bits of `others` say (4 read, 2 write, 1 execute).
    pub(super) fn may(&self, file: &FileFact, others: u32) -> bool {
        let Some(account) = &self.account else {
            return false;
        };
        let shift = match () {
            () if account.uid == 0 => return true,
            () if account.uid == file.uid => 6,
            () if account.groups.contains(&file.gid) => 3,
            () => 0,
        };
        file.mode >> shift & others == others
    }

    /// Whether the image's user is known not to be root.
    pub(super) fn is_ordinary(&self) -> bool {
        self.account
            .as_ref()
            .is_some_and(|account| account.uid != 0)
    }
}

impl FileFact {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }
}
