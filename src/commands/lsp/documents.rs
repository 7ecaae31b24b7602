//! The documents that the editor has open. The invariant: a text is the editor's own after every change, and a report is about
//! exactly that text.

use std::collections::BTreeMap;
use std::path::PathBuf;

use containerfile::Source;
use containerfile::editor::{Position, Positions};
use containerfile::lint::Report;
use lsp_types::{
    DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    TextDocumentContentChangeEvent, Uri,
};

use super::super::lint::{self, ShellCheck};
use super::convert;

/// How they are examined.
pub(super) struct Examination {
    /// The configuration that counts for all.
    pub(super) config: Option<PathBuf>,
    /// Where it is installed and wanted.
    pub(super) shellcheck: Option<ShellCheck>,
}

/// All of them.
pub(super) struct Documents {
    examination: Examination,
    open: BTreeMap<String, Document>,
}

/// One of them.
pub(super) struct Document {
    uri: Uri,
    version: i32,
    pub(super) source: Source,
    report: Option<(Report, String)>,
    published: bool,
}

/// What there is to say about one.
pub(super) struct News {
    pub(super) uri: Uri,
    pub(super) version: i32,
    pub(super) diagnostics: Vec<lsp_types::Diagnostic>,
    /// What is wrong with the configuration, or nothing.
    pub(super) complaint: String,
}

impl Documents {
    pub(super) fn new(examination: Examination) -> Self {
        let open = BTreeMap::new();
        Self { examination, open }
    }

    pub(super) fn open(&mut self, params: DidOpenTextDocumentParams) {
        let opened = params.text_document;
        let key = opened.uri.as_str().to_owned();
        let document = Document {
            source: Source::new(key.as_str(), opened.text),
            uri: opened.uri,
            version: opened.version,
            report: None,
            published: false,
        };
        self.open.insert(key, document);
    }

    pub(super) fn change(&mut self, params: DidChangeTextDocumentParams) {
        let Some(document) = self.open.get_mut(params.text_document.uri.as_str()) else {
            return;
        };
        let mut text = document.source.text().to_owned();
        for change in params.content_changes {
            apply(&mut text, change);
        }
        document.source = Source::new(document.source.name(), text);
        document.version = params.text_document.version;
        document.forget();
    }

    /// Returns what to take back the findings of.
    pub(super) fn close(&mut self, params: DidCloseTextDocumentParams) -> Uri {
        let uri = params.text_document.uri;
        self.open.remove(uri.as_str());
        uri
    }

    /// A configuration or an ignore file may have changed.
    pub(super) fn look_again(&mut self) {
        self.open.values_mut().for_each(Document::forget);
    }

    pub(super) fn any_news(&self) -> bool {
        self.open.values().any(|document| !document.published)
    }

    /// What was not said yet.
    pub(super) fn news(&mut self) -> Vec<News> {
        let examination = &self.examination;
        let unsaid = self
            .open
            .values_mut()
            .filter(|document| !document.published);
        unsaid
            .map(|document| {
                document.published = true;
                let (report, complaint) = document.examined(examination).clone();
                News {
                    uri: document.uri.clone(),
                    version: document.version,
                    diagnostics: convert::diagnostics(&document.source, &report.findings),
                    complaint,
                }
            })
            .collect()
    }

    /// A document and what is found in it.
    pub(super) fn find(&mut self, uri: &Uri) -> Option<(&Source, Report)> {
        let document = self.open.get_mut(uri.as_str())?;
        let report = document.examined(&self.examination).0.clone();
        Some((&document.source, report))
    }

    /// The text of a document.
    pub(super) fn text(&self, uri: &Uri) -> Option<&str> {
        Some(self.open.get(uri.as_str())?.source.text())
    }
}

impl Document {
    fn forget(&mut self) {
        (self.report, self.published) = (None, false);
    }

    fn examined(&mut self, how: &Examination) -> &(Report, String) {
        self.report.get_or_insert_with(|| {
            let path = convert::path(self.uri.as_str());
            let (report, failure) = lint::in_editor(
                &self.source,
                path,
                how.config.as_deref(),
                how.shellcheck.as_ref(),
            );
            (
                report,
                failure.map(|failure| failure.text()).unwrap_or_default(),
            )
        })
    }
}

/// Without a range it is the whole text.
fn apply(text: &mut String, change: TextDocumentContentChangeEvent) {
    let Some(range) = change.range else {
        *text = change.text;
        return;
    };
    let positions = Positions::of(text);
    let offset = |at: lsp_types::Position| {
        let (line, character) = (at.line, at.character);
        positions.offset(Position { line, character })
    };
    let (start, end) = (offset(range.start), offset(range.end));
    text.replace_range(start..end.max(start), &change.text);
}
