//! The structure tests of a file: container-structure-test's schemas 2.0.0 and 1.0.0, and rbuild's own checks under `x-rbuild`. The
//! invariant: what is read is complete: a pattern compiles, a key is known, a flag that cannot be honoured is an error.

use regex::Regex;

use super::fields::{Fields, texts};
use super::yaml::{Node, Problem, read};

/// The tests of one file.
#[derive(Debug, Default)]
pub struct StructureTests {
    /// Variables of all commands.
    pub env: Vec<Variable>,
    /// Commands.
    pub commands: Vec<CommandTest>,
    /// Files that are there or not.
    pub existence: Vec<ExistenceTest>,
    /// What is in files.
    pub content: Vec<ContentTest>,
    /// The image's configuration.
    pub metadata: Option<MetadataTest>,
    /// Licences.
    pub licences: Vec<LicenceTest>,
    /// How commands run.
    pub options: RunOptions,
    /// rbuild's own.
    pub own: Option<OwnTests>,
}

/// A variable or a label.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value, or what the value must be.
    pub value: Wanted,
}

/// A text to compare with.
#[derive(Debug)]
pub enum Wanted {
    /// The same text.
    Text(String),
    /// A pattern that is found somewhere in it.
    Pattern(Regex),
}

impl Wanted {
    /// Whether a text is what is wanted.
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

/// A command and what it must say.
#[derive(Debug)]
pub struct CommandTest {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub line: usize,
    /// Commands before it, in the same container.
    pub setup: Vec<Vec<String>>,
    /// Commands after it.
    pub teardown: Vec<Vec<String>>,
    /// Variables.
    pub env: Vec<Variable>,
    /// The command with its arguments.
    pub argv: Vec<String>,
    /// What its output must and must not have.
    pub stdout: Contents,
    /// The same for standard error.
    pub stderr: Contents,
    /// Its exit code.
    pub exit_code: i64,
}

/// Patterns that are found in a text, and that are not.
#[derive(Debug, Default)]
pub struct Contents {
    /// Found.
    pub expected: Vec<Regex>,
    /// Not found.
    pub excluded: Vec<Regex>,
}

/// A file that is there or not.
#[derive(Debug)]
pub struct ExistenceTest {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub line: usize,
    /// The path.
    pub path: String,
    /// Whether it must be there.
    pub should_exist: bool,
    /// Go's text for its mode.
    pub permissions: Option<String>,
    /// Its owner.
    pub uid: Option<i64>,
    /// Its group.
    pub gid: Option<i64>,
    /// Who can execute it, as permission bits.
    pub executable: Option<(String, u32)>,
    /// Whether it is a directory (schema 1.0.0).
    pub is_directory: Option<bool>,
}

/// What is in a file.
#[derive(Debug)]
pub struct ContentTest {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub line: usize,
    /// The path.
    pub path: String,
    /// What must and must not be in it.
    pub contents: Contents,
}

/// The image's configuration.
#[derive(Debug)]
pub struct MetadataTest {
    /// Where it stands.
    pub line: usize,
    /// Variables.
    pub env: Vec<Variable>,
    /// Variables that are not there.
    pub unbound_env: Vec<String>,
    /// Labels.
    pub labels: Vec<Variable>,
    /// The entry point.
    pub entrypoint: Option<Vec<String>>,
    /// The command.
    pub cmd: Option<Vec<String>>,
    /// Ports.
    pub exposed: Vec<String>,
    /// Ports that are not there.
    pub unexposed: Vec<String>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// Volumes that are not there.
    pub unmounted: Vec<String>,
    /// The working directory.
    pub workdir: Option<String>,
    /// The user.
    pub user: Option<String>,
}

/// Licences without AGPL and WTFPL.
#[derive(Debug)]
pub struct LicenceTest {
    /// Where it stands.
    pub line: usize,
    /// Whether to look at the copyright files of Debian's packages.
    pub debian: bool,
    /// More files.
    pub files: Vec<String>,
}

/// How commands run.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// In place of the image's user.
    pub user: Option<String>,
    /// A file of variables.
    pub env_file: Option<String>,
    /// Variables that are taken from the environment.
    pub env_vars: Vec<String>,
    /// Capabilities to add.
    pub capabilities: Vec<String>,
    /// `HOST:CONTAINER[:OPTIONS]`.
    pub bind_mounts: Vec<String>,
}

