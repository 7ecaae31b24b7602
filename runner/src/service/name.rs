//! The name of a container that runs in the background. The invariant: it is a file's name, and no path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name: that of a file, less what is made beside it.
const MAX: usize = 200;

/// A container's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// A text that names no container.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "name a container {0:?}: a name has letters, digits, '_', '.' and '-', and begins with a letter or digit"
)]
pub struct ParseNameError(String);

impl ContainerName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = ParseNameError;

    /// What Podman takes (libpod/define, `NameRegex`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let first = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !first || text.len() > MAX || !text.bytes().all(plain) {
            return Err(ParseNameError(text.chars().take(100).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ContainerName {
    type Error = ParseNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_path() {
        for good in ["web", "a", "0.b-c_D"] {
            assert_eq!(good.parse::<ContainerName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            ".a",
            "-a",
            "a/b",
            "a b",
            "\u{e4}",
            "a\0",
            &"a".repeat(201),
        ] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
    }
}
