//! Credentials for registries: the files of podman and docker, and their credential programs. The invariant: a secret goes from
//! a file or a program to the registry client and is never shown; every wait for a program is bounded.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use image::Reference;
use image::auth::{self, Credentials};

use crate::show;
use crate::surroundings::AuthFiles;

/// Long enough for a person to unlock a key ring.
const PATIENCE: Duration = Duration::from_secs(60);

/// Finds the credentials for an image.
///
/// # Errors
/// When a file that the user named is not there, or a file or program cannot be understood.
pub(crate) fn find(
    files: &AuthFiles,
    name: &Reference,
) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
    if let Some(missing) = files
        .candidates
        .iter()
        .find(|path| files.required && !path.exists())
    {
        return Err(format!("read auth file {}: there is none", missing.display()).into());
    }
    let paths: Vec<&Path> = files.candidates.iter().map(AsRef::as_ref).collect();
    let found = auth::find(&paths, name, &|program, server| {
        ask(program, server, PATIENCE)
    })?;
    if let Some(path) = &found.readable_by_others {
        let path = path.display();
        show::note(&format!(
            "other users can read the credentials in {path}: chmod 600 {path}"
        ));
    }
    Ok(found.credentials)
}

/// Runs `docker-credential-PROGRAM get` (docker-credential-helpers, "Development").
fn ask(program: &str, server: &str, patience: Duration) -> Result<Option<String>, String> {
    let (status, output) = run(program, "get", server, patience)?;
    match (status.success(), output.contains("credentials not found")) {
        (true, _) => Ok(Some(output)),
        (false, true) => Ok(None),
        // Its output may hold a secret, so it is not shown.
        (false, false) => Err(status.to_string()),
    }
}

/// Has `docker-credential-PROGRAM` store or erase something.
pub(crate) fn tell(program: &str, verb: &str, text: &str) -> Result<(), String> {
    let (status, _) = run(program, verb, text, PATIENCE)?;
    match status.success() {
        true => Ok(()),
        false => Err(status.to_string()),
    }
}

fn run(
    program: &str,
    verb: &str,
    input: &str,
    patience: Duration,
) -> Result<(ExitStatus, String), String> {
    let mut child = Command::new(format!("docker-credential-{program}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that reads nothing answers anyway.
        let _ = writeln!(stdin, "{input}");
    }
    let output = read_in_time(&mut child, patience);
    if output.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let output =
        output.ok_or_else(|| format!("it gave no answer within {} s", patience.as_secs()))?;
    Ok((status, output))
}

fn read_in_time(child: &mut Child, patience: Duration) -> Option<String> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(1 << 20).read_to_string(&mut text);
        // The receiver may have lost its patience.
        let _ = sender.send(read.is_ok().then_some(text));
    });
    receiver.recv_timeout(patience).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let name = Reference::from_static("localhost:5000/x");
        let files = |required| AuthFiles {
            required,
            candidates: vec!["/no/such/auth.json".into()],
        };
        assert!(
            find(&files(true), &name)
                .unwrap_err()
                .to_string()
                .contains("/no/such/auth.json")
        );
        assert_eq!(find(&files(false), &name).unwrap(), Credentials::Anonymous);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(ask("no-such-program-of-rbuild", "x", PATIENCE).is_err());
    }
}
