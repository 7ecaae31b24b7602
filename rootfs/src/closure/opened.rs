//! The rules applied: what programs open by themselves, and what that needs in turn, until nothing is added any more.
//!
//! Invariant: rules only ever add files of the tree, a rule once, and what it adds has the rule as its reason.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::files::Opened;
use super::needs::Needs;
use super::places::Place;
use super::reason::{Reason, Why};
use super::rules::{Addition, Rule, RuleSet, Trigger, fits, name_fits};
use super::{Closure, ClosureFile, Resolver};
use crate::path::TreePath;
use crate::tree::NodeKind;

/// A directory of data with more files than this is no part of a program.
const MOST_FILES: usize = 200_000;

/// Rules of this name and a number are paths that a person names.
const ALSO: &str = "also-";

/// Which rules count, beside those whose time has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// `with=`: NAME or NAME:ARGUMENT.
    pub with: Vec<String>,
    /// `without=`.
    pub without: Vec<String>,
    /// Variables of the image that rules ask for.
    pub env: Vec<(String, String)>,
    /// `also=`: absolute paths, or patterns of them, with all that is below and all that programs there need.
    pub also: Vec<String>,
}

/// The rules, and one for each path that was named.
fn with_paths(rules: &RuleSet, also: &[String]) -> RuleSet {
    let mut all = rules.clone();
    for (number, path) in also.iter().enumerate() {
        let below = format!("{}/**", path.trim_end_matches('/'));
        all.rules.push(Rule {
            name: format!("{ALSO}{number}"),
            why: "it is asked for".to_owned(),
            adds: [path.clone(), below].map(Addition::Files).to_vec(),
            ..Rule::default()
        });
    }
    all
}

/// What is needed so far.
struct Collection<'r, 't> {
    resolver: &'r Resolver<'t>,
    copied: BTreeSet<TreePath>,
    files: BTreeMap<TreePath, ClosureFile>,
    broken: Vec<Closure>,
    /// What is to be looked at: programs and libraries whose own needs are not known yet, and whether they are copied.
    waiting: VecDeque<(TreePath, bool)>,
    seen: BTreeSet<TreePath>,
    /// Symbols that are used, each with who uses it first.
    imports: BTreeMap<Vec<u8>, TreePath>,
    /// The same of copied programs.
    own_imports: BTreeMap<Vec<u8>, TreePath>,
    examined: BTreeSet<TreePath>,
}

impl Resolver<'_> {
    /// What the programs and libraries among `copied` need, and what they open by themselves as far as rules know.
    pub fn needs_with(&self, copied: &[TreePath], rules: &RuleSet, choice: &Choice) -> Needs {
        let mut collection = Collection {
            resolver: self,
            copied: copied.iter().cloned().collect(),
            files: BTreeMap::new(),
            broken: Vec::new(),
            waiting: copied.iter().cloned().map(|path| (path, true)).collect(),
            seen: BTreeSet::new(),
            imports: BTreeMap::new(),
            own_imports: BTreeMap::new(),
            examined: BTreeSet::new(),
        };
        let rules = with_paths(rules, &choice.also);
        let mut fired: BTreeSet<(String, String)> = BTreeSet::new();
        let mut unmet = Vec::new();
        loop {
            collection.close();
            let mut any = false;
            for rule in &rules.rules {
                if choice.without.contains(&rule.name) {
                    continue;
                }
                for (by, argument) in collection.causes(rule, choice) {
                    if !fired.insert((rule.name.clone(), argument.clone())) {
                        continue;
                    }
                    any = true;
                    let asked = by.is_none();
                    if !collection.apply(rule, by, &argument) && asked {
                        unmet.push(unmet_name(&rule.name, choice));
                    }
                }
            }
            if !any {
                return Needs {
                    files: collection.files.into_values().collect(),
                    broken: collection.broken,
                    unmet,
                };
            }
        }
    }
}

/// What the person wrote.
fn unmet_name(name: &str, choice: &Choice) -> String {
    let number = name
        .strip_prefix(ALSO)
        .and_then(|number| number.parse::<usize>().ok());
    match number.and_then(|number| choice.also.get(number)) {
        Some(path) => format!("also={path}"),
        None => format!("with={name}"),
    }
}

impl Collection<'_, '_> {
    /// Follows what programs need for their start, until all is known.
    fn close(&mut self) {
        while let Some((path, copied)) = self.waiting.pop_front() {
            if !self.seen.insert(path.clone()) || !self.resolver.is_program(&path) {
                continue;
            }
            let closure = self.resolver.closure(&path);
            for file in &closure.files {
                self.files
                    .entry(file.path.clone())
                    .or_insert_with(|| file.clone());
                self.examine(&file.path.clone(), false);
            }
            self.examine(&path, copied);
            if !closure.starts() && copied {
                self.broken.push(closure);
            }
        }
    }

