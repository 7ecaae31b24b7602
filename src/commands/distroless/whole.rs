//! What of the image as it is has to be in the one from scratch: the program, and files that no package brought. The invariant: what the
//! base image had is not taken by itself; the program's closure finds what it needs there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rootfs::accounts::Accounts;
use rootfs::closure::Packages;
use rootfs::tree::Follow;
use rootfs::{NodeKind, Tree as _, TreePath};

use super::super::opened::Opened;
use crate::failure::{Failure, Kind};

/// Where RUN leaves what belongs to the system, not to the application.
const SYSTEM: [&str; 22] = [
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "media",
    "mnt",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr/bin",
    "usr/include",
    "usr/lib",
    "usr/sbin",
    "usr/share",
    "var",
];

/// Characters that need no thought in a COPY.
const PLAIN: &[u8] = b"._+@:,/=-%~";

/// The path that programs have where nothing sets one.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is known of it.
pub(super) struct Whole {
    /// ENTRYPOINT with the program's whole path; empty where the image has none.
    pub(super) entrypoint: Vec<String>,
    /// CMD; with the program's path where there is no entry point.
    pub(super) cmd: Vec<String>,
    /// The check, in exec form; `None` where there is none, or none that could be.
    pub(super) health: Option<Vec<String>>,
    pub(super) env: Vec<(String, String)>,
    pub(super) workdir: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The user's name, where it has one that may be kept.
    pub(super) name: Option<String>,
    /// Whether there is a CA bundle.
    pub(super) trusts: bool,
    /// Paths to copy, sorted.
    pub(super) copies: BTreeSet<String>,
    /// What the reader should know.
    pub(super) notes: Vec<String>,
}

impl Whole {
    /// Looks at the image, whose layers up to `base` are its base image's.
    pub(super) fn of(opened: &Opened, base: usize) -> Result<Self, Failure> {
        let config = &opened.image.config().config;
        let env: Vec<(String, String)> = config
            .env
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut whole = Self {
            entrypoint: config.entrypoint.clone().unwrap_or_default(),
            cmd: config.cmd.clone().unwrap_or_default(),
            health: None,
            env,
            workdir: config.working_dir.clone(),
            uid: 65532,
            gid: 65532,
            name: None,
            trusts: false,
            copies: BTreeSet::new(),
            notes: Vec::new(),
        };
        whole.command(opened)?;
        whole.check(opened)?;
        whole.user(opened)?;
        whole.files(opened, base)?;
        let bundle = path("/etc/ssl/certs/ca-certificates.crt")?;
        whole.trusts = opened.view.lookup(&bundle).map_err(failed)?.is_some();
        Ok(whole)
    }

    /// The program that is started, by its whole path.
    fn command(&mut self, opened: &Opened) -> Result<(), Failure> {
        let (words, what) = match self.entrypoint.is_empty() {
            true => (&mut self.cmd, "CMD"),
            false => (&mut self.entrypoint, "ENTRYPOINT"),
        };
        if words.is_empty() {
            return Err(Failure::failed(
                "find what the image starts: it has no ENTRYPOINT and no CMD",
            ));
        }
        let mut words = std::mem::take(words);
        if let Some(script) = in_shell(&words).map(str::to_owned) {
            match unshelled(&script) {
                Some(plain) => words = plain,
                None => {
                    self.notes.push(format!(
                        "{what} is a script of a shell, which stays in the image with the programs that it names: {script}"
                    ));
                    self.named_in(&script, opened)?;
                }
            }
        }
        let program = self.found(&words[0], opened)?;
        let program = program.ok_or_else(|| {
            Failure::failed(format!(
                "find the program {:?} that the image starts",
                words[0]
            ))
        })?;
        self.copies.insert(program.clone());
        words[0] = program;
        match self.entrypoint.is_empty() && what == "CMD" {
            true => self.cmd = words,
            false => self.entrypoint = words,
        }
        Ok(())
    }

