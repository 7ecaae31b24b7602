//! Everything that rbuild reads from around it: environment, home directory, clock, user ids. The invariant: it is
//! read here, once, and handed on as values; an empty variable counts as unset.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use builder::GitProgram;
use sandbox::preflight::HostView;

use crate::args::UsernsMode;
use crate::failure::Failure;

/// The environment variable that names the store.
pub(crate) const STORE_VARIABLE: &str = "RBUILD_ROOT";

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// The first line of standard input, which a terminal does not show while it is typed.
///
/// # Errors
/// When it cannot be read, or is no text.
pub(crate) fn secret_line() -> std::io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let shown = tcgetattr(&stdin).ok();
    if let Some(mut hidden) = shown.clone() {
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    }
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    if let Some(shown) = shown {
        tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    }
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The time.
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// 64 hexadecimal digits that nobody has had.
///
/// # Errors
/// When there is no /dev/urandom.
pub(crate) fn new_id() -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What surrounds this process.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    env: HashMap<OsString, OsString>,
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// Whether standard error is a terminal that can move its cursor.
    pub live_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// The working directory.
    pub directory: PathBuf,
    /// Seconds since 1970.
    pub now: i64,
    /// The ids that the command line wants.
    pub userns_mode: UsernsMode,
}

impl Surroundings {
    /// Looks around.
    pub(crate) fn look() -> Self {
        let mut here = Self {
            env: std::env::vars_os().collect(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            live_terminal: false,
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stdin_is_terminal: stdin_is_terminal(),
            // A directory that was removed has no name; paths relative to it then fail with their own error.
            directory: std::env::current_dir().unwrap_or_default(),
            now: unix_time(SystemTime::now()),
            userns_mode: UsernsMode::default(),
        };
        here.live_terminal =
            std::io::stderr().is_terminal() && here.text("TERM").is_none_or(|term| term != "dumb");
        here
    }

    /// Made-up surroundings.
    #[cfg(test)]
    pub(crate) fn of(env: &[(&str, &str)]) -> Self {
        Self {
            env: env
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            uid: 1000,
            gid: 1000,
            live_terminal: false,
            stdout_is_terminal: false,
            stdin_is_terminal: false,
            directory: "/work".into(),
            now: 1_700_000_000,
            userns_mode: UsernsMode::default(),
        }
    }

    /// How many processors this process may use. Asking reads several files, which a start of `rbuild run` can do without.
    pub(crate) fn processors(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// A variable's value, when it is set and not empty.
    fn value(&self, name: &str) -> Option<&OsString> {
        self.env
            .get(OsString::from(name).as_os_str())
            .filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.to_str()
    }

    /// What `--build-arg NAME` and `-e NAME` take from the environment; an empty value is a value.
    ///
    /// # Errors
    /// When the value is not UTF-8, which no image configuration can hold.
    pub(crate) fn variable(&self, name: &str) -> Result<Option<String>, Failure> {
        match self.env.get(OsString::from(name).as_os_str()) {
            None => Ok(None),
            Some(value) => value
                .to_str()
                .map(|text| Some(text.to_owned()))
                .ok_or_else(|| {
                    Failure::usage(format!("the environment variable {name} is not UTF-8"))
                }),
        }
    }

    /// An absolute path from a variable; XDG's specification says that relative ones are to be ignored.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.value(name)?);
        path.is_absolute().then_some(path)
    }

    /// The store: what the command line says, RBUILD_ROOT, and then the user's data directory; root's is below /var/lib.
    ///
    /// # Errors
    /// When there is no home directory to put it in.
    pub(crate) fn store_path(&self, flag: Option<&Path>) -> Result<PathBuf, Failure> {
        let named = flag
            .map(Path::to_owned)
            .or_else(|| self.value(STORE_VARIABLE).map(PathBuf::from));
        if let Some(path) = named {
            return std::path::absolute(&path).map_err(|error| {
                Failure::usage(format!("the store {} is no path: {error}", path.display()))
            });
        }
        if let Some(data) = self.directory("XDG_DATA_HOME") {
            return Ok(data.join("rbuild"));
        }
        if self.uid == 0 {
            return Ok("/var/lib/rbuild".into());
        }
        match self.directory("HOME") {
            Some(home) => Ok(home.join(".local/share/rbuild")),
            None => Err(Failure::host(
                "there is no place for the store: HOME is not set to an absolute path",
            )
            .hint(format!(
                "name a directory with --root DIR or {STORE_VARIABLE}=DIR"
            ))),
        }
    }

    /// TMPDIR, where it is set and absolute, else /tmp.
    pub(crate) fn temporary_dir(&self) -> PathBuf {
        self.directory("TMPDIR").unwrap_or_else(|| "/tmp".into())
    }

    /// XDG_RUNTIME_DIR, where it is set and absolute.
    pub(crate) fn runtime_dir(&self) -> Option<PathBuf> {
        self.directory("XDG_RUNTIME_DIR")
    }

    /// Where containers in the background are noted: nothing of them outlives a start of the machine.
    pub(crate) fn containers_dir(&self) -> PathBuf {
        match self.runtime_dir() {
            Some(directory) => directory.join("rbuild/containers"),
            None if self.uid == 0 => "/run/rbuild/containers".into(),
            // Who has not logged in has no such directory.
            None => PathBuf::from(format!("/tmp/rbuild-containers-{}", self.uid)),
        }
    }

    /// The user's home, where HOME is set and absolute.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.directory("HOME")
    }

