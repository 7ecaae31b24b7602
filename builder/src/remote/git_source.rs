//! Git repositories as sources: how they are written. The invariant: a source that was parsed names a server by a protocol that is
//! allowed, and neither its ref nor its directory can be taken for an option or lead out of the repository.

use std::fmt;

use image::fetch::HttpUrl;

/// A git repository, what of it is meant, and how it is taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitSource {
    /// The URL, as git takes it.
    pub url: String,
    /// A branch, a tag, a full name (`refs/…`) or a commit; the default branch without one.
    pub reference: Option<String>,
    /// The directory of it that is the source.
    pub subdir: Option<String>,
    /// The beginning of the commit that it must be.
    pub checksum: Option<String>,
    /// Whether `.git` is kept, where that is said.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are taken too.
    pub submodules: bool,
}

/// Why a text is no git source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseGitError {
    /// It has a character that no URL has.
    #[error("parse the git URL: it has a blank or a control character")]
    Character,
    /// There is no host.
    #[error("parse the git URL: it names no host")]
    NoHost,
    /// A parameter that is not known.
    #[error("parse the git URL: there is no parameter {0:?}")]
    Parameter(String),
    /// Two statements about the same.
    #[error("parse the git URL: {0} is given twice")]
    Twice(&'static str),
    /// A parameter's value.
    #[error("parse the git URL: {name}={value:?} is not {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl GitSource {
    /// Reads `URL[?PARAMETERS][#REF[:SUBDIR]]`, as BuildKit does.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn parse(text: &str) -> Result<Self, ParseGitError> {
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(ParseGitError::Character);
        }
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let (url, query) = match rest.split_once('?') {
            Some((url, query)) => (url, Some(query)),
            None => (rest, None),
        };
        let url = match url.strip_prefix("github.com/") {
            Some(path) => format!("https://github.com/{path}"),
            None => url.to_owned(),
        };
        check_host(&url)?;
        let mut source = Self {
            url,
            reference: None,
            subdir: None,
            checksum: None,
            keep_git_dir: None,
            submodules: true,
        };
        let (reference, subdir) = fragment
            .unwrap_or_default()
            .split_once(':')
            .unwrap_or((fragment.unwrap_or_default(), ""));
        source.set_reference(reference)?;
        source.set_subdir(subdir)?;
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            source.parameter(name, value)?;
        }
        Ok(source)
    }

    /// Whether `.git` is kept.
    pub(super) fn keeps_git_dir(&self) -> bool {
        self.keep_git_dir.unwrap_or(false)
    }

    fn parameter(&mut self, name: &str, value: &str) -> Result<(), ParseGitError> {
        match name {
            "ref" => self.set_reference(value),
            "tag" => self.set_reference(&format!("refs/tags/{value}")),
            "branch" => self.set_reference(&format!("refs/heads/{value}")),
            "subdir" => self.set_subdir(value),
            "checksum" | "commit" => self.set_checksum(value),
            "keep-git-dir" => {
                self.keep_git_dir = Some(flag("keep-git-dir", value)?);
                Ok(())
            }
            "submodules" => {
                self.submodules = flag("submodules", value)?;
                Ok(())
            }
            // All that is fetched is fetched by commit where the server allows it.
            "fetch-by-commit" => flag("fetch-by-commit", value).map(drop),
            "mtime" if value == "commit" => Ok(()),
            "mtime" => Err(ParseGitError::Value {
                name: "mtime",
                value: value.to_owned(),
                expected: "\"commit\", the only one that is reproducible",
            }),
            other => Err(ParseGitError::Parameter(other.to_owned())),
        }
    }

    /// Git's own rules for names (git-check-ref-format) forbid all that could be more than a name.
    fn set_reference(&mut self, value: &str) -> Result<(), ParseGitError> {
        if value.is_empty() {
            return Ok(());
        }
        let odd = |c: char| "~^:?*[\\{}".contains(c);
        if value.starts_with(['-', '/', '+'])
            || value.contains("..")
            || value.contains(odd)
            || value.ends_with(['/', '.'])
        {
            return Err(ParseGitError::Value {
                name: "ref",
                value: value.to_owned(),
                expected: "a name of a branch, tag or commit",
            });
        }
        once("the ref", &mut self.reference, value)
    }

    fn set_subdir(&mut self, value: &str) -> Result<(), ParseGitError> {
        let clean: Vec<&str> = value
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        if clean.contains(&"..") {
            return Err(ParseGitError::Value {
                name: "subdir",
                value: value.to_owned(),
                expected: "a directory of the repository",
            });
        }
        if clean.is_empty() {
            return Ok(());
        }
        once("the directory", &mut self.subdir, &clean.join("/"))
    }

    /// Takes `--checksum` too.
    pub(crate) fn set_checksum(&mut self, value: &str) -> Result<(), ParseGitError> {
        let hex = value.len() >= 7
            && value.len() <= 64
            && value
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hex {
            return Err(ParseGitError::Value {
                name: "checksum",
                value: value.to_owned(),
                expected: "a commit of at least 7 hexadecimal digits",
            });
        }
        once("the commit", &mut self.checksum, value)
    }
}

