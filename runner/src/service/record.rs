//! What is known of a container in the background: one JSON file. The invariant: the file is replaced as a whole, and whether the
//! container lives is not in it: that tells only the lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::policy::RestartPolicy;
use crate::name::Name;

const FILE: &str = "record.json";

/// A container in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: Name,
    /// The image, as it was asked for.
    pub image: String,
    /// The program and its arguments, once it runs.
    pub command: Vec<String>,
    /// Seconds since 1970.
    pub created: u64,
    /// When it was last started, in seconds since 1970.
    pub started: u64,
    /// What it does.
    pub state: State,
    /// How often it was started again.
    pub restarts: u32,
    /// Its last exit code.
    pub exit_code: Option<i32>,
    /// Ports of this machine that lead into it, as Podman writes them.
    pub ports: Vec<String>,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Its supervisor, for people: nothing here is ever done by this number.
    pub supervisor: u32,
    /// The store of its image.
    pub store: PathBuf,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being made.
    Created,
    /// Its program runs.
    Running,
    /// Its program ended and will be started again.
    Restarting,
    /// It was asked to end.
    Stopping,
}

impl State {
    /// Podman's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
        }
    }
}

impl Record {
    pub(crate) fn read(home: &Path) -> io::Result<Self> {
        let text = fs::read(home.join(FILE))?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    pub(crate) fn write(&self, home: &Path) -> io::Result<()> {
        let new = home.join("record.new");
        fs::write(&new, serde_json::to_vec(self).map_err(io::Error::other)?)?;
        fs::rename(new, home.join(FILE))
    }
}
