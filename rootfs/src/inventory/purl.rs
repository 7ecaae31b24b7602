//! Package URLs (github.com/package-url/purl-spec, PURL-SPECIFICATION and the definitions of the types).
//!
//! Invariant: equal packages have equal URLs: qualifiers are sorted, and everything but unreserved characters is encoded.

use std::fmt::Write as _;

use super::{Distribution, Package, PackageKind};

impl Package {
    /// The package's URL; the namespace of a distribution's packages is the distribution.
    #[must_use]
    pub fn purl(&self, distribution: Option<&Distribution>) -> String {
        let kind = match self.kind {
            PackageKind::Deb => "deb",
            PackageKind::Apk => "apk",
            PackageKind::Rpm => "rpm",
            PackageKind::Go => "golang",
            PackageKind::Cargo => "cargo",
        };
        let of_system = matches!(
            self.kind,
            PackageKind::Deb | PackageKind::Apk | PackageKind::Rpm
        );
        let mut purl = format!("pkg:{kind}/");
        let name = match self.kind {
            PackageKind::Go | PackageKind::Deb | PackageKind::Apk => self.name.to_lowercase(),
            PackageKind::Rpm | PackageKind::Cargo => self.name.clone(),
        };
        if let Some(distribution) = distribution.filter(|_| of_system) {
            purl += &encode(&distribution.id.to_lowercase());
            purl.push('/');
        }
        let segments: Vec<String> = name.split('/').map(encode).collect();
        purl += &segments.join("/");
        if !self.version.is_empty() {
            purl.push('@');
            purl += &encode(&self.version);
        }
        if of_system {
            purl += &self.qualifiers(distribution);
        }
        purl
    }

    fn qualifiers(&self, distribution: Option<&Distribution>) -> String {
        let distro = distribution.map(|of| match of.version.as_str() {
            "" => of.id.clone(),
            version => format!("{}-{version}", of.id),
        });
        let all = [
            ("arch", self.architecture.clone()),
            ("distro", distro),
            ("epoch", self.epoch.map(|epoch| epoch.to_string())),
            ("upstream", self.upstream.clone()),
        ];
        let given = all
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encode(&value?))));
        let given: Vec<String> = given.collect();
        match given.is_empty() {
            true => String::new(),
            false => format!("?{}", given.join("&")),
        }
    }
}

/// Percent-encodes everything but what a package URL may have as it is.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                encoded.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}