fn once(what: &'static str, place: &mut Option<String>, value: &str) -> Result<(), ParseGitError> {
    if place
        .replace(value.to_owned())
        .is_some_and(|old| old != value)
    {
        return Err(ParseGitError::Twice(what));
    }
    Ok(())
}

fn flag(name: &'static str, value: &str) -> Result<bool, ParseGitError> {
    match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(ParseGitError::Value {
            name,
            value: other.to_owned(),
            expected: "true or false",
        }),
    }
}

/// ssh takes a host that begins with a dash for an option (CVE-2017-1000117).
fn check_host(url: &str) -> Result<(), ParseGitError> {
    let place = match url.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
        None => url.split(':').next().unwrap_or_default(),
    };
    let host = place.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.starts_with('-') || place.starts_with('-') {
        return Err(ParseGitError::NoHost);
    }
    Ok(())
}

/// Without a password, whoever reads the log.
impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.url.parse::<HttpUrl>() {
            Ok(url) => url.fmt(f)?,
            // The user of ssh is no secret.
            Err(_) => f.write_str(&self.url)?,
        }
        let subdir = self.subdir.as_deref();
        if self.reference.is_some() || subdir.is_some() {
            write!(f, "#{}", self.reference.as_deref().unwrap_or_default())?;
        }
        subdir.map_or(Ok(()), |subdir| write!(f, ":{subdir}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> GitSource {
        GitSource::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn fragments_and_parameters_say_what_is_meant() {
        for text in [
            "https://x.io/a.git#v1:dir/sub",
            "https://x.io/a.git?ref=v1&subdir=/dir/./sub/",
            "https://x.io/a.git?subdir=dir/sub#v1",
        ] {
            let source = parsed(text);
            assert_eq!(source.url, "https://x.io/a.git");
            assert_eq!(source.reference.as_deref(), Some("v1"), "{text}");
            assert_eq!(source.subdir.as_deref(), Some("dir/sub"), "{text}");
        }
        let source = parsed("git@x.io:a/b?tag=v1&keep-git-dir=1&submodules=false&commit=0123abc");
        assert_eq!(source.url, "git@x.io:a/b");
        assert_eq!(source.reference.as_deref(), Some("refs/tags/v1"));
        assert_eq!(source.checksum.as_deref(), Some("0123abc"));
        assert!(source.keep_git_dir == Some(true) && !source.submodules);
        assert_eq!(parsed("github.com/a/b").url, "https://github.com/a/b");
        assert_eq!(parsed("ssh://git@x.io/a").reference, None);
        assert_eq!(
            parsed("https://me:s3cret@x.io/a.git#v1:d").to_string(),
            "https://x.io/a.git#v1:d"
        );
    }

    #[test]
    fn s34_what_could_be_an_option_or_lead_elsewhere_is_refused() {
        for text in [
            "https://x.io/a.git#--upload-pack=touch",
            "https://x.io/a.git?ref=-x",
            "https://x.io/a.git#a..b",
            "https://x.io/a.git#+refs/heads/a",
            "https://x.io/a.git#main:../..",
            "https://x.io/a.git?subdir=a/../../b",
            "ssh://-oProxyCommand=touch/a",
            "ssh://git@-oProxyCommand=touch/a",
            "-x@host:a",
            "git@-x:a",
            "https://x.io/a b.git",
            "https://x.io/a.git?what=1",
            "https://x.io/a.git?checksum=xyz",
            "https://x.io/a.git?checksum=123",
            "https://x.io/a.git?ref=a#b",
            "https://x.io/a.git?keep-git-dir=maybe",
        ] {
            assert!(GitSource::parse(text).is_err(), "{text}");
        }
    }
}
