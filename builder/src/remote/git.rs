//! The `git` program, used to fetch one commit. The invariant: it reads no configuration but what is given here, runs no hook, filter
//! or helper of the repository, speaks only the protocols that are allowed, and sees no local repository; what it checked out is
//! read through a directory handle.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use image::fetch::HttpUrl;
use rootfs::copy::{CopyError, CopyRequest, CopySource, Owner, Rules, Verdict, plan};
use rootfs::layer::{LayerTimes, WriteError};
use rootfs::trees::{TreesError, WorkArea, save_index};
use rootfs::{DirTree, LayerWriter, Ownership, Root, RootError};
use serde::{Deserialize, Serialize};

use super::{GitSource, Pinned};
use crate::host::Reach;
use crate::key;

/// The `git` of this machine.
#[derive(Clone, Debug)]
pub struct GitProgram {
    /// The program.
    pub program: PathBuf,
    /// All that its environment has beside what is set here: PATH, the ssh agent, proxies.
    pub env: Vec<(String, String)>,
}

/// Why a repository was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no program.
    #[error("fetch {url}: git is not installed (install the package git)")]
    Missing {
        /// What was to be fetched.
        url: String,
    },
    /// It did not start, or was lost.
    #[error("run git")]
    Run(#[source] std::io::Error),
    /// It was asked to end early.
    #[error("fetch {url}: it was asked to stop")]
    Stopped {
        /// What was fetched.
        url: String,
    },
    /// It said no.
    #[error("fetch {url}: git {command}: {message}")]
    Refused {
        /// What was fetched.
        url: String,
        /// Its command.
        command: String,
        /// What it said, bounded and without passwords.
        message: String,
    },
    /// There is no such branch, tag or commit.
    #[error("find {reference} in {url}")]
    NoReference {
        /// The repository.
        url: String,
        /// What was looked for.
        reference: String,
    },
    /// It is another commit than the one that was meant.
    #[error("verify {url}: its commit is {actual}, not {expected}")]
    Mismatch {
        /// The repository.
        url: String,
        /// The beginning that was asked for.
        expected: String,
        /// What it has.
        actual: String,
    },
    /// The commit has no files.
    #[error("fetch {url}: the commit has no files")]
    Empty {
        /// The repository.
        url: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] image::StoreError),
    /// There is no place for it.
    #[error(transparent)]
    Place(#[from] TreesError),
    /// The files cannot be looked at.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The files cannot be taken.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// They cannot be stored.
    #[error(transparent)]
    Layer(#[from] WriteError),
}

/// A fetched commit: its files are a layer of the store.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    tree: image::DiffId,
}

/// Fetches a commit, unless the store has it.
pub(super) fn pin(reach: &Reach<'_>, source: &GitSource) -> Result<Pinned, GitError> {
    let git = Git::of(reach, source)?;
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
    let flags = format!("{} {}", source.keep_git_dir, source.submodules);
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
    /// The URL without secrets.
    shown: String,
    /// What stands for a configuration file.
    config: Vec<(String, String)>,
    /// Goes with what is in it.
    _work: WorkArea,
    home: PathBuf,
    tree: PathBuf,
}

