//! Credentials in the files that Podman and Docker write too.
//!
//! Invariant: a file that is there but cannot be understood is an error, never "no credentials" (CVE-2021-41092). Nothing
//! here shows a secret: not in `Debug`, not in an error.

mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::json::{self, DOCUMENT_MAX, DocumentError, null_is_default};
use crate::reference::{DEFAULT_REGISTRY, Reference};

pub(crate) use write::encode_base64;
pub use write::{TellProgram, log_in, log_out, log_out_of_all};

/// The key under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Who asks a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user with a password.
    Basic {
        /// The user.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// A refresh token that the registry gave out at login.
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(redacted)",
            Self::IdentityToken(_) => "IdentityToken(redacted)",
        })
    }
}

/// What was found, and what is to be said about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The credentials.
    pub credentials: Credentials,
    /// The file they come from, if other users can read it.
    pub readable_by_others: Option<PathBuf>,
}

/// Why credentials cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file is there but cannot be read.
    #[error("read auth file {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be replaced.
    #[error("write auth file {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no auth file.
    #[error("understand auth file {path}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// An entry is not base64 of `USER:PASSWORD`.
    #[error("understand auth file {path}: the entry for {key} is not base64 of USER:PASSWORD", path = path.display())]
    BadEntry {
        /// The file.
        path: PathBuf,
        /// The entry.
        key: String,
    },
    /// The credential program failed, or its name is no name.
    #[error("ask docker-credential-{program} for {server}: {reason}")]
    Program {
        /// The program's name without its prefix.
        program: String,
        /// What was asked for.
        server: String,
        /// Why.
        reason: String,
    },
}

/// Runs `docker-credential-PROGRAM get` with `server` on its standard input. Gives its standard output, or nothing when it
/// says that it has no credentials; the reason when it fails. This crate starts no processes.
pub type AskProgram<'a> = dyn Fn(&str, &str) -> Result<Option<String>, String> + 'a;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    #[serde(default, deserialize_with = "null_is_default")]
    auths: BTreeMap<String, Entry>,
    #[serde(default, deserialize_with = "null_is_default")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    creds_store: String,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "null_is_default")]
    auth: String,
    #[serde(default, deserialize_with = "null_is_default")]
    identitytoken: String,
}

/// The output of a credential program (docker-credential-helpers, "get").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Finds the credentials for a repository: the first file that has any. Files that do not exist are passed over.
///
/// # Errors
/// When a file or a credential program cannot be understood.
pub fn find(
    files: &[&Path],
    reference: &Reference,
    ask: &AskProgram<'_>,
) -> Result<Found, AuthError> {
    for path in files {
        let Some((file, others)) = read(path)? else {
            continue;
        };
        let credentials = file.lookup(path, reference, ask)?;
        if credentials != Credentials::Anonymous {
            return Ok(Found {
                credentials,
                readable_by_others: others.then(|| path.to_path_buf()),
            });
        }
    }
    Ok(Found::default())
}

fn read(path: &Path) -> Result<Option<(AuthFile, bool)>, AuthError> {
    let failed = |source| AuthError::Read {
        path: path.into(),
        source,
    };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let others = file.metadata().map_err(failed)?.mode() & 0o044 != 0;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let file = json::parse("auth file", &bytes, &["auths", "credHelpers", "credsStore"]).map_err(
        |source| AuthError::Malformed {
            path: path.into(),
            source,
        },
    )?;
    Ok(Some((file, others)))
}

impl AuthFile {
    fn lookup(
        &self,
        path: &Path,
        reference: &Reference,
        ask: &AskProgram<'_>,
    ) -> Result<Credentials, AuthError> {
        let registry = reference.registry();
        if let Some(program) = self.cred_helpers.get(registry) {
            return ask_program(program, registry, ask);
        }
        for key in keys(reference) {
            let Some((name, entry)) = self.auths.iter().find(|(name, _)| normal(name) == key)
            else {
                continue;
            };
            if !entry.identitytoken.is_empty() {
                return Ok(Credentials::IdentityToken(entry.identitytoken.clone()));
            }
            if !entry.auth.is_empty() {
                return basic(&entry.auth).ok_or_else(|| AuthError::BadEntry {
                    path: path.into(),
                    key: name.clone(),
                });
            }
        }
        if self.creds_store.is_empty() {
            return Ok(Credentials::Anonymous);
        }
        let server = if registry == DEFAULT_REGISTRY {
            DOCKER_HUB_KEY
        } else {
            registry
        };
        ask_program(&self.creds_store, server, ask)
    }
}

/// `host/a/b`, `host/a`, `host`: the most particular first (containers-auth.json(5)).
fn keys(reference: &Reference) -> Vec<String> {
    let full = format!("{}/{}", reference.registry(), reference.repository());
    let ends = full
        .match_indices('/')
        .map(|(at, _)| at)
        .collect::<Vec<_>>();
    let parents = ends.into_iter().rev().map(|at| full[..at].to_owned());
    std::iter::once(full.clone()).chain(parents).collect()
}

/// Docker's older keys are URLs of the registry's API.
fn normal(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_owned(),
        key => key.to_owned(),
    }
}

