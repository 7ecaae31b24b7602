//! Programs for other processors: qemu's user-mode emulators, registered in a binfmt_misc instance of the session's own user
//! namespace, which an ordinary user may mount from Linux 6.7 on. The kernel looks for the instance of the nearest user namespace
//! upwards (`load_binfmt_misc` in fs/binfmt_misc.c), so the session's serves the steps in it. The invariant: the instance is
//! mounted nowhere. It lives as long as its descriptor, which no child inherits, so nothing in a step can see or change it; and
//! the emulators are opened here, through read-only mounts, so that a step needs no copy of them and cannot overwrite them.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::executable::protected;
use crate::failure::{During, SetupFailure};

/// Where the host's own registrations are.
const HOST: &str = "/proc/sys/fs/binfmt_misc";
/// P: argv\[0\] is kept, in a way that qemu 6.0 understands. O, C: the emulator gets the program as a descriptor and runs with its
/// credentials, so that files that only may be executed, and set-user-ID programs, work as they do without emulation. F: the
/// emulator is opened now.
const FLAGS: &str = "POCF";

/// How the programs of a processor begin: the machine and data encoding of an ELF header, elf(5).
struct Format {
    /// Go's name of the processor, as image configurations have it.
    architecture: &'static str,
    /// qemu's name of it.
    qemu: &'static str,
    wide: bool,
    big_endian: bool,
    machine: u8,
}

const fn format(architecture: &'static str, qemu: &'static str, machine: u8) -> Format {
    Format {
        architecture,
        qemu,
        wide: true,
        big_endian: false,
        machine,
    }
}

/// Machine numbers are those of elf.h.
const FORMATS: [Format; 7] = [
    format("amd64", "x86_64", 0x3e),
    format("arm64", "aarch64", 0xb7),
    format("ppc64le", "ppc64le", 0x15),
    format("riscv64", "riscv64", 0xf3),
    Format {
        big_endian: true,
        ..format("s390x", "s390x", 0x16)
    },
    Format {
        wide: false,
        ..format("arm", "arm", 0x28)
    },
    Format {
        wide: false,
        ..format("386", "i386", 0x03)
    },
];

/// What executes the programs of one processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// The processor, in Go's words.
    pub architecture: String,
    /// The program; without one, the host has registered its own.
    pub program: Option<PathBuf>,
}

/// Why programs of another processor cannot be executed.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// There is no emulator for it.
    #[error("execute programs for {architecture}: no emulator for it is known")]
    Unknown {
        /// The processor.
        architecture: String,
    },
    /// The emulator is not installed.
    #[error("execute programs for {architecture}: {program} is not installed")]
    Missing {
        /// The processor.
        architecture: String,
        /// The program.
        program: String,
    },
    /// The kernel has no binfmt_misc for user namespaces.
    #[error("execute programs of another processor without the host's help")]
    Kernel(#[source] SetupFailure),
    /// The emulator cannot be used.
    #[error("register {program}", program = program.display())]
    Register {
        /// The program.
        program: PathBuf,
        /// Why.
        source: SetupFailure,
    },
}

impl EmulatorError {
    /// What mends it.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unknown { .. } | Self::Register { .. } => None,
            Self::Missing { .. } => {
                Some("install qemu's user-mode emulators: `sudo apt install qemu-user-static`")
            }
            Self::Kernel(_) => Some(
                "before Linux 6.7, or without its module binfmt_misc, the host must register the emulators: `sudo modprobe \
                 binfmt_misc && sudo apt install qemu-user-static`",
            ),
        }
    }
}

impl Emulator {
    /// The emulator for a processor: a program in one of the directories, or what the host has registered.
    ///
    /// # Errors
    /// When there is neither.
    pub fn find(architecture: &str, directories: &[PathBuf]) -> Result<Self, EmulatorError> {
        Self::find_with(architecture, directories, Path::new(HOST))
    }

    fn find_with(
        architecture: &str,
        directories: &[PathBuf],
        host: &Path,
    ) -> Result<Self, EmulatorError> {
        let format = Format::of(architecture)?;
        // A dynamic emulator would look for its libraries in the step's root.
        let name = format!("qemu-{}-static", format.qemu);
        let program = directories
            .iter()
            .map(|directory| directory.join(&name))
            .find(|path| path.is_file());
        if program.is_none() && !format.is_served_by(host) {
            return Err(EmulatorError::Missing {
                architecture: architecture.to_owned(),
                program: name,
            });
        }
        Ok(Self {
            architecture: architecture.to_owned(),
            program,
        })
    }
}

impl Format {
    fn of(architecture: &str) -> Result<&'static Self, EmulatorError> {
        FORMATS
            .iter()
            .find(|format| format.architecture == architecture)
            .ok_or_else(|| EmulatorError::Unknown {
                architecture: architecture.to_owned(),
            })
    }

    /// The first 20 bytes of an executable file: identification, type and machine.
    fn magic(&self) -> [u8; 20] {
        let mut magic = [0; 20];
        let class = if self.wide { 2 } else { 1 };
        magic[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1]);
        let low = usize::from(self.big_endian);
        magic[5] += u8::from(self.big_endian);
        (magic[16 + low], magic[18 + low]) = (2, self.machine);
        magic
    }

    /// All but the system's name, and with ET_EXEC (2) also ET_DYN (3).
    fn mask(&self) -> [u8; 20] {
        let mut mask = [0xff; 20];
        mask[7] = 0;
        mask[16 + usize::from(self.big_endian)] = 0xfe;
        mask
    }

    /// The line that registers a program, which the kernel's admin-guide/binfmt-misc.rst describes.
    fn line(&self, program: &str) -> String {
        let escaped = |bytes: [u8; 20]| -> String {
            bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
        };
        let (magic, mask) = (escaped(self.magic()), escaped(self.mask()));
        format!(":qemu-{}:M::{magic}:{mask}:{program}:{FLAGS}", self.qemu)
    }

    /// Whether the host executes such programs in any root: its interpreter must have been opened when it was registered.
    fn is_served_by(&self, host: &Path) -> bool {
        let entries = fs::read_dir(host).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name() != "register" && entry.file_name() != "status")
            .filter_map(|entry| fs::read_to_string(entry.path()).ok())
            .any(|entry| self.is_described_by(&entry))
    }

    fn is_described_by(&self, entry: &str) -> bool {
        let value = |key: &str| entry.lines().find_map(|line| line.strip_prefix(key));
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        let magic = self.magic();
        let fits = |text: &str| {
            text.starts_with(&hex(&magic[..7])) && text.get(36..40) == Some(&hex(&magic[18..]))
        };
        entry.lines().next() == Some("enabled")
            && value("flags:").is_some_and(|flags| flags.contains('F'))
            && value("offset ") == Some("0")
            && value("magic ").is_some_and(fits)
    }
}

