//! The cgroups of steps: a place for them, made once, and one of them for each step. The invariant: a place is made whole or not
//! at all, its limits were tried before any step runs, and what is dropped is gone.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::directory::{Directory, Nature};
use super::plan::{self, Facts, Op};
use super::{CgroupError, CgroupLimits, Controller, Hierarchy, directory_of, own_cgroup};
use crate::mountinfo::mounts;

/// How the places of all rbuilds begin.
const PREFIX: &str = "rbuild-";

/// The parent of a place, and where this process is.
#[derive(Debug)]
struct Ground {
    /// The parent's name, as /proc/PID/cgroup would say it.
    cgroup: String,
    /// Its path.
    path: PathBuf,
    parent: Directory,
    /// The cgroup of this process.
    origin: Directory,
    own: bool,
    hybrid: bool,
}

/// A place for the cgroups of steps. Dropped, it is removed with all that is in it, and this process is where it was before.
#[derive(Debug)]
pub struct StepCgroups {
    ground: Ground,
    name: String,
    undo: Vec<Op>,
    /// Locked as long as it is open.
    place: Directory,
}

impl StepCgroups {
    /// Makes a place for steps with these limits below `parent`, a cgroup by its absolute name, or else below the cgroup of this
    /// process. In the latter case this process, with all its threads, moves into a cgroup of its own beside them.
    ///
    /// # Errors
    /// Why such limits cannot be enforced here; nothing has changed then.
    pub fn prepare(limits: &CgroupLimits, parent: Option<&str>) -> Result<Self, CgroupError> {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let ground = Ground::find(&read("mountinfo"), &read("cgroup"), parent)?;
        Self::on(ground, limits)
    }

    fn on(ground: Ground, limits: &CgroupLimits) -> Result<Self, CgroupError> {
        let needed = limits.controllers();
        ground.check(&needed.iter().copied().collect::<Vec<_>>())?;
        // One at a time: between making a place and locking it, it would look like a dead rbuild's.
        let refused = |operation: &str, errno| ground.refused(operation, errno);
        let turn = ground.parent.below(Path::new(""));
        let turn = turn.map_err(|errno| refused("open the parent", errno))?;
        turn.lock(true)
            .map_err(|errno| refused("lock the parent", errno))?;
        let name = ground.free_name();
        let facts = ground.facts();
        let ops = plan::preparation(&name, &needed, &facts);
        let undo = plan::perform(ops, &mut |op| ground.act(op))
            .map_err(|(op, errno)| ground.explain(&op, errno))?;
        let place = ground.parent.below(Path::new(&name));
        let place = place.and_then(|place| place.lock(true).map(|()| place));
        let place = match place {
            Ok(place) => place,
            Err(errno) => {
                plan::take_back(&undo, &mut |op| ground.act(op));
                return Err(refused("lock a new cgroup", errno));
            }
        };
        let made = Self {
            ground,
            name,
            undo,
            place,
        };
        drop(StepCgroup::make(&made.place, "trial", limits)?);
        Ok(made)
    }

    /// Where [`StepCgroup::create`] finds it.
    pub fn path(&self) -> PathBuf {
        self.ground.path.join(&self.name)
    }
}

impl Drop for StepCgroups {
    fn drop(&mut self) {
        // What a step left goes first; this process may be in the place too.
        let steps = self.place.children().unwrap_or_default();
        for step in steps.iter().filter(|name| *name != plan::SELF) {
            let _ = self.place.clear(step);
        }
        plan::take_back(&self.undo, &mut |op| self.ground.act(op));
    }
}

