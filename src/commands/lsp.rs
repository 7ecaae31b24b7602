//! `rbuild lsp`: the Language Server Protocol 3.17 over standard input and output. The invariant: every request gets exactly one
//! response, and what is published about a document is about the newest text of it.

mod answers;
mod convert;
mod documents;

use std::process::ExitCode;
use std::time::Duration;

use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use lsp_types::notification::{
    DidChangeTextDocument, DidChangeWatchedFiles, DidCloseTextDocument, DidOpenTextDocument,
    DidSaveTextDocument, Exit, Notification as _, PublishDiagnostics, ShowMessage,
};
use lsp_types::request::{
    CodeActionRequest, Completion, HoverRequest, RegisterCapability, Request as _,
};
use lsp_types::{InitializeParams, MessageType, PublishDiagnosticsParams, ShowMessageParams, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::lint::ShellCheck;
use crate::args::lsp::LspArgs;
use crate::failure::Failure;
use crate::surroundings::Surroundings;
use documents::{Documents, Examination};

/// Nobody reads what is said between two keystrokes.
const PAUSE: Duration = Duration::from_millis(30);

/// Serves one client until it leaves.
pub(super) fn lsp(args: &LspArgs, here: &Surroundings) -> Result<ExitCode, Failure> {
    let (connection, threads) = Connection::stdio();
    let outcome = serve(&connection, args, here);
    drop(connection);
    let read = threads.join();
    let left = outcome?;
    read.map_err(|error| Failure::failed(format!("read from the editor: {error}")))?;
    // As the protocol has it: an exit without a shutdown before it is none.
    Ok(ExitCode::from(u8::from(left == Left::Abruptly)))
}

/// How the client went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Properly,
    Abruptly,
}

fn serve(connection: &Connection, args: &LspArgs, here: &Surroundings) -> Result<Left, Failure> {
    let Ok((id, params)) = connection.initialize_start() else {
        return Ok(Left::Abruptly);
    };
    let client: InitializeParams = serde_json::from_value(params).unwrap_or_default();
    if connection
        .initialize_finish(id, answers::initialized())
        .is_err()
    {
        return Ok(Left::Abruptly);
    }
    let mut server = Server {
        connection,
        documents: Documents::new(Examination {
            config: args.config.clone(),
            shellcheck: (!args.no_shellcheck)
                .then(|| ShellCheck::find(here))
                .flatten(),
        }),
        complaint: String::new(),
    };
    if answers::can_watch(&client) {
        server.request(RegisterCapability::METHOD, answers::watching());
    }
    server.run()
}

struct Server<'c> {
    connection: &'c Connection,
    documents: Documents,
    /// What was said last about the configuration.
    complaint: String,
}

impl Server<'_> {
    fn run(&mut self) -> Result<Left, Failure> {
        loop {
            let message = match self.documents.any_news() {
                true => match self.connection.receiver.recv_timeout(PAUSE) {
                    Err(error) if error.is_timeout() => {
                        self.publish();
                        continue;
                    }
                    other => other.ok(),
                },
                false => self.connection.receiver.recv().ok(),
            };
            match message {
                None => return Ok(Left::Abruptly),
                Some(Message::Request(request)) => {
                    match self.connection.handle_shutdown(&request) {
                        Ok(true) => return Ok(Left::Properly),
                        Ok(false) => self.answer(request),
                        Err(_) => return Ok(Left::Abruptly),
                    }
                }
                Some(Message::Notification(one)) if one.method == Exit::METHOD => {
                    return Ok(Left::Abruptly);
                }
                Some(Message::Notification(notification)) => self.note(notification),
                Some(Message::Response(_)) => {}
            }
        }
    }

    fn answer(&mut self, request: Request) {
        let Request { id, method, params } = request;
        let documents = &mut self.documents;
        let answer = match method.as_str() {
            HoverRequest::METHOD => ask(params, |params| answers::hover(documents, params)),
            Completion::METHOD => ask(params, |params| answers::completion(documents, params)),
            CodeActionRequest::METHOD => ask(params, |params| answers::actions(documents, params)),
            _ => Err((
                ErrorCode::MethodNotFound,
                format!("rbuild does not know {method}"),
            )),
        };
        let response = match answer {
            Ok(value) => Response::new_ok(id, value),
            Err((code, why)) => Response::new_err(id, code as i32, why),
        };
        self.send(response);
    }

    /// What cannot be understood is passed over: a notification has no answer.
    fn note(&mut self, Notification { method, params }: Notification) {
        let documents = &mut self.documents;
        match method.as_str() {
            DidOpenTextDocument::METHOD => told(params, |params| documents.open(params)),
            DidChangeTextDocument::METHOD => told(params, |params| documents.change(params)),
            DidSaveTextDocument::METHOD | DidChangeWatchedFiles::METHOD => {
                documents.look_again();
            }
            DidCloseTextDocument::METHOD => {
                let mut closed = None;
                told(params, |params| closed = Some(documents.close(params)));
                if let Some(uri) = closed {
                    self.publish_for(uri, None, Vec::new());
                }
            }
            _ => {}
        }
    }

    /// Says what is found in the documents that have changed.
    fn publish(&mut self) {
        for news in self.documents.news() {
            self.publish_for(news.uri, Some(news.version), news.diagnostics);
            self.complain(news.complaint);
        }
    }

    /// Once for each thing that goes wrong.
    fn complain(&mut self, message: String) {
        if message == self.complaint {
            return;
        }
        self.complaint.clone_from(&message);
        if !message.is_empty() {
            let typ = MessageType::ERROR;
            self.notify(ShowMessage::METHOD, ShowMessageParams { typ, message });
        }
    }

    fn publish_for(&self, uri: Uri, version: Option<i32>, diagnostics: Vec<lsp_types::Diagnostic>) {
        let params = PublishDiagnosticsParams {
            uri,
            diagnostics,
            version,
        };
        self.notify(PublishDiagnostics::METHOD, params);
    }

    fn notify(&self, method: &str, params: impl Serialize) {
        self.send(Notification::new(method.to_owned(), params));
    }

    fn request(&self, method: &str, params: impl Serialize) {
        // It is the only one.
        self.send(Request::new(0.into(), method.to_owned(), params));
    }

    /// A client that went away is noticed by the next read.
    fn send(&self, message: impl Into<Message>) {
        let _ = self.connection.sender.send(message.into());
    }
}

fn ask<P: DeserializeOwned, R: Serialize>(
    params: Value,
    answer: impl FnOnce(P) -> R,
) -> Result<Value, (ErrorCode, String)> {
    let params = serde_json::from_value(params)
        .map_err(|error| (ErrorCode::InvalidParams, error.to_string()))?;
    serde_json::to_value(answer(params))
        .map_err(|error| (ErrorCode::InternalError, error.to_string()))
}

fn told<P: DeserializeOwned>(params: Value, tell: impl FnOnce(P)) {
    if let Ok(params) = serde_json::from_value(params) {
        tell(params);
    }
}
