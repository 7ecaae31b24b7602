//! The linter: a text to everything that can be said about it before anything is looked up.
//!
//! [`lint`] parses, resolves (`view`) and asks every [`Rule`] of the table; `suppress` takes away what the file itself excuses. The
//! invariant: a rule never guesses. What depends on a base image or on a build argument without a default is no finding, or a note
//! that says so.

mod hadolint;
mod image;
mod image_name;
mod labels;
mod page;
mod quadlet;
mod rule;
mod rules;
mod scripts;
mod shell;
mod suppress;
mod trivy;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ast::Check;
use crate::diagnostics::{Diagnostic, Fix, Severity};
use crate::ignore::IgnoreFile;
use crate::parse::parse;
use crate::source::Source;

pub use image::{
    Account, FileFact, FileKind, ImageFacts, LayerFact, ModuleFact, ProgramFact, Tls, image_rules,
    lint_image,
};
pub use labels::LabelForm;
pub use page::{catalogue, page};
pub use quadlet::{is_unit, may_be_unit};
pub use rule::Rule;
pub use scripts::{Script, ShellFinding, scripts};

pub(crate) use suppress::NO_REASON;
pub(crate) use view::AUTOMATIC;

use quadlet::Unit;
use rule::{Findings, Sieve};
use suppress::Excuses;
use view::View;

/// What a project decides about its findings.
#[derive(Debug, Default)]
pub struct Options {
    /// Rules, by their ids, that have another severity here; `None` turns one off.
    pub severities: BTreeMap<&'static str, Option<Severity>>,
    /// The registries that images may come from; empty for any.
    pub trusted_registries: Vec<String>,
    /// The labels that images must have, and their forms.
    pub labels: BTreeMap<String, LabelForm>,
    /// Whether there may be no other label.
    pub strict_labels: bool,
    /// The named contexts of the build, which come before images.
    pub contexts: BTreeSet<String>,
    /// What counts in the place of the file's `check` directive.
    pub check: Option<Check>,
    /// Where rules draw their lines.
    pub limits: Limits,
    /// The patterns that keep files out of the build context.
    pub ignore: Option<IgnoreFile>,
    /// Files beside this one that say what it is used for.
    pub neighbours: Vec<Neighbour>,
    /// What ShellCheck finds in the scripts of the text; nothing where it is not asked.
    pub shell: Option<Vec<Diagnostic>>,
    /// Images that are at hand, by the names that FROM calls them.
    pub images: BTreeMap<String, Arc<ImageFacts>>,
}

/// Where rules draw their lines, unless the project says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The highest id that can be mapped: RB106.
    pub highest_id: u32,
    /// The first port that anybody may open: RB401.
    pub first_port: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            highest_id: 65535,
            first_port: 1024,
        }
    }
}

/// A file beside the examined one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its path, as messages call it.
    pub name: String,
    /// What it holds.
    pub text: Arc<str>,
}

impl Neighbour {
    /// The last part of its path.
    pub(crate) fn file_name(&self) -> &str {
        file_name(&self.name)
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// What is found in one file.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The findings, in the order of their places.
    pub findings: Vec<Diagnostic>,
    /// Whether the file asks, with `# check=error=true`, that warnings fail.
    pub warnings_fail: bool,
}

/// All rules, in the order of their documentation.
#[must_use]
pub fn rules() -> &'static [&'static Rule] {
    rules::ALL
}

/// The rule of an id, or of a name that another linter gives it; case does not matter.
#[must_use]
pub fn rule(name: &str) -> Option<&'static Rule> {
    rules().iter().copied().find(|rule| rule.is_called(name))
}

/// The rules of a name, also of one that Trivy gives (`DS002`, `AVD-DS-0002`), which may stand for two.
#[must_use]
pub fn rules_named(name: &str) -> Vec<&'static Rule> {
    match rule(name) {
        Some(rule) => vec![rule],
        None => trivy::equal(name),
    }
}

/// The id that findings have of what is called so: a rule's, or one of ShellCheck's codes.
#[must_use]
pub fn id(name: &str) -> Option<&'static str> {
    rule(name)
        .map(|rule| rule.id)
        .or_else(|| scripts::named(name))
}