impl Ground {
    fn find(mountinfo: &str, cgroups: &str, parent: Option<&str>) -> Result<Self, CgroupError> {
        let mounts = mounts(mountinfo);
        let hierarchy = Hierarchy::of(&mounts);
        let mount = hierarchy.mount().ok_or(CgroupError::NotMounted {
            legacy: hierarchy == Hierarchy::Legacy,
        })?;
        let own = own_cgroup(cgroups).ok_or(CgroupError::NotVisible)?;
        let at = |cgroup: &str| directory_of(mount, cgroup).ok_or(CgroupError::NotVisible);
        let (own_path, parent) = (at(own)?, parent.unwrap_or(own));
        let parent_path = at(parent)?;
        let root = Directory::open(&mount.point, Nature::Kernel);
        Self::below(
            &root.map_err(|errno| cannot_open("/", errno))?,
            &mount.point,
            (own, &own_path),
            (parent, &parent_path),
            matches!(hierarchy, Hierarchy::Hybrid(_)),
        )
    }

    /// Two cgroups below the root that is mounted at `point`, each by its name and its path.
    fn below(
        root: &Directory,
        point: &Path,
        own: (&str, &Path),
        parent: (&str, &Path),
        hybrid: bool,
    ) -> Result<Self, CgroupError> {
        let open = |(cgroup, path): (&str, &Path)| {
            root.below(path).map_err(|errno| cannot_open(cgroup, errno))
        };
        Ok(Self {
            cgroup: parent.0.to_owned(),
            path: point.join(parent.1),
            parent: open(parent)?,
            origin: open(own)?,
            own: own.1 == parent.1,
            hybrid,
        })
    }

    /// What can be seen without changing anything.
    fn check(&self, needed: &[Controller]) -> Result<(), CgroupError> {
        let there = self.parent.read("cgroup.controllers").unwrap_or_default();
        let there = Controller::listed(&there);
        let missing: Vec<_> = needed
            .iter()
            .copied()
            .filter(|one| !there.contains(one))
            .collect();
        if !missing.is_empty() {
            return Err(CgroupError::NoController {
                missing,
                cgroup: self.cgroup.clone(),
                hybrid: self.hybrid,
            });
        }
        self.parent
            .check_delegated()
            .map_err(|errno| self.not_delegated(errno))
    }

    fn facts(&self) -> Facts {
        let enabled = self.parent.read("cgroup.subtree_control");
        Facts {
            own: self.own,
            // Only the root lacks it, cgroups(7).
            root: !self.parent.has("cgroup.type"),
            enabled: Controller::listed(&enabled.unwrap_or_default()),
        }
    }

    /// Removes the places of dead rbuilds, and finds a name that no living one has: processes of several process namespaces
    /// may have the same number.
    fn free_name(&self) -> String {
        let places = self.parent.children().unwrap_or_default();
        let places = places.into_iter().filter(|name| name.starts_with(PREFIX));
        let living: Vec<String> = places
            .filter(|name| {
                let place = self.parent.below(Path::new(name));
                let dead = place.is_ok_and(|place| place.lock(false).is_ok());
                !(dead && self.parent.clear(name).is_ok())
            })
            .collect();
        let own = format!("{PREFIX}{}", rustix::process::getpid());
        let others = (2..).map(|number| format!("{own}-{number}"));
        let mut names = std::iter::once(own.clone()).chain(others);
        names.find(|name| !living.contains(name)).unwrap_or(own)
    }

    fn act(&self, op: &Op) -> Result<(), Errno> {
        let split = |path: &str| {
            let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
            Ok::<_, Errno>((self.parent.below(Path::new(above))?, name.to_owned()))
        };
        let control = |cgroup: &str, sign: char, controllers: &[Controller]| {
            let words: Vec<_> = controllers
                .iter()
                .map(|one| format!("{sign}{one}"))
                .collect();
            let cgroup = self.parent.below(Path::new(cgroup))?;
            cgroup.write("cgroup.subtree_control", &words.join(" "))
        };
        match op {
            Op::Create(path) => split(path).and_then(|(above, name)| above.create(&name)),
            Op::Remove(path) => split(path).and_then(|(above, name)| above.remove(&name)),
            Op::Enter(path) => enter(&self.parent.below(Path::new(path))?),
            Op::Return => enter(&self.origin),
            Op::ExpectEmpty => match self.parent.read("cgroup.procs")?.is_empty() {
                true => Ok(()),
                false => Err(Errno::BUSY),
            },
            Op::Enable(path, controllers) => control(path, '+', controllers),
            Op::Disable(path, controllers) => control(path, '-', controllers),
        }
    }

