//! `--ssh`. The invariant: what an id leads to, a socket or key files, is known before the build starts; keys are not read.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use builder::Agent;

use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// `default`, `ID`, `ID=SOCKET`, `ID=KEY[,KEY...]`, as in buildx and buildah.
pub(super) fn agents(
    texts: &[String],
    here: &Surroundings,
) -> Result<BTreeMap<String, Agent>, Failure> {
    let mut agents = BTreeMap::new();
    for text in texts {
        let (id, agent) = agent(text, here)?;
        if agents.insert(id.clone(), agent).is_some() {
            return Err(Failure::usage(format!("--ssh {id} is given twice")));
        }
    }
    Ok(agents)
}

fn agent(text: &str, here: &Surroundings) -> Result<(String, Agent), Failure> {
    let wrong = |why: String| Failure::usage(format!("--ssh {text}: {why}"));
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    if id.is_empty() {
        return Err(wrong("expected ID or ID=PATH".to_owned()));
    }
    if paths.is_empty() {
        let socket = here
            .variable("SSH_AUTH_SOCK")?
            .filter(|path| !path.is_empty());
        let socket = socket.ok_or_else(|| {
            wrong("SSH_AUTH_SOCK names no agent; start one, or give ID=KEYFILE".to_owned())
        })?;
        return Ok((id.to_owned(), Agent::Socket(socket.into())));
    }
    let (mut sockets, mut keys) = (Vec::new(), Vec::new());
    for path in paths.split(',').map(PathBuf::from) {
        // Absolute: the session may have another working directory.
        let path = std::path::absolute(&path).map_err(|error| wrong(error.to_string()))?;
        let found = std::fs::metadata(&path)
            .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        if found.file_type().is_socket() {
            sockets.push(path);
        } else if found.is_file() {
            keys.push(path);
        } else {
            return Err(wrong(format!(
                "{} is no socket and no file",
                path.display()
            )));
        }
    }
    match (sockets.pop(), keys.is_empty()) {
        (Some(socket), true) if sockets.is_empty() => Ok((id.to_owned(), Agent::Socket(socket))),
        (None, false) => {
            let program = |name: &str| {
                here.program(name).ok_or_else(|| {
                    wrong(format!(
                        "key files need OpenSSH's {name}, which is not in PATH"
                    ))
                })
            };
            let (agent, add) = (program("ssh-agent")?, program("ssh-add")?);
            Ok((id.to_owned(), Agent::Keys { agent, add, keys }))
        }
        _ => Err(wrong("give one socket, or only key files".to_owned())),
    }
}
