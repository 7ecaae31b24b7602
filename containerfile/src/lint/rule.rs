//! What a rule is, and how it tells what it finds.
//!
//! Invariant: a rule is data and one pure function; its page, its examples and its name come from the same place.

use std::collections::BTreeMap;

use crate::ast::{Check, Span};
use crate::diagnostics::{Bounded, Diagnostic, MAX_FINDINGS, Severity};

use super::Options;
use super::image::image_rules;
use super::quadlet::Unit;
use super::rules::{OF_UNITS, UNREADABLE};
use super::suppress::Excuses;
use super::view::View;

/// One rule of the linter.
#[derive(Debug)]
pub struct Rule {
    /// `RB103`; for a rule that is another linter's alone, the name that it has there.
    pub id: &'static str,
    /// What other linters call the same thing: BuildKit's name, hadolint's code.
    pub aliases: &'static [&'static str],
    /// How bad it is, where the project says nothing else.
    pub severity: Severity,
    /// What is reported, in a few words.
    pub title: &'static str,
    /// Why it matters, without root in particular.
    pub why: &'static str,
    /// A file in which this rule finds something, and no other does.
    pub bad: &'static str,
    /// The same without any finding.
    pub good: &'static str,
    /// Looks for it; `None` where the parser finds it on its way.
    pub(super) check: Option<fn(&View<'_>, &mut Findings)>,
}

impl Rule {
    /// What a file is called that holds its examples: rules about units have units as examples.
    #[must_use]
    pub fn example_name(&self) -> &'static str {
        let is_unit = OF_UNITS.iter().any(|(rule, _)| rule.id == self.id);
        match self.check.is_none() && is_unit {
            true => "app.container",
            false => "Containerfile",
        }
    }

    /// Whether the rule has this id or alias.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.id.eq_ignore_ascii_case(name)
            || self
                .aliases
                .iter()
                .any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// Whether a Containerfile says nothing about it: only built images are examined for it.
    #[must_use]
    pub fn is_about_images_only(&self) -> bool {
        self.check.is_none() && image_rules().contains(&self.id)
    }

    /// Where its page is on the web, for a rule that is another linter's alone.
    #[must_use]
    pub fn link(&self) -> Option<String> {
        if self.id.starts_with("DL") {
            return Some(format!(
                "https://github.com/hadolint/hadolint/wiki/{}",
                self.id
            ));
        }
        let buildkit = !self.id.starts_with("RB") && !OUR_NAMES.contains(&self.id);
        buildkit.then(|| {
            format!(
                "https://docs.docker.com/reference/build-checks/{}/",
                kebab(self.id)
            )
        })
    }

    /// Whether `# check=skip=` leaves it out. `all` stands for BuildKit's own rules.
    pub(super) fn is_skipped(&self, check: &Check) -> bool {
        let name = |name: &&str| name.starts_with(|first: char| first.is_ascii_uppercase());
        let buildkit = std::iter::once(&self.id)
            .chain(self.aliases)
            .filter(|id| name(id) && !id.bytes().any(|byte| byte.is_ascii_digit()));
        buildkit.into_iter().any(|name| check.skips(name))
            || check
                .skip
                .iter()
                .any(|skipped| skipped != "all" && self.is_called(skipped))
    }
}

