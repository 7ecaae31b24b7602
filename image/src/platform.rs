//! Which machine an image is for.
//!
//! Invariant: architecture names are Go's (`amd64`, `arm64`), as the OCI specification demands; aliases are folded when parsed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operating system, architecture and variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, in Go's words.
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// The processor's variant (`v7` of `arm`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system's version (Windows only).
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// What the operating system must be able to do (Windows only).
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

/// The text is not `OS/ARCH[/VARIANT]` or `ARCH`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse platform {0:?}: expected OS/ARCH[/VARIANT], such as linux/arm64/v8")]
pub struct ParsePlatformError(String);

impl Platform {
    /// Linux on the given processor.
    pub fn linux(architecture: &str) -> Self {
        let (architecture, variant) = normalise(architecture, None);
        Self {
            architecture,
            os: "linux".to_owned(),
            variant,
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// The platform that this program was compiled for.
    pub fn host() -> Self {
        Self::linux(std::env::consts::ARCH)
    }

    /// Whether `machine` executes programs for this platform by itself. Old images do not say what they are for.
    pub fn is_native_to(&self, machine: &Self) -> bool {
        self.architecture.is_empty()
            || self.architecture == machine.architecture
            || matches!(
                (machine.architecture.as_str(), self.architecture.as_str()),
                ("amd64", "386") | ("arm64", "arm")
            )
    }

    /// Whether an image for `offered` runs here; the lower the number, the better the fit.
    ///
    /// An arm variant below the wanted one runs too (containerd's platform matcher has the same order).
    pub fn fit(&self, offered: &Self) -> Option<u32> {
        let (architecture, variant) = normalise(&offered.architecture, offered.variant.as_deref());
        if self.os != offered.os || self.architecture != architecture {
            return None;
        }
        let (wanted, offered) = (
            self.variant_number(),
            variant_number(&architecture, variant.as_deref()),
        );
        match (wanted, offered) {
            (Some(wanted), Some(offered)) => wanted.checked_sub(offered),
            (None, None) => (self.variant == variant).then_some(0),
            _ => None,
        }
    }

    fn variant_number(&self) -> Option<u32> {
        variant_number(&self.architecture, self.variant.as_deref())
    }
}

/// The variant as a number, with each architecture's default filled in.
fn variant_number(architecture: &str, variant: Option<&str>) -> Option<u32> {
    match variant {
        Some(text) => text.strip_prefix('v')?.parse().ok(),
        None => match architecture {
            "arm" => Some(7),
            "arm64" => Some(8),
            _ => Some(1),
        },
    }
}

fn normalise(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let lower = architecture.to_ascii_lowercase();
    let variant = variant
        .filter(|text| !text.is_empty())
        .map(str::to_ascii_lowercase);
    let (name, variant) = match (lower.as_str(), variant) {
        ("x86_64" | "x86-64" | "amd64", Some(v)) if v == "v1" => ("amd64", None),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
        ("aarch64" | "arm64", Some(v)) if v == "8" || v == "v8" => ("arm64", None),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", Some("v7".to_owned())),
        ("armel", _) => ("arm", Some("v6".to_owned())),
        ("arm", None) => ("arm", Some("v7".to_owned())),
        ("arm", Some(v)) => (
            "arm",
            Some(if v.starts_with('v') {
                v
            } else {
                format!("v{v}")
            }),
        ),
        ("powerpc64le", variant) => ("ppc64le", variant),
        ("loongarch64", variant) => ("loong64", variant),
        (other, variant) => (other, variant),
    };
    (name.to_owned(), variant)
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePlatformError(text.chars().take(100).collect());
        let well_formed = |part: &&str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(well_formed) {
            return Err(error());
        }
        let (os, architecture, variant) = match parts[..] {
            [architecture] => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(error()),
        };
        let (architecture, variant) = normalise(architecture, variant);
        Ok(Self {
            architecture,
            os: os.to_ascii_lowercase(),
            variant,
            os_version: None,
            os_features: Vec::new(),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .iter()
            .try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn aliases_are_folded() {
        for (text, shown) in [
            ("linux/x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("LINUX/i686", "linux/386"),
        ] {
            assert_eq!(platform(text).to_string(), shown);
        }
    }

    #[test]
    fn malformed_platforms_are_refused() {
        for bad in [
            "",
            "/",
            "linux/",
            "linux//v8",
            "a/b/c/d",
            "linux/am d64",
            "linux/../x",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn machines_run_their_own_programs_and_those_of_their_forebears() {
        let native = |image: &str, machine| platform(image).is_native_to(&platform(machine));
        assert!(native("linux/amd64/v3", "linux/amd64") && native("linux/386", "linux/amd64"));
        assert!(native("linux/arm/v7", "linux/arm64"));
        assert!(!native("linux/arm64", "linux/amd64") && !native("linux/amd64", "linux/386"));
    }

    #[test]
    fn a_lower_arm_variant_fits_worse_and_a_higher_one_not_at_all() {
        let wanted = platform("linux/arm/v7");
        assert_eq!(wanted.fit(&platform("linux/arm/v7")), Some(0));
        assert_eq!(wanted.fit(&platform("linux/arm/v6")), Some(1));
        assert_eq!(wanted.fit(&platform("linux/arm/v8")), None);
        assert_eq!(wanted.fit(&platform("linux/arm64")), None);
        assert_eq!(
            platform("linux/amd64").fit(&platform("linux/amd64/v3")),
            None
        );
        assert_eq!(
            platform("linux/arm64").fit(&Platform {
                variant: Some("v8".into()),
                ..platform("linux/arm64")
            }),
            Some(0)
        );
    }
}
