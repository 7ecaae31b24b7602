//! `rbuild lsp`, by a client that speaks the protocol over standard input and output, byte for byte.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::support::{Place, binary};

/// An editor.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// What came while something else was waited for.
    waiting: Vec<Value>,
    requests: u64,
}

impl Client {
    fn start(place: &Place, args: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .arg("lsp")
            .args(args)
            .current_dir(place.context())
            .env("HOME", place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            stdin,
            stdout,
            waiting: Vec::new(),
            requests: 0,
        }
    }

    /// One that has said hello, and can tell of changed files.
    fn ready(place: &Place, args: &[&str]) -> Self {
        let mut client = Self::start(place, args);
        let watched = json!({"didChangeWatchedFiles": {"dynamicRegistration": true}});
        let params =
            json!({"processId": null, "rootUri": null, "capabilities": {"workspace": watched}});
        let answer = client.ask("initialize", params);
        assert_eq!(answer["capabilities"]["positionEncoding"], "utf-16");
        client.tell("initialized", json!({}));
        client
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        let stdin = self.stdin.as_mut().expect("an open pipe");
        write!(stdin, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("it reads");
        stdin.flush().expect("it reads");
    }

    fn read(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stdout.read_line(&mut line).expect("a header");
            assert!(line.ends_with("\r\n"), "the server went away: {line:?}");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", number)) => length = number.parse().expect("a number"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    /// The first message that is wanted; others are kept.
    fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at);
        }
        loop {
            let message = self.read();
            if wanted(&message) {
                return message;
            }
            self.waiting.push(message);
        }
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    fn answer(&mut self, method: &str, params: Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        self.wait(|message| message["id"] == id && message["method"].is_null())
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn open(&mut self, uri: &str, text: &str) {
        let document = json!({"uri": uri, "languageId": "dockerfile", "version": 1, "text": text});
        self.tell("textDocument/didOpen", json!({"textDocument": document}));
    }

    fn change(&mut self, uri: &str, version: i32, changes: Value) {
        let document = json!({"uri": uri, "version": version});
        let params = json!({"textDocument": document, "contentChanges": changes});
        self.tell("textDocument/didChange", params);
    }

    /// The findings of a version of a document.
    fn diagnostics(&mut self, uri: &str, version: i32) -> Vec<Value> {
        let message = self.wait(|message| {
            message["method"] == "textDocument/publishDiagnostics"
                && message["params"]["uri"] == uri
                && message["params"]["version"] == version
        });
        message["params"]["diagnostics"]
            .as_array()
            .expect("a list")
            .clone()
    }

    fn at(&mut self, method: &str, uri: &str, line: u32, character: u32) -> Value {
        let position = json!({"line": line, "character": character});
        self.ask(
            method,
            json!({"textDocument": {"uri": uri}, "position": position}),
        )
    }

    fn leave(mut self) -> ExitStatus {
        assert_eq!(self.ask("shutdown", Value::Null), Value::Null);
        self.tell("exit", Value::Null);
        self.child.wait().expect("it ends")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn codes(diagnostics: &[Value]) -> Vec<&str> {
    let codes = diagnostics.iter().map(|one| one["code"].as_str());
    codes.map(Option::unwrap_or_default).collect()
}

fn range(line: u32, from: u32, to: u32) -> Value {
    json!({"start": {"line": line, "character": from}, "end": {"line": line, "character": to}})
}

fn uri(place: &Place, name: &str) -> String {
    format!("file://{}/{name}", place.context().display())
}

#[test]
fn findings_are_published_for_every_text_that_the_editor_has() {
    let place = Place::new();
    let mut client = Client::ready(&place, &["--stdio"]);
    let uri = uri(&place, "Containerfile");
    // Two UTF-16 units, four bytes, one character.
    client.open(
        &uri,
        "FROM scratch\nCOPY 😀 /a\nLABEL a=😀 b=\"😀\"\nUSER 7\nEXPOSE 😀 80/TCP\n",
    );
    let found = client.diagnostics(&uri, 1);
    let protocol = found
        .iter()
        .find(|one| one["code"] == "ExposeProtoCasing")
        .expect("found");
    assert_eq!(protocol["range"], range(4, 13, 16));
    assert_eq!(protocol["severity"], 2);
    assert_eq!(protocol["source"], "rbuild");
    assert_eq!(
        protocol["codeDescription"]["href"],
        "https://docs.docker.com/reference/build-checks/expose-proto-casing/"
    );
    // In the order given, each in the text after the one before.
    let changes = json!([
        {"range": range(4, 7, 16), "text": "8080"},
        {"range": {"start": {"line": 3, "character": 0}, "end": {"line": 4, "character": 0}}, "text": "USER app\nEXPSOE 1\n"},
        {"range": range(1, 5, 7), "text": "x"},
    ]);
    client.change(&uri, 2, changes);
    let found = client.diagnostics(&uri, 2);
    assert_eq!(
        codes(&found),
        ["RB103", "RB105", "RB000"],
        "all of them, beside a syntax error"
    );
    assert_eq!(found[0]["range"], range(3, 5, 8));
    assert_eq!(
        (&found[0]["severity"], &found[2]["range"]),
        (&json!(1), &range(4, 0, 6))
    );
    client.change(&uri, 3, json!([{"text": "FROM scratch\nUSER 7:7\n"}]));
    assert_eq!(client.diagnostics(&uri, 3), Vec::<Value>::new());
    client.tell(
        "textDocument/didClose",
        json!({"textDocument": {"uri": uri}}),
    );
    client
        .wait(|message| message["params"]["uri"] == uri && message["params"]["version"].is_null());
    assert!(client.leave().success());
    assert!(!place.store().exists(), "it needs no store");
}

#[test]
fn units_of_quadlet_are_examined_too_beside_the_containerfile_of_their_image() {
    let place = Place::new();
    place.write("Containerfile", "FROM scratch\nUSER 7:8\n");
    let mut client = Client::ready(&place, &["--stdio"]);
    let uri = uri(&place, "app.container");
    let rest = "NoNewPrivileges=true\nDropCapability=all\nReadOnly=true\n[Install]\nWantedBy=default.target\n";
    let text = format!("[Container]\nImage=registry.example/app:1\nUserNS=keep-id\n{rest}");
    client.open(&uri, &text);
    let found = client.diagnostics(&uri, 1);
    assert_eq!(codes(&found), ["RB901"]);
    assert_eq!(found[0]["range"], range(2, 7, 14));
    let said = found[0]["message"].as_str().expect("a message");
    assert!(said.contains("USER 7:8"), "{said}");
    let page = client.at("textDocument/hover", &uri, 2, 9);
    let page = page["contents"]["value"].as_str().expect("a page");
    assert!(page.starts_with("## RB901: "), "{page}");
    assert!(client.leave().success());
}

#[test]
fn many_changes_at_once_end_in_the_findings_of_the_last() {
    let place = Place::new();
    let mut client = Client::ready(&place, &[]);
    client.open("untitled:one", "FROM scratch\nUSER 7");
    for version in 2..300 {
        let at = json!({"line": 1, "character": 6});
        let change = json!([{"range": {"start": at, "end": at}, "text": "0"}]);
        client.change("untitled:one", version, change);
    }
    let found = client.diagnostics("untitled:one", 299);
    assert_eq!(found[0]["range"], range(1, 5, 5 + 299));
    assert!(
        client.waiting.len() < 100,
        "{} reports",
        client.waiting.len()
    );
    assert!(client.leave().success());
}

#[test]
fn pages_completions_and_actions_are_answered() {
    let place = Place::new();
    let mut client = Client::ready(&place, &[]);
    let uri = uri(&place, "Containerfile");
    client.open(&uri, "FROM x AS 😀\nFROM scratch AS build\nFROM scratch\nCOPY --from= /😀 /\nUSER 7\nEXPOSE 1/TCP\n");
    let page = client.at("textDocument/hover", &uri, 4, 5);
    assert_eq!(page["contents"]["kind"], "markdown");
    assert!(
        page["contents"]["value"]
            .as_str()
            .is_some_and(|page| page.contains("RB105")),
        "{page}"
    );
    assert_eq!(page["range"], range(4, 5, 6));
    let page = client.at("textDocument/hover", &uri, 4, 1);
    assert!(
        page["contents"]["value"]
            .as_str()
            .is_some_and(|page| page.contains("USER UID")),
        "{page}"
    );
    assert_eq!(client.at("textDocument/hover", &uri, 0, 6), Value::Null);

    let items = client.at("textDocument/completion", &uri, 3, 12);
    assert_eq!(items[0]["label"], "build");
    assert_eq!(
        items[0]["textEdit"],
        json!({"range": range(3, 12, 12), "newText": "build"})
    );
    let items = client.at("textDocument/completion", &uri, 6, 0);
    assert_eq!(items.as_array().map(Vec::len), Some(18));

    let asked = |only: Value| json!({"textDocument": {"uri": uri}, "range": range(4, 5, 5), "context": {"diagnostics": [], "only": only}});
    let actions = client.ask("textDocument/codeAction", asked(Value::Null));
    let titles: Vec<&str> = actions
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["title"].as_str())
        .collect();
    assert_eq!(
        titles,
        [
            "write: USER 7:7",
            "ignore RB105 here, with a reason",
            "make all fixes of rbuild"
        ]
    );
    assert_eq!(
        actions[0]["edit"]["changes"][&uri],
        json!([{"range": range(4, 5, 6), "newText": "7:7"}])
    );
    assert_eq!(actions[0]["diagnostics"][0]["code"], "RB105");
    assert_eq!(
        actions[1]["edit"]["changes"][&uri],
        json!([{"range": range(4, 0, 0), "newText": "# rbuild ignore=RB105 <why>\n"}])
    );
    let all = client.ask("textDocument/codeAction", asked(json!(["source.fixAll"])));
    assert_eq!(all.as_array().map(Vec::len), Some(1));
    assert_eq!(
        all[0]["edit"]["changes"][&uri].as_array().map(Vec::len),
        Some(2)
    );
    assert!(client.leave().success());
}

#[test]
fn the_configuration_and_the_ignore_file_count_as_on_the_command_line() {
    let place = Place::new();
    place.write("a b/.dockerignore", "app\n");
    place.write(".rbuild.toml", "[lint]\ndisabled = [\"RB105\"]\n");
    let mut client = Client::ready(&place, &[]);
    let register = client.wait(|message| message["method"] == "client/registerCapability");
    assert!(
        register.to_string().contains("**/.rbuild.toml"),
        "{register}"
    );
    client.send(&json!({"jsonrpc": "2.0", "id": register["id"], "result": null}));
    let uri = uri(&place, "a%20b/Containerfile");
    client.open(&uri, "FROM scratch\nCOPY app /\nUSER 7\n");
    assert_eq!(codes(&client.diagnostics(&uri, 1)), ["CopyIgnoredFile"]);
    fs::remove_file(place.context().join("a b/.dockerignore")).expect("removed");
    place.write(".rbuild.toml", "[lint]\ndisabled = [\"RB999\"]\n");
    client.tell("workspace/didChangeWatchedFiles", json!({"changes": []}));
    assert_eq!(
        codes(&client.diagnostics(&uri, 1)),
        ["RB105"],
        "the usual one"
    );
    let said = client.wait(|message| message["method"] == "window/showMessage");
    assert!(
        said["params"]["message"]
            .as_str()
            .is_some_and(|said| said.contains("RB999")),
        "{said}"
    );
    assert!(client.leave().success());

    place.write("mine.toml", "[lint.severity]\nRB105 = \"error\"\n");
    let mut client = Client::ready(&place, &["--config", "mine.toml"]);
    client.open("untitled:x", "FROM scratch\nUSER 7\n");
    assert_eq!(client.diagnostics("untitled:x", 1)[0]["severity"], 1);
    assert!(client.leave().success());
}

#[test]
fn whatever_a_client_says_it_gets_an_answer_or_the_server_ends() {
    let place = Place::new();
    let mut client = Client::ready(&place, &[]);
    let answer = client.answer("textDocument/rename", json!({}));
    assert_eq!(answer["error"]["code"], -32601);
    let answer = client.answer("textDocument/hover", json!({"textDocument": 1}));
    assert_eq!(answer["error"]["code"], -32602);
    client.tell("textDocument/didOpen", json!([]));
    client.change("file:///nothing", 2, json!([{"text": ""}]));
    assert_eq!(
        client.at("textDocument/completion", "file:///nothing", 0, 0),
        Value::Null
    );
    client.open("untitled:x", "FROM scratch\nUSER 7:7");
    client.change("untitled:x", 2, json!([{"range": {"start": {"line": 9, "character": 9}, "end": {"line": 0, "character": 0}}, "text": "\n"}]));
    assert_eq!(client.diagnostics("untitled:x", 2), Vec::<Value>::new());
    assert!(client.leave().success());

    let mut client = Client::ready(&place, &[]);
    client.tell("exit", Value::Null);
    assert_eq!(
        client.child.wait().expect("it ends").code(),
        Some(1),
        "no shutdown before it"
    );
    for (said, code) in [
        ("", 1),
        ("Content-Length: 3\r\n\r\n{x}", 1),
        ("nonsense\r\n\r\n", 1),
    ] {
        let mut client = Client::start(&place, &[]);
        let mut stdin = client.stdin.take().expect("a pipe");
        stdin.write_all(said.as_bytes()).expect("it reads");
        drop(stdin);
        assert_eq!(
            client.child.wait().expect("it ends").code(),
            Some(code),
            "{said:?}"
        );
    }
}