    /// The files that may hold registry credentials, the most specific first. A file that the user named must exist.
    pub(crate) fn auth_files(&self, flag: Option<&Path>) -> AuthFiles {
        let named = flag
            .map(Path::to_owned)
            .or_else(|| self.value("REGISTRY_AUTH_FILE").map(PathBuf::from));
        if let Some(path) = named {
            return AuthFiles {
                required: true,
                candidates: vec![path],
            };
        }
        let home = self.directory("HOME");
        let config = self.config_dir();
        let docker = self
            .value("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(".docker")));
        let candidates = [
            self.runtime_dir()
                .map(|dir| dir.join("containers/auth.json")),
            config.map(|dir| dir.join("containers/auth.json")),
            docker.map(|dir| dir.join("config.json")),
        ];
        AuthFiles {
            required: false,
            candidates: candidates.into_iter().flatten().collect(),
        }
    }

    /// The files of registries.conf(5) that are there, in the order in which they are heeded.
    pub(crate) fn registries_files(&self) -> Vec<PathBuf> {
        if let Some(named) = self.value("CONTAINERS_REGISTRIES_CONF") {
            return vec![named.into()];
        }
        let own = self.config_dir().map(|dir| dir.join("containers"));
        let system = ["/etc/containers", "/usr/share/containers"].map(PathBuf::from);
        let dirs: Vec<PathBuf> = own.into_iter().chain(system).collect();
        let main = dirs
            .iter()
            .map(|dir| dir.join("registries.conf"))
            .find(|path| path.is_file());
        let mut files: Vec<PathBuf> = main.into_iter().collect();
        // The user's own decide, so they come last.
        for dir in dirs.iter().rev() {
            let entries = std::fs::read_dir(dir.join("registries.conf.d"));
            let paths = entries.into_iter().flatten().flatten().map(|e| e.path());
            let mut found: Vec<PathBuf> = paths
                .filter(|path| path.extension().is_some_and(|end| end == "conf"))
                .collect();
            found.sort();
            files.extend(found);
        }
        files
    }

    /// The directories of certs.d(5) that there are: one below them for each registry.
    pub(crate) fn certs_dirs(&self) -> Vec<PathBuf> {
        let own = self.config_dir().map(|dir| dir.join("containers/certs.d"));
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        own.into_iter().chain(system).collect()
    }

    fn config_dir(&self) -> Option<PathBuf> {
        self.directory("XDG_CONFIG_HOME")
            .or_else(|| Some(self.directory("HOME")?.join(".config")))
    }

    /// The proxies that programs in RUN are to use, in both spellings (BuildKit's predefined ARGs).
    pub(crate) fn proxies(&self) -> Vec<(String, String)> {
        let names = [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "FTP_PROXY",
            "NO_PROXY",
            "ALL_PROXY",
        ];
        let both = names
            .into_iter()
            .flat_map(|name| [name.to_owned(), name.to_ascii_lowercase()]);
        both.filter_map(|name| Some((self.text(&name)?.to_owned(), name)))
            .map(|(value, name)| (name, value))
            .collect()
    }

    /// The program that fetches repositories, with what it needs of the environment: other programs, the ssh agent, proxies.
    pub(crate) fn git(&self) -> Option<GitProgram> {
        let wanted = ["PATH", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        let values = wanted
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), self.text(name)?.to_owned())));
        Some(GitProgram {
            program: first(self.path_dirs(), "git")?,
            env: values.chain(self.proxies()).collect(),
        })
    }

    /// Whether colours are wanted on standard error (no-color.org).
    pub(crate) fn colour(&self) -> bool {
        self.live_terminal && self.value("NO_COLOR").is_none()
    }

    /// The shell of `rbuild unshare`.
    pub(crate) fn shell(&self) -> OsString {
        self.value("SHELL")
            .cloned()
            .unwrap_or_else(|| "/bin/sh".into())
    }

    /// The directories of PATH.
    pub(crate) fn path_dirs(&self) -> Vec<PathBuf> {
        let dirs = self
            .value("PATH")
            .map(std::env::split_paths)
            .into_iter()
            .flatten();
        dirs.filter(|dir| dir.is_absolute()).collect()
    }

    /// The first program of that name in PATH, and in the system's directories: ordinary users' PATH often lacks those of the
    /// administrator's programs.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        first(self.program_dirs(), name)
    }

    /// Where [`Surroundings::program`] looks.
    pub(crate) fn program_dirs(&self) -> Vec<PathBuf> {
        let system = ["/usr/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        self.path_dirs().into_iter().chain(system).collect()
    }

    /// The host, as the checks of `doctor` see it.
    pub(crate) fn host_view(&self, store: &Path) -> HostView {
        HostView {
            store: store.to_owned(),
            store_setting: "--root ".to_owned(),
            runtime_dir: self.runtime_dir(),
            path_dirs: self.path_dirs(),
            executable: std::env::current_exe().unwrap_or_else(|_| "rbuild".into()),
            ..HostView::standard()
        }
    }
}