/// rbuild's own checks.
#[derive(Debug, Default)]
pub struct OwnTests {
    /// Where they stand.
    pub line: usize,
    /// How ids are mapped when commands run.
    pub userns: Option<String>,
    /// Whether commands run with a read-only root.
    pub read_only: bool,
    /// Directories that are empty file systems in memory.
    pub tmpfs: Vec<String>,
    /// The most bytes that the layers have, as written.
    pub size_budget: Option<(u64, usize)>,
    /// Programs that must find everything they load.
    pub elf: Vec<String>,
    /// Milliseconds until a command is killed.
    pub timeout: Option<u64>,
    /// Documents that the image's program must serve.
    pub http: Vec<HttpTest>,
}

/// A document that the image's program must serve.
#[derive(Debug)]
pub struct HttpTest {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub line: usize,
    /// The port.
    pub port: u16,
    /// The path.
    pub path: String,
    /// The status.
    pub status: i64,
    /// What must and must not be in it.
    pub contents: Contents,
}

/// Reads a file of tests.
///
/// # Errors
/// What is wrong first, with its line.
pub fn parse(text: &str) -> Result<StructureTests, Problem> {
    let mut root = Fields::of(read(text)?, "the file")?;
    let version = root.required("schemaVersion")?;
    let old = match version.as_str() {
        "2.0.0" => false,
        "1.0.0" => true,
        other => {
            let text = format!("schemaVersion {other:?} is none of 2.0.0 and 1.0.0");
            return Err(Problem::new(root.line, text));
        }
    };
    let env = variables(&mut root, "globalEnvVars")?;
    let commands = all(&mut root, "commandTests", |node| command(node, old))?;
    let existence = all(&mut root, "fileExistenceTests", existence)?;
    let content = all(&mut root, "fileContentTests", content)?;
    let metadata = root.take("metadataTest").map(metadata).transpose()?;
    let licences = all(&mut root, "licenseTests", licence)?;
    let options = root.take("containerRunOptions").map(options).transpose()?;
    let own = root.take("x-rbuild").map(own).transpose()?;
    root.done()?;
    Ok(StructureTests {
        env,
        commands,
        existence,
        content,
        metadata,
        licences,
        options: options.unwrap_or_default(),
        own,
    })
}

fn all<T>(
    fields: &mut Fields,
    key: &'static str,
    read: impl Fn(Node) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    fields.list(key)?.into_iter().map(read).collect()
}

fn variables(fields: &mut Fields, key: &'static str) -> Result<Vec<Variable>, Problem> {
    all(fields, key, |node| {
        let line = node.line;
        let mut fields = Fields::of(node, "a variable")?;
        let key = fields.required("key")?;
        let text = fields.text("value")?.unwrap_or_default();
        let value = match fields.flag("isRegex")? {
            Some(true) => Wanted::Pattern(pattern(&text, line)?),
            _ => Wanted::Text(text),
        };
        fields.done()?;
        Ok(Variable { key, value })
    })
}

/// Go's RE2 and this crate agree but for rare escapes; both are linear in time.
fn pattern(text: &str, line: usize) -> Result<Regex, Problem> {
    let compiled = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
    compiled.map_err(|error| {
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default();
        let why = last.trim_start_matches("error: ");
        Problem::new(line, format!("the regular expression {text:?}: {why}"))
    })
}

fn patterns(fields: &mut Fields, key: &'static str) -> Result<Vec<Regex>, Problem> {
    all(fields, key, |node| {
        let line = node.line;
        pattern(&super::fields::text(node, key)?, line)
    })
}

