//! Secrets that rbuild itself shows to servers, by BuildKit's names: `HTTP_AUTH_TOKEN_HOST` and `HTTP_AUTH_HEADER_HOST` for files
//! (source/http), `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, also with `.HOST`, for repositories (source/git). The invariant: a
//! secret with a host in its name is for that host only, and what is no line of text is refused, never cut.

use std::collections::BTreeMap;

use image::fetch::{HttpUrl, basic};

use crate::settings::Secret;

/// GitHub's user name for tokens, which other servers take too.
const USER_OF_TOKENS: &str = "x-access-token";

/// A secret that can be no header.
#[derive(Debug, thiserror::Error)]
#[error("use the secret {id}: it is not one line of plain text")]
pub struct SecretError {
    id: String,
}

type Secrets = BTreeMap<String, Secret>;

/// The value of the header `Authorization` for a file; of a token and a header BuildKit takes the token.
pub(super) fn of_file(secrets: &Secrets, url: &HttpUrl) -> Result<Option<String>, SecretError> {
    let host = url.host();
    if let Some(token) = find(secrets, "HTTP_AUTH_TOKEN_", host)? {
        return Ok(Some(format!("Bearer {token}")));
    }
    Ok(find(secrets, "HTTP_AUTH_HEADER_", host)?.map(str::to_owned))
}

/// The value of the header `Authorization` for a repository: what is for its host comes before what is for all.
pub(super) fn of_repository(
    secrets: &Secrets,
    url: &HttpUrl,
) -> Result<Option<String>, SecretError> {
    let host = url.host_and_port();
    for (dot, host) in [(".", host.as_str()), ("", "")] {
        if let Some(header) = find(secrets, &format!("GIT_AUTH_HEADER{dot}"), host)? {
            return Ok(Some(header.to_owned()));
        }
        if let Some(token) = find(secrets, &format!("GIT_AUTH_TOKEN{dot}"), host)? {
            return Ok(Some(basic(USER_OF_TOKENS, token)));
        }
    }
    Ok(None)
}

/// The secret of that name; hosts have no case.
fn find<'s>(
    secrets: &'s Secrets,
    prefix: &str,
    host: &str,
) -> Result<Option<&'s str>, SecretError> {
    let named = |id: &str| {
        let rest = id.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
    };
    let Some((id, secret)) = secrets.iter().find(|(id, _)| named(id)) else {
        return Ok(None);
    };
    let plain = |text: &&str| {
        let mut bytes = text.bytes();
        !text.is_empty() && bytes.all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
    };
    let text = std::str::from_utf8(secret.bytes()).ok();
    // Editors and `echo` end a file with a line end.
    let line = text.map(|text| text.trim_end_matches(['\r', '\n']));
    match line.filter(plain) {
        Some(line) => Ok(Some(line)),
        None => Err(SecretError { id: id.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(all: &[(&str, &str)]) -> Secrets {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec()).expect("a small one");
        all.iter()
            .map(|(id, text)| ((*id).to_owned(), secret(text)))
            .collect()
    }

    fn url(text: &str) -> HttpUrl {
        text.parse().expect("a URL")
    }

    #[test]
    fn files_get_what_is_for_their_host() {
        let all = secrets(&[
            ("HTTP_AUTH_TOKEN_a.io", "tok\n"),
            ("HTTP_AUTH_HEADER_a.io", "Basic x"),
            ("HTTP_AUTH_HEADER_b.io", "Basic y"),
        ]);
        let of = |text: &str| of_file(&all, &url(text)).expect("good secrets");
        assert_eq!(of("https://A.io:8443/f").as_deref(), Some("Bearer tok"));
        assert_eq!(of("https://b.io/f").as_deref(), Some("Basic y"));
        for other in ["https://c.io/f", "https://x.a.io/f", "https://a.io.c.io/f"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn repositories_get_what_is_for_their_host_before_what_is_for_all() {
        let all = secrets(&[
            ("GIT_AUTH_TOKEN.a.io:1", "open sesame"),
            ("GIT_AUTH_HEADER", "Basic z"),
            ("GIT_AUTH_TOKEN", "never"),
        ]);
        let of = |text: &str| of_repository(&all, &url(text)).expect("good secrets");
        assert_eq!(
            of("https://a.io:1/r.git").as_deref(),
            Some("Basic eC1hY2Nlc3MtdG9rZW46b3BlbiBzZXNhbWU=")
        );
        assert_eq!(of("https://a.io/r.git").as_deref(), Some("Basic z"));
        let none = secrets(&[("GIT_AUTH_TOKEN.b.io", "x")]);
        let other = of_repository(&none, &url("https://a.io/r.git"));
        assert_eq!(other.expect("good secrets"), None);
    }

    #[test]
    fn what_is_no_line_is_refused_and_not_quoted() {
        for text in ["", "\n", "a\nb", "a\u{0}", "s3cret\u{e9}"] {
            let all = secrets(&[("HTTP_AUTH_HEADER_a.io", text)]);
            let error = of_file(&all, &url("http://a.io/")).expect_err("no line");
            assert_eq!(
                error.to_string(),
                "use the secret HTTP_AUTH_HEADER_a.io: it is not one line of plain text"
            );
        }
    }
}
