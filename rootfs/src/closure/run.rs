//! One start of a program, on one processor, without running it: the objects that the loader maps, breadth first.
//!
//! Invariant: the first object that is loaded under a name keeps it, and a file is loaded once, as in glibc's
//! `_dl_map_object_deps` and musl's `load_deps`.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::dynamic::Dynamic;
use super::elf::Elf;
use super::files::Files;
use super::loader::Loader;
use super::machine::Cpu;
use super::note::Priority;
use super::places::Place;
use super::reason::{How, Reason, Why};
use super::{glibc, musl};
use crate::path::{TreePath, escape};

/// More than any program has; LibreOffice maps some 300.
const MOST_OBJECTS: usize = 4096;

/// Something that is mapped.
pub(super) struct Object {
    /// The path by which it was found, as the loader keeps it: what `$ORIGIN` comes from.
    pub(super) name: Vec<u8>,
    pub(super) place: Place,
    pub(super) elf: Rc<Elf>,
    /// Who asked for it first; `None` for the program and its interpreter.
    pub(super) loader: Option<usize>,
    /// Why it is there; `None` for the program.
    pub(super) reason: Option<Reason>,
}

impl Object {
    pub(super) fn dynamic(&self) -> Option<&Dynamic> {
        self.elf.dynamic.as_ref()
    }
}

/// A library that was found.
pub(super) struct Found {
    /// The path by which.
    pub(super) name: Vec<u8>,
    pub(super) place: Place,
    pub(super) elf: Rc<Elf>,
    pub(super) how: How,
}

/// What became of a library that was not.
pub(super) enum Lost {
    /// The loader says so.
    Absent(String),
    /// A file is there that the loader cannot load.
    Broken(TreePath, String),
}

pub(super) type Outcome = Result<Found, Lost>;

/// What is the same for all objects of a start.
pub(super) struct Start<'a> {
    pub(super) files: &'a Files<'a>,
    pub(super) loader: &'a Loader,
    pub(super) cpu: Cpu,
    pub(super) library_path: &'a [u8],
    /// What `/etc/ld.so.preload` names.
    pub(super) preload: &'a [Vec<u8>],
    /// Whether another processor may get other files.
    pub(super) by_cpu: Cell<bool>,
}

/// What is wrong with a start.
pub(super) enum Trouble {
    Lacks {
        name: Vec<u8>,
        by: TreePath,
        message: String,
    },
    Broken {
        path: TreePath,
        message: String,
    },
    Note {
        path: TreePath,
        message: String,
    },
}

/// The objects of a start.
pub(super) struct Run<'a> {
    pub(super) start: &'a Start<'a>,
    pub(super) objects: Vec<Object>,
    names: HashMap<Vec<u8>, usize>,
    inodes: HashMap<(u64, u64), usize>,
    pub(super) troubles: Vec<Trouble>,
}

impl<'a> Run<'a> {
    /// Maps everything that the program needs.
    pub(super) fn of(start: &'a Start<'a>, program: Object, interpreter: Option<Object>) -> Self {
        let mut run = Self {
            start,
            objects: Vec::new(),
            names: HashMap::new(),
            inodes: HashMap::new(),
            troubles: Vec::new(),
        };
        run.push(program, None);
        if let Some(interpreter) = interpreter {
            let name = interpreter.name.clone();
            run.push(interpreter, Some(name));
        }
        run.map_preloaded();
        run.map_needed(0);
        run.map_opened();
        if let Loader::Glibc(_) = start.loader {
            run.check_versions();
        }
        run
    }

    /// The interpreter, when there is one.
    pub(super) fn interpreter(&self) -> Option<usize> {
        let object = self.objects.get(1)?;
        let why = object.reason.as_ref().map(|reason| &reason.why);
        (why == Some(&Why::Interpreter)).then_some(1)
    }

    fn push(&mut self, object: Object, name: Option<Vec<u8>>) {
        let number = self.objects.len();
        let soname = object.dynamic().and_then(|dynamic| dynamic.soname.clone());
        // musl knows libraries by the name that they were looked for, and by nothing else.
        let soname = soname.filter(|_| matches!(self.start.loader, Loader::Glibc(_)));
        for name in name.into_iter().chain(soname) {
            self.names.entry(name).or_insert(number);
        }
        self.inodes.entry(object.place.meta.inode).or_insert(number);
        self.objects.push(object);
    }

    /// From the object `first` on, also through those that come in meanwhile.
    fn map_needed(&mut self, first: usize) {
        let mut number = first;
        while number < self.objects.len() {
            let elf = Rc::clone(&self.objects[number].elf);
            self.map_filters(number, &elf);
            for name in elf.dynamic.iter().flat_map(|dynamic| &dynamic.needed) {
                if let Err(lost) = self.load(number, name, Why::Library) {
                    self.complain(number, name, lost);
                }
            }
            number += 1;
        }
    }

    /// As glibc's `_dl_map_object_deps`: an auxiliary filter may be missing. musl knows no filters.
    fn map_filters(&mut self, number: usize, elf: &Elf) {
        if matches!(self.start.loader, Loader::Musl(_)) {
            return;
        }
        for (name, optional) in elf.dynamic.iter().flat_map(|dynamic| &dynamic.filters) {
            match self.load(number, name, Why::Library) {
                Err(lost) if !optional => self.complain(number, name, lost),
                _ => {}
            }
        }
    }

