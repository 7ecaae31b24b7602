//! From a path to what the kernel starts: a script's interpreter, a program's loader.
//!
//! Invariant: scripts lead to scripts at most as deep as the kernel goes.

use std::rc::Rc;

use super::draft::{Draft, chain};
use super::elf::{Elf, MAGIC};
use super::files::Opened;
use super::glibc;
use super::ld_cache::LdCache;
use super::ld_conf;
use super::loader::{LARGEST, Loader, Musl, Texts};
use super::machine::Machine;
use super::places::Place;
use super::reason::{How, Reason, Why};
use super::run::{Object, Run, Start, Trouble};
use super::{Resolver, tokens};
use crate::path::{TreePath, escape};
use crate::tree::NodeKind;

/// fs/exec.c, `exec_binprm`: "This allows 4 levels of binfmt rewrites before failing hard."
const MOST_SCRIPTS: usize = 4;
/// `BINPRM_BUF_SIZE`: what the kernel reads of a `#!` line.
const LINE: usize = 256;
const LD_SO_CACHE: &[u8] = b"/etc/ld.so.cache";
const LD_SO_PRELOAD: &[u8] = b"/etc/ld.so.preload";
/// The cache of a machine with 10,000 libraries has 1 MB.
const LARGEST_CACHE: u64 = 16 << 20;
const LARGEST_PATH_FILE: u64 = 64 << 10;
/// capabilities(7): where a file's capabilities are.
const CAPABILITY: &[u8] = b"security.capability";

