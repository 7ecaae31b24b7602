//! A registry that says what a test tells it to, and Debian's real one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: String,
    /// The body, when it is no text.
    pub(crate) bytes: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((key, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((key.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self {
            method,
            path,
            body: String::new(),
            bytes: Vec::new(),
            headers,
        };
        let len = request
            .header("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        reader.take(len).read_to_end(&mut request.bytes).ok()?;
        request.body = String::from_utf8_lossy(&request.bytes).into_owned();
        Some(request)
    }
}

/// What the registry answers, and how it misbehaves.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) body: Vec<u8>,
    status: u16,
    headers: Vec<(String, String)>,
    cut: Option<usize>,
    stall: Option<(usize, Duration)>,
    silence: Option<Duration>,
    endless: bool,
    drip: Option<Duration>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            body: Vec::new(),
            status,
            headers: Vec::new(),
            cut: None,
            stall: None,
            silence: None,
            endless: false,
            drip: None,
        }
    }

    pub(crate) fn ok(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            ..Self::status(200)
        }
    }

    /// The connection ends without an answer.
    pub(crate) fn reset() -> Self {
        Self {
            silence: Some(Duration::ZERO),
            ..Self::status(0)
        }
    }

    pub(crate) fn silence(time: Duration) -> Self {
        Self {
            silence: Some(time),
            ..Self::status(0)
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cut(self, at: usize) -> Self {
        Self {
            cut: Some(at),
            ..self
        }
    }

    pub(crate) fn stall_at(self, at: usize, time: Duration) -> Self {
        Self {
            stall: Some((at, time)),
            ..self
        }
    }

    pub(crate) fn endless(self) -> Self {
        Self {
            endless: true,
            ..self
        }
    }

    /// One byte after another, with a pause before each.
    pub(crate) fn drip(self, pause: Duration) -> Self {
        Self {
            drip: Some(pause),
            ..self
        }
    }

    /// Errors mean that the client has had enough, which is what some tests want.
    fn send(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        if let Some(time) = self.silence {
            std::thread::sleep(time);
            return Ok(());
        }
        let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", self.status);
        if !self.endless {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        for byte in self.body.iter().filter(|_| self.drip.is_some()) {
            std::thread::sleep(self.drip.unwrap_or_default());
            stream.write_all(&[*byte])?;
        }
        if let Some((at, time)) = self.stall {
            stream.write_all(&self.body[..at])?;
            std::thread::sleep(time);
        }
        stream.write_all(&self.body[..self.cut.unwrap_or(self.body.len())])?;
        if !self.endless {
            return Ok(());
        }
        loop {
            stream.write_all(&[b' '; 8192])?;
        }
    }
}

/// A scripted registry; its threads end with the test's process.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&requests), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                std::thread::spawn(move || {
                    let Some(request) = Request::read(&stream) else {
                        return;
                    };
                    log.lock().unwrap().push(request.clone());
                    let _ = script(&request).send(&stream);
                });
            }
        });
        Self { address, requests }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// Debian's docker-registry on a free port, with a directory of its own.
pub(crate) struct RealRegistry {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl RealRegistry {
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|_| String::new())
    }

    /// One that lets `user` in with the password `U*U` only (crypt_blowfish's test vector).
    pub(crate) fn start_guarded() -> Option<Self> {
        Self::start_with(|directory| {
            let file = directory.join("users");
            let line = "user:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
            std::fs::write(&file, line).unwrap();
            let path = file.display();
            format!("auth: {{htpasswd: {{realm: here, path: {path}}}}}\n")
        })
    }

    fn start_with(more: impl Fn(&std::path::Path) -> String) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let more = more(directory.path());
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = directory.path().join("config.yml");
        let root = directory.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n{more}",
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("/usr/bin/docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let registry = Self {
            child,
            address,
            _directory: directory,
        };
        for _ in 0..100 {
            if TcpStream::connect(address).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn put_blob(&self, repository: &str, digest: &str, blob: &[u8]) {
        let answer = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        let location = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location")
                .then(|| value.trim().to_owned())
        });
        let location = location.unwrap_or_else(|| panic!("no upload: {answer}"));
        let path = location
            .strip_prefix(&format!("http://{}", self.address))
            .unwrap_or(&location)
            .to_owned();
        let answer = self.request(
            "PUT",
            &format!("{path}&digest={digest}"),
            "application/octet-stream",
            blob,
        );
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    pub(crate) fn put_manifest(&self, repository: &str, tag: &str, kind: &str, bytes: &[u8]) {
        let answer = self.request(
            "PUT",
            &format!("/v2/{repository}/manifests/{tag}"),
            kind,
            bytes,
        );
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// What it answers to a request that somebody else got, with as much of the body.
    pub(crate) fn forward(&self, request: &Request, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
        for (name, value) in &request.headers {
            if !["connection", "content-length"].contains(&name.as_str()) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += &format!(
            "connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let body = answer.split_off(end.expect("an answer") + 4);
        let head = String::from_utf8(answer).unwrap();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut reply = Reply::status(status.unwrap().parse().unwrap());
        reply.body = body;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let name = name.to_ascii_lowercase();
            if !["connection", "content-length", "transfer-encoding"].contains(&name.as_str()) {
                reply = reply.header(&name, value.trim());
            }
        }
        reply
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
