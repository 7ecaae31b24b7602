//! Private keys as cosign encrypts them: scrypt makes a key of the password, NaCl's secretbox (XSalsa20 and Poly1305) seals the
//! PKCS #8 (github.com/secure-systems-lab/go-securesystemslib, encrypted/encrypted.go).
//!
//! Invariant: what the file demands is bounded before it is done, and nothing is given out whose tag is wrong.

use poly1305::universal_hash::KeyInit as _;
use poly1305::{Key, Poly1305, Tag};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use serde::Deserialize;

use super::KeyError;
use crate::auth::decode_base64;

const KEY: usize = 32;
const NONCE: usize = 24;
const TAG: usize = 16;
/// cosign takes 65536 and 8, which needs 64 MiB.
const MEMORY_MAX: u64 = 256 << 20;

#[derive(Deserialize)]
struct Sealed {
    kdf: Derivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Derivation {
    name: String,
    params: Parameters,
    salt: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct Parameters {
    n: u64,
    #[serde(rename = "r")]
    r: u32,
    #[serde(rename = "p")]
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

pub(super) fn open(json: &[u8], password: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let sealed: Sealed = serde_json::from_slice(json).map_err(|_| KeyError::Unknown)?;
    if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
        return Err(KeyError::Unknown);
    }
    let bytes = |text: &str| decode_base64(text).ok_or(KeyError::Unknown);
    let (salt, nonce) = (bytes(&sealed.kdf.salt)?, bytes(&sealed.cipher.nonce)?);
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| KeyError::Unknown)?;
    let mut content = bytes(&sealed.ciphertext)?;
    let password = password.ok_or(KeyError::NoPassword)?;
    let key = derive(&sealed.kdf.params, password, &salt)?;
    if content.len() < TAG {
        return Err(KeyError::Password);
    }
    let text = content.split_off(TAG);
    let mut cipher = XSalsa20::new(&key.into(), &nonce.into());
    // The first 32 bytes of the stream are the key of the tag.
    let mut one_time = [0; KEY];
    cipher.apply_keystream(&mut one_time);
    let tag: Tag = Poly1305::new(&Key::from(one_time)).compute_unpadded(&text);
    if tag[..] != content {
        return Err(KeyError::Password);
    }
    let mut text = text;
    cipher.apply_keystream(&mut text);
    Ok(text)
}

fn derive(parameters: &Parameters, password: &str, salt: &[u8]) -> Result<[u8; KEY], KeyError> {
    let Parameters { n, r, p } = *parameters;
    let memory = n.saturating_mul(128).saturating_mul(r.into());
    if !n.is_power_of_two() || memory > MEMORY_MAX || p > 16 {
        return Err(KeyError::Unknown);
    }
    let log = u8::try_from(n.trailing_zeros()).map_err(|_| KeyError::Unknown)?;
    let parameters = scrypt::Params::new(log, r, p).map_err(|_| KeyError::Unknown)?;
    let mut key = [0; KEY];
    scrypt::scrypt(password.as_bytes(), salt, &parameters, &mut key)
        .map_err(|_| KeyError::Unknown)?;
    Ok(key)
}