fn ask_program(
    program: &str,
    server: &str,
    ask: &AskProgram<'_>,
) -> Result<Credentials, AuthError> {
    let failed = |reason: String| AuthError::Program {
        program: program.into(),
        server: server.into(),
        reason,
    };
    check_program(program).map_err(failed)?;
    let Some(output) = ask(program, server).map_err(failed)? else {
        return Ok(Credentials::Anonymous);
    };
    // The parser's message could quote the secret.
    let answer: Answer =
        serde_json::from_str(&output).map_err(|_| failed("its answer is malformed".to_owned()))?;
    Ok(match answer.username.as_str() {
        "<token>" => Credentials::IdentityToken(answer.secret),
        _ => Credentials::Basic {
            username: answer.username,
            password: answer.secret,
        },
    })
}

/// The name becomes part of a program's name: it must not lead elsewhere.
fn check_program(program: &str) -> Result<(), String> {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match program.bytes().all(usual) {
        true => Ok(()),
        false => Err("the program's name has unusual characters".to_owned()),
    }
}

fn basic(auth: &str) -> Option<Credentials> {
    let text = String::from_utf8(decode_base64(auth)?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker pads with NUL bytes.
    let password = password.trim_end_matches('\0').to_owned();
    Some(Credentials::Basic {
        username: username.to_owned(),
        password,
    })
}

/// RFC 4648, section 4; padding is optional at the end and nowhere else.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut have) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// `user:secret`
    const ENTRY: &str = r#"{"auth":"dXNlcjpzZWNyZXQ="}"#;

    fn with_file(text: &str, name: &'static str) -> Result<Found, AuthError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        find(
            &[&path],
            &Reference::from_static(name),
            &|program, server| match program {
                "works" => Ok(Some(format!(
                    r#"{{"ServerURL":"{server}","Username":"<token>","Secret":"t-{server}"}}"#
                ))),
                "empty" => Ok(None),
                _ => Err("exit status 1".to_owned()),
            },
        )
    }

    fn user() -> Credentials {
        Credentials::Basic {
            username: "user".into(),
            password: "secret".into(),
        }
    }

    #[test]
    fn the_most_particular_key_wins() {
        let text = format!(
            r#"{{"auths":{{"q.io":{{"auth":"YTpi"}},"q.io/team":{ENTRY},"q.io/team/x":{{"auth":"Yzpk"}}}}}}"#
        );
        assert_eq!(with_file(&text, "q.io/team/y").unwrap().credentials, user());
        assert_ne!(with_file(&text, "q.io/team/x").unwrap().credentials, user());
        assert_ne!(with_file(&text, "q.io/teams").unwrap().credentials, user());
        assert_eq!(
            with_file(&text, "q.io.evil.io/team/y").unwrap().credentials,
            Credentials::Anonymous
        );
        assert_eq!(
            with_file(&text, "debian").unwrap().credentials,
            Credentials::Anonymous
        );
    }

    #[test]
    fn docker_hub_has_many_keys() {
        for key in [
            "docker.io",
            "https://index.docker.io/v1/",
            "index.docker.io",
            "registry-1.docker.io",
        ] {
            let text = format!(r#"{{"auths":{{"{key}":{ENTRY}}}}}"#);
            assert_eq!(
                with_file(&text, "debian").unwrap().credentials,
                user(),
                "{key}"
            );
        }
    }

    #[test]
    fn credential_programs_are_asked_for_the_right_server() {
        let token = |server: &str| Credentials::IdentityToken(format!("t-{server}"));
        assert_eq!(
            with_file(r#"{"credsStore":"works"}"#, "debian")
                .unwrap()
                .credentials,
            token(DOCKER_HUB_KEY)
        );
        let helpers = r#"{"credHelpers":{"q.io":"works"},"credsStore":"empty"}"#;
        assert_eq!(
            with_file(helpers, "q.io/x").unwrap().credentials,
            token("q.io")
        );
        assert_eq!(
            with_file(helpers, "debian").unwrap().credentials,
            Credentials::Anonymous
        );
    }

    #[test]
    fn s57_a_broken_file_or_program_is_an_error() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"auths":[]}"#,
            r#"{"auths":{"q.io":{"auth":7}}}"#,
            r#"{"auths":{"q.io":{"auth":"%%"}}}"#,
            r#"{"auths":{"q.io":{"auth":"dXNlcg=="}}}"#,
            r#"{"auths":{},"auths":{}}"#,
            r#"{"credHelpers":{"q.io":"fails"}}"#,
            r#"{"credHelpers":{"q.io":"../works"}}"#,
            r#"{"credsStore":"fails"}"#,
        ] {
            assert!(with_file(text, "q.io/x").is_err(), "{text:?} was accepted");
        }
        let directory = tempfile::tempdir().unwrap();
        assert!(
            find(
                &[directory.path()],
                &Reference::from_static("a"),
                &|_, _| Ok(None)
            )
            .is_err()
        );
        assert!(
            find(
                &[&directory.path().join("none")],
                &Reference::from_static("a"),
                &|_, _| Ok(None)
            )
            .is_ok()
        );
    }

    #[test]
    fn s63_a_file_that_others_can_read_is_told_and_nothing_shows_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json");
        fs::write(&path, format!(r#"{{"auths":{{"q.io":{ENTRY}}}}}"#)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let found = find(&[&path], &Reference::from_static("q.io/x"), &|_, _| {
            Ok(None)
        })
        .unwrap();
        assert_eq!(found.readable_by_others.as_deref(), Some(&*path));
        let shown = format!("{found:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