    /// What `/etc/ld.so.preload` names, which glibc loads before anything else; what cannot be loaded is only told.
    fn map_preloaded(&mut self) {
        for name in self.start.preload {
            if let Err(Lost::Absent(message) | Lost::Broken(_, message)) =
                self.load(0, name, Why::Preload)
            {
                let path = self.objects[0].place.path.clone();
                let name = escape(name);
                let message = format!(
                    "ERROR: ld.so: object '{name}' from /etc/ld.so.preload cannot be preloaded ({message}): ignored."
                );
                self.troubles.push(Trouble::Note { path, message });
            }
        }
    }

    /// What objects say that they will open.
    fn map_opened(&mut self) {
        let mut number = 0;
        while number < self.objects.len() {
            let elf = Rc::clone(&self.objects[number].elf);
            for note in &elf.dlopen {
                if note.priority == Priority::Suggested {
                    continue;
                }
                let first = self.objects.len();
                let names = || note.sonames.iter().map(String::as_bytes);
                if names().any(|name| self.load(number, name, Why::Dlopen).is_ok()) {
                    self.map_needed(first);
                    continue;
                }
                let names: Vec<String> = names().map(escape).collect();
                let names = names.join(" or ");
                let by = self.objects[number].place.path.clone();
                self.troubles.push(if note.priority == Priority::Required {
                    let message =
                        "cannot open shared object file: No such file or directory".to_owned();
                    let name = note.sonames[0].clone().into_bytes();
                    Trouble::Lacks { name, by, message }
                } else {
                    let feature = escape(note.feature.as_bytes());
                    let message = format!(
                        "{names}, which it opens for the feature {feature:?}, is not there"
                    );
                    Trouble::Note { path: by, message }
                });
            }
            number += 1;
        }
    }

    fn complain(&mut self, number: usize, name: &[u8], lost: Lost) {
        let by = self.objects[number].place.path.clone();
        self.troubles.push(match lost {
            Lost::Broken(path, message) => Trouble::Broken { path, message },
            Lost::Absent(message) => Trouble::Lacks {
                name: name.to_vec(),
                by,
                message,
            },
        });
    }

    /// What answers to a name already.
    fn known(&self, name: &[u8]) -> Option<usize> {
        match self.start.loader {
            Loader::Musl(_) if musl::is_reserved(name) => self.interpreter(),
            _ => self.names.get(name).copied(),
        }
    }

    /// Loads a library that an object asks for.
    fn load(
        &mut self,
        by: usize,
        name: &[u8],
        why: impl Fn(Vec<u8>, How) -> Why,
    ) -> Result<(), Lost> {
        let wanted = match self.start.loader {
            Loader::Glibc(loader) => glibc::expand_name(self, loader, by, name)?,
            Loader::Musl(_) => name.to_vec(),
        };
        let known = self.known(&wanted);
        if known.is_some() {
            return Ok(());
        }
        let found = match self.start.loader {
            Loader::Glibc(loader) => glibc::search(self, loader, by, &wanted),
            Loader::Musl(loader) => musl::search(self, loader, by, &wanted),
        };
        let Found {
            name: path,
            place,
            elf,
            how,
        } = found?;
        if let Some(same) = self.inodes.get(&place.meta.inode).copied() {
            self.names.entry(wanted).or_insert(same);
            return Ok(());
        }
        if self.objects.len() >= MOST_OBJECTS {
            return Err(Lost::Absent(format!(
                "it would be the {MOST_OBJECTS}th library"
            )));
        }
        let reason = Reason {
            by: self.objects[by].place.path.clone(),
            why: why(name.to_vec(), how),
        };
        // musl compares no paths with names.
        let keep = matches!(self.start.loader, Loader::Glibc(_)) || !wanted.contains(&b'/');
        let object = Object {
            name: path,
            place,
            elf,
            loader: Some(by),
            reason: Some(reason),
        };
        self.push(object, keep.then_some(wanted));
        Ok(())
    }

    /// As glibc's `_dl_check_map_versions`.
    fn check_versions(&mut self) {
        let mut troubles = Vec::new();
        for object in &self.objects {
            for required in object
                .dynamic()
                .iter()
                .flat_map(|dynamic| &dynamic.requires)
            {
                let provider = self
                    .names
                    .get(&required.file)
                    .map(|number| &self.objects[*number]);
                let Some(provider) = provider else { continue };
                // A library without any versions gets away with a warning.
                let defines = provider
                    .dynamic()
                    .and_then(|dynamic| dynamic.defines.as_ref());
                let Some(defines) = defines else { continue };
                let lacking = required.versions.iter();
                let lacking =
                    lacking.filter(|version| !version.weak && !defines.contains(&version.name));
                troubles.extend(lacking.map(|version| Trouble::Broken {
                    path: provider.place.path.clone(),
                    message: format!(
                        "version `{}' not found (required by {})",
                        escape(&version.name),
                        object.place.path
                    ),
                }));
            }
        }
        self.troubles.extend(troubles);
    }
}
