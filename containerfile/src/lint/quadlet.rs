//! Units of Quadlet, as podman-systemd.unit(5) and systemd.syntax(7) have them: sections, keys, continuations, comments.
//!
//! Invariant: reading never fails, and every word has its place; of a unit only what is written in this one file counts, no drop-ins.

use crate::diagnostics::Diagnostic;
use crate::source::{Source, Span, Spanned};

use super::Options;
use super::rules::UNREADABLE;

/// The kinds of units, and the section that each is about.
const KINDS: [(&str, &str); 7] = [
    (".container", "Container"),
    (".pod", "Pod"),
    (".kube", "Kube"),
    (".volume", "Volume"),
    (".network", "Network"),
    (".build", "Build"),
    (".image", "Image"),
];

/// The section that a unit of this file name is about; `None` for what is no unit of Quadlet.
pub(super) fn section(file: &str) -> Option<&'static str> {
    let kind = KINDS
        .iter()
        .find(|(suffix, _)| file.len() > suffix.len() && file.ends_with(suffix));
    kind.map(|(_, section)| *section)
}

/// Whether a file name is one of a unit.
#[must_use]
pub fn may_be_unit(file: &str) -> bool {
    section(file).is_some()
}

/// Whether a text has the section that a unit of this file name must have: others use such names too.
#[must_use]
pub fn is_unit(file: &str, text: &str) -> bool {
    let header = |line: &str| {
        let name = line.trim().strip_prefix('[')?.strip_suffix(']')?;
        Some(name.to_owned())
    };
    section(file).is_some_and(|section| {
        text.lines()
            .any(|line| header(line).as_deref() == Some(section))
    })
}

/// A unit.
#[derive(Debug)]
pub(super) struct Unit<'s> {
    pub(super) options: &'s Options,
    /// The section that its kind is about.
    pub(super) kind: &'static str,
    pub(super) sections: Vec<Section<'s>>,
}

/// `[Name]`, and what follows it.
#[derive(Debug)]
pub(super) struct Section<'s> {
    /// With its brackets.
    pub(super) header: Spanned<&'s str>,
    pub(super) entries: Vec<Entry<'s>>,
}

/// `Key=Value`.
#[derive(Debug)]
pub(super) struct Entry<'s> {
    pub(super) key: Spanned<&'s str>,
    /// The value's lines, without blanks around them.
    lines: Vec<Spanned<&'s str>>,
}

impl<'s> Section<'s> {
    pub(super) fn name(&self) -> &'s str {
        self.header
            .value
            .trim_start_matches('[')
            .trim_end_matches(']')
    }
}

impl Entry<'_> {
    /// The value on one line.
    pub(super) fn value(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|line| line.value).collect();
        lines.join(" ")
    }

    /// Where the value is; where the key is, if there is none.
    pub(super) fn value_span(&self) -> Span {
        match (self.lines.first(), self.lines.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => self.key.span,
        }
    }

    /// From the key to the end of the value.
    pub(super) fn span(&self) -> Span {
        self.key.span.to(self.value_span())
    }

    fn is_blank(&self) -> bool {
        self.lines.iter().all(|line| line.value.is_empty())
    }

    /// The words of the value, quotes removed.
    pub(super) fn words(&self) -> Vec<Spanned<String>> {
        self.lines.iter().flat_map(words).collect()
    }
}

impl<'s> Unit<'s> {
    /// Reads a unit; what makes no sense is told.
    pub(super) fn parse(
        source: &'s Source,
        kind: &'static str,
        options: &'s Options,
        findings: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut unit = Self {
            options,
            kind,
            sections: Vec::new(),
        };
        let mut lines = Lines { source, next: 1 };
        while let Some(first) = lines.statement() {
            unit.statement(first, &mut lines, findings);
        }
        if unit.own().is_none() {
            let end = Span::new(source.text().len(), source.text().len());
            findings.push(unreadable(end, format!("the unit has no section [{kind}]")));
        }
        unit
    }

