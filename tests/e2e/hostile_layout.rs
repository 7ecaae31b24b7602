//! Images made by hand, right and wrong ones: OCI layouts and the tars of their layers, byte by byte. The invariant: nothing
//! here uses rbuild's own writers, so that a mistake cannot hide behind its mirror image.

use std::fs;
use std::path::{Path, PathBuf};

use image::Digest;

/// Tar archives (POSIX.1-1988 headers), written without any check.
pub(crate) mod tar {
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;

    /// One member.
    #[derive(Clone)]
    pub(crate) struct Member {
        pub(crate) name: Vec<u8>,
        pub(crate) kind: u8,
        pub(crate) link: String,
        pub(crate) mode: u32,
        pub(crate) owner: (u32, u32),
        pub(crate) device: (u32, u32),
        pub(crate) content: Vec<u8>,
        /// A size that is not the content's.
        pub(crate) claims: Option<u64>,
    }

    impl Member {
        fn new(name: &str, kind: u8) -> Self {
            Self {
                name: name.as_bytes().to_vec(),
                kind,
                link: String::new(),
                mode: if kind == b'5' { 0o755 } else { 0o644 },
                owner: (0, 0),
                device: (0, 0),
                content: Vec::new(),
                claims: None,
            }
        }

        pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> Self {
            Self {
                content: content.as_ref().to_vec(),
                ..Self::new(name, b'0')
            }
        }

        pub(crate) fn program(name: &str, content: impl AsRef<[u8]>) -> Self {
            Self {
                mode: 0o755,
                ..Self::file(name, content)
            }
        }

        pub(crate) fn dir(name: &str) -> Self {
            Self::new(name, b'5')
        }

        pub(crate) fn symlink(name: &str, target: &str) -> Self {
            Self {
                link: target.into(),
                mode: 0o777,
                ..Self::new(name, b'2')
            }
        }

        pub(crate) fn hardlink(name: &str, target: &str) -> Self {
            Self {
                link: target.into(),
                ..Self::new(name, b'1')
            }
        }

        pub(crate) fn fifo(name: &str) -> Self {
            Self::new(name, b'6')
        }

        pub(crate) fn device(name: &str, kind: u8, major: u32, minor: u32) -> Self {
            Self {
                device: (major, minor),
                ..Self::new(name, kind)
            }
        }

        /// A PAX header (POSIX.1-2001) for the next member.
        pub(crate) fn pax(records: &[(&str, &[u8])]) -> Self {
            let mut content = Vec::new();
            for (key, value) in records {
                let mut length = key.len() + value.len() + 3;
                while length != format!("{length}").len() + key.len() + value.len() + 3 {
                    length = format!("{length}").len() + key.len() + value.len() + 3;
                }
                content.extend_from_slice(format!("{length} {key}=").as_bytes());
                content.extend_from_slice(value);
                content.push(b'\n');
            }
            Self {
                content,
                ..Self::new("PaxHeaders/x", b'x')
            }
        }

        fn header(&self) -> [u8; 512] {
            let mut header = [0; 512];
            let mut put =
                |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
            put(0, &self.name[..self.name.len().min(100)]);
            put(100, format!("{:07o}\0", self.mode).as_bytes());
            put(108, format!("{:07o}\0", self.owner.0).as_bytes());
            put(116, format!("{:07o}\0", self.owner.1).as_bytes());
            let size = self.claims.unwrap_or(self.content.len() as u64);
            if size < 1 << 33 {
                put(124, format!("{size:011o}\0").as_bytes());
            } else {
                // GNU base-256.
                put(124, &[0x80, 0, 0, 0]);
                put(128, &size.to_be_bytes());
            }
            put(136, b"14524210400\0");
            put(148, b"        ");
            put(156, &[self.kind]);
            put(157, self.link.as_bytes());
            put(257, b"ustar\x0000");
            put(
                329,
                format!("{:07o}\0", self.device.0 & 0o7_777_777).as_bytes(),
            );
            put(
                337,
                format!("{:07o}\0", self.device.1 & 0o7_777_777).as_bytes(),
            );
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            header
        }
    }

