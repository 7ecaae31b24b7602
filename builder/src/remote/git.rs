//! The `git` program, used to fetch one commit. The invariant: it reads no configuration but what is given here, runs no hook, filter
//! or helper of the repository, speaks only the protocols that are allowed, and sees no local repository; what it checked out is
//! read through a directory handle.

use std::fs;
use std::path::{Path, PathBuf};

use image::fetch::{FetchEvent, FetchOptions, Hope, retrying};
use rootfs::copy::{CopyRequest, CopySource, Owner, Parents, Rules, Verdict, plan};
use rootfs::layer::LayerTimes;
use rootfs::trees::{WorkArea, save_index};
use rootfs::{DirTree, LayerWriter, Ownership, Root};
use serde::{Deserialize, Serialize};

use super::{GitSource, Pinned};
use crate::host::Reach;
use crate::key;

mod command;
mod config;
mod error;

use config::{Config, config_of};
pub use error::GitError;
use error::hope;

/// The `git` of this machine.
#[derive(Clone, Debug)]
pub struct GitProgram {
    /// The program.
    pub program: PathBuf,
    /// All that its environment has beside what is set here: PATH, the ssh agent, proxies.
    pub env: Vec<(String, String)>,
}

/// A fetched commit: its files are a layer of the store.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    tree: image::DiffId,
}

/// Fetches a commit, unless the store has it.
pub(super) fn pin(
    reach: &Reach<'_>,
    source: &GitSource,
    tell: &dyn Fn(FetchEvent),
) -> Result<Pinned, GitError> {
    let git = Git::of(reach, source, tell)?;
    let commit = git.commit(source)?;
    if let Some(expected) = source
        .checksum
        .as_ref()
        .filter(|beginning| !commit.starts_with(*beginning))
    {
        return Err(GitError::Mismatch {
            url: git.shown,
            expected: expected.clone(),
            actual: commit,
        });
    }
    let flags = format!("{} {} settled", source.keeps_git_dir(), source.submodules);
    let parts = [
        b"git".as_slice(),
        source.url.as_bytes(),
        commit.as_bytes(),
        flags.as_bytes(),
    ];
    let name = key::hash(&parts);
    // Another build may be fetching the same.
    let _claim = reach.store.claim(&name)?;
    let record = format!("git/{}", name.hex());
    let path = reach.store.subdir(image::Area::Cache).join(&record);
    let known = fs::read(path)
        .ok()
        .and_then(|text| serde_json::from_slice::<Record>(&text).ok());
    let tree = match known {
        Some(known) if reach.store.reuse(known.tree.digest())? => known.tree,
        _ => {
            let tree = git.fetch(source, &commit)?;
            if let Ok(text) = serde_json::to_vec(&Record { tree }) {
                // Failing to remember costs a transfer, not correctness.
                let _ = reach
                    .store
                    .write_derived(image::Area::Cache, &record, &text);
            }
            tree
        }
    };
    Ok(Pinned::Tree {
        commit,
        tree,
        subdir: source.subdir.clone().unwrap_or_default(),
    })
}

/// The program with its environment, for one repository.
struct Git<'g> {
    reach: &'g Reach<'g>,
    program: &'g GitProgram,
    tell: &'g dyn Fn(FetchEvent),
    /// The URL without secrets.
    shown: String,
    /// What stands for a configuration file.
    config: Config,
    /// Goes with what is in it.
    _work: WorkArea,
    home: PathBuf,
    tree: PathBuf,
}

impl<'g> Git<'g> {
    fn of(
        reach: &'g Reach<'g>,
        source: &GitSource,
        tell: &'g dyn Fn(FetchEvent),
    ) -> Result<Self, GitError> {
        let (shown, config) = config_of(&source.url, reach.secrets)?;
        let Some(program) = &reach.git else {
            return Err(GitError::Missing { url: shown });
        };
        let work = WorkArea::create(reach.store)?;
        let (home, tree) = (work.directory("home")?, work.directory("tree")?);
        Ok(Self {
            reach,
            program,
            tell,
            shown,
            config,
            _work: work,
            home,
            tree,
        })
    }

    /// What the source's name means now.
    fn commit(&self, source: &GitSource) -> Result<String, GitError> {
        let wanted = source.reference.as_deref().unwrap_or("HEAD");
        if is_commit(wanted) {
            return Ok(wanted.to_owned());
        }
        let names = match wanted {
            "HEAD" => vec!["HEAD".to_owned()],
            full if full.starts_with("refs/") => vec![full.to_owned()],
            // As git's own rules have it (gitrevisions(7)): a tag before a branch.
            short => ["refs/", "refs/tags/", "refs/heads/"]
                .map(|kind| format!("{kind}{short}"))
                .into(),
        };
        // An annotated tag is an object of its own; with `^{}` it is what it names.
        let names: Vec<String> = names
            .into_iter()
            .flat_map(|name| [format!("{name}^{{}}"), name])
            .collect();
        let mut arguments = vec!["ls-remote", "--", &self.shown];
        arguments.extend(names.iter().map(String::as_str));
        let listed = self.ask(&self.home, &arguments)?;
        let found = |name: &String| {
            listed.lines().find_map(|line| {
                let (commit, known) = line.split_once('\t')?;
                (known == name && is_commit(commit)).then(|| commit.to_owned())
            })
        };
        names
            .iter()
            .find_map(found)
            .ok_or_else(|| GitError::NoReference {
                url: self.shown.clone(),
                reference: wanted.to_owned(),
            })
    }