    fn statement(
        &mut self,
        first: Spanned<&'s str>,
        lines: &mut Lines<'s>,
        findings: &mut Vec<Diagnostic>,
    ) {
        if first.value.starts_with('[') {
            if !first.value.ends_with(']') {
                findings.push(unreadable(
                    first.span,
                    "this section has no closing bracket",
                ));
            }
            return self.sections.push(Section {
                header: first,
                entries: Vec::new(),
            });
        }
        let (start, whole) = (first.span.start(), first.span);
        let values = lines.continued(first);
        let Some((key, _)) = values[0].value.split_once('=') else {
            let error = unreadable(whole, "this is neither a section nor KEY=VALUE");
            return findings.push(error);
        };
        let after = Span::new(values[0].span.start() + key.len() + 1, values[0].span.end());
        let mut value = vec![trimmed(lines.source, after)];
        value.extend_from_slice(&values[1..]);
        let key = trimmed(lines.source, Span::new(start, after.start() - 1));
        match self.sections.last_mut() {
            Some(section) => section.entries.push(Entry { key, lines: value }),
            None => findings.push(unreadable(key.span, "this key is in no section")),
        }
    }

    /// The section that the unit is about.
    pub(super) fn own(&self) -> Option<&Section<'s>> {
        self.sections
            .iter()
            .find(|section| section.name() == self.kind)
    }

    /// What a key of a section is set to; a blank value forgets what was before it.
    pub(super) fn all(&self, section: &str, key: &str) -> Vec<&Entry<'s>> {
        let named = self.sections.iter().filter(|found| found.name() == section);
        let mut found = Vec::new();
        for entry in named.flat_map(|section| &section.entries) {
            if entry.key.value == key && entry.is_blank() {
                found.clear();
            } else if entry.key.value == key {
                found.push(entry);
            }
        }
        found
    }

    /// The value of a key that has one.
    pub(super) fn last(&self, section: &str, key: &str) -> Option<&Entry<'s>> {
        self.all(section, key).pop()
    }

    /// Whether a key of the unit's own section is true.
    pub(super) fn is_set(&self, key: &str) -> bool {
        let value = self.last(self.kind, key).map(Entry::value);
        value.is_some_and(|value| {
            ["1", "yes", "true", "on"].contains(&value.to_ascii_lowercase().as_str())
        })
    }

    /// Whether `PodmanArgs=` holds one of these.
    pub(super) fn podman_is_told(&self, wanted: &[&str]) -> bool {
        let words = self
            .all(self.kind, "PodmanArgs")
            .into_iter()
            .flat_map(Entry::words);
        words
            .into_iter()
            .any(|word| wanted.contains(&word.value.as_str()))
    }
}

fn unreadable(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        rule: Some(UNREADABLE),
        ..Diagnostic::error(span, message)
    }
}

/// The lines of a unit, as systemd takes them together.
struct Lines<'s> {
    source: &'s Source,
    /// The number of the next one.
    next: usize,
}

