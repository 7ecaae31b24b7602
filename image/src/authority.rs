//! Certificate authorities that are trusted beside the system's.
//!
//! Invariant: an [`Authority`] holds at least one certificate.

use std::fmt;

use thiserror::Error;

/// The certificates of a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority(Vec<u8>);

/// A file that holds no certificates, or one that cannot be read.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// There is none.
    #[error("find a certificate in PEM form")]
    None,
    /// One is malformed.
    #[error("read the certificates")]
    Malformed(#[source] reqwest::Error),
}

impl Authority {
    /// The certificates of a PEM file.
    ///
    /// # Errors
    /// When there is none, or one is malformed.
    pub fn from_pem(pem: Vec<u8>) -> Result<Self, AuthorityError> {
        let found =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(AuthorityError::Malformed)?;
        if found.is_empty() {
            return Err(AuthorityError::None);
        }
        Ok(Self(pem))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({} bytes)", self.0.len())
    }
}

/// As the HTTP client takes them.
pub(crate) fn certificates(
    authorities: &[Authority],
) -> reqwest::Result<Vec<reqwest::Certificate>> {
    let all = authorities.iter();
    let lists: Vec<_> = all
        .map(|one| reqwest::Certificate::from_pem_bundle(&one.0))
        .collect::<Result<_, _>>()?;
    Ok(lists.concat())
}