    /// Checks a commit out and packs it.
    fn fetch(&self, source: &GitSource, commit: &str) -> Result<image::DiffId, GitError> {
        self.run(&self.tree, &["init", "--quiet", "--template=", "."])?;
        // Submodules with relative URLs are found by it.
        self.run(&self.tree, &["config", "remote.origin.url", &self.shown])?;
        self.bring(source, commit)?;
        self.run(
            &self.tree,
            &["checkout", "--quiet", "--force", "--detach", commit],
        )?;
        if source.submodules && self.tree.join(".gitmodules").symlink_metadata().is_ok() {
            let update = [
                "submodule",
                "--quiet",
                "update",
                "--init",
                "--recursive",
                "--depth=1",
            ];
            self.ask(&self.tree, &update)?;
        }
        let time = self.run(&self.tree, &["show", "--no-patch", "--format=%ct", commit])?;
        let time = time.trim().parse().unwrap_or(0);
        let own = self.tree.join(".git");
        match source.keeps_git_dir() {
            true => self.settle(&own)?,
            false => fs::remove_dir_all(own).map_err(GitError::Run)?,
        }
        self.pack(time, source.keeps_git_dir())
    }

    /// The objects of one commit; where the server does not give a single commit, all of its history.
    fn bring(&self, source: &GitSource, commit: &str) -> Result<(), GitError> {
        const FETCH: [&str; 5] = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--force",
            "--no-recurse-submodules",
        ];
        let reference = source.reference.as_deref().filter(|name| !is_commit(name));
        let mut attempts = vec![vec!["--depth=1", "--", "origin", commit]];
        attempts.extend(reference.map(|name| vec!["--depth=1", "--", "origin", name]));
        attempts.push(vec![
            "--",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*",
        ]);
        let object = format!("{commit}^{{commit}}");
        let mut last = None;
        for attempt in attempts {
            match self.ask(&self.tree, &[&FETCH[..], &attempt].concat()) {
                Err(error @ GitError::Refused { .. }) if hope(&error) == Hope::None => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
                Ok(_) if self.run(&self.tree, &["cat-file", "-e", &object]).is_ok() => {
                    return Ok(());
                }
                Ok(_) => {}
            }
        }
        Err(last.unwrap_or_else(|| GitError::NoReference {
            url: self.shown.clone(),
            reference: commit.to_owned(),
        }))
    }

    /// Makes a git directory, and those of submodules in it, the same whenever and wherever it was made: an index without the times
    /// and inodes of this checkout, which git takes for one to be refreshed, and the objects in one pack that one thread made.
    fn settle(&self, directory: &Path) -> Result<(), GitError> {
        let at = format!("--git-dir={}", directory.display());
        if directory.join("HEAD").is_file() && directory.join("objects").is_dir() {
            fs::remove_file(directory.join("index")).or_else(absent)?;
            self.run(&self.home, &[&at, "read-tree", "HEAD"])?;
            self.run(&self.home, &[&at, "repack", "-a", "-d", "-f", "--quiet"])?;
        }
        // A submodule's name may have slashes.
        for entry in fs::read_dir(directory.join("modules"))
            .into_iter()
            .flatten()
        {
            self.settle_below(&entry.map_err(GitError::Run)?.path())?;
        }
        Ok(())
    }

    fn settle_below(&self, directory: &Path) -> Result<(), GitError> {
        if directory.join("HEAD").is_file() {
            return self.settle(directory);
        }
        for entry in fs::read_dir(directory).map_err(GitError::Run)? {
            let entry = entry.map_err(GitError::Run)?;
            if entry.file_type().map_err(GitError::Run)?.is_dir() {
                self.settle_below(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The files as a layer: modes and times are the commit's, whatever the umask and the clock.
    fn pack(&self, time: i64, keep_git_dir: bool) -> Result<image::DiffId, GitError> {
        let store = self.reach.store;
        let tree = DirTree::new(Root::open(&self.tree)?, Ownership::Recorded);
        let mode = |mode: u32, is_dir: bool| {
            if is_dir || mode & 0o100 != 0 {
                0o755
            } else {
                0o644
            }
        };
        let request = CopyRequest {
            sources: &[CopySource::Path(".")],
            destination: "/",
            owner: Owner::Root,
            chmod: Some(&mode),
            parents: Parents::Dropped,
            unpack: false,
            date: &|time| time,
            scratch: store.scratch(),
        };
        // Without `.git`, also that of submodules, which is a file.
        let ignore = |path: &rootfs::TreePath, _: bool| match path.file_name() {
            Some(b".git") if !keep_git_dir => Verdict::Skip,
            _ => Verdict::Keep,
        };
        let rules = Rules {
            glob: &|_, _| false,
            ignore: &ignore,
            exclude: &|_, _| Verdict::Keep,
        };
        let plan = plan(&request, &tree, None, &rules)?
            .dated(rootfs::Time {
                secs: time,
                nanos: 0,
            })
            .heeding(store.stop());
        let mut writer = LayerWriter::new(store.unhashed_blob()?, LayerTimes::Exactly(time))
            .with_scratch(&store.scratch());
        plan.write_layer(&mut writer)?;
        let finished = writer.finish()?;
        if finished.index.count == 0 {
            return Err(GitError::Empty {
                url: self.shown.clone(),
            });
        }
        finished
            .output
            .finish_hashed(finished.index.diff_id.digest())?;
        save_index(store, &finished.index)?;
        Ok(finished.index.diff_id)
    }

    /// Runs a git that speaks to a server: what may pass is tried again, as with files.
    fn ask(&self, directory: &Path, arguments: &[&str]) -> Result<String, GitError> {
        let options = FetchOptions::default();
        let stop = self.reach.store.stop();
        retrying(&options, stop, self.tell, hope, || {
            self.run(directory, arguments)
        })
    }
}

fn absent(error: std::io::Error) -> Result<(), GitError> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(GitError::Run(error)),
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
