//! The images of the tests, as lists of nodes. The invariant: owners are image ids; who stores them is the session's affair.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file of an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Node {
    path: String,
    kind: Kind,
    mode: u32,
    owner: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kind {
    Directory,
    File(String),
    Link(String),
    /// A copy of the test program.
    Drill,
}

impl Node {
    /// A directory of image root.
    pub(crate) fn directory(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind: Kind::Directory,
            mode: 0o755,
            owner: 0,
        }
    }

    /// A file of image root.
    pub(crate) fn file(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind: Kind::File(text.to_owned()),
            mode: 0o644,
            owner: 0,
        }
    }

    /// A symbolic link.
    pub(crate) fn link(path: &str, target: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind: Kind::Link(target.to_owned()),
            mode: 0o777,
            owner: 0,
        }
    }

    /// A copy of the drill.
    pub(crate) fn drill(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind: Kind::Drill,
            mode: 0o755,
            owner: 0,
        }
    }

    /// Below the image's root.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The node with another mode.
    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// The node with another owner and group.
    pub(crate) fn owner(self, owner: u32) -> Self {
        Self { owner, ..self }
    }

    /// Directories as every image has them, one that anybody may write to, and one of the unprivileged user.
    pub(crate) fn small_image() -> Vec<Self> {
        let mut nodes = vec![
            Self::file("drill", ""),
            Self::file("etc/passwd", "root:x:0:0::/:/drill\n"),
        ];
        nodes.extend(["proc", "sys", "dev"].map(Self::directory));
        nodes.push(Self::directory("tmp").mode(0o1777));
        nodes.push(Self::directory("home").owner(65532));
        nodes
    }
}

/// Makes the image in a new directory; `session_id` says who stores an id of the image.
pub(super) fn lay_out(root: &Path, nodes: &[Node], session_id: impl Fn(u32) -> u32) {
    let own = |path: &Path, owner| {
        let id = Some(session_id(owner));
        lchown(path, id, id).expect("the id is mapped");
    };
    fs::create_dir_all(root).expect("the store is writable");
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("it was just made");
    own(root, 0);
    for Node {
        path,
        kind,
        mode,
        owner,
    } in nodes
    {
        let path = root.join(path);
        for parent in path
            .ancestors()
            .skip(1)
            .take_while(|parent| !parent.exists())
        {
            fs::create_dir_all(parent).expect("the store is writable");
            own(parent, 0);
        }
        match kind {
            Kind::Directory => fs::create_dir_all(&path),
            Kind::File(text) => fs::write(&path, text),
            Kind::Link(target) => symlink(target, &path),
            Kind::Drill => fs::copy(super::own_program(), &path).map(drop),
        }
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        own(&path, *owner);
        if !matches!(kind, Kind::Link(_)) {
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))
                .expect("it was just made");
        }
    }
}
