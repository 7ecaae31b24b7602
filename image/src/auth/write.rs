//! Logging in and out: changing auth files.
//!
//! Invariant: a file is replaced as a whole, readable by its owner alone, and what it says about others stays. Where a credential
//! program keeps the secrets of a registry, the file gets none.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{AuthError, DOCKER_HUB_KEY, normal, read};
use crate::reference::DEFAULT_REGISTRY;

/// Tells `docker-credential-PROGRAM` to do something with a text on its standard input: `(PROGRAM, VERB, TEXT)`; the reason when
/// it fails. This crate starts no processes.
pub type TellProgram<'a> = dyn Fn(&str, &str, &str) -> Result<(), String> + 'a;

/// Notes the password of a registry: in the file, or with the program that the file names for the registry.
///
/// # Errors
/// When the file cannot be understood or replaced, or the program fails.
pub fn log_in(
    path: &Path,
    registry: &str,
    (username, password): (&str, &str),
    tell: &TellProgram<'_>,
) -> Result<(), AuthError> {
    let mut file = File::open(path)?;
    if let Some(program) = file.program(registry) {
        let entry =
            json!({"ServerURL": server(registry), "Username": username, "Secret": password});
        return told(tell, &program, "store", registry, &entry.to_string());
    }
    let auth = encode_base64(format!("{username}:{password}").as_bytes());
    let auths = file.auths();
    auths.retain(|key, _| normal(key) != registry);
    auths.insert(registry.to_owned(), json!({ "auth": auth }));
    file.replace(path)
}

/// Forgets what is noted for a registry; says whether there was anything.
///
/// # Errors
/// As [`log_in`].
pub fn log_out(path: &Path, registry: &str, tell: &TellProgram<'_>) -> Result<bool, AuthError> {
    let mut file = File::open(path)?;
    if let Some(program) = file.program(registry) {
        told(tell, &program, "erase", registry, &server(registry))?;
        return Ok(true);
    }
    let auths = file.auths();
    let before = auths.len();
    auths.retain(|key, _| normal(key) != registry);
    if auths.len() == before {
        return Ok(false);
    }
    file.replace(path)?;
    Ok(true)
}

/// Forgets all that the file itself has; says of which registries.
///
/// # Errors
/// When the file cannot be understood or replaced.
pub fn log_out_of_all(path: &Path) -> Result<Vec<String>, AuthError> {
    let mut file = File::open(path)?;
    let gone: Vec<String> = file.auths().keys().cloned().collect();
    if !gone.is_empty() {
        file.auths().clear();
        file.replace(path)?;
    }
    Ok(gone)
}

fn told(
    tell: &TellProgram<'_>,
    program: &str,
    verb: &str,
    registry: &str,
    text: &str,
) -> Result<(), AuthError> {
    super::check_program(program)
        .and_then(|()| tell(program, verb, text))
        .map_err(|reason| AuthError::Program {
            program: program.to_owned(),
            server: registry.to_owned(),
            reason,
        })
}

/// What Docker's programs know Docker Hub as.
fn server(registry: &str) -> String {
    match registry {
        DEFAULT_REGISTRY => DOCKER_HUB_KEY.to_owned(),
        other => other.to_owned(),
    }
}

/// The whole file, with whatever else it says.
struct File(Map<String, Value>);

impl File {
    /// A file that is not there is empty.
    fn open(path: &Path) -> Result<Self, AuthError> {
        // What other commands could not understand is not written over.
        if read(path)?.is_none() {
            return Ok(Self(Map::new()));
        }
        let failed = |source| AuthError::Read {
            path: path.into(),
            source,
        };
        let bytes = fs::read(path).map_err(failed)?;
        let text =
            serde_json::from_slice(&bytes).map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(Self(text))
    }