    fn explain(&self, op: &Op, errno: Errno) -> CgroupError {
        let parent = |cgroup: &String| cgroup.is_empty();
        match (op, errno) {
            (Op::Create(_) | Op::Enter(_), Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                self.not_delegated(errno)
            }
            (Op::ExpectEmpty, Errno::BUSY) => self.other_processes(),
            (Op::Enable(cgroup, _), Errno::BUSY) if parent(cgroup) => self.other_processes(),
            (op, errno) => self.refused(&op.to_string(), errno),
        }
    }

    fn other_processes(&self) -> CgroupError {
        let cgroup = self.cgroup.clone();
        CgroupError::OtherProcesses { cgroup }
    }

    fn not_delegated(&self, errno: Errno) -> CgroupError {
        CgroupError::NotDelegated {
            cgroup: self.cgroup.clone(),
            source: errno.into(),
        }
    }

    fn refused(&self, operation: &str, errno: Errno) -> CgroupError {
        refused(format!("{operation} in the cgroup {}", self.cgroup), errno)
    }
}

/// Moves this process: 0 is who writes, cgroups(7).
fn enter(cgroup: &Directory) -> Result<(), Errno> {
    cgroup.write("cgroup.procs", "0")
}

fn cannot_open(cgroup: &str, errno: Errno) -> CgroupError {
    CgroupError::Open {
        cgroup: cgroup.to_owned(),
        source: errno.into(),
    }
}

fn refused(operation: impl Into<String>, errno: Errno) -> CgroupError {
    CgroupError::Refused {
        operation: operation.into(),
        source: errno.into(),
    }
}

fn write_all(cgroup: &Directory, limits: &CgroupLimits) -> Result<(), CgroupError> {
    for write in limits.writes() {
        match cgroup.write(write.file, &write.value) {
            Err(Errno::NOENT) if write.optional => {}
            other => {
                other.map_err(|errno| refused(format!("set {write} of a step's cgroup"), errno))?
            }
        }
    }
    Ok(())
}

/// The cgroup of one step. Dropped, it is removed with all that still runs in it.
#[derive(Debug)]
pub struct StepCgroup {
    place: Directory,
    name: String,
    own: Directory,
}

impl StepCgroup {
    /// Makes it in the place at `path`, which another process may have [prepared](StepCgroups::prepare).
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn create(path: &Path, name: &str, limits: &CgroupLimits) -> Result<Self, CgroupError> {
        let place = Directory::open(path, Nature::Kernel)
            .map_err(|errno| cannot_open(&path.display().to_string(), errno))?;
        Self::make(&place, name, limits)
    }

    fn make(place: &Directory, name: &str, limits: &CgroupLimits) -> Result<Self, CgroupError> {
        let refused = |errno| refused("make a step's cgroup", errno);
        place.create(name).map_err(refused)?;
        let made = Self {
            place: place.below(Path::new("")).map_err(refused)?,
            name: name.to_owned(),
            own: place.below(Path::new(name)).map_err(refused)?,
        };
        write_all(&made.own, limits)?;
        Ok(made)
    }

    /// The descriptor through which a process enters it.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn door(&self) -> Result<OwnedFd, CgroupError> {
        let door = self.own.writable("cgroup.procs");
        door.map_err(|errno| refused("open a step's cgroup", errno))
    }

    /// How many of its processes the kernel killed because its memory was used up.
    pub fn oom_kills(&self) -> u64 {
        let events = self.own.read("memory.events").unwrap_or_default();
        let kills = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for StepCgroup {
    fn drop(&mut self) {
        // What remains goes with the place.
        let _ = self.place.clear(&self.name);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
