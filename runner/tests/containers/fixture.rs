//! A store with one image for each question about users. The invariant: it lives in one temporary directory, which is gone
//! after the tests, and every run is a new process.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{Descriptor, Image, ImageConfig, MediaType, Platform, Reference, Store};
use rootfs::{Entry, Kind, LayerTimes, LayerWriter, TreePath};
use runner::{Program, RunRequest};
use sandbox::subids::{ROOT_FALLBACK, SubIdRange, SubIdSources, SubIds};
use sandbox::{Extent, ExtentMap, IdMapError, MapWriter, SessionPlan};

use crate::driver::Drive;

/// Ids as the caller's namespace counts them.
pub(crate) fn session_plan(single_id: bool) -> Result<SessionPlan, Box<dyn Error>> {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let helper = |name: &str| {
        let directories = ["/usr/bin", "/bin", "/usr/local/bin"];
        directories
            .iter()
            .map(|directory| Path::new(directory).join(name))
            .find(|path| path.exists())
    };
    let none = || SubIds {
        uids: Vec::new(),
        gids: Vec::new(),
    };
    let (ids, writer) = if single_id {
        (none(), MapWriter::Itself)
    } else if uid == 0 {
        let range = || vec![ROOT_FALLBACK];
        (
            SubIds {
                uids: range(),
                gids: range(),
            },
            MapWriter::Caller,
        )
    } else {
        let ids = SubIdSources::in_etc(Path::new("/etc"), &[]).look_up(uid)?;
        let (Some(newuidmap), Some(newgidmap)) = (helper("newuidmap"), helper("newgidmap")) else {
            return Err("newuidmap and newgidmap are missing".into());
        };
        (
            ids,
            MapWriter::Helpers {
                newuidmap,
                newgidmap,
            },
        )
    };
    Ok(SessionPlan {
        uids: shifted(uid, &ids.uids)?,
        gids: shifted(gid, &ids.gids)?,
        writer,
    })
}

fn shifted(own: u32, ranges: &[SubIdRange]) -> Result<ExtentMap, IdMapError> {
    let mut extents = vec![Extent {
        inside: 0,
        outside: own,
        count: 1,
    }];
    for range in ranges {
        let inside = extents.iter().map(|extent| extent.count).sum();
        extents.push(Extent {
            inside,
            outside: range.start,
            count: range.count,
        });
    }
    ExtentMap::new(extents)
}

pub(crate) struct Fixture {
    directory: tempfile::TempDir,
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The users that the images have; the image's name says which.
pub(crate) const USERS: [(&str, &str); 5] = [
    ("numeric", "65532:65532"),
    ("bare", "65532"),
    ("named", "app"),
    ("root", "0"),
    ("none", ""),
];

impl Fixture {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        session_plan(false)?;
        let fixture = Self {
            directory: tempfile::tempdir()?,
        };
        let store = Store::open(fixture.store())?;
        let layers = [first_layer, second_layer]
            .map(|make| add_layer(&store, make).expect("a layer is stored"));
        for (name, user) in USERS {
            let mut config = ImageConfig::new(&Platform::linux("amd64"));
            config.rootfs.diff_ids = layers
                .iter()
                .map(|layer| image::DiffId::new(layer.digest))
                .collect();
            user.clone_into(&mut config.config.user);
            config.config.entrypoint = Some(vec!["/probe".into(), "probe".into()]);
            config.config.env = vec!["FROM_IMAGE=1".into()];
            let image = Image::compose(&config, layers.to_vec(), BTreeMap::new())?;
            store.add_image(&image, &[name.parse::<Reference>()?])?;
        }
        let ran = fixture.run("none", &["exit", "7"]);
        if ran.code == 7 {
            Ok(fixture)
        } else {
            Err(format!("the first container failed: {}", ran.stderr).into())
        }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// A new directory of the caller's, for volumes.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).expect("a test uses a name once");
        path
    }

    /// Runs the probe in an image of [`USERS`], as it is by default.
    pub(crate) fn run(&self, image: &str, act: &[&str]) -> Ran {
        self.drive(Drive {
            request: request(image, act),
            ..Drive::default()
        })
    }

