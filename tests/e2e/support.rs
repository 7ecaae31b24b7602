//! What the end-to-end tests share: a directory and a store of their own, the program under test, and words for what a test
//! needs. The invariant: a test that cannot run prints `SKIP NEED: why`, which tests/lib/tally.py counts; it never passes silently.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

/// The degree of rootlessness that the tests run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Degree {
    /// An ordinary user with subordinate ids.
    SubIds,
    /// An ordinary user without any.
    NoSub,
    /// Root.
    Root,
}

/// The degree, from RBUILD_TEST_USER, else from the user and its sub-ids.
pub(crate) fn degree() -> Degree {
    match std::env::var("RBUILD_TEST_USER").as_deref() {
        Ok("subids") => Degree::SubIds,
        Ok("nosub") => Degree::NoSub,
        Ok("root") => Degree::Root,
        Ok(other) => panic!("RBUILD_TEST_USER={other} is none of subids, nosub, root"),
        Err(_)
            if fs::metadata("/proc/self")
                .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) =>
        {
            Degree::Root
        }
        Err(_) => {
            let user = std::env::var("USER").unwrap_or_default();
            let text = fs::read_to_string("/etc/subuid").unwrap_or_default();
            if text
                .lines()
                .any(|line| line.starts_with(&format!("{user}:")))
            {
                Degree::SubIds
            } else {
                Degree::NoSub
            }
        }
    }
}

/// Ends the test, with a line that is counted, when something that it needs is not there: `requires!(base "busybox")`,
/// `requires!(execution)`, `requires!(sub_ids)`, `requires!(pasta)`, `requires!(degree Degree::Root)`.
macro_rules! requires {
    (base $name:expr) => {
        match $crate::support::base($name) {
            Some(layout) => layout,
            None => skip!("bases", "RBUILD_TEST_BASES has no {}", $name),
        }
    };
    (degree $degree:expr) => {
        if $crate::support::degree() != $degree {
            skip!("degree", "this is {:?}", $crate::support::degree());
        }
    };
    (sub_ids) => {
        if $crate::support::degree() == $crate::support::Degree::NoSub {
            skip!("sub-ids", "the user has none");
        }
    };
    (execution) => {
        if !$crate::support::can_execute() {
            skip!("user-namespaces", "`rbuild unshare true` fails here");
        }
    };
    (pasta) => {
        if !$crate::support::in_path("pasta") {
            skip!("pasta", "it is not in PATH");
        }
    };
    (program $name:expr) => {
        if !$crate::support::in_path($name) {
            skip!($name, "it is not in PATH");
        }
    };
}

/// Prints the line that is counted, and ends the test.
macro_rules! skip {
    ($need:expr, $($why:tt)*) => {{
        // Standard output is what --show-output shows below the test's name.
        println!("SKIP {}: {}", $need, format!($($why)*));
        return;
    }};
}

/// The program under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("RBUILD_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_rbuild").into(), PathBuf::from)
}

/// An OCI layout with a base image, where the tests were given any.
pub(crate) fn base(name: &str) -> Option<PathBuf> {
    let layout = PathBuf::from(std::env::var_os("RBUILD_TEST_BASES")?).join(name);
    layout.join("index.json").exists().then_some(layout)
}

/// The layout of a base for another processor, and the directory of the emulators that execute it.
pub(crate) fn foreign_bases() -> Option<(PathBuf, PathBuf)> {
    let emulators = PathBuf::from(std::env::var_os("RBUILD_TEST_BASES")?).join("emulators");
    let there = emulators.join("qemu-aarch64-static").is_file();
    there.then_some((base("busybox-arm64")?, emulators))
}

/// Whether a program is in PATH.
pub(crate) fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// Whether anything can be executed in a session here.
pub(crate) fn can_execute() -> bool {
    Place::new()
        .rbuild()
        .args(["unshare", "true"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A test's own directory: a store, a context, and whatever it makes.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("rbuild-e2e-")
            .tempdir()
            .expect("a temporary directory");
        let place = Self { directory };
        fs::create_dir(place.context()).expect("the context");
        place
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The build context, which is also the working directory of [`Place::rbuild`].
    pub(crate) fn context(&self) -> PathBuf {
        self.path().join("context")
    }

    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Writes a file of the context.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.context().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
        self
    }

    /// Writes an executable file of the context.
    pub(crate) fn write_program(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        self.write(name, text);
        fs::set_permissions(self.context().join(name), fs::Permissions::from_mode(0o755))
            .expect("its mode");
        self
    }

    /// The program under test, in the context, with this place's store and nothing of the caller's configuration.
    pub(crate) fn rbuild(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(self.context())
            .env("RBUILD_ROOT", self.store())
            .env("HOME", self.path());
        for name in [
            "REGISTRY_AUTH_FILE",
            "DOCKER_CONFIG",
            "SOURCE_DATE_EPOCH",
            "XDG_DATA_HOME",
            "XDG_CONFIG_HOME",
            "NO_COLOR",
            "COSIGN_PASSWORD",
        ] {
            command.env_remove(name);
        }
        command.timeout(std::time::Duration::from_secs(120));
        command
    }

    /// Builds `containerfile` with more arguments and returns the image's id.
    pub(crate) fn build(&self, containerfile: &str, args: &[&str]) -> String {
        self.write("Containerfile", containerfile);
        let output = self
            .rbuild()
            .args(["build", "--progress", "plain"])
            .args(args)
            .arg(".")
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "the build failed with {}:\n{stderr}",
            output.status
        );
        String::from_utf8(output.stdout)
            .expect("an id")
            .trim()
            .to_owned()
    }

    /// Runs rbuild, expects the exit code, and returns standard output and standard error.
    pub(crate) fn expect(&self, code: i32, args: &[&str]) -> (String, String) {
        self.expect_with_input(code, args, "")
    }

    /// As [`Place::expect`], with something on its standard input.
    pub(crate) fn expect_with_input(
        &self,
        code: i32,
        args: &[&str],
        input: &str,
    ) -> (String, String) {
        let mut command = self.rbuild();
        if !input.is_empty() {
            command.write_stdin(input);
        }
        let output = command.args(args).output().expect("it starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        );
        (stdout, stderr)
    }
}

/// Files of sub-ids in the store can be deleted only inside the session.
impl Drop for Place {
    fn drop(&mut self) {
        if self.store().join("trees").is_dir() && degree() == Degree::SubIds {
            let store = self.store();
            let _ = self
                .rbuild()
                .arg("unshare")
                .arg("rm")
                .arg("-rf")
                .arg(store.join("trees"))
                .arg(store.join("cache"))
                .output();
        }
    }
}
