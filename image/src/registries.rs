//! registries.conf, version 2 (containers-registries.conf(5)): mirrors, other locations, and registries that are blocked or spoken
//! to by plain HTTP.
//!
//! Invariant: a name has at least one endpoint unless it is blocked; its own location comes last. What short names mean is not
//! read: a name without a registry is Docker Hub's on every machine.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::reference::{ParseReferenceError, Reference};

/// What the files say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// By prefix.
    rules: BTreeMap<String, Rule>,
}

/// Where a name is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is called there.
    pub reference: Reference,
    /// Whether it is asked by plain HTTP.
    pub insecure: bool,
}

/// Why a file or a name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// The file is no TOML, or a value has the wrong type.
    #[error("understand the registries configuration")]
    Malformed(#[source] Box<toml::de::Error>),
    /// The file is of version 1.
    #[error(
        "understand the registries configuration: it is of version 1; version 2 has [[registry]] tables"
    )]
    VersionOne,
    /// A table says nothing about where.
    #[error(
        "understand the registries configuration: a [[registry]] has neither prefix nor location"
    )]
    Nowhere,
    /// The name's registry is blocked.
    #[error("use {name}: registries.conf blocks {prefix}")]
    Blocked {
        /// The name.
        name: String,
        /// Which rule.
        prefix: String,
    },
    /// A location makes no name of a name.
    #[error("look for {name} at {location}, as registries.conf says")]
    Location {
        /// The name.
        name: String,
        /// The location.
        location: String,
        /// Why.
        source: ParseReferenceError,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<Rule>,
    /// Version 1 only.
    registries: Option<toml::Table>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Rule {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFrom,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

impl Registries {
    /// Adds what one more file says; it decides about prefixes that earlier ones had too.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn add(&mut self, text: &str) -> Result<(), RegistriesError> {
        let file: File =
            toml::from_str(text).map_err(|error| RegistriesError::Malformed(Box::new(error)))?;
        if file.registries.is_some() {
            return Err(RegistriesError::VersionOne);
        }
        for rule in file.registry {
            let prefix = match (rule.prefix.as_str(), rule.location.as_str()) {
                ("", "") => return Err(RegistriesError::Nowhere),
                ("", location) => location.to_owned(),
                (prefix, _) => prefix.to_owned(),
            };
            self.rules.insert(prefix, rule);
        }
        Ok(())
    }

    /// Where a name is looked for: mirrors first, its own location last.
    ///
    /// # Errors
    /// When its registry is blocked, or a location is none.
    pub fn endpoints(&self, name: &Reference) -> Result<Vec<Endpoint>, RegistriesError> {
        let Some((prefix, rule)) = self.rule_for(name) else {
            return Ok(vec![Endpoint {
                reference: name.clone(),
                insecure: false,
            }]);
        };
        if rule.blocked {
            return Err(RegistriesError::Blocked {
                name: name.to_string(),
                prefix: prefix.to_owned(),
            });
        }
        let pinned = name.digest().is_some();
        let serves = |mirror: &&Mirror| match mirror.pull_from_mirror {
            PullFrom::All => pinned || !rule.mirror_by_digest_only,
            PullFrom::DigestOnly => pinned,
            PullFrom::TagOnly => !pinned,
        };
        let mirrors = rule.mirror.iter().filter(serves);
        let places = mirrors
            .map(|mirror| (mirror.location.as_str(), mirror.insecure))
            .chain([(rule.location.as_str(), rule.insecure)]);
        places
            .map(|(location, insecure)| {
                Ok(Endpoint {
                    reference: moved(name, prefix, location)?,
                    insecure,
                })
            })
            .collect()
    }

    /// The name's own location, without mirrors: where it is pushed to.
    ///
    /// # Errors
    /// As [`Registries::endpoints`].
    pub fn own_endpoint(&self, name: &Reference) -> Result<Endpoint, RegistriesError> {
        let own = Endpoint {
            reference: name.clone(),
            insecure: false,
        };
        Ok(self.endpoints(name)?.pop().unwrap_or(own))
    }

    /// The rule with the longest prefix.
    fn rule_for(&self, name: &Reference) -> Option<(&str, &Rule)> {
        let fitting = self.rules.iter().filter(|(prefix, _)| fits(name, prefix));
        fitting
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(prefix, rule)| (prefix.as_str(), rule))
    }
}

/// A prefix is `*.DOMAIN`, or a registry with as much of the repository as it has.
fn fits(name: &Reference, prefix: &str) -> bool {
    if let Some(domain) = prefix.strip_prefix("*.") {
        let host = name.registry().split(':').next().unwrap_or_default();
        return host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'));
    }
    let full = name.to_string();
    full.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
        // `host` is no prefix of `host:5000`.
        && (prefix.contains('/') || prefix == name.registry())
}