    /// Notes which symbols an object uses.
    fn examine(&mut self, path: &TreePath, copied: bool) {
        let raw = [b"/", path.as_bytes()].concat();
        let Ok(place) = self.resolver.files.places.find(&raw) else {
            return;
        };
        let new = self.examined.insert(place.path.clone());
        if !new && !copied {
            return;
        }
        for symbol in self.resolver.files.imports(&place.path) {
            self.imports
                .entry(symbol.clone())
                .or_insert_with(|| path.clone());
            if copied {
                self.own_imports
                    .entry(symbol)
                    .or_insert_with(|| path.clone());
            }
        }
    }

    /// Who makes a rule necessary, and with which argument; without anybody, it was asked for.
    fn causes(&self, rule: &Rule, choice: &Choice) -> Vec<(Option<TreePath>, String)> {
        let mut causes = Vec::new();
        if rule.name.starts_with(ALSO) {
            causes.push((None, String::new()));
        }
        for wanted in &choice.with {
            let (name, argument) = wanted.split_once(':').unwrap_or((wanted, ""));
            if name == rule.name {
                causes.push((None, argument.to_owned()));
            }
        }
        let excused = |glob: &String| self.copied.iter().any(|path| fits(glob, path));
        if rule.unless.iter().any(excused) {
            return causes;
        }
        for trigger in &rule.when {
            if let Trigger::Variable(name) = trigger {
                let set = choice.env.iter().find(|(own, _)| own == name);
                let value = set.map(|(_, value)| value.clone());
                let value = value.filter(|value| !value.is_empty());
                if let (Some(value), Some(by)) = (value, self.copied.first()) {
                    causes.push((Some(by.clone()), value));
                }
            } else if let Some(by) = self.cause(trigger) {
                causes.push((Some(by), String::new()));
            }
        }
        causes
    }

    fn cause(&self, trigger: &Trigger) -> Option<TreePath> {
        let mut all = self.copied.iter().chain(self.files.keys());
        match trigger {
            Trigger::File(glob) => all.find(|path| fits(glob, path)).cloned(),
            Trigger::Library(glob) => {
                let fits = |path: &&TreePath| {
                    let name = path.file_name().unwrap_or_default();
                    name_fits(glob.as_bytes(), name)
                };
                all.find(fits).cloned()
            }
            Trigger::Imports(symbols) => symbols
                .iter()
                .find_map(|symbol| self.imports.get(symbol))
                .cloned(),
            Trigger::ProgramImports(symbols) => {
                let own = symbols
                    .iter()
                    .find_map(|symbol| self.own_imports.get(symbol));
                own.cloned()
            }
            Trigger::Variable(_) => None,
        }
    }

    /// Adds what a rule names; whether anything of it is there.
    fn apply(&mut self, rule: &Rule, by: Option<TreePath>, argument: &str) -> bool {
        let by = by.or_else(|| self.copied.first().cloned());
        let reason = Reason {
            by: by.unwrap_or_else(TreePath::root),
            why: Why::Rule(rule.name.clone()),
        };
        let mut any = false;
        for addition in &rule.adds {
            // TZ may begin with a colon, as tzset(3) says.
            let filled = |text: &str| text.replace("{arg}", argument.trim_start_matches(':'));
            any |= match addition {
                Addition::Files(glob) => self.add_files(&filled(glob), &reason),
                Addition::Library(name) => self.add_library(name, &reason),
                Addition::Nss(file) => self.add_nss(file, &reason),
                Addition::Locale(name) => self.add_locale(&filled(name), &reason),
            };
        }
        any
    }

    fn add_files(&mut self, glob: &str, reason: &Reason) -> bool {
        if glob.split('/').any(|part| part == "..") {
            return false;
        }
        let mut found = vec![b"".to_vec()];
        let parts: Vec<&str> = glob.split('/').filter(|part| !part.is_empty()).collect();
        for part in parts {
            let next = found.iter().flat_map(|directory| match part {
                "**" => self.below(directory),
                part if part.contains(['*', '?']) => self.fitting(directory, part),
                part => vec![[directory, b"/".as_slice(), part.as_bytes()].concat()],
            });
            found = next.collect();
        }
        let mut any = false;
        for path in found {
            any |= self.add_path(&path, reason);
        }
        any
    }

    /// The names in a directory that fit.
    fn fitting(&self, directory: &[u8], part: &str) -> Vec<Vec<u8>> {
        let Ok(place) = self.resolver.files.places.find(&[directory, b"/"].concat()) else {
            return Vec::new();
        };
        let names = self.resolver.files.tree().read_dir(&place.path);
        let names = names.unwrap_or_default().into_iter();
        names
            .filter(|(name, _)| name_fits(part.as_bytes(), name))
            .map(|(name, _)| [directory, b"/", &name].concat())
            .collect()
    }

    /// The directory and everything in it; links are not followed to other directories.
    fn below(&self, directory: &[u8]) -> Vec<Vec<u8>> {
        let tree = self.resolver.files.tree();
        let Ok(place) = self.resolver.files.places.find(&[directory, b"/"].concat()) else {
            return Vec::new();
        };
        let mut found = vec![directory.to_vec()];
        let mut open = vec![(directory.to_vec(), place.path)];
        while let Some((raw, path)) = open.pop() {
            for (name, meta) in tree.read_dir(&path).unwrap_or_default() {
                let child = [&raw, b"/".as_slice(), &name].concat();
                if meta.is_dir() {
                    open.push((child.clone(), path.child(&name)));
                }
                found.push(child);
                if found.len() > MOST_FILES {
                    return found;
                }
            }
        }
        found
    }

