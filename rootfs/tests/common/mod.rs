//! A tar writer that writes what it is told, however wrong, and roots with a canary beside them.
#![expect(dead_code, reason = "each test binary uses its part")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rootfs::layer::Limits;
use rootfs::unpack::{UnpackError, Unpacked};
use rootfs::{DirTree, Ownership, Root, View};

/// A tar in the making.
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn entry(self, name: &str, kind: u8, link: &str, mode: u32, content: &[u8]) -> Self {
        self.entry_bytes(name.as_bytes(), kind, link.as_bytes(), mode, content)
    }

    pub(crate) fn entry_bytes(
        mut self,
        name: &[u8],
        kind: u8,
        link: &[u8],
        mode: u32,
        content: &[u8],
    ) -> Self {
        if name.len() > 100 {
            self = self.long_name(std::str::from_utf8(name).expect("long names are text here"));
        }
        if link.len() > 100 {
            let mut data = link.to_vec();
            data.push(0);
            self = self.entry_bytes(b"././@LongLink", b'K', b"", 0o644, &data);
        }
        self.header(name, kind, mode, content.len() as u64, |header| {
            let length = link.len().min(100);
            header.as_old_mut().linkname[..length].copy_from_slice(&link[..length]);
        });
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn header(
        &mut self,
        name: &[u8],
        kind: u8,
        mode: u32,
        size: u64,
        more: impl FnOnce(&mut tar::Header),
    ) {
        let mut header = tar::Header::new_gnu();
        let length = name.len().min(100);
        header.as_old_mut().name[..length].copy_from_slice(&name[..length]);
        header.as_old_mut().linkflag = [kind];
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(1_600_000_000);
        header.set_device_major(0).expect("gnu");
        header.set_device_minor(0).expect("gnu");
        more(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(name, b'0', "", 0o644, content)
    }

    pub(crate) fn owned(mut self, name: &str, kind: u8, mode: u32, uid: u64, gid: u64) -> Self {
        self.header(name.as_bytes(), kind, mode, 0, |header| {
            header.set_uid(uid);
            header.set_gid(gid);
        });
        self
    }

    pub(crate) fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(name, b'5', "", mode, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, b'2', target, 0o777, b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(name, b'1', target, 0o644, b"")
    }

    pub(crate) fn device(mut self, name: &str, kind: u8, major: u32, minor: u32) -> Self {
        self.header(name.as_bytes(), kind, 0o600, 0, |header| {
            header.set_device_major(major).expect("gnu");
            header.set_device_minor(minor).expect("gnu");
        });
        self
    }

    pub(crate) fn header_only(mut self, name: &str, kind: u8, size: u64) -> Self {
        self.header(name.as_bytes(), kind, 0o644, size, |_| {});
        self
    }

    pub(crate) fn long_name(self, name: &str) -> Self {
        self.entry(
            "././@LongLink",
            b'L',
            "",
            0o644,
            format!("{name}\0").as_bytes(),
        )
    }

    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut data = String::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..)
                .find(|length| *length == rest + length.to_string().len())
                .expect("some length fits");
            data.push_str(&format!("{length} {key}={value}\n"));
        }
        self.entry("pax", b'x', "", 0o644, data.as_bytes())
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A directory with a root in it and a canary beside that.
pub(crate) struct Fixture(tempfile::TempDir);

const CANARY: &[u8] = b"untouched";

impl Fixture {
    pub(crate) fn new() -> Self {
        let fixture = Self(tempfile::tempdir().expect("temporary directory"));
        std::fs::create_dir(fixture.outside("root")).expect("made");
        std::fs::create_dir(fixture.canary_dir()).expect("made");
        std::fs::write(fixture.canary(), CANARY).expect("written");
        std::fs::set_permissions(fixture.canary(), std::fs::Permissions::from_mode(0o640))
            .expect("set");
        std::fs::set_permissions(fixture.canary_dir(), std::fs::Permissions::from_mode(0o750))
            .expect("set");
        fixture
    }

    pub(crate) fn canary_dir(&self) -> String {
        self.outside("outside").to_str().expect("text").to_owned()
    }

    pub(crate) fn canary(&self) -> String {
        format!("{}/canary", self.canary_dir())
    }

    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.outside("root").join(name)
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(&self.outside("root")).expect("opened")
    }

    pub(crate) fn tree(&self) -> DirTree {
        DirTree::new(self.root(), Ownership::PLAIN)
    }

    pub(crate) fn unpack(&self, tar: &[u8], lower: &View) -> Result<Unpacked, UnpackError> {
        rootfs::unpack::unpack(
            tar,
            &self.root(),
            lower,
            Ownership::PLAIN,
            Limits::default(),
        )
    }

    pub(crate) fn unpack_as(&self, name: &str, tar: &[u8], lower: &View) -> Unpacked {
        std::fs::create_dir(self.outside(name)).expect("made");
        let root = Root::open(&self.outside(name)).expect("opened");
        rootfs::unpack::unpack(tar, &root, lower, Ownership::PLAIN, Limits::default())
            .expect("unpacks")
    }

    pub(crate) fn check_canary(&self) {
        assert_eq!(std::fs::read(self.canary()).expect("still there"), CANARY);
        let mode = |path: String| {
            std::fs::metadata(path)
                .expect("still there")
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(mode(self.canary()), 0o640);
        assert_eq!(mode(self.canary_dir()), 0o750);
        assert_eq!(
            std::fs::read_dir(self.canary_dir())
                .expect("listed")
                .count(),
            1
        );
        let mut names: Vec<_> = std::fs::read_dir(self.0.path())
            .expect("listed")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        names.retain(|name| {
            !["root", "outside", "lower", "upper", "context"]
                .iter()
                .any(|known| name == known)
        });
        assert!(names.is_empty(), "made outside: {names:?}");
    }
}