/// The name with its prefix replaced.
fn moved(name: &Reference, prefix: &str, location: &str) -> Result<Reference, RegistriesError> {
    if location.is_empty() || location == prefix {
        return Ok(name.clone());
    }
    let full = name.to_string();
    let rest = match prefix.strip_prefix("*.") {
        Some(_) => &full[name.registry().len()..],
        None => &full[prefix.len()..],
    };
    format!("{location}{rest}")
        .parse()
        .map_err(|source| RegistriesError::Location {
            name: full.clone(),
            location: location.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(conf: &str, name: &str) -> Result<Vec<String>, RegistriesError> {
        let mut registries = Registries::default();
        registries.add(conf)?;
        let endpoints = registries.endpoints(&name.parse().unwrap())?.into_iter();
        Ok(endpoints
            .map(|at| format!("{}{}", at.reference, if at.insecure { " http" } else { "" }))
            .collect())
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn mirrors_come_first_and_the_longest_prefix_decides() {
        let conf = r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "m.local:5000/hub"
            insecure = true
            [[registry]]
            prefix = "docker.io/team"
            location = "q.io/moved"
        "#;
        assert_eq!(
            places(conf, "debian:12").unwrap(),
            [
                "m.local:5000/hub/library/debian:12 http",
                "docker.io/library/debian:12"
            ]
        );
        assert_eq!(places(conf, "team/app").unwrap(), ["q.io/moved/app:latest"]);
        assert_eq!(places(conf, "teams/app").unwrap().len(), 2);
        assert_eq!(places(conf, "r.io/x").unwrap(), ["r.io/x:latest"]);
    }

    #[test]
    fn mirrors_may_serve_digests_or_tags_alone() {
        let conf = |key: &str| {
            format!(
                "[[registry]]\nlocation = \"q.io\"\n{key}\n[[registry.mirror]]\nlocation = \"m.io\"\n"
            )
        };
        let pinned = format!("q.io/x@{DIGEST}");
        let count = |conf: &str, name: &str| places(conf, name).unwrap().len();
        let by_digest = conf("mirror-by-digest-only = true");
        assert_eq!(
            (count(&by_digest, "q.io/x:1"), count(&by_digest, &pinned)),
            (1, 2)
        );
        let by_tag = conf("") + "pull-from-mirror = \"tag-only\"\n";
        assert_eq!(
            (count(&by_tag, "q.io/x:1"), count(&by_tag, &pinned)),
            (2, 1)
        );
    }

    #[test]
    fn blocked_and_insecure_registries_are_those_that_are_named() {
        let conf = "[[registry]]\nprefix = \"*.evil.io\"\nblocked = true\n[[registry]]\nlocation = \"h:5000\"\ninsecure = true\n";
        for blocked in ["a.evil.io/x", "a.b.evil.io:5000/x"] {
            let error = places(conf, blocked).unwrap_err().to_string();
            assert!(error.contains("blocks *.evil.io"), "{error}");
        }
        assert_eq!(places(conf, "evil.io/x").unwrap(), ["evil.io/x:latest"]);
        assert_eq!(
            places(conf, "notevil.io/x").unwrap(),
            ["notevil.io/x:latest"]
        );
        assert_eq!(places(conf, "h:5000/x").unwrap(), ["h:5000/x:latest http"]);
        assert_eq!(places(conf, "h.io/x").unwrap(), ["h.io/x:latest"]);
        let bare = "[[registry]]\nlocation = \"h.io\"\ninsecure = true\n";
        assert_eq!(places(bare, "h.io:5000/x").unwrap(), ["h.io:5000/x:latest"]);
    }

    #[test]
    fn later_files_decide_and_broken_ones_are_errors() {
        let mut registries = Registries::default();
        registries
            .add("[[registry]]\nlocation = \"q.io\"\nblocked = true\n")
            .unwrap();
        registries
            .add("[[registry]]\nlocation = \"q.io\"\n")
            .unwrap();
        assert!(
            registries
                .endpoints(&Reference::from_static("q.io/x"))
                .is_ok()
        );
        for broken in [
            "[[registry]]\n",
            "[registries.search]\nregistries = [\"q.io\"]\n",
            "[[registry]\n",
            "[[registry]]\nlocation = 7\n",
            "[[registry]]\nlocation = \"q.io\"\ninsecure = \"yes\"\n",
        ] {
            assert!(registries.add(broken).is_err(), "{broken}");
        }
        let conf = "[[registry]]\nprefix = \"q.io\"\nlocation = \"NO SUCH\"\n";
        assert!(places(conf, "q.io/x").is_err());
    }
}
