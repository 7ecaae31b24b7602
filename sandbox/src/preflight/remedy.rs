//! Commands that mend a host, in the dialect of its distribution. Invariant: every word that comes from the host is quoted
//! for the shell.

use std::path::Path;

/// Distributions that share package names and tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Debian,
    Fedora,
    Suse,
    Arch,
    Alpine,
    Unknown,
}

/// What a package is wanted for; its name differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Package {
    /// newuidmap and newgidmap.
    IdMapPrograms,
    /// pasta.
    Pasta,
}

impl Family {
    /// From the text of os-release(5): ID first, then the words of ID_LIKE.
    pub(super) fn of(os_release: &str) -> Self {
        let value = |key: &str| {
            let line = os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default()
                .trim_matches(['"', '\''])
                .to_owned()
        };
        let ids = format!("{} {}", value("ID"), value("ID_LIKE"));
        ids.split_whitespace()
            .find_map(Self::of_id)
            .unwrap_or(Self::Unknown)
    }

    fn of_id(id: &str) -> Option<Self> {
        match id {
            "debian" | "ubuntu" => Some(Self::Debian),
            "fedora" | "rhel" | "centos" => Some(Self::Fedora),
            "suse" | "opensuse" | "sles" => Some(Self::Suse),
            "arch" => Some(Self::Arch),
            "alpine" => Some(Self::Alpine),
            _ => None,
        }
    }

    /// Installs the package.
    pub(super) fn install(self, package: Package) -> String {
        let name = match (package, self) {
            (Package::Pasta, _) => "passt",
            (Package::IdMapPrograms, Self::Debian) => "uidmap",
            (Package::IdMapPrograms, Self::Fedora) => "shadow-utils",
            (Package::IdMapPrograms, Self::Alpine) => "shadow-uidmap",
            (Package::IdMapPrograms, Self::Suse | Self::Arch | Self::Unknown) => "shadow",
        };
        match self {
            Self::Debian => format!("sudo apt-get install -y {name}"),
            Self::Fedora => format!("sudo dnf install -y {name}"),
            Self::Suse => format!("sudo zypper install -y {name}"),
            Self::Arch => format!("sudo pacman -S --noconfirm {name}"),
            Self::Alpine => format!("sudo apk add {name}"),
            Self::Unknown => {
                format!("# install the package `{name}` (on some distributions named otherwise)")
            }
        }
    }

    /// Brings the newest kernel of the distribution.
    pub(super) fn upgrade_kernel(self) -> String {
        let upgrade = match self {
            Self::Debian => "sudo apt-get update && sudo apt-get dist-upgrade -y",
            Self::Fedora => "sudo dnf upgrade -y --refresh",
            Self::Suse => "sudo zypper dup -y",
            Self::Arch => "sudo pacman -Syu --noconfirm",
            Self::Alpine => "sudo apk upgrade",
            Self::Unknown => return "# boot a newer kernel".to_owned(),
        };
        format!("{upgrade} && sudo reboot")
    }

    /// Adds a kernel argument for the next boot.
    pub(super) fn kernel_argument(self, argument: &str) -> String {
        match self {
            Self::Fedora => {
                format!("sudo grubby --update-kernel=ALL --args={argument} && sudo reboot")
            }
            Self::Debian => format!(
                "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {argument}\"' | sudo tee /etc/default/grub.d/rbuild.cfg\n\
                 sudo update-grub && sudo reboot"
            ),
            _ => format!("# boot with the kernel argument {argument}"),
        }
    }
}

/// Sets a sysctl now and for every boot.
pub(super) fn sysctl(name: &str, value: &str) -> String {
    const FILE: &str = "/etc/sysctl.d/99-rbuild.conf";
    format!("echo '{name} = {value}' | sudo tee -a {FILE}\nsudo sysctl -p {FILE}")
}

/// The path as one word of a shell command.
pub(super) fn path_word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// The text as one word of a shell command.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