/// Where the page of an id is on the web, for what is another linter's alone.
#[must_use]
pub fn link(id: &str) -> Option<String> {
    match scripts::named(id) {
        Some(code) => Some(format!("https://www.shellcheck.net/wiki/{code}")),
        None => rule(id).and_then(Rule::link),
    }
}

/// Examines a text: a unit of Quadlet if it is called like one, else a Containerfile.
#[must_use]
pub fn lint(source: &Source, options: &Options) -> Report {
    match unit_kind(source) {
        Some(kind) => lint_unit(source, kind, options),
        None => lint_containerfile(source, options),
    }
}

/// The kind of Quadlet unit that a text is, by its name and content.
fn unit_kind(source: &Source) -> Option<&'static str> {
    let name = file_name(source.name());
    quadlet::section(name).filter(|kind| *kind == "Container" || is_unit(name, source.text()))
}

/// Examines a Containerfile, whatever it is called.
#[must_use]
pub fn lint_containerfile(source: &Source, options: &Options) -> Report {
    let parsed = parse(source);
    let view = View::of(source, &parsed.file, options);
    let broken = parsed.has_errors();
    let directive = parsed.file.directives.check.as_ref();
    let check = options
        .check
        .as_ref()
        .or(directive.map(|check| &check.value));
    let sieve = Sieve {
        severities: options.severities.clone(),
        check: check.cloned(),
        excuses: Excuses::read(source, &|| suppress::targets(&parsed.file)),
    };
    let mut found = Findings::new(parsed.diagnostics, sieve);
    for rule in rules() {
        found.ask(rule, &view);
    }
    found.extend(options.shell.iter().flatten().cloned());
    Report {
        findings: found.in_order(broken, options),
        warnings_fail: check.is_some_and(|check| check.error),
    }
}

fn lint_unit(source: &Source, kind: &'static str, options: &Options) -> Report {
    let mut problems = Vec::new();
    let unit = Unit::parse(source, kind, options, &mut problems);
    let broken = !problems.is_empty();
    let sieve = Sieve {
        severities: options.severities.clone(),
        check: None,
        excuses: Excuses::read(source, &|| suppress::targets_of_unit(&unit)),
    };
    let mut found = Findings::new(problems, sieve);
    for (rule, check) in rules::OF_UNITS {
        found.ask_about_unit(rule, *check, &unit);
    }
    found.extend(options.shell.iter().flatten().cloned());
    Report {
        findings: found.in_order(broken, options),
        warnings_fail: false,
    }
}

/// The images that a text is built from, by the names that FROM calls them, as far as these are known.
#[must_use]
pub fn bases(source: &Source) -> Vec<String> {
    let parsed = parse(source);
    let options = Options::default();
    let view = View::of(source, &parsed.file, &options);
    view.base_images().map(str::to_owned).collect()
}

/// Whether a comment can excuse findings of a rule.
pub(crate) fn can_be_ignored(rule: &str) -> bool {
    ![rules::UNREADABLE, rules::UNREASONED, rules::UNUSED].contains(&rule)
}

/// The fixes that can be made at once, in the order of their places. Of two that overlap it is the first one; the next run has the
/// other.
#[must_use]
pub fn fixes<'f>(text: &str, findings: &'f [Diagnostic]) -> Vec<&'f Fix> {
    let mut all: Vec<&Fix> = findings
        .iter()
        .filter_map(|found| found.fix.as_ref())
        .collect();
    all.sort_by_key(|fix| fix.span);
    let mut at = 0;
    all.retain(|fix| {
        let fits = at <= fix.span.start() && text.get(fix.span.range()).is_some();
        if fits {
            at = fix.span.end();
        }
        fits
    });
    all
}

/// The text after [`fixes`].
#[must_use]
pub fn fixed(text: &str, fixes: &[&Fix]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    for fix in fixes {
        result.push_str(&text[at..fix.span.start()]);
        result.push_str(&fix.replacement);
        at = fix.span.end();
    }
    result.push_str(&text[at..]);
    result
}