    /// Programs that a script names, as far as its words tell.
    fn named_in(&mut self, script: &str, opened: &Opened) -> Result<(), Failure> {
        let words = script.split(|c: char| c.is_whitespace() || "|&;()<>\"'`".contains(c));
        for word in words.filter(|word| !word.is_empty()) {
            if let Some(program) = self.found(word, opened)? {
                self.copies.insert(program);
            }
        }
        Ok(())
    }

    /// The check of the image's health, without a shell.
    fn check(&mut self, opened: &Opened) -> Result<(), Failure> {
        let config = &opened.image.config().config;
        let Some(test) = config.healthcheck.as_ref().map(|check| &check.test[..]) else {
            return Ok(());
        };
        let words = match test {
            [kind, words @ ..] if kind == "CMD" => Some(words.to_vec()),
            [kind, script] if kind == "CMD-SHELL" => {
                let script = script.trim();
                // The exit code is the shell's way of saying 1 for all that failed, and 1 is all that is asked for.
                unshelled(script.strip_suffix("|| exit 1").unwrap_or(script))
            }
            _ => return Ok(()),
        };
        if let Some(mut words) = words.filter(|words| !words.is_empty())
            && let Some(program) = self.found(&words[0], opened)?
        {
            self.copies.insert(program.clone());
            words[0] = program;
            self.health = Some(words);
        } else {
            self.notes.push(
                "HEALTHCHECK needs a shell, so it is left out: write its exec form".to_owned(),
            );
        }
        Ok(())
    }

    /// Where a program is, its directory's links resolved; `None` where it is no executable file.
    fn found(&self, name: &str, opened: &Opened) -> Result<Option<String>, Failure> {
        let search = self.env.iter().find(|(variable, _)| variable == "PATH");
        let search = search.map_or(PATH, |(_, value)| value);
        let candidates: Vec<String> = match name.contains('/') {
            true if name.starts_with('/') => vec![name.to_owned()],
            true => vec![format!("{}/{name}", self.workdir)],
            false => search
                .split(':')
                .map(|directory| format!("{directory}/{name}"))
                .collect(),
        };
        for candidate in candidates {
            let asked = path(&candidate)?;
            let place = opened
                .view
                .resolve(&asked, Follow::Parents)
                .map_err(failed)?;
            let target = opened.view.lookup(&place).map_err(failed)?;
            if target.is_some_and(|(_, meta)| meta.kind == NodeKind::File && meta.mode & 0o111 != 0)
            {
                return Ok(Some(place.to_string()));
            }
        }
        Ok(None)
    }

    fn user(&mut self, opened: &Opened) -> Result<(), Failure> {
        let user = opened.image.config().config.user.as_str();
        let accounts =
            Accounts::of(&opened.view).map_err(|error| Failure::new(Kind::Failed, error))?;
        let found = match user {
            "" => None,
            user => {
                let found = accounts.resolve_user(user);
                Some(found.map_err(|error| Failure::new(Kind::Failed, error))?)
            }
        };
        match found.filter(|account| account.uid != 0) {
            Some(account) => {
                self.uid = account.uid;
                self.gid = account.gid;
                let name = account.name.and_then(|name| String::from_utf8(name).ok());
                self.name = name.filter(|name| Accounts::is_name(name));
            }
            None => self.notes.push(
                "the image runs as root; from scratch it runs as 65532, so what it writes outside of /tmp needs --chown=65532:65532, or a volume".to_owned(),
            ),
        }
        Ok(())
    }

