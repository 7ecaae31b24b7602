//! What the rules see in an image, and the text that it is shown in. Invariant: every finding's span is a line of that text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::diagnostics::{Diagnostic, Severity};
use crate::lint::Limits;
use crate::lint::rule::Rule;
use crate::source::{Source, Span};

use super::{FileKind, ImageFacts, ProgramFact};

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The image as a whole.
    Image,
    /// `USER`.
    User,
    /// A variable.
    Env(String),
    /// A port.
    Port(String),
    /// A volume.
    Volume(String),
    /// The health check.
    Healthcheck,
    /// `ENTRYPOINT`, or `CMD` without one.
    Entry,
    /// A file, by its path.
    File(String),
}

impl Place {
    pub(super) fn file(path: &str) -> Self {
        Self::File(path.to_owned())
    }
}

/// The findings so far.
pub(super) struct Seen {
    /// Where the project draws the lines.
    pub(super) limits: Limits,
    rule: Option<&'static Rule>,
    list: Vec<(Place, Diagnostic)>,
}

impl Seen {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            rule: None,
            list: Vec::new(),
        }
    }

    pub(super) fn ask(&mut self, rule: &'static Rule) {
        self.rule = Some(rule);
    }

    /// A finding of the rule that is being asked.
    pub(super) fn add(
        &mut self,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let mut finding = Diagnostic::error(Span::default(), message).with_help(help);
        if let Some(rule) = self.rule {
            (finding.rule, finding.severity) = (Some(rule.id), rule.severity);
        }
        self.list.push((place, finding));
    }

    /// The same, only worth knowing.
    pub(super) fn note(
        &mut self,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(place, message, help);
        if let Some((_, finding)) = self.list.last_mut() {
            finding.severity = Severity::Info;
        }
    }

    /// About a program; only worth knowing where it is not what is started.
    pub(super) fn about(
        &mut self,
        program: &ProgramFact,
        message: String,
        help: impl Into<String>,
    ) {
        let place = Place::file(&program.path);
        match program.started {
            true => self.add(place, message, help),
            false => self.note(place, message, help),
        }
    }

    /// The text, and the findings with their places in it.
    pub(super) fn finish(self, facts: &ImageFacts) -> (Source, Vec<Diagnostic>) {
        let mut lines = configuration(facts);
        for (place, _) in &self.list {
            if let Place::File(path) = place
                && !lines.iter().any(|(known, _)| known == place)
            {
                lines.push((place.clone(), listed(facts, path)));
            }
        }
        let mut text = String::new();
        let mut spans = BTreeMap::new();
        for (place, line) in lines {
            // What a file or a variable is called may hold a line end.
            let line = line.replace(['\n', '\r'], " ");
            spans.insert(place, Span::new(text.len(), text.len() + line.len()));
            let _ = writeln!(text, "{line}");
        }
        let findings = self.list.into_iter().map(|(place, mut finding)| {
            finding.span = spans.get(&place).copied().unwrap_or_default();
            finding
        });
        let findings = findings.collect();
        (Source::new(facts.name.as_str(), text), findings)
    }
}

/// The configuration, as instructions.
fn configuration(facts: &ImageFacts) -> Vec<(Place, String)> {
    let array = |words: &[String]| serde_json::to_string(words).unwrap_or_default();
    let mut lines = vec![(Place::Image, format!("FROM {}", facts.name))];
    let user = match facts.user.as_str() {
        "" => "USER # none is set, so it is root",
        user => &format!("USER {user}"),
    };
    lines.push((Place::User, user.to_owned()));
    for (name, value) in &facts.env {
        lines.push((Place::Env(name.clone()), format!("ENV {name}={value}")));
    }
    for port in &facts.ports {
        lines.push((Place::Port(port.clone()), format!("EXPOSE {port}")));
    }
    for volume in &facts.volumes {
        lines.push((Place::Volume(volume.clone()), format!("VOLUME {volume}")));
    }
    if !facts.healthcheck.is_empty() {
        let check = format!("HEALTHCHECK {}", array(&facts.healthcheck));
        lines.push((Place::Healthcheck, check));
    }
    let entry = match (facts.entrypoint.as_slice(), facts.cmd.as_slice()) {
        ([], []) => return lines,
        ([], cmd) => format!("CMD {}", array(cmd)),
        (entrypoint, []) => format!("ENTRYPOINT {}", array(entrypoint)),
        (entrypoint, cmd) => format!("ENTRYPOINT {} CMD {}", array(entrypoint), array(cmd)),
    };
    lines.push((Place::Entry, entry));
    lines
}

/// A file as `ls -ln` shows it, in short.
fn listed(facts: &ImageFacts, path: &str) -> String {
    let Some(file) = facts.files.get(path) else {
        return path.to_owned();
    };
    let kind = match file.kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Link(_) => 'l',
        FileKind::Other => '?',
    };
    format!("{kind}{:04o} {}:{} {path}", file.mode, file.uid, file.gid)
}
