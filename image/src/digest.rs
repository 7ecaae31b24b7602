//! Content digests and the identities made of them.
//!
//! Invariant: a [`Digest`] is always `sha256:` and 64 lower-case hex digits, so it may name a file or be put into a URL.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// There is no `algorithm:` in front.
    #[error("parse digest {0:?}: the algorithm is missing (expected sha256:HEX)")]
    NoAlgorithm(String),
    /// The algorithm is not sha256.
    #[error("parse digest {0:?}: the algorithm is unsupported (only sha256 is)")]
    UnsupportedAlgorithm(String),
    /// The part behind `sha256:` is not exactly 64 lower-case hex digits.
    #[error("parse digest {0:?}: expected 64 lower-case hex digits after sha256:")]
    BadHex(String),
}

impl Digest {
    /// Hashes bytes that are all in memory.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// The 64 hex digits without the algorithm; the name of the blob's file.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a String cannot fail");
                text
            })
    }

    /// The first twelve hex digits, as Docker shows ids.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }

    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Where the blob lies below a `blobs` root: `sha256/HEX` (OCI image layout, "Blobs").
    pub fn blob_path(&self) -> std::path::PathBuf {
        std::path::Path::new("sha256").join(self.hex())
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // What is shown is bounded: the text may come from a hostile registry.
        let shown = || text.chars().take(100).collect::<String>();
        let (algorithm, hex) = text
            .split_once(':')
            .ok_or_else(|| ParseDigestError::NoAlgorithm(shown()))?;
        if algorithm != "sha256" {
            return Err(ParseDigestError::UnsupportedAlgorithm(shown()));
        }
        decode_hex(hex.as_bytes())
            .map(Self)
            .ok_or_else(|| ParseDigestError::BadHex(shown()))
    }
}

fn decode_hex(hex: &[u8]) -> Option<[u8; 32]> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = hex.as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A running SHA-256 that counts what went through it.
#[derive(Clone, Default)]
pub struct Hasher {
    state: Sha256,
    len: u64,
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// How many bytes it has seen.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has seen nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of everything seen.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Digest);

        impl $name {
            /// Says that this digest is of that kind; the caller has hashed the right bytes or read it from the right field.
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// The digest itself.
            pub const fn digest(&self) -> &Digest {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

digest_newtype! {
    /// The digest of a layer's *uncompressed* tar.
    DiffId
}
digest_newtype! {
    /// The identity of a stack of layers (OCI image configuration, "Layer ChainID").
    ChainId
}
digest_newtype! {
    /// The digest of an image's configuration: what Docker calls the image's id.
    ImageId
}

impl ChainId {
    /// The chain of a whole stack, lowest layer first; none for an empty stack.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        Some(
            rest.iter()
                .fold(Self::base(first), |chain, layer| chain.child(layer)),
        )
    }

    /// The chain of one layer alone.
    pub fn base(layer: &DiffId) -> Self {
        Self(*layer.digest())
    }

    /// The chain with one more layer on top.
    #[must_use]
    pub fn child(&self, layer: &DiffId) -> Self {
        Self(Digest::of(format!("{self} {layer}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Hasher::new().finish());
    }

    #[test]
    fn s52_only_exact_lower_case_sha256_is_a_digest() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for bad in [
            "",
            "sha256:",
            "sha256:../../x",
            "e3b0c442",
            &EMPTY[..70],
            &format!("{EMPTY}0"),
            &format!(" {EMPTY}"),
            &upper,
            "sha512:cf83e1357eefb8bd",
            "sha256:+3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn serde_goes_through_the_same_door() {
        assert!(serde_json::from_str::<DiffId>("\"sha256:../x\"").is_err());
        let digest: DiffId = serde_json::from_str(&format!("{EMPTY:?}")).unwrap();
        assert_eq!(
            serde_json::to_string(&digest).unwrap(),
            format!("{EMPTY:?}")
        );
    }

    #[test]
    fn chain_id_follows_the_specification() {
        let [a, b] = ["a", "b"].map(|text| DiffId::new(Digest::of(text)));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]).unwrap().digest(), a.digest());
        let both = ChainId::of(&[a, b]).unwrap();
        assert_eq!(both.digest(), &Digest::of(format!("{a} {b}")));
        assert_eq!(both, ChainId::base(&a).child(&b));
    }
}