    /// Files above the base image that belong to no package, as few paths as name just them.
    fn files(&mut self, opened: &Opened, base: usize) -> Result<(), Failure> {
        let instructions = opened.instructions();
        let copied = |layer: usize| {
            let line = instructions
                .get(layer)
                .map(String::as_str)
                .unwrap_or_default();
            line.starts_with("COPY") || line.starts_with("ADD")
        };
        let mut all: HashMap<TreePath, usize> = HashMap::new();
        let mut above: Vec<TreePath> = Vec::new();
        let visited = opened.view.each(|path, meta, layer| {
            if meta.is_dir() {
                return;
            }
            ancestors(path, |directory| *all.entry(directory).or_default() += 1);
            if layer >= base && (copied(layer) || !is_system(path)) {
                above.push(path.clone());
            }
        });
        visited.map_err(failed)?;
        let packages = Packages::of(&opened.view, &above).map_err(failed)?;
        above.retain(|path| packages.owner(path).is_none());
        let mut chosen: HashMap<TreePath, usize> = HashMap::new();
        for path in &above {
            ancestors(path, |directory| *chosen.entry(directory).or_default() += 1);
        }
        let is_whole = |path: &TreePath| !path.is_root() && all.get(path) == chosen.get(path);
        let mut trees: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
        for path in above {
            let mut top = path;
            while is_whole(&top.parent()) {
                top = top.parent();
            }
            trees.insert(top.as_bytes().to_vec(), ());
        }
        for (tree, ()) in trees {
            let plain = tree
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || PLAIN.contains(byte));
            let shown = path(&String::from_utf8_lossy(&tree))?.to_string();
            match plain {
                true => drop(self.copies.insert(shown)),
                false => self.notes.push(format!(
                    "{shown} has a name that COPY cannot take as it is: it is left out"
                )),
            }
        }
        Ok(())
    }
}

/// The directories above a path, the root left out.
fn ancestors(path: &TreePath, mut visit: impl FnMut(TreePath)) {
    let mut directory = path.parent();
    while !directory.is_root() {
        visit(directory.clone());
        directory = directory.parent();
    }
}

fn is_system(path: &TreePath) -> bool {
    let bytes = path.as_bytes();
    SYSTEM.iter().any(|directory| {
        let rest = bytes.strip_prefix(directory.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    })
}

/// The script of a shell form.
fn in_shell(words: &[String]) -> Option<&str> {
    match words {
        [shell, option, script] if shell.ends_with("/sh") && option == "-c" => Some(script),
        [shell, option, script] if shell.ends_with("/bash") && option == "-c" => Some(script),
        _ => None,
    }
}

/// The words of a command that needs no shell; `None` for any other.
fn unshelled(script: &str) -> Option<Vec<String>> {
    const OF_SHELLS: &str = "|&;<>()$`\\\"'*?[]{}#~=!\n";
    if script.contains(|c: char| OF_SHELLS.contains(c)) {
        return None;
    }
    let mut words: Vec<String> = script.split_whitespace().map(str::to_owned).collect();
    if words.first().is_some_and(|word| word == "exec") {
        words.remove(0);
    }
    let builtin = [
        "cd", "set", "export", "source", ".", "test", "exit", "ulimit", "umask",
    ];
    match words.first() {
        Some(first) if !builtin.contains(&first.as_str()) => Some(words),
        _ => None,
    }
}

fn path(text: &str) -> Result<TreePath, Failure> {
    TreePath::clamped(text.as_bytes()).map_err(|error| Failure::new(Kind::Failed, error))
}

fn failed(error: rootfs::TreeError) -> Failure {
    Failure::new(Kind::Failed, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_form_is_taken_apart_only_where_no_shell_is_needed() {
        let words = |text: &str| unshelled(text).map(|words| words.join("|"));
        assert_eq!(
            words("exec /app --port 80").as_deref(),
            Some("/app|--port|80")
        );
        assert_eq!(
            words(" python3  app.py ").as_deref(),
            Some("python3|app.py")
        );
        for text in [
            "a && b", "a $X", "cd /x", "X=1 a", "a 'b c'", "a > /x", "", "exec",
        ] {
            assert_eq!(words(text), None, "{text}");
        }
    }

    #[test]
    fn what_run_leaves_in_the_system_is_not_the_applications() {
        let system = |text: &str| is_system(&TreePath::clamped(text).unwrap());
        for text in ["/etc/x", "/usr/lib/python3/x.pyc", "/var/cache/x", "/bin"] {
            assert!(system(text), "{text}");
        }
        for text in [
            "/app/x",
            "/usr/local/lib/x",
            "/opt/x",
            "/srv/www",
            "/library",
        ] {
            assert!(!system(text), "{text}");
        }
    }
}