impl<'s> Lines<'s> {
    fn line(&mut self) -> Option<Spanned<&'s str>> {
        let span = self.source.line_span(self.next);
        if self.next > 1 && span.start() >= self.source.text().len() {
            return None;
        }
        self.next += 1;
        Some(trimmed(self.source, span))
    }

    /// The next line that says something.
    fn statement(&mut self) -> Option<Spanned<&'s str>> {
        loop {
            let line = self.line()?;
            if !line.value.is_empty() && !is_comment(line.value) {
                return Some(line);
            }
        }
    }

    /// A line with those that continue it, without the backslashes; comments between them do not count.
    fn continued(&mut self, first: Spanned<&'s str>) -> Vec<Spanned<&'s str>> {
        let mut lines = Vec::new();
        let mut line = first;
        while let Some(before) = line.value.strip_suffix('\\') {
            let span = Span::new(line.span.start(), line.span.start() + before.len());
            lines.push(trimmed(self.source, span));
            line = loop {
                match self.line() {
                    None => return lines,
                    Some(next) if is_comment(next.value) => {}
                    Some(next) => break next,
                }
            };
        }
        lines.push(line);
        lines
    }
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

/// What a span covers, without blanks around it.
fn trimmed(source: &Source, span: Span) -> Spanned<&str> {
    let text = source.slice(span);
    let start = span.start() + (text.len() - text.trim_start().len());
    let text = text.trim();
    Spanned::new(text, Span::new(start, start + text.len()))
}

/// Words as systemd and Quadlet cut them (`extract_first_word` in both): a quote may begin anywhere in a word.
fn words(line: &Spanned<&str>) -> Vec<Spanned<String>> {
    let mut words = Vec::new();
    let mut word: Option<Spanned<String>> = None;
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in line.value.char_indices() {
        let at = line.span.start() + at;
        if word.is_none() && letter.is_whitespace() {
            continue;
        }
        let open = word.get_or_insert_with(|| Spanned::new(String::new(), Span::new(at, at)));
        open.span = open.span.up_to(at);
        match letter {
            _ if escaped => {
                escaped = false;
                open.value.push(letter);
            }
            '\\' => escaped = true,
            _ if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(letter),
            _ if quote.is_none() && letter.is_whitespace() => words.extend(word.take()),
            _ => open.value.push(letter),
        }
        if let Some(open) = &mut word {
            open.span = open.span.up_to(at + letter.len_utf8());
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let source = Source::new("x.container", text);
        let options = Options::default();
        let mut findings = Vec::new();
        let unit = Unit::parse(&source, "Container", &options, &mut findings);
        let mut seen = Vec::new();
        for section in &unit.sections {
            for entry in &section.entries {
                let place = source.slice(entry.span());
                assert!(place.starts_with(entry.key.value), "{place:?}");
                seen.push(format!(
                    "{} {} {}",
                    section.name(),
                    entry.key.value,
                    entry.value()
                ));
            }
        }
        let said = findings.into_iter().map(|found| found.message);
        (seen, said.collect())
    }

    #[test]
    fn lines_are_taken_together_as_systemd_does() {
        let text = "# a\n; b\n[Container]\r\n Image = x \nExec=a \\\n# between\n  b \\\n c\nEnd=\\";
        let (seen, said) = read(text);
        assert_eq!(
            seen,
            [
                "Container Image x",
                "Container Exec a b c",
                "Container End "
            ]
        );
        assert!(said.is_empty(), "{said:?}");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let (_, said) = read("A=b\n[Unit\nnothing\n");
        assert_eq!(
            said,
            [
                "this key is in no section",
                "this section has no closing bracket",
                "this is neither a section nor KEY=VALUE",
                "the unit has no section [Container]"
            ]
        );
        assert_eq!(read("").1, ["the unit has no section [Container]"]);
    }

    #[test]
    fn words_have_their_places() {
        let text = "[Container]\nEnvironment=A=b \"C=d e\" 'F=ß'\\\n G=\\x H='i \"j'k \"open\n";
        let source = Source::new("x.container", text);
        let options = Options::default();
        let unit = Unit::parse(&source, "Container", &options, &mut Vec::new());
        let words = unit.sections[0].entries[0].words();
        let texts: Vec<_> = words.iter().map(|word| word.value.as_str()).collect();
        assert_eq!(texts, ["A=b", "C=d e", "F=ß", "G=x", "H=i \"jk", "open"]);
        let places: Vec<_> = words.iter().map(|word| source.slice(word.span)).collect();
        assert_eq!(
            places,
            ["A=b", "\"C=d e\"", "'F=ß'", "G=\\x", "H='i \"j'k", "\"open"]
        );
    }

    #[test]
    fn a_blank_value_forgets_what_was_before_it() {
        let source = Source::new(
            "x.container",
            "[Container]\nPublishPort=1\nPublishPort=\nPublishPort=2\n",
        );
        let options = Options::default();
        let unit = Unit::parse(&source, "Container", &options, &mut Vec::new());
        let ports = unit.all("Container", "PublishPort");
        assert_eq!(ports.len(), 1);
        assert_eq!(ports[0].value(), "2");
    }

    #[test]
    fn units_are_known_by_name_and_section() {
        assert!(is_unit("a.container", "x\n [Container]\n"));
        assert!(!is_unit("a.network", "[Match]\n"));
        assert!(!is_unit(".container", "[Container]\n"));
        assert!(!is_unit("Containerfile", "[Container]\n"));
    }
}