/// Looks for a rule in a unit of Quadlet.
pub(super) type UnitCheck = fn(&Unit<'_>, &mut Findings);
/// What the parser warns of under a name of BuildKit's kind that BuildKit has no page for.
const OUR_NAMES: [&str; 2] = ["MalformedJSONArgs", "EmptyCommand"];

/// `JSONArgsRecommended` as `json-args-recommended`.
fn kebab(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let begins = letter.is_ascii_uppercase()
            && at > 0
            && (letters[at - 1].is_ascii_lowercase()
                || letters.get(at + 1).is_some_and(char::is_ascii_lowercase));
        if begins {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// What the rules found so far. What is not wanted, excused or too much is not kept for long.
#[derive(Debug)]
pub(super) struct Findings {
    list: Vec<Diagnostic>,
    /// The rule that is being asked.
    rule: Option<&'static Rule>,
    sieve: Sieve,
    kept: Bounded,
}

impl Findings {
    /// Begins with what the parser says; its errors are one rule.
    pub(super) fn new(mut parser: Vec<Diagnostic>, sieve: Sieve) -> Self {
        for found in &mut parser {
            found.rule = found.rule.or(Some(UNREADABLE));
        }
        Self {
            list: parser,
            rule: None,
            sieve,
            kept: Bounded::default(),
        }
    }

    pub(super) fn ask(&mut self, rule: &'static Rule, view: &View<'_>) {
        self.rule = Some(rule);
        if let Some(check) = rule.check {
            check(view, self);
        }
    }

    pub(super) fn ask_about_unit(
        &mut self,
        rule: &'static Rule,
        check: UnitCheck,
        unit: &Unit<'_>,
    ) {
        self.rule = Some(rule);
        check(unit, self);
    }

    /// A finding of the rule that is being asked.
    pub(super) fn add(&mut self, span: Span, message: impl Into<String>) -> Found<'_> {
        if self.list.len() > MAX_FINDINGS {
            self.sift();
        }
        let mut finding = Diagnostic::error(span, message);
        if let Some(rule) = self.rule {
            (finding.rule, finding.severity) = (Some(rule.id), rule.severity);
        }
        self.list.push(finding);
        Found(self.list.last_mut())
    }

    /// What others found.
    pub(super) fn extend(&mut self, found: impl Iterator<Item = Diagnostic>) {
        self.list.extend(found);
    }

    fn sift(&mut self) {
        self.list.retain_mut(|finding| self.sieve.keeps(finding));
        self.kept.take(&mut self.list);
    }

    /// All that is left, in the order of the places.
    pub(super) fn in_order(mut self, broken: bool, options: &Options) -> Vec<Diagnostic> {
        self.sift();
        let mut about = self.sieve.excuses.about_them(broken, options);
        self.kept.take(&mut about);
        self.kept.in_order()
    }
}

/// What the project and the file's own comments say about findings.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    pub(super) severities: BTreeMap<&'static str, Option<Severity>>,
    /// The file's directive, or what counts in its place.
    pub(super) check: Option<Check>,
    pub(super) excuses: Excuses,
}

impl Sieve {
    /// Whether a finding is wanted, with the severity that the project wants. What cannot be read stays an error.
    pub(super) fn keeps(&mut self, finding: &mut Diagnostic) -> bool {
        let Some(id) = finding.rule else {
            return true;
        };
        let skips = |check: &Check| super::rule(id).is_some_and(|rule| rule.is_skipped(check));
        if self.check.as_ref().is_some_and(skips) {
            return false;
        }
        match self.severities.get(id) {
            Some(None) if id != UNREADABLE => return false,
            Some(Some(severity)) if id != UNREADABLE => finding.severity = *severity,
            _ => {}
        }
        !self.excuses.excuse(finding)
    }
}

/// A finding that was just added.
pub(super) struct Found<'f>(Option<&'f mut Diagnostic>);

impl Found<'_> {
    fn change(mut self, change: impl FnOnce(Diagnostic) -> Diagnostic) -> Self {
        if let Some(finding) = self.0.as_deref_mut() {
            *finding = change(finding.clone());
        }
        self
    }

    /// Says what to do.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.change(|finding| finding.with_help(help))
    }

    /// Says which text to put where; a fix changes nothing of the image but what the rule is about.
    pub(super) fn fix(self, span: Span, replacement: impl Into<String>) -> Self {
        self.change(|finding| finding.with_fix(span, replacement))
    }

    /// Worse than usual, here.
    pub(super) fn warning(self) -> Self {
        self.change(|mut finding| {
            finding.severity = finding.severity.max(Severity::Warning);
            finding
        })
    }

    /// Only worth knowing, here.
    pub(super) fn note(self) -> Self {
        self.change(|mut finding| {
            finding.severity = finding.severity.min(Severity::Info);
            finding
        })
    }
}