impl<'g> Git<'g> {
    fn of(reach: &'g Reach<'g>, source: &GitSource) -> Result<Self, GitError> {
        let (shown, config) = config_of(&source.url);
        let Some(program) = &reach.git else {
            return Err(GitError::Missing { url: shown });
        };
        let work = WorkArea::create(reach.store)?;
        let (home, tree) = (work.directory("home")?, work.directory("tree")?);
        Ok(Self {
            reach,
            program,
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
        let listed = self.run(&self.home, &arguments)?;
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
            self.run(&self.tree, &update)?;
        }
        let time = self.run(&self.tree, &["show", "--no-patch", "--format=%ct", commit])?;
        let time = time.trim().parse().unwrap_or(0);
        if !source.keep_git_dir {
            fs::remove_dir_all(self.tree.join(".git")).map_err(GitError::Run)?;
        }
        self.pack(time, source.keep_git_dir)
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
            match self.run(&self.tree, &[&FETCH[..], &attempt].concat()) {
                Err(error @ GitError::Refused { .. }) => last = Some(error),
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
            parents: false,
            unpack: false,
            date: &|time| time,
            dated_parents: true,
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
        let mut writer = LayerWriter::new(store.blob_writer()?, LayerTimes::Exactly(time));
        plan.write_layer(&mut writer)?;
        let finished = writer.finish()?;
        if finished.index.count == 0 {
            return Err(GitError::Empty {
                url: self.shown.clone(),
            });
        }
        finished.output.finish_as(finished.index.diff_id.digest())?;
        save_index(store, &finished.index)?;
        Ok(finished.index.diff_id)
    }

    /// Runs git in a directory and gives what it printed.
    fn run(&self, directory: &Path, arguments: &[&str]) -> Result<String, GitError> {
        let mut command = Command::new(&self.program.program);
        command.current_dir(directory).args(arguments).env_clear();
        command.envs(self.program.env.iter().map(|(name, value)| (name, value)));
        for (name, value) in ENVIRONMENT {
            command.env(name, value);
        }
        command
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", &self.home);
        // Repositories above the store are nobody's business here.
        command.env(
            "GIT_CEILING_DIRECTORIES",
            directory.parent().unwrap_or(directory),
        );
        command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (number, (name, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, so that its helpers end with it.
        let child = command.process_group(0).spawn().map_err(GitError::Run)?;
        let (status, stdout, stderr) = self.finish(child)?;
        if status.success() {
            return Ok(stdout);
        }
        Err(GitError::Refused {
            url: self.shown.clone(),
            command: arguments.first().copied().unwrap_or_default().to_owned(),
            message: last_words(&stderr),
        })
    }

    fn finish(&self, mut child: Child) -> Result<(ExitStatus, String, String), GitError> {
        const LOOK: Duration = Duration::from_millis(5);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            let stdout = scope.spawn(move || bounded(stdout));
            let stderr = scope.spawn(move || bounded(stderr));
            let status = loop {
                if let Some(status) = child.try_wait().map_err(GitError::Run)? {
                    break status;
                }
                if self.reach.cancel.is_cancelled() {
                    if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                        let _ = rustix::process::kill_process_group(
                            group,
                            rustix::process::Signal::KILL,
                        );
                    }
                    let _ = child.wait();
                    return Err(GitError::Stopped {
                        url: self.shown.clone(),
                    });
                }
                std::thread::sleep(LOOK);
            };
            let text = |thread: std::thread::ScopedJoinHandle<'_, String>| {
                thread.join().unwrap_or_default()
            };
            Ok((status, text(stdout), text(stderr)))
        })
    }
}

/// git(1): nothing of the system and of the user is read, nobody is asked for a password, messages are in one language.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "/bin/false"),
    ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("LC_ALL", "C"),
];

/// The configuration: everything that could run something, or read a local file, is off.
const CONFIG: [(&str, &str); 16] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "true"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("credential.helper", ""),
    ("safe.bareRepository", "explicit"),
    ("protocol.allow", "never"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("submodule.recurse", "false"),
    ("advice.detachedHead", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
];

/// The URL that git is told, and the configuration for it.
fn config_of(url: &str) -> (String, Vec<(String, String)>) {
    let mut config: Vec<(String, String)> = CONFIG
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut set = |name: String, value: &str| config.push((name, value.to_owned()));
    // Only who asks without encryption gets answers without it: no redirect and no submodule leads from https to http.
    let plain = ["http", "git"]
        .into_iter()
        .find(|scheme| url.starts_with(&format!("{scheme}://")));
    if let Some(scheme) = plain {
        set(format!("protocol.{scheme}.allow"), "always");
    }
    let Ok(parsed) = url.parse::<HttpUrl>() else {
        return (url.to_owned(), config);
    };
    // In the URL a password would be an argument of git's helpers, which everybody sees; a redirect would take the header along.
    let (bare, header) = parsed.split_credentials();
    if let Some(header) = header {
        set(
            format!("http.{bare}.extraHeader"),
            &format!("Authorization: {header}"),
        );
        set("http.followRedirects".to_owned(), "false");
    }
    (bare, config)
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a child printed: the beginning of it, and the rest unread but taken.
fn bounded(stream: Option<impl Read>) -> String {
    const MOST: u64 = 4 << 20;
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.by_ref().take(MOST).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of an error, harmless for a terminal.
fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    last.chars().filter(|c| !c.is_control()).take(500).collect()
}
