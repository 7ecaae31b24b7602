//! What is answered to requests. The invariant: an answer is made from the text that the document has now.

use std::collections::HashMap;

use containerfile::editor::{self, CompletionKind, Positions};
use containerfile::{Fix, parse};
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOptions, CodeActionOrCommand, CodeActionParams,
    CompletionItem, CompletionItemKind, CompletionOptions, CompletionParams, CompletionTextEdit,
    DidChangeWatchedFilesRegistrationOptions, Documentation, FileSystemWatcher, GlobPattern, Hover,
    HoverContents, HoverParams, HoverProviderCapability, InitializeParams, InitializeResult,
    MarkupContent, MarkupKind, PositionEncodingKind, Registration, RegistrationParams,
    ServerCapabilities, ServerInfo, TextDocumentSyncKind, TextDocumentSyncOptions, Uri,
    WorkspaceEdit,
};
use serde_json::Value;

use super::convert;
use super::documents::Documents;

/// `source.fixAll`, of ours.
const FIX_ALL: &str = "source.fixAll.rbuild";

/// What the server can do.
pub(super) fn initialized() -> Value {
    let sync = TextDocumentSyncOptions {
        open_close: Some(true),
        change: Some(TextDocumentSyncKind::INCREMENTAL),
        save: Some(true.into()),
        ..TextDocumentSyncOptions::default()
    };
    let triggers = ["$", "{", "-", "=", ",", " "].map(str::to_owned).to_vec();
    let result = InitializeResult {
        capabilities: ServerCapabilities {
            position_encoding: Some(PositionEncodingKind::UTF16),
            text_document_sync: Some(sync.into()),
            hover_provider: Some(HoverProviderCapability::Simple(true)),
            completion_provider: Some(CompletionOptions {
                trigger_characters: Some(triggers),
                ..CompletionOptions::default()
            }),
            code_action_provider: Some(
                CodeActionOptions {
                    code_action_kinds: Some(vec![CodeActionKind::QUICKFIX, FIX_ALL.into()]),
                    ..CodeActionOptions::default()
                }
                .into(),
            ),
            ..ServerCapabilities::default()
        },
        server_info: Some(ServerInfo {
            name: "rbuild".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }),
    };
    serde_json::to_value(result).unwrap_or_default()
}

/// Whether the client tells of changed files when it is asked to.
pub(super) fn can_watch(client: &InitializeParams) -> bool {
    let workspace = client.capabilities.workspace.as_ref();
    workspace
        .and_then(|workspace| workspace.did_change_watched_files.as_ref())
        .and_then(|watched| watched.dynamic_registration)
        .unwrap_or(false)
}

/// The files beside a Containerfile that matter.
pub(super) fn watching() -> RegistrationParams {
    let names = [
        "**/.rbuild.toml",
        "**/*.dockerignore",
        "**/*.containerignore",
    ];
    let watchers = names.map(|name| FileSystemWatcher {
        glob_pattern: GlobPattern::String(name.to_owned()),
        kind: None,
    });
    let options = DidChangeWatchedFilesRegistrationOptions {
        watchers: watchers.to_vec(),
    };
    RegistrationParams {
        registrations: vec![Registration {
            id: "files".to_owned(),
            method: "workspace/didChangeWatchedFiles".to_owned(),
            register_options: serde_json::to_value(options).ok(),
        }],
    }
}

pub(super) fn hover(documents: &mut Documents, params: HoverParams) -> Option<Hover> {
    let asked = params.text_document_position_params;
    let (source, report) = documents.find(&asked.text_document.uri)?;
    let positions = Positions::of(source.text());
    let at = convert::offset(&positions, asked.position);
    let hover = editor::hover(source, &report.findings, at)?;
    Some(Hover {
        contents: HoverContents::Markup(markdown(hover.text)),
        range: Some(convert::range(&positions, hover.span)),
    })
}

pub(super) fn completion(
    documents: &mut Documents,
    params: CompletionParams,
) -> Option<Vec<CompletionItem>> {
    let asked = params.text_document_position;
    let text = documents.text(&asked.text_document.uri)?;
    let positions = Positions::of(text);
    let at = convert::offset(&positions, asked.position);
    let all = editor::completions(text, at).into_iter();
    let items = all.enumerate().filter_map(|(order, one)| {
        let range = convert::range(&positions, one.replaces);
        // The protocol wants it on one line.
        (range.start.line == range.end.line).then(|| item(order, one, range))
    });
    Some(items.collect())
}

fn item(order: usize, one: editor::Completion, range: lsp_types::Range) -> CompletionItem {
    CompletionItem {
        label: one.label,
        kind: Some(match one.kind {
            CompletionKind::Keyword => CompletionItemKind::KEYWORD,
            CompletionKind::Flag => CompletionItemKind::PROPERTY,
            CompletionKind::Value => CompletionItemKind::VALUE,
            CompletionKind::Stage => CompletionItemKind::MODULE,
            CompletionKind::Variable => CompletionItemKind::VARIABLE,
        }),
        detail: Some(one.detail).filter(|detail| !detail.is_empty()),
        documentation: (!one.page.is_empty())
            .then(|| Documentation::MarkupContent(markdown(one.page))),
        sort_text: Some(format!("{order:03}")),
        text_edit: Some(CompletionTextEdit::Edit(lsp_types::TextEdit::new(
            range, one.text,
        ))),
        ..CompletionItem::default()
    }
}

pub(super) fn actions(
    documents: &mut Documents,
    params: CodeActionParams,
) -> Option<Vec<CodeActionOrCommand>> {
    let uri = params.text_document.uri;
    let (source, report) = documents.find(&uri)?;
    let positions = Positions::of(source.text());
    let range = containerfile::Span::new(
        convert::offset(&positions, params.range.start),
        convert::offset(&positions, params.range.end),
    );
    let wanted = |kind: &str| {
        let only = params.context.only.as_ref();
        only.is_none_or(|only| only.iter().any(|only| is_below(kind, only.as_str())))
    };
    let mut actions = Vec::new();
    if wanted(CodeActionKind::QUICKFIX.as_str()) {
        let diagnostics = convert::diagnostics(source, &report.findings);
        let file = parse(source).file;
        for action in editor::actions(source, &file, &report.findings, range) {
            actions.push(CodeAction {
                title: action.title,
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![diagnostics[action.finding].clone()]),
                edit: Some(change(&uri, &positions, &[action.edit])),
                is_preferred: action.mends.then_some(true),
                ..CodeAction::default()
            });
        }
    }
    let all = editor::fix_all(source, &report.findings);
    if wanted(FIX_ALL) && !all.is_empty() {
        actions.push(CodeAction {
            title: "make all fixes of rbuild".to_owned(),
            kind: Some(FIX_ALL.into()),
            edit: Some(change(&uri, &positions, &all)),
            ..CodeAction::default()
        });
    }
    Some(actions.into_iter().map(CodeActionOrCommand::from).collect())
}

/// Kinds are trees whose nodes are divided by dots.
fn is_below(kind: &str, wanted: &str) -> bool {
    let rest = kind.strip_prefix(wanted);
    wanted.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn change(uri: &Uri, positions: &Positions<'_>, fixes: &[Fix]) -> WorkspaceEdit {
    let edits = fixes.iter().map(|fix| convert::edit(positions, fix));
    WorkspaceEdit::new(HashMap::from([(uri.clone(), edits.collect())]))
}

fn markdown(value: String) -> MarkupContent {
    let kind = MarkupKind::Markdown;
    MarkupContent { kind, value }
}
