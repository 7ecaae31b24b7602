//! `--secret id=NAME[,src=FILE|,env=VARIABLE]`. The invariant: a secret is named here but not read.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

/// As in BuildKit: without a source, the variable of that name, else the file of that name.
pub(super) fn secret(
    text: &str,
    fields: Vec<(String, String)>,
    here: &Surroundings,
) -> Result<(String, SecretSource), Failure> {
    let wrong = |why: String| Failure::usage(format!("--secret {text}: {why}"));
    let (mut id, mut source, mut env, mut kind) = (None, None, None, None);
    for (key, value) in fields {
        let place = match key.as_str() {
            "id" => &mut id,
            "src" | "source" => &mut source,
            "env" => &mut env,
            "type" => &mut kind,
            _ => return Err(wrong(format!("{key} is none of id, src, env and type"))),
        };
        if place.replace(value).is_some() {
            return Err(wrong(format!("{key} is given twice")));
        }
    }
    let id = id.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| wrong("expected id=NAME".to_owned()))?;
    let source = match (kind.as_deref(), source, env) {
        (None | Some("file"), Some(file), None) => SecretSource::File(file.into()),
        (None | Some("env"), None, Some(name)) | (Some("env"), Some(name), None) => {
            SecretSource::Variable(name)
        }
        (Some("env"), None, None) => SecretSource::Variable(id.clone()),
        (Some("file"), None, None) => SecretSource::File(id.clone().into()),
        (None, None, None) if here.variable(&id)?.is_some() => SecretSource::Variable(id.clone()),
        (None, None, None) => SecretSource::File(id.clone().into()),
        (Some(kind), _, _) if !["file", "env"].contains(&kind) => {
            return Err(wrong(format!("type={kind} is none of file and env")));
        }
        _ => return Err(wrong("a secret is either a file or a variable".to_owned())),
    };
    Ok((id, source))
}