    /// The program that has the secrets of a registry.
    fn program(&self, registry: &str) -> Option<String> {
        let helper = self.0.get("credHelpers").and_then(|all| all.get(registry));
        let any = || self.0.get("credsStore");
        let name = helper.or_else(any)?.as_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let slot = self.0.entry("auths").or_insert(Value::Null);
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        slot.as_object_mut().expect("an object was just put there")
    }

    fn replace(&self, path: &Path) -> Result<(), AuthError> {
        let failed = |source| AuthError::Write {
            path: path.into(),
            source,
        };
        // A link stays one: what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(failed)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = parent.join(format!(".{name}.{}.tmp", std::process::id()));
        let mut text = serde_json::to_vec_pretty(&self.0).expect("JSON values can be written");
        text.push(b'\n');
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write()
            .inspect_err(|_| {
                // The write's error is the one to report.
                let _ = fs::remove_file(&temporary);
            })
            .map_err(failed)
    }
}

/// RFC 4648, section 4.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            if digit <= three.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::{Credentials, find};
    use super::*;
    use crate::reference::Reference;

    const NOBODY: &TellProgram<'static> = &|_, _, _| Err("no program is asked".to_owned());

    fn credentials(path: &Path, name: &'static str) -> Credentials {
        let name = Reference::from_static(name);
        find(&[path], &name, &|_, _| Ok(None)).unwrap().credentials
    }

    #[test]
    fn base64_is_what_the_other_side_reads() {
        for text in ["", "a", "ab", "abc", "user:pässwörd", "x:\u{0}\u{7f}"] {
            let back = super::super::decode_base64(&encode_base64(text.as_bytes()));
            assert_eq!(back.as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(encode_base64(b"user:secret"), "dXNlcjpzZWNyZXQ=");
    }

    #[test]
    fn s63_what_is_noted_is_found_and_nobody_else_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/auth.json");
        log_in(&path, "q.io", ("ada", "pw:with:colons"), NOBODY).unwrap();
        let expected = Credentials::Basic {
            username: "ada".into(),
            password: "pw:with:colons".into(),
        };
        assert_eq!(credentials(&path, "q.io/x"), expected);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        // A file that others could read is one no more.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        log_in(&path, "r.io", ("a", "b"), NOBODY).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(credentials(&path, "q.io/x"), expected);
        assert!(log_out(&path, "q.io", NOBODY).unwrap());
        assert!(!log_out(&path, "q.io", NOBODY).unwrap());
        assert_eq!(credentials(&path, "q.io/x"), Credentials::Anonymous);
        assert_eq!(log_out_of_all(&path).unwrap(), ["r.io"]);
    }

    #[test]
    fn what_else_a_file_says_stays_and_what_is_no_auth_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let old = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}},"psFormat":"x"}"#;
        fs::write(&path, old).unwrap();
        log_in(&path, "docker.io", ("c", "d"), NOBODY).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("psFormat") && !text.contains("index.docker.io"),
            "{text}"
        );
        for broken in ["", "{", "[]", r#"{"auths":[]}"#] {
            fs::write(&path, broken).unwrap();
            assert!(log_in(&path, "q.io", ("c", "d"), NOBODY).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
    }

    #[test]
    fn a_program_that_keeps_secrets_is_told_and_the_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json");
        let text = r#"{"credHelpers":{"q.io":"safe"},"credsStore":""}"#;
        fs::write(&path, text).unwrap();
        let told = RefCell::new(Vec::new());
        let tell = |program: &str, verb: &str, text: &str| {
            told.borrow_mut().push(format!("{program} {verb} {text}"));
            Ok(())
        };
        log_in(&path, "q.io", ("ada", "secret"), &tell).unwrap();
        assert!(log_out(&path, "q.io", &tell).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let told = told.into_inner();
        assert!(told[0].starts_with("safe store {") && told[0].contains("\"Secret\":\"secret\""));
        assert_eq!(told[1], "safe erase q.io");
        let error = log_in(&path, "q.io", ("ada", "secret"), NOBODY).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
