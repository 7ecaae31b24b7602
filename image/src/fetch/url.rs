//! URLs that can be fetched. The invariant: the scheme is http or https, there is a host, and what is shown has no password.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// An http or https URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl(Url);

/// Why a text is no URL that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseHttpUrlError {
    /// Not a URL.
    #[error("parse the URL: {0}")]
    Malformed(String),
    /// Another scheme.
    #[error("fetch a URL of the scheme {0:?}: only http and https are fetched")]
    Scheme(String),
    /// No host.
    #[error("parse the URL: it has no host")]
    NoHost,
}

impl FromStr for HttpUrl {
    type Err = ParseHttpUrlError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url =
            Url::parse(text).map_err(|error| ParseHttpUrlError::Malformed(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ParseHttpUrlError::Scheme(url.scheme().to_owned()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(ParseHttpUrlError::NoHost);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl HttpUrl {
    /// The name of the file: the last part of the path, percent signs decoded; `None` where there is none that can be a name.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        let last = self.0.path_segments()?.rfind(|part| !part.is_empty())?;
        let name = percent_decoded(last)?;
        let usable = !matches!(name.as_str(), "." | "..") && !name.contains(['/', '\0']);
        usable.then_some(name)
    }

    /// The whole URL, its secrets too.
    pub(super) fn with_password(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// The URL without user name and password, and these as the value of an `Authorization` header (RFC 7617).
    #[must_use]
    pub fn split_credentials(&self) -> (String, Option<String>) {
        let header = self
            .credentials()
            .map(|(user, password)| basic(&user, &password.unwrap_or_default()));
        (without_credentials(&self.0).into(), header)
    }

    /// The name or address of the server.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The same with the port, where it is not the scheme's own.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let port = self.0.port().map(|port| format!(":{port}"));
        format!("{}{}", self.host(), port.unwrap_or_default())
    }

    /// The URL of the server: scheme, host and port.
    #[must_use]
    pub fn server(&self) -> String {
        format!("{}://{}/", self.0.scheme(), self.host_and_port())
    }

    /// User name and password, decoded.
    pub(super) fn credentials(&self) -> Option<(String, Option<String>)> {
        let password = self.0.password().and_then(percent_decoded);
        if self.0.username().is_empty() && password.is_none() {
            return None;
        }
        Some((percent_decoded(self.0.username())?, password))
    }
}

/// Without user name and password, whoever reads the log.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(without_credentials(&self.0).as_str())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) fn without_credentials(url: &Url) -> Url {
    let mut shown = url.clone();
    // Fails only for URLs without a host.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown
}

/// A user name and a password as the value of an `Authorization` header (RFC 7617).
#[must_use]
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() {
                digit.into()
            } else {
                '='
            });
        }
    }
    text
}

/// RFC 3986, 2.1; `None` when the bytes are no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_path() {
        let name = |text: &str| text.parse::<HttpUrl>().unwrap().file_name();
        assert_eq!(name("http://x/a/b.tar?x=/y#z").as_deref(), Some("b.tar"));
        assert_eq!(name("http://x/a%20b/").as_deref(), Some("a b"));
        assert_eq!(name("http://x/a/%2e%2e%2fetc"), None);
        assert_eq!(name("http://x/"), None);
        assert_eq!(name("http://x"), None);
    }

    #[test]
    fn s63_what_is_shown_has_no_password() {
        let url: HttpUrl = "https://me:s3cret%40@x.io/a".parse().unwrap();
        assert_eq!(url.to_string(), "https://x.io/a");
        assert_eq!(format!("{url:?}"), "https://x.io/a");
        assert_eq!(
            url.credentials(),
            Some(("me".into(), Some("s3cret@".into())))
        );
        let header = |text: &str| text.parse::<HttpUrl>().unwrap().split_credentials().1;
        assert_eq!(
            header("https://Aladdin:open%20sesame@x/").as_deref(),
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        );
        assert_eq!(header("https://ab@x/").as_deref(), Some("Basic YWI6"));
        assert_eq!(header("https://x/"), None);
    }

    #[test]
    fn only_http_is_fetched() {
        for text in ["file:///etc/passwd", "ftp://x/y", "x", "http://"] {
            assert!(text.parse::<HttpUrl>().is_err(), "{text}");
        }
    }
}
