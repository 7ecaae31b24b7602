//! Debian's docker-registry on loopback, for the tests that need a real registry. The invariant: it has a directory and a port of
//! its own, and ends with the test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// docker-registry with a directory of its own; ends with the test.
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    directory: tempfile::TempDir,
}

impl Registry {
    /// One that asks nobody, or only `user` for the password `U*U` (crypt_blowfish's test vector).
    pub(crate) fn start(guarded: bool) -> Option<Self> {
        Self::start_with(guarded, "")
    }

    /// `http` is more of that part of its configuration.
    pub(crate) fn start_with(guarded: bool, http: &str) -> Option<Self> {
        let program = std::env::var_os("RBUILD_TEST_REGISTRY").map(PathBuf::from)?;
        let directory = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let at = directory.path().display();
        let mut text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {at}/data}}}}\n\
             http: {{addr: '{address}'{http}}}\n"
        );
        if guarded {
            text += &format!("auth: {{htpasswd: {{realm: here, path: {at}/users}}}}\n");
            let line = "user:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
            fs::write(directory.path().join("users"), line).expect("the users");
        }
        let config = directory.path().join("config.yml");
        fs::write(&config, text).expect("its configuration");
        let child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let registry = Self {
            child,
            host: address.to_string(),
            directory,
        };
        for _ in 0..100 {
            if TcpStream::connect(address).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// An auth file of podman's with the right password.
    pub(crate) fn auth_file(&self) -> String {
        let path = self.directory.path().join("auth.json");
        // base64 of user:U*U
        let text = format!(
            "{{\"auths\":{{\"{}\":{{\"auth\":\"dXNlcjpVKlU=\"}}}}}}",
            self.host
        );
        fs::write(&path, text).expect("an auth file");
        path.display().to_string()
    }

    /// The manifest that a tag of `app` means, as it lies in the registry's files.
    pub(crate) fn manifest(&self, tag: &str) -> Value {
        let data = self.directory.path().join("data/docker/registry/v2");
        let link = data.join(format!(
            "repositories/app/_manifests/tags/{tag}/current/link"
        ));
        let digest = fs::read_to_string(&link).expect("the tag");
        let hex = digest.trim().trim_start_matches("sha256:");
        let blob = data.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        serde_json::from_slice(&fs::read(blob).expect("the manifest")).expect("JSON")
    }
}

impl Registry {
    /// What its files say about blobs: how many it has.
    pub(crate) fn blobs(&self) -> usize {
        let blobs = self
            .directory
            .path()
            .join("data/docker/registry/v2/blobs/sha256");
        let two = fs::read_dir(blobs).into_iter().flatten().flatten();
        two.map(|two| fs::read_dir(two.path()).into_iter().flatten().count())
            .sum()
    }
}

impl Registry {
    fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let data = self.directory.path().join("data/docker/registry/v2");
        data.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// Removes a blob behind the registry's back, or leaves so much of it with another byte at the start.
    pub(crate) fn spoil(&self, digest: &str, left: Option<usize>) {
        let path = self.blob_path(digest);
        let Some(left) = left else {
            return fs::remove_file(path).expect("a blob");
        };
        let mut bytes = fs::read(&path).expect("a blob");
        if left > 0 {
            bytes.truncate(left.min(bytes.len() / 2));
        }
        bytes[12] ^= 1;
        fs::write(path, bytes).expect("a blob");
    }

    /// Removes every blob of the repository `app`.
    pub(crate) fn sweep(&self) {
        let data = self.directory.path().join("data/docker/registry/v2");
        for entry in fs::read_dir(data.join("repositories/app/_layers/sha256"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let _ = fs::remove_file(self.blob_path(&name));
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

macro_rules! registry {
    ($guarded:expr) => {
        match $crate::registries::Registry::start($guarded) {
            Some(registry) => registry,
            None => skip!("registry", "RBUILD_TEST_REGISTRY names none that starts"),
        }
    };
}