impl Resolver<'_> {
    /// Adds what the program needs.
    pub(super) fn program(&self, draft: &mut Draft, path: &TreePath) {
        let mut raw = [b"/", path.as_bytes()].concat();
        let mut reason = Reason {
            by: path.clone(),
            why: Why::Program,
        };
        for _ in 0..=MOST_SCRIPTS {
            let place = match self.files.places.find(&raw) {
                Ok(place) => place,
                Err(absent) => return draft.lack_path(&raw, &reason.by, &absent),
            };
            draft.add(&place, reason);
            let head = match self.head(&place) {
                Ok(head) => head,
                Err(message) => return draft.fatal(&place.path, message),
            };
            let Some(line) = head.strip_prefix(b"#!") else {
                return self.binary(draft, &place);
            };
            match self.script(draft, &place, line) {
                Some(next) => (raw, reason) = next,
                None => return,
            }
        }
        draft.fatal(
            path,
            "Too many levels of symbolic links: interpreters that are scripts",
        );
    }

    fn head(&self, place: &Place) -> Result<Vec<u8>, String> {
        match place.meta.kind {
            NodeKind::File => {}
            NodeKind::Dir => return Err("Is a directory".to_owned()),
            _ => return Err("it is no regular file".to_owned()),
        }
        let head = self.files.tree().read_at(&place.path, 0, LINE);
        head.map_err(|error| chain(&error))
    }

    /// The next program to start: the interpreter of a script, or what `env` starts.
    fn script(&self, draft: &mut Draft, place: &Place, line: &[u8]) -> Option<(Vec<u8>, Reason)> {
        let by = &place.path;
        let line = line
            .split(|byte| matches!(byte, b'\n' | 0))
            .next()
            .unwrap_or_default();
        let mut words = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        let Some(interpreter) = words.next() else {
            draft.fatal(by, "Exec format error: its #! line names no program");
            return None;
        };
        if !interpreter.starts_with(b"/") {
            let name = escape(interpreter);
            draft.fatal(
                by,
                format!("its interpreter {name:?} is relative to the working directory"),
            );
            return None;
        }
        let reason = |why| Reason {
            by: by.clone(),
            why,
        };
        if !interpreter.ends_with(b"/env") {
            return Some((interpreter.to_vec(), reason(Why::Script)));
        }
        // env itself is a program that must be able to start, too.
        self.env(draft, interpreter, reason(Why::Script))?;
        let started = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
        let Some(name) = started else {
            draft.note(by, "env in its #! line is told to start nothing");
            return None;
        };
        let found = self.in_path(name);
        if found.is_none() {
            draft.lack(
                name,
                by,
                "No such file or directory (env looks for it in PATH)",
            );
        }
        Some((found?, reason(Why::Env(name.to_vec()))))
    }

    fn env(&self, draft: &mut Draft, raw: &[u8], reason: Reason) -> Option<()> {
        match self.files.places.find(raw) {
            Ok(place) => {
                draft.add(&place, reason);
                self.binary(draft, &place);
                Some(())
            }
            Err(absent) => {
                draft.lack_path(raw, &reason.by, &absent);
                None
            }
        }
    }

    fn in_path(&self, name: &[u8]) -> Option<Vec<u8>> {
        let directories = self.settings.path.split(|byte| *byte == b':');
        let mut candidates = directories
            .filter(|directory| directory.starts_with(b"/"))
            .map(|directory| tokens::in_directory(directory, name));
        candidates.find(|candidate| {
            let place = self.files.places.find(candidate);
            place.is_ok_and(|place| {
                place.meta.kind == NodeKind::File && place.meta.mode & 0o111 != 0
            })
        })
    }

    /// Adds what an ELF file needs.
    fn binary(&self, draft: &mut Draft, place: &Place) {
        let read = self.files.elf(&place.path);
        let elf = match &*read {
            Ok(elf) => elf,
            Err(error) => {
                let head = self.head(place).unwrap_or_default();
                return match head.starts_with(MAGIC) {
                    true => draft.fatal(&place.path, chain(error)),
                    false => draft.fatal(
                        &place.path,
                        "Exec format error: neither an ELF file nor a script",
                    ),
                };
            }
        };
        if let Some(wanted) = &self.settings.architecture {
            let own = elf.machine.name();
            if own != *wanted {
                draft.fatal(
                    &place.path,
                    format!("Exec format error: it is for {own}, not for {wanted}"),
                );
            }
        }
        if elf.packed {
            draft.note(
                &place.path,
                "it is packed by UPX: what the program in it needs is not to be seen",
            );
        }
        let needs = elf.dynamic.iter().any(|dynamic| !dynamic.needed.is_empty());
        if elf.interpreter.is_some() || needs || !elf.dlopen.is_empty() {
            self.dynamic(draft, place, elf);
        }
    }

    /// Adds what the loader maps, for every processor that makes a difference.
    fn dynamic(&self, draft: &mut Draft, place: &Place, elf: &Rc<Elf>) {
        let named = elf.interpreter.clone();
        let interpreter = match &named {
            Some(raw) => self.interpreter(draft, place, raw),
            None => None,
        };
        let usual = || usual_interpreter(elf);
        let loader = self.loader(&named.unwrap_or_else(usual), elf.machine);
        let program = |name: Vec<u8>, place: &Place, elf: &Rc<Elf>, reason| Object {
            name,
            place: place.clone(),
            elf: Rc::clone(elf),
            loader: None,
            reason,
        };
        let secure = self.is_secure(draft, place);
        let preload = match (&*loader, &interpreter) {
            (Loader::Glibc(_), Some(_)) => self.preload(draft, place),
            _ => Vec::new(),
        };
        for cpu in elf.machine.cpus() {
            let start = Start {
                preload: &preload,
                files: &self.files,
                loader: &loader,
                cpu: *cpu,
                library_path: match secure {
                    true => b"",
                    false => &self.settings.library_path,
                },
                by_cpu: false.into(),
            };
            let own = program([b"/", place.path.as_bytes()].concat(), place, elf, None);
            let interpreter = interpreter.as_ref().map(|(raw, place, elf, reason)| {
                program(raw.clone(), place, elf, Some(reason.clone()))
            });
            let run = Run::of(&start, own, interpreter);
            self.take(draft, &run);
            if !start.by_cpu.get() {
                break;
            }
        }
    }

    /// Whether the program gets rights when it starts (AT_SECURE of ld.so(8)): its loader does not trust the environment then.
    fn is_secure(&self, draft: &mut Draft, place: &Place) -> bool {
        let mode = place.meta.mode;
        let ids = [(0o4000, "set-user-ID"), (0o2000, "set-group-ID")];
        let mut rights: Vec<&str> = ids
            .into_iter()
            .filter(|(bit, _)| mode & bit != 0)
            .map(|(_, name)| name)
            .collect();
        let xattrs = self.files.tree().xattrs(&place.path).unwrap_or_default();
        if xattrs.contains_key(CAPABILITY) {
            rights.push("file capabilities");
        }
        if !rights.is_empty() {
            let message = format!(
                "it has {}: LD_LIBRARY_PATH does not count for it, and with no-new-privileges it gets no rights",
                rights.join(" and ")
            );
            draft.note(&place.path, message);
        }
        !rights.is_empty()
    }

    /// The libraries that are loaded into every program: names between blanks or colons, up to a `#` in a line.
    fn preload(&self, draft: &mut Draft, program: &Place) -> Vec<Vec<u8>> {
        let list = self.files.small(LD_SO_PRELOAD, LARGEST_PATH_FILE);
        let Ok(Some((place, text))) = list else {
            return Vec::new();
        };
        let reason = Reason {
            by: program.path.clone(),
            why: Why::List,
        };
        draft.add(&place, reason);
        let lines = text.split(|byte| *byte == b'\n');
        let names = lines.flat_map(|line| {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            line.split(|byte| byte.is_ascii_whitespace() || *byte == b':')
        });
        names
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// The file that the kernel starts to load a program.
    fn interpreter(
        &self,
        draft: &mut Draft,
        program: &Place,
        raw: &[u8],
    ) -> Option<(Vec<u8>, Place, Rc<Elf>, Reason)> {
        let by = &program.path;
        if !raw.starts_with(b"/") {
            let name = escape(raw);
            draft.fatal(
                by,
                format!("its interpreter {name:?} is relative to the working directory"),
            );
            return None;
        }
        let place = match self.files.places.find(raw) {
            Ok(place) => place,
            Err(absent) => {
                draft.lack_path(raw, by, &absent);
                return None;
            }
        };
        let reason = Reason {
            by: by.clone(),
            why: Why::Interpreter,
        };
        draft.add(&place, reason.clone());
        match &*self.files.elf(&place.path) {
            Ok(elf) => Some((raw.to_vec(), place, Rc::clone(elf), reason)),
            Err(error) => {
                draft.fatal(
                    &place.path,
                    format!("{} (it is the interpreter of {by})", chain(error)),
                );
                None
            }
        }
    }

    /// What is known of the loader that programs name so.
    pub(super) fn loader(&self, raw: &[u8], machine: Machine) -> Rc<Loader> {
        if let Some(known) = self.loaders.borrow().get(raw) {
            return Rc::clone(known);
        }
        let bytes = self.files.small(raw, LARGEST).ok().flatten();
        let mut texts = bytes
            .map(|(_, bytes)| Texts::of(&bytes))
            .unwrap_or_default();
        if texts.musl.is_none() && texts.system_dirs.is_empty() {
            texts.musl = musl_by_name(raw, machine);
        }
        let loader = match texts.musl.take() {
            Some(architecture) => {
                let file = Musl::path_file(raw, &architecture);
                let text = self.files.small(&file, LARGEST_PATH_FILE).ok().flatten();
                Loader::Musl(Musl::new(text.map(|(_, text)| (file, text))))
            }
            None => {
                let cache = self.files.small(LD_SO_CACHE, LARGEST_CACHE).ok().flatten();
                let cache = cache.and_then(|(_, bytes)| LdCache::parse(&bytes));
                Loader::Glibc(texts.glibc(machine, cache))
            }
        };
        let loader = Rc::new(loader);
        self.loaders
            .borrow_mut()
            .insert(raw.to_vec(), Rc::clone(&loader));
        loader
    }

    /// Puts what a start maps into the closure.
    fn take(&self, draft: &mut Draft, run: &Run<'_>) {
        for (number, object) in run.objects.iter().enumerate() {
            let Some(reason) = &object.reason else {
                continue;
            };
            draft.add(&object.place, reason.clone());
            if let Why::Library(name, how) | Why::Preload(name, how) | Why::Dlopen(name, how) =
                &reason.why
            {
                self.list(draft, run, number, name, how);
            }
        }
        for trouble in &run.troubles {
            match trouble {
                Trouble::Lacks { name, by, message } => {
                    draft.lack(name, by, message);
                    self.explain(draft, run, name);
                }
                Trouble::Broken { path, message } => draft.fatal(path, message),
                Trouble::Note { path, message } => draft.note(path, message),
            }
        }
    }

    /// A library that only ldconfig would find.
    fn explain(&self, draft: &mut Draft, run: &Run<'_>, name: &[u8]) {
        if !matches!(run.start.loader, Loader::Glibc(_)) || name.contains(&b'/') {
            return;
        }
        for directory in ld_conf::directories(&self.files) {
            let path = tokens::in_directory(&directory, name);
            let machine = run.objects[0].elf.machine;
            if let Opened::Library(place, _) = self.files.library(&path, machine) {
                let message = "it is in a directory of /etc/ld.so.conf, but not in /etc/ld.so.cache: ldconfig puts it there";
                return draft.note(&place.path, message);
            }
        }
    }

    /// The list through which alone a loader finds a library belongs to it.
    fn list(&self, draft: &mut Draft, run: &Run<'_>, number: usize, name: &[u8], how: &How) {
        let raw = match (how, run.start.loader) {
            (How::Cache, Loader::Glibc(loader)) => {
                if glibc::found_without_cache(run, loader, number, name) {
                    return;
                }
                LD_SO_CACHE
            }
            (How::PathFile, Loader::Musl(loader)) => match &loader.path_file {
                Some(file) => file,
                None => return,
            },
            _ => return,
        };
        if let Ok(place) = self.files.find(raw) {
            let reason = Reason {
                by: run.objects[number].place.path.clone(),
                why: Why::List,
            };
            draft.add(&place, reason);
        }
    }
}

/// Of something without an interpreter that needs libraries: a library itself.
fn usual_interpreter(elf: &Elf) -> Vec<u8> {
    let mut needed = elf.dynamic.iter().flat_map(|dynamic| &dynamic.needed);
    let of_musl = needed.any(|name| name == b"libc.so" || name.starts_with(b"libc.musl-"));
    match elf.machine.known() {
        Some(known) if of_musl => format!("/lib/ld-musl-{}.so.1", known.musl).into_bytes(),
        Some(known) => known.glibc.as_bytes().to_vec(),
        None => Vec::new(),
    }
}

/// When the loader itself cannot be asked.
fn musl_by_name(raw: &[u8], machine: Machine) -> Option<Vec<u8>> {
    let name = raw.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let musl = machine.known()?.musl;
    name.starts_with(b"ld-musl-")
        .then(|| musl.as_bytes().to_vec())
}
