//! Builds on busybox, and what came out, read by Python's tarfile (tests/lib/compare.py). The invariant: no code of rbuild judges
//! what rbuild wrote.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::Place;

/// The lister, as a program text: the checkout may be closed to the user of the tests.
const COMPARE: &str = include_str!("../lib/compare.py");

/// A place to build in, with busybox as the build context `busybox`.
pub(crate) struct Site {
    pub(crate) place: Place,
    busybox: PathBuf,
}

/// What a build left.
pub(crate) struct Built {
    /// The image's id.
    pub(crate) id: String,
    /// What was said.
    pub(crate) stderr: String,
    /// The image's configuration.
    pub(crate) config: Value,
    /// The image's manifest.
    pub(crate) manifest: Value,
    blobs: PathBuf,
}

impl Site {
    /// A new one.
    pub(crate) fn new(busybox: PathBuf) -> Self {
        Self {
            place: Place::new(),
            busybox,
        }
    }

    /// The layout that `FROM busybox` is.
    pub(crate) fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// The program, ready to build with this Containerfile; without a network and the policies unless `args` give them.
    pub(crate) fn command(&self, containerfile: &str, args: &[&str]) -> assert_cmd::Command {
        self.place.write("Containerfile", containerfile);
        let mut command = self.place.rbuild();
        command
            .args(["build", "--progress", "plain"])
            .arg("--build-context")
            .arg(format!("busybox=oci-layout:{}", self.busybox.display()));
        let usual = [
            ("--user-policy", "off"),
            ("--network", "none"),
            ("--closure", "off"),
        ];
        for (option, usual) in usual {
            if !args.iter().any(|arg| arg.starts_with(option)) {
                command.args([option, usual]);
            }
        }
        command.args(args).arg(".");
        command
    }

    /// Builds, and expects that it works.
    pub(crate) fn build(&self, containerfile: &str, args: &[&str]) -> Built {
        self.built(&mut self.command(containerfile, args))
    }

    /// Performs a build that was prepared, and expects that it works.
    pub(crate) fn built(&self, command: &mut assert_cmd::Command) -> Built {
        let output = command.output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "the build failed with {}:\n{stderr}",
            output.status
        );
        let id = String::from_utf8(output.stdout)
            .expect("an id")
            .trim()
            .to_owned();
        let (json, _) = self.place.expect(0, &["inspect", &id, "--format", "json"]);
        let json: Value = serde_json::from_str(&json).expect("JSON");
        Built {
            id,
            stderr,
            config: json["config"].clone(),
            manifest: json["manifest"].clone(),
            blobs: self.place.store().join("blobs"),
        }
    }

    /// Builds, expects exit code 1, and returns what was said.
    pub(crate) fn fails(&self, containerfile: &str, args: &[&str]) -> String {
        let output = self
            .command(containerfile, args)
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        stderr
    }
}

impl Built {
    /// The entries of the layers above busybox, one list for each layer.
    pub(crate) fn layers(&self) -> Vec<Vec<String>> {
        self.layers_above(1)
    }

    /// The entries of the layers above the first `base` ones.
    pub(crate) fn layers_above(&self, base: usize) -> Vec<Vec<String>> {
        let layers = self.manifest["layers"].as_array().expect("layers");
        let blobs: Vec<PathBuf> = layers
            .iter()
            .skip(base)
            .map(|layer| {
                let digest = layer["digest"].as_str().expect("a digest");
                self.blobs.join(digest.replace(':', "/"))
            })
            .collect();
        let text = compare("layers", &blobs);
        let mut lists: Vec<Vec<String>> = Vec::new();
        for line in text.lines() {
            match lists.last_mut() {
                _ if line.starts_with("== ") => lists.push(Vec::new()),
                Some(list) => list.push(line.to_owned()),
                None => panic!("{text}"),
            }
        }
        lists
    }

    /// The entries of the only layer above busybox.
    pub(crate) fn layer(&self) -> Vec<String> {
        let mut layers = self.layers();
        assert_eq!(layers.len(), 1, "{layers:#?}");
        layers.remove(0)
    }

    /// The entries of all layers of an image that began with nothing.
    pub(crate) fn scratch(&self) -> Vec<String> {
        self.layers_above(0).concat()
    }

    /// A field of the configuration's `config`, as JSON text.
    pub(crate) fn field(&self, name: &str) -> String {
        self.config["config"][name].to_string()
    }

    /// How many of the steps were cached.
    pub(crate) fn cached(&self) -> usize {
        self.stderr
            .lines()
            .filter(|line| line.starts_with('[') && line.ends_with(" (cached)"))
            .count()
    }

    /// The lines that the steps printed.
    pub(crate) fn said(&self, line: &str) -> bool {
        self.stderr.lines().any(|known| known.ends_with(line))
    }
}

/// The flattened files of an image in an OCI layout.
pub(crate) fn tree_of(layout: &Path) -> String {
    compare("tree", &[layout.to_owned()])
}

fn compare(what: &str, paths: &[PathBuf]) -> String {
    let args: Vec<OsString> = [what.into()]
        .into_iter()
        .chain(paths.iter().map(Into::into))
        .collect();
    python(COMPARE, &args)
}

/// Runs a Python program and returns what it printed.
pub(crate) fn python(program: &str, args: &[OsString]) -> String {
    let output = assert_cmd::Command::new("python3")
        .arg("-")
        .args(args)
        .write_stdin(program)
        .output()
        .expect("python3 starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A site to build on, where the base image is there.
macro_rules! site {
    () => {
        $crate::build_oracle::Site::new(requires!(base "busybox"))
    };
    (run) => {{
        requires!(execution);
        site!()
    }};
    (ids) => {{
        requires!(sub_ids);
        site!(run)
    }};
}
