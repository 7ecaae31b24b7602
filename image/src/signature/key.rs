//! Keys: ECDSA on P-256, in PEM.
//!
//! Invariant: a private key is shown nowhere; what it says of itself is its public half.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};

use super::sealed;
use crate::auth::decode_base64;

/// What RFC 5480 has before the point of a P-256 key: `id-ecPublicKey`, `prime256v1`, and 66 bytes of a bit string.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point.
const POINT: usize = 65;

/// Why a text is no key that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM block.
    #[error("it is no PEM file")]
    NotPem,
    /// The block holds something else.
    #[error("it holds no {wanted}")]
    Other {
        /// What was looked for.
        wanted: &'static str,
    },
    /// The older form of private keys.
    #[error(
        "it is in the form of SEC 1; `openssl pkcs8 -topk8 -nocrypt` makes the form of PKCS #8 of it"
    )]
    Sec1,
    /// OpenSSL's own encryption.
    #[error("it is encrypted, and not as cosign does it")]
    Encrypted,
    /// Another algorithm or curve, or damaged.
    #[error("it is no key of ECDSA on P-256")]
    NotP256,
    /// It is encrypted as cosign does it, in a way that is not known.
    #[error("it is encrypted in a way that is not known here")]
    Unknown,
    /// It is encrypted, and there is no password.
    #[error("it is encrypted, and COSIGN_PASSWORD is not set")]
    NoPassword,
    /// The password is another one.
    #[error("its password is another one, or it is damaged")]
    Password,
}

/// A private key.
pub struct Signer(EcdsaKeyPair);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.public_key()).finish()
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start: String = self
            .0
            .iter()
            .skip(1)
            .take(4)
            .map(|b| format!("{b:02x}"))
            .collect();
        write!(f, "PublicKey({start})")
    }
}

impl Signer {
    /// Reads a private key: PKCS #8 as it is, or as `cosign generate-key-pair` encrypts it.
    ///
    /// # Errors
    /// When it is none, or the password is missing or wrong.
    pub fn from_pem(text: &str, password: Option<&str>) -> Result<Self, KeyError> {
        let (label, content) = pem(text)?;
        let der = match label.as_str() {
            "PRIVATE KEY" => content,
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                sealed::open(&content, password)?
            }
            "EC PRIVATE KEY" => return Err(KeyError::Sec1),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            _ => {
                return Err(KeyError::Other {
                    wanted: "private key",
                });
            }
        };
        let random = SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &random)
            .map(Self)
            .map_err(|_| KeyError::NotP256)
    }

    /// Its public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }

    pub(super) fn signature_of(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.0.sign(&SystemRandom::new(), message).ok()?;
        Some(signature.as_ref().to_vec())
    }
}

impl PublicKey {
    /// Reads a public key, as `cosign generate-key-pair` and `openssl pkey -pubout` write it.
    ///
    /// # Errors
    /// When it is none of P-256.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (label, der) = pem(text)?;
        if label != "PUBLIC KEY" {
            return Err(KeyError::Other {
                wanted: "public key",
            });
        }
        let point = der.strip_prefix(&P256).filter(|point| point.len() == POINT);
        point
            .map(|point| Self(point.to_vec()))
            .ok_or(KeyError::NotP256)
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0);
        key.verify(message, signature).is_ok()
    }
}

/// RFC 7468: the first block's label and content, parameters before it left out.
fn pem(text: &str) -> Result<(String, Vec<u8>), KeyError> {
    const PARAMETERS: &str = "EC PARAMETERS";
    let mut rest = text;
    loop {
        let (_, block) = rest.split_once("-----BEGIN ").ok_or(KeyError::NotPem)?;
        let (label, block) = block.split_once("-----").ok_or(KeyError::NotPem)?;
        let end = format!("-----END {label}-----");
        let (content, after) = block.split_once(&end).ok_or(KeyError::NotPem)?;
        if label == PARAMETERS {
            rest = after;
            continue;
        }
        let digits: String = content.split_whitespace().collect();
        let content = decode_base64(&digits).ok_or(KeyError::NotPem)?;
        return Ok((label.to_owned(), content));
    }
}