fn argvs(fields: &mut Fields, key: &'static str) -> Result<Vec<Vec<String>>, Problem> {
    all(fields, key, |node| {
        let line = node.line;
        let argv = texts(node, key)?;
        match argv.is_empty() {
            true => Err(Problem::new(line, format!("{key:?} has an empty command"))),
            false => Ok(argv),
        }
    })
}

fn command(node: Node, old: bool) -> Result<CommandTest, Problem> {
    let mut fields = Fields::of(node, "a command test")?;
    let line = fields.line;
    let argv = match old {
        true => fields.texts("command")?,
        false => {
            let mut argv = vec![fields.required("command")?];
            argv.extend(fields.texts("args")?);
            argv
        }
    };
    if argv.is_empty() {
        return Err(Problem::new(line, "a command test needs \"command\""));
    }
    let test = CommandTest {
        name: fields.required("name")?,
        line,
        setup: argvs(&mut fields, "setup")?,
        teardown: argvs(&mut fields, "teardown")?,
        env: variables(&mut fields, "envVars")?,
        argv,
        stdout: Contents {
            expected: patterns(&mut fields, "expectedOutput")?,
            excluded: patterns(&mut fields, "excludedOutput")?,
        },
        stderr: Contents {
            expected: patterns(&mut fields, "expectedError")?,
            excluded: patterns(&mut fields, "excludedError")?,
        },
        exit_code: fields.number("exitCode")?.unwrap_or(0),
    };
    fields.done()?;
    Ok(test)
}

fn existence(node: Node) -> Result<ExistenceTest, Problem> {
    let mut fields = Fields::of(node, "a file existence test")?;
    let line = fields.line;
    // Unset is -1 there.
    let id = |id: Option<i64>| id.filter(|id| *id != -1);
    let test = ExistenceTest {
        name: fields.required("name")?,
        line,
        path: fields.required("path")?,
        should_exist: fields.flag("shouldExist")?.unwrap_or(true),
        permissions: fields.text("permissions")?.filter(|text| !text.is_empty()),
        uid: id(fields.number("uid")?),
        gid: id(fields.number("gid")?),
        executable: fields
            .text("isExecutableBy")?
            .map(|who| executable(who, line))
            .transpose()?,
        is_directory: fields.flag("isDirectory")?,
    };
    fields.done()?;
    Ok(test)
}

fn executable(who: String, line: usize) -> Result<(String, u32), Problem> {
    let bits = match who.as_str() {
        "owner" => 0o100,
        "group" => 0o010,
        "other" => 0o001,
        "any" => 0o111,
        other => {
            let text = format!("isExecutableBy {other:?} is none of owner, group, other, any");
            return Err(Problem::new(line, text));
        }
    };
    Ok((who, bits))
}

fn content(node: Node) -> Result<ContentTest, Problem> {
    let mut fields = Fields::of(node, "a file content test")?;
    let test = ContentTest {
        line: fields.line,
        name: fields.required("name")?,
        path: fields.required("path")?,
        contents: Contents {
            expected: patterns(&mut fields, "expectedContents")?,
            excluded: patterns(&mut fields, "excludedContents")?,
        },
    };
    fields.done()?;
    Ok(test)
}

fn metadata(node: Node) -> Result<MetadataTest, Problem> {
    let mut fields = Fields::of(node, "the metadata test")?;
    let line = fields.line;
    let mut env = variables(&mut fields, "envVars")?;
    // Its name in older files.
    env.extend(variables(&mut fields, "env")?);
    let test = MetadataTest {
        line,
        env,
        unbound_env: all(&mut fields, "unboundEnvVars", |node| {
            let mut fields = Fields::of(node, "a variable")?;
            let key = fields.required("key")?;
            // Only its absence counts.
            fields.text("value")?;
            fields.done()?;
            Ok(key)
        })?,
        labels: variables(&mut fields, "labels")?,
        entrypoint: fields.list_of_texts("entrypoint")?,
        cmd: fields.list_of_texts("cmd")?,
        exposed: fields.texts("exposedPorts")?,
        unexposed: fields.texts("unexposedPorts")?,
        volumes: fields.texts("volumes")?,
        unmounted: fields.texts("unmountedVolumes")?,
        workdir: fields.text("workdir")?.filter(|text| !text.is_empty()),
        user: fields.text("user")?.filter(|text| !text.is_empty()),
    };
    fields.done()?;
    Ok(test)
}