    pub(crate) fn drive(&self, drive: Drive) -> Ran {
        self.command(drive)
            .stdin(Stdio::null())
            .output()
            .expect("the driver starts")
            .into()
    }

    /// The driver as a command, for tests that care about its streams.
    pub(crate) fn command(&self, drive: Drive) -> Command {
        self.command_of(crate::own_program(), drive)
    }

    /// The same for a copy of this program.
    pub(crate) fn command_of(&self, program: &Path, drive: Drive) -> Command {
        let drive = Drive {
            store: self.store(),
            ..drive
        };
        let mut command = Command::new(program);
        command
            .arg("drive")
            .arg(serde_json::to_string(&drive).expect("it is plain data"));
        command
    }
}

/// What every test starts from.
pub(crate) fn request(image: &str, act: &[&str]) -> RunRequest {
    let args = act.iter().map(|word| (*word).to_owned()).collect();
    RunRequest {
        image: image.to_owned(),
        program: Program {
            args,
            ..Program::default()
        },
        ..RunRequest::default()
    }
}

type Writer = LayerWriter<File>;

fn add_layer(store: &Store, make: fn(&mut Writer)) -> Result<Descriptor, Box<dyn Error>> {
    let mut writer = LayerWriter::new(tempfile::tempfile()?, LayerTimes::Recorded);
    make(&mut writer);
    let finished = writer.finish()?;
    let mut file = finished.output;
    std::io::Seek::rewind(&mut file)?;
    let mut blob = store.blob_writer()?;
    std::io::copy(&mut file, &mut blob)?;
    blob.flush()?;
    let (digest, size) = blob.finish()?;
    Ok(Descriptor::new(MediaType::OciLayer, digest, size))
}

fn entry(path: &str, kind: Kind, mode: u32, owner: u32) -> Entry {
    let path = TreePath::scoped(path).expect("a plain path");
    Entry {
        uid: owner,
        gid: owner,
        ..Entry::new(path, kind, mode)
    }
}

fn file(writer: &mut Writer, path: &str, mode: u32, owner: u32, text: &str) {
    let kind = Kind::File {
        size: text.len() as u64,
    };
    writer
        .append_stream(entry(path, kind, mode, owner), text.as_bytes())
        .expect("memory holds a small tar");
}

fn first_layer(writer: &mut Writer) {
    let directories = [
        ("etc", 0o755, 0),
        ("tmp", 0o1777, 0),
        ("home", 0o755, 0),
        ("home/app", 0o750, 65_532),
    ];
    for (path, mode, owner) in directories {
        writer
            .append(entry(path, Kind::Dir, mode, owner))
            .expect("memory holds a small tar");
    }
    file(
        writer,
        "etc/passwd",
        0o644,
        0,
        "root:x:0:0::/root:/sh\napp:x:65532:65532::/home/app:/sh\n",
    );
    file(
        writer,
        "etc/group",
        0o644,
        0,
        "root:x:0:\napp:x:65532:\nextra:x:777:app\n",
    );
    file(writer, "etc/secret", 0o600, 0, "root's\n");
    file(writer, "home/app/own", 0o4640, 65_532, "mine\n");
    file(writer, "home/app/above", 0o644, 65_533, "of the next id\n");
    let link = Kind::Hardlink(TreePath::scoped("home/app/own").expect("a plain path"));
    writer
        .append(entry("home/app/own-too", link, 0o4640, 65_532))
        .expect("memory holds a small tar");
    let link = Kind::Symlink(b"own".to_vec());
    writer
        .append(entry("home/app/link", link, 0o777, 65_532))
        .expect("memory holds a small tar");
    let program = File::open(crate::own_program()).expect("this program can be read");
    let size = program.metadata().expect("it is a file").len();
    writer
        .append_file(entry("probe", Kind::File { size }, 0o755, 0), &program)
        .expect("the tar is written");
}

fn second_layer(writer: &mut Writer) {
    file(
        writer,
        "home/app/second",
        0o600,
        65_532,
        "of the second layer\n",
    );
    file(writer, "home/app/above", 0o644, 65_533, "replaced\n");
}