    /// An archive of members, with its end.
    pub(crate) fn of(members: &[Member]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for member in members {
            bytes.extend_from_slice(&member.header());
            bytes.extend_from_slice(&member.content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    /// An archive file with one member of `size` zero bytes, as a hole.
    pub(crate) fn large_file(path: &Path, name: &str, size: u64) {
        let member = Member {
            claims: Some(size),
            ..Member::file(name, "")
        };
        let mut file = fs::File::create(path).expect("an archive");
        file.write_all(&member.header()).expect("its header");
        file.set_len(512 + size.next_multiple_of(512) + 1024)
            .expect("its length");
    }
}

/// The media types of layers.
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layer as a layout describes it, true or not.
#[derive(Clone)]
pub(crate) struct LayerBlob {
    pub(crate) blob: Vec<u8>,
    pub(crate) digest: String,
    pub(crate) diff_id: String,
    pub(crate) size: u64,
    pub(crate) media_type: &'static str,
}

impl LayerBlob {
    /// What `tar` truly is.
    pub(crate) fn of(tar: Vec<u8>) -> Self {
        let digest = Digest::of(&tar).to_string();
        Self {
            size: tar.len() as u64,
            diff_id: digest.clone(),
            digest,
            blob: tar,
            media_type: TAR,
        }
    }
}

/// An OCI image layout that is being written.
pub(crate) struct Layout(PathBuf);

impl Layout {
    /// An empty one.
    pub(crate) fn new(path: &Path) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).expect("a layout");
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("its version");
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a blob; returns its digest.
    pub(crate) fn blob(&self, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes);
        fs::write(self.0.join("blobs/sha256").join(digest.hex()), bytes).expect("a blob");
        digest.to_string()
    }

    /// Writes `index.json`.
    pub(crate) fn index(&self, text: &str) {
        fs::write(self.0.join("index.json"), text).expect("the index");
    }

    /// Points the index at one manifest.
    pub(crate) fn manifest(&self, manifest: &str) {
        let digest = self.blob(manifest.as_bytes());
        self.index(&format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{}}}]}}"#,
            manifest.len()
        ));
    }

    /// An image of layers with a configuration beside the layers', e.g. `"Env":["A=b"]`.
    pub(crate) fn image_with(&self, layers: &[LayerBlob], config: &str) {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|layer| format!("{:?}", layer.diff_id))
            .collect();
        let config = format!(
            r#"{{"architecture":"{}","os":"linux","config":{{{config}}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            architecture(),
            diff_ids.join(",")
        );
        let mut descriptors = Vec::new();
        for layer in layers {
            let name = layer.digest.rsplit(':').next().expect("a part");
            if !layer.blob.is_empty() && !name.contains('/') && !name.is_empty() {
                fs::write(self.0.join("blobs/sha256").join(name), &layer.blob).expect("a layer");
            }
            descriptors.push(format!(
                r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
                layer.media_type, layer.digest, layer.size
            ));
        }
        let digest = self.blob(config.as_bytes());
        self.manifest(&format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{}}},"layers":[{}]}}"#,
            config.len(),
            descriptors.join(",")
        ));
    }

    /// An image whose one layer is a file that is too large to be held.
    pub(crate) fn image_of_layer_file(&self, tar: &Path) {
        let sum = std::process::Command::new("sha256sum")
            .arg(tar)
            .output()
            .expect("sha256sum starts");
        let sum = String::from_utf8(sum.stdout).expect("its output");
        let hex = sum.split(' ').next().expect("a digest");
        let size = fs::metadata(tar).expect("its size").len();
        fs::rename(tar, self.0.join("blobs/sha256").join(hex)).expect("its place");
        self.image_with(
            &[LayerBlob {
                blob: Vec::new(),
                digest: format!("sha256:{hex}"),
                diff_id: format!("sha256:{hex}"),
                size,
                media_type: TAR,
            }],
            "",
        );
    }
}

/// The layers of the image in a layout that somebody else made.
pub(crate) fn layers_of(layout: &Path) -> Vec<LayerBlob> {
    let read = |name: &str| fs::read(layout.join(name)).expect("a file of the layout");
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let blob = |digest: &str| read(&format!("blobs/sha256/{}", &digest["sha256:".len()..]));
    let index = json(&read("index.json"));
    let manifest = json(&blob(&text(&index["manifests"][0]["digest"])));
    let config = json(&blob(&text(&manifest["config"]["digest"])));
    let layers = manifest["layers"].as_array().expect("layers");
    let of = |(number, layer): (usize, &serde_json::Value)| {
        let digest = text(&layer["digest"]);
        LayerBlob {
            blob: blob(&digest),
            size: layer["size"].as_u64().expect("a size"),
            diff_id: text(&config["rootfs"]["diff_ids"][number]),
            media_type: match layer["mediaType"].as_str() {
                Some(GZIP) => GZIP,
                _ => TAR,
            },
            digest,
        }
    };
    layers.iter().enumerate().map(of).collect()
}

/// Files of this machine beside a hostile image, which nothing that a build does may touch.
pub(crate) struct Canary {
    directory: PathBuf,
    before: Vec<String>,
}

impl Canary {
    /// In a directory that is made.
    pub(crate) fn new(directory: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        fs::create_dir_all(directory.join("sub")).expect("a directory");
        for name in ["file", "sub/inner", "ptmx", "passwd"] {
            let text = format!("canary {name}\nroot:x:0:0::/:\ncanaryuser:x:0:0::/:\n");
            fs::write(directory.join(name), text).expect("a canary");
        }
        fs::set_permissions(directory.join("file"), fs::Permissions::from_mode(0o640))
            .expect("its mode");
        let mut canary = Self {
            directory: directory.to_owned(),
            before: Vec::new(),
        };
        canary.before = canary.state();
        canary
    }

    pub(crate) fn path(&self) -> String {
        self.directory.display().to_string()
    }

    fn state(&self) -> Vec<String> {
        use std::os::unix::fs::MetadataExt as _;
        fn walk(path: &Path, lines: &mut Vec<String>) {
            let meta = fs::symlink_metadata(path).expect("a canary");
            let digest = fs::read(path).map(|bytes| Digest::of(&bytes).to_string());
            lines.push(format!(
                "{} {:o} {}:{} {}.{} {} {digest:?}",
                path.display(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.nlink(),
            ));
            if meta.is_dir() {
                let entries = fs::read_dir(path).expect("a directory");
                entries
                    .flatten()
                    .for_each(|entry| walk(&entry.path(), lines));
            }
        }
        let mut lines = Vec::new();
        walk(&self.directory, &mut lines);
        lines.sort();
        lines
    }

    /// Fails the test when anything changed.
    pub(crate) fn lives(&self, after: &str) {
        assert_eq!(self.state(), self.before, "{after}: the canary changed");
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