fn licence(node: Node) -> Result<LicenceTest, Problem> {
    let mut fields = Fields::of(node, "a license test")?;
    let test = LicenceTest {
        line: fields.line,
        debian: fields.flag("debian")?.unwrap_or(false),
        files: fields.texts("files")?,
    };
    fields.done()?;
    Ok(test)
}

fn options(node: Node) -> Result<RunOptions, Problem> {
    let mut fields = Fields::of(node, "containerRunOptions")?;
    let line = fields.line;
    if fields.flag("privileged")? == Some(true) {
        let text =
            "privileged: a rootless container has no such power; capabilities names what is needed";
        return Err(Problem::new(line, text));
    }
    if fields.flag("allocateTty")? == Some(true) {
        return Err(Problem::new(line, "allocateTty: tests have no terminal"));
    }
    let options = RunOptions {
        user: fields.text("user")?,
        env_file: fields.text("envFile")?,
        env_vars: fields.texts("envVars")?,
        capabilities: fields.texts("capabilities")?,
        bind_mounts: fields.texts("bindMounts")?,
    };
    fields.done()?;
    Ok(options)
}

fn own(node: Node) -> Result<OwnTests, Problem> {
    let mut fields = Fields::of(node, "x-rbuild")?;
    let line = fields.line;
    if fields.flag("noNewPrivileges")? == Some(false) {
        let text = "noNewPrivileges: commands never gain privileges";
        return Err(Problem::new(line, text));
    }
    let budget = fields.text("sizeBudget")?;
    let budget = budget.map(|text| {
        let bytes = bytes(&text);
        let bad = || Problem::new(line, format!("sizeBudget {text:?} is no size such as 20MB"));
        bytes.map(|bytes| (bytes, line)).ok_or_else(bad)
    });
    let timeout = fields.number("timeoutSeconds")?;
    let timeout = timeout.map(|seconds| {
        let millis = u64::try_from(seconds)
            .ok()
            .and_then(|s| s.checked_mul(1000));
        millis.ok_or_else(|| Problem::new(line, "timeoutSeconds must be a time"))
    });
    let tests = OwnTests {
        line,
        userns: fields.text("userns")?,
        read_only: fields.flag("readOnly")?.unwrap_or(false),
        tmpfs: fields.texts("tmpfs")?,
        size_budget: budget.transpose()?,
        elf: fields.texts("elf")?,
        timeout: timeout.transpose()?,
        http: all(&mut fields, "http", http)?,
    };
    fields.done()?;
    Ok(tests)
}

fn http(node: Node) -> Result<HttpTest, Problem> {
    let mut fields = Fields::of(node, "an http test")?;
    let line = fields.line;
    let port = fields
        .number("port")?
        .and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port > 0);
    let path = fields.text("path")?.unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Problem::new(
            line,
            format!("the path {path:?} must begin with / and have no spaces"),
        ));
    }
    let test = HttpTest {
        name: fields.required("name")?,
        line,
        port: port
            .ok_or_else(|| Problem::new(line, "an http test needs \"port\", from 1 to 65535"))?,
        path,
        status: fields.number("status")?.unwrap_or(200),
        contents: Contents {
            expected: patterns(&mut fields, "expectedContents")?,
            excluded: patterns(&mut fields, "excludedContents")?,
        },
    };
    fields.done()?;
    Ok(test)
}