/// The emulators of a session. Without them, foreign programs are "Exec format error" again.
#[derive(Debug)]
pub struct Emulators {
    /// The session's own instance of binfmt_misc; none where the host's serves.
    _instance: Option<OwnedFd>,
}

impl Emulators {
    /// Has the emulators execute the programs of this session. Called in the session.
    ///
    /// # Errors
    /// When the kernel refuses, and the host does not do it already.
    pub fn register(wanted: &[Emulator]) -> Result<Self, EmulatorError> {
        let programs: Vec<(&Emulator, &Path)> = wanted
            .iter()
            .filter_map(|emulator| Some((emulator, emulator.program.as_deref()?)))
            .collect();
        // An instance of the session's own would hide the host's, which one of them needs.
        if programs.len() < wanted.len() || wanted.is_empty() {
            return Ok(Self { _instance: None });
        }
        let instance = match instance() {
            Ok(instance) => instance,
            Err(failure) => {
                for emulator in wanted {
                    if !Format::of(&emulator.architecture)?.is_served_by(Path::new(HOST)) {
                        return Err(EmulatorError::Kernel(failure));
                    }
                }
                return Ok(Self { _instance: None });
            }
        };
        for (emulator, program) in programs {
            let format = Format::of(&emulator.architecture)?;
            register(&instance, format, program).map_err(|source| EmulatorError::Register {
                program: program.to_owned(),
                source,
            })?;
        }
        Ok(Self {
            _instance: Some(instance),
        })
    }
}

/// An instance of binfmt_misc for this user namespace, mounted nowhere.
fn instance() -> Result<OwnedFd, SetupFailure> {
    let fs = rustix::mount::fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC)
        .during(|| "open the file system binfmt_misc".into())?;
    rustix::mount::fsconfig_create(&fs).during(|| "create a binfmt_misc instance".into())?;
    rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .during(|| "mount a binfmt_misc instance".into())
}

fn register(instance: &OwnedFd, format: &Format, program: &Path) -> Result<(), SetupFailure> {
    let program = protected(program)?;
    // The kernel opens it now and keeps it open; no path can have a colon this way.
    let line = format.line(&format!("/proc/self/fd/{}", program.as_raw_fd()));
    let register = rustix::fs::openat(
        instance,
        "register",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .during(|| "open binfmt_misc's register".into())?;
    fs::File::from(register)
        .write_all(line.as_bytes())
        .during(|| "write binfmt_misc's register".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_distributions() {
        // /usr/lib/binfmt.d of Debian's qemu-user-static; its masks leave EI_OSABI of some processors partly open.
        let of = |name: &str| Format::of(name).unwrap().line("/q");
        assert_eq!(
            of("arm64"),
            ":qemu-aarch64:M::\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:\
             \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:/q:POCF"
        );
        assert_eq!(
            of("s390x"),
            ":qemu-s390x:M::\\x7f\\x45\\x4c\\x46\\x02\\x02\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x16:\
             \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff:/q:POCF"
        );
        assert!(of("arm").contains("\\x46\\x01\\x01\\x01") && of("arm").contains("\\x28\\x00:"));
    }

    #[test]
    fn a_registration_of_the_host_serves_when_it_is_enabled_and_opened() {
        let entry = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset 0\n\
                     magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
        let serves = |name: &str, entry: &str| Format::of(name).unwrap().is_described_by(entry);
        assert!(serves("arm64", entry));
        assert!(!serves("riscv64", entry) && !serves("arm", entry));
        assert!(!serves("arm64", &entry.replace("enabled", "disabled")));
        assert!(!serves("arm64", &entry.replace("OCF", "OC")));
        assert!(!serves("arm64", ""));
    }

    #[test]
    fn an_emulator_is_a_static_program_in_a_directory_or_the_hosts() {
        let place = tempfile::tempdir().unwrap();
        let host = place.path().join("binfmt_misc");
        let find = |architecture| {
            Emulator::find_with(architecture, &[place.path().to_owned()], &host)
                .map(|found| found.program)
                .map_err(|error| error.to_string())
        };
        assert!(find("arm64").unwrap_err().contains("qemu-aarch64-static"));
        assert!(find("z80").unwrap_err().contains("no emulator"));
        fs::create_dir(&host).unwrap();
        let entry = "enabled\nflags: F\noffset 0\nmagic 7f454c460201010000000000000000000200b700\n";
        fs::write(host.join("rosetta-of-arms"), entry).unwrap();
        assert_eq!(find("arm64"), Ok(None));
        let program = place.path().join("qemu-aarch64-static");
        fs::write(&program, "").unwrap();
        assert_eq!(find("arm64"), Ok(Some(program)));
    }
}