fn first(directories: Vec<PathBuf>, program: &str) -> Option<PathBuf> {
    let mut paths = directories.into_iter().map(|dir| dir.join(program));
    paths.find(|path| path.is_file())
}

/// Where registry credentials may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthFiles {
    /// Whether the user named the file, so that it must exist.
    pub required: bool,
    /// The files, in the order in which they are asked.
    pub candidates: Vec<PathBuf>,
}

fn unix_time(time: SystemTime) -> i64 {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_the_flags_then_the_variables_then_below_home() {
        let home = ("HOME", "/home/ada");
        let path = |env: &[(&str, &str)], flag: Option<&str>| {
            Surroundings::of(env)
                .store_path(flag.map(Path::new))
                .unwrap()
        };
        assert_eq!(
            path(&[home, ("RBUILD_ROOT", "/b")], Some("/a")),
            Path::new("/a")
        );
        assert_eq!(path(&[home, ("RBUILD_ROOT", "/b")], None), Path::new("/b"));
        assert_eq!(
            path(&[home, ("XDG_DATA_HOME", "/d")], None),
            Path::new("/d/rbuild")
        );
        assert_eq!(
            path(&[home, ("XDG_DATA_HOME", "d")], None),
            Path::new("/home/ada/.local/share/rbuild")
        );
        assert_eq!(
            path(&[home, ("RBUILD_ROOT", "")], None),
            Path::new("/home/ada/.local/share/rbuild")
        );
        assert!(path(&[home], Some("rel")).is_absolute());
    }

    #[test]
    fn f40_without_a_home_there_is_one_clear_error() {
        for env in [&[][..], &[("HOME", "")], &[("HOME", "relative")]] {
            let failure = Surroundings::of(env).store_path(None).unwrap_err();
            assert!(failure.to_string().contains("HOME"), "{failure}");
            assert!(failure.hints().iter().any(|hint| hint.contains("--root")));
        }
        let root = Surroundings {
            uid: 0,
            ..Surroundings::of(&[])
        };
        assert_eq!(root.store_path(None).unwrap(), Path::new("/var/lib/rbuild"));
    }

    #[test]
    fn auth_files_come_in_podmans_order_and_a_named_one_is_required() {
        let env = [("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let found = Surroundings::of(&env).auth_files(None);
        let expected = [
            "/run/user/7/containers/auth.json",
            "/h/.config/containers/auth.json",
            "/h/.docker/config.json",
        ];
        assert_eq!(
            found,
            AuthFiles {
                required: false,
                candidates: expected.map(PathBuf::from).to_vec()
            }
        );
        let named = Surroundings::of(&[("REGISTRY_AUTH_FILE", "/x")]).auth_files(None);
        assert_eq!(
            named,
            AuthFiles {
                required: true,
                candidates: vec!["/x".into()]
            }
        );
        assert_eq!(
            Surroundings::of(&[("DOCKER_CONFIG", "/d")])
                .auth_files(None)
                .candidates,
            [Path::new("/d/config.json")]
        );
    }
}