    /// What a path leads to, with the links on the way; a program there is looked at.
    fn add_path(&mut self, raw: &[u8], reason: &Reason) -> bool {
        match self.resolver.files.places.find(raw) {
            Ok(place) => {
                self.add_place(&place, reason);
                true
            }
            Err(_) => false,
        }
    }

    fn add_place(&mut self, place: &Place, reason: &Reason) {
        for link in &place.links {
            let reason = Reason {
                by: place.path.clone(),
                why: Why::Link,
            };
            self.insert(&link.path, Some(link.target.clone()), reason);
        }
        if !matches!(place.meta.kind, NodeKind::File | NodeKind::Dir) {
            return;
        }
        self.insert(&place.path, None, reason.clone());
        // A person names programs; a rule names data, in which scripts are for those who have an interpreter.
        let named = matches!(&reason.why, Why::Rule(name) if name.starts_with(ALSO));
        let program = match named {
            true => self.resolver.is_program(&place.path),
            false => place.meta.kind == NodeKind::File && self.resolver.is_elf(&place.path),
        };
        if program {
            self.waiting.push_back((place.path.clone(), false));
        }
    }

    fn insert(&mut self, path: &TreePath, target: Option<Vec<u8>>, reason: Reason) {
        self.files.entry(path.clone()).or_insert(ClosureFile {
            path: path.clone(),
            target,
            reason,
        });
    }

    /// The library that the loader of one of the programs would find.
    fn add_library(&mut self, name: &str, reason: &Reason) -> bool {
        let programs: Vec<TreePath> = self
            .copied
            .iter()
            .chain(self.files.keys())
            .cloned()
            .collect();
        for program in programs {
            let Some((machine, directories)) = self.resolver.system_dirs(&program) else {
                continue;
            };
            for directory in directories {
                let path = [directory.as_slice(), b"/", name.as_bytes()].concat();
                if let Opened::Library(place, _) = self.resolver.files.library(&path, machine) {
                    self.add_place(&place, reason);
                    return true;
                }
            }
        }
        false
    }

    fn add_nss(&mut self, file: &str, reason: &Reason) -> bool {
        let text = self.resolver.files.small(file.as_bytes(), 64 << 10);
        let Ok(Some((place, text))) = text else {
            return false;
        };
        self.add_place(&place, reason);
        let in_libc = self.has_services_in_libc();
        for name in nss_modules(&String::from_utf8_lossy(&text)) {
            if in_libc && matches!(name.as_str(), "files" | "dns") {
                continue;
            }
            self.add_library(&format!("libnss_{name}.so.2"), reason);
        }
        true
    }

    /// Since glibc 2.34 `files` and `dns` are in libc itself, and empty libraries stand for them.
    fn has_services_in_libc(&self) -> bool {
        let mut all = self.files.keys();
        let libc = all.find(|path| path.file_name() == Some(b"libc.so.6"));
        libc.is_some_and(|path| self.resolver.defines(path, b"GLIBC_2.34"))
    }

    /// The directory of a locale, as glibc normalizes its name: `C.UTF-8` is in `C.utf8`.
    fn add_locale(&mut self, name: &str, reason: &Reason) -> bool {
        if name.is_empty() || name.contains('/') {
            return false;
        }
        // These two are in libc.
        if matches!(name, "C" | "POSIX") {
            return true;
        }
        let normalized = match name.split_once('.') {
            Some((language, codeset)) => {
                let letters = codeset.chars().filter(char::is_ascii_alphanumeric);
                let codeset: String = letters.collect();
                format!("{language}.{}", codeset.to_ascii_lowercase())
            }
            None => name.to_owned(),
        };
        let mut any = false;
        for name in [name, &normalized] {
            any |= self.add_files(&format!("/usr/lib/locale/{name}/**"), reason);
        }
        // localedef puts all others into one file.
        any || self.add_files("/usr/lib/locale/locale-archive", reason)
    }
}

/// The services that a nsswitch.conf names.
fn nss_modules(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((_, services)) = line.split_once(':') else {
            continue;
        };
        // [NOTFOUND=return] is no service.
        let mut outside = true;
        for word in services.split_whitespace() {
            if word.starts_with('[') {
                outside = false;
            }
            let fits = word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if outside && fits {
                names.insert(word.to_owned());
            }
            outside |= word.ends_with(']');
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_nsswitch_conf() {
        let text = "passwd: compat systemd\nhosts:files [NOTFOUND=return !UNAVAIL=x] dns # mdns\n\ngroup\n";
        let names: Vec<String> = nss_modules(text).into_iter().collect();
        assert_eq!(names, ["compat", "dns", "files", "systemd"]);
    }
}