/// `20MB`, `20MiB`, or bytes.
fn bytes(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let unit = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn both_schemas_are_read() {
        let new = "schemaVersion: 2.0.0\ncommandTests:\n- name: a\n  command: sh\n  args: [-c, 'exit 3']\n  exitCode: 3\n";
        let tests = parse(new).unwrap();
        assert_eq!(tests.commands[0].argv, ["sh", "-c", "exit 3"]);
        assert_eq!(
            (tests.commands[0].exit_code, tests.commands[0].line),
            (3, 3)
        );
        let old = "{\"schemaVersion\": \"1.0.0\", \"commandTests\": [{\"name\": \"a\", \"command\": [\"sh\", \"-c\", \"true\"]}]}";
        assert_eq!(parse(old).unwrap().commands[0].argv, ["sh", "-c", "true"]);
        assert!(problem("commandTests: []\n").contains("schemaVersion"));
        assert!(problem("schemaVersion: 3.0.0\n").contains("none of 2.0.0"));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let head = "schemaVersion: 2.0.0\n";
        for (text, line, word) in [
            ("commandTest: []\n", 2, "commandTest"),
            (
                "fileExistenceTests:\n- name: a\n  path: /a\n  shuldExist: true\n",
                5,
                "shuldExist",
            ),
            ("metadataTest:\n  ports: []\n", 3, "ports"),
            ("containerRunOptions:\n  tty: true\n", 3, "tty"),
            ("x-rbuild:\n  readonly: true\n", 3, "readonly"),
            ("globalEnvVars:\n- key: A\n  valu: b\n", 4, "valu"),
        ] {
            let said = problem(&format!("{head}{text}"));
            assert!(said.starts_with(&format!("line {line}: ")), "{said}");
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn values_of_another_kind_are_errors() {
        let head = "schemaVersion: 2.0.0\n";
        for text in [
            "commandTests: {}\n",
            "commandTests:\n- name: a\n  command: [sh]\n",
            "commandTests:\n- name: a\n  command: sh\n  exitCode: one\n",
            "commandTests:\n- name: a\n  command: sh\n  setup: [[]]\n",
            "commandTests:\n- name: a\n  command: sh\n  expectedOutput: ['(']\n",
            "commandTests:\n- command: sh\n",
            "fileExistenceTests:\n- name: a\n  path: /a\n  shouldExist: 'yes'\n",
            "fileExistenceTests:\n- name: a\n  path: /a\n  isExecutableBy: me\n",
            "containerRunOptions:\n  privileged: true\n",
            "containerRunOptions:\n  allocateTty: true\n",
            "x-rbuild:\n  sizeBudget: large\n",
            "x-rbuild:\n  noNewPrivileges: false\n",
            "x-rbuild:\n  http: [{name: a}]\n",
            "x-rbuild:\n  http: [{name: a, port: 80, path: x}]\n",
        ] {
            problem(&format!("{head}{text}"));
        }
    }

    #[test]
    fn whatever_bytes_are_changed_it_is_read_or_refused() {
        let text = "schemaVersion: 2.0.0\ncommandTests:\n- name: &n a\n  command: sh\n  args: [-c, 'x', *n]\n  exitCode: 3\nx-rbuild:\n  http: [{name: a, port: 80}]\n";
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap_or(0)
        };
        for _ in 0..20_000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = b"[]{}:-&*!|>'\"#% \n\t,?a\0"[random(22)],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"[]{}:-&*!|>'\"#% \n\t,?a\0"[random(22)]),
                }
            }
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn empty_entry_points_are_wanted_and_absent_ones_are_not_looked_at() {
        let of = |text: &str| parse(&format!("schemaVersion: 2.0.0\nmetadataTest:\n{text}"));
        let metadata = of("  cmd: []\n").unwrap().metadata.unwrap();
        assert_eq!((metadata.cmd, metadata.entrypoint), (Some(vec![]), None));
    }
}
