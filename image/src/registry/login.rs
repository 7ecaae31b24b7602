//! Logging in: from a registry's challenge to what is shown to it from then on.
//!
//! Invariant: a secret goes only where [`Realm::check`] lets it, and no message quotes one.

use reqwest::header::{CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, StatusCode, Url};

use super::challenge::{Challenge, Realm};
use super::documents::Session;
use super::retry::retry;
use super::{Access, Direction, RegistryError};
use crate::auth::Credentials;
use crate::json;

/// containers/image has the same limit.
const TOKEN_MAX: usize = 1 << 20;

/// What is shown to the registry once it has asked.
#[derive(Clone)]
pub(super) enum Pass {
    None,
    Basic { username: String, password: String },
    Bearer(String),
}

#[derive(serde::Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// Asks a registry whether it knows who asks; the name stands for its registry alone.
///
/// # Errors
/// When it does not, or cannot be asked.
pub fn check_login(access: Access<'_>) -> Result<(), RegistryError> {
    super::install_crypto();
    let mut session = Session::new(access, Direction::Pull)?;
    session.is_scoped = false;
    let subject = "access";
    let url = session
        .base
        .join("v2/")
        .unwrap_or_else(|_| session.base.clone());
    retry(access, subject, || session.get(subject, &url).map(drop))
}

impl Session<'_> {
    /// What has to be shown to the registry, as far as it has asked.
    pub(super) fn pass(&self) -> Pass {
        self.pass.clone()
    }

    /// Asks for a right to use the repository, a new one after the registry has refused the old one.
    pub(super) fn renew(&mut self) -> Result<(), RegistryError> {
        self.pass = Pass::None;
        let subject = "access";
        let url = self.base.join("v2/").unwrap_or_else(|_| self.base.clone());
        let response = self.wait(self.send(subject, self.client.get(url)))?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.log_in(response.headers())?;
        }
        Ok(())
    }

    pub(super) fn log_in(&mut self, headers: &HeaderMap) -> Result<(), RegistryError> {
        let texts = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let reason = |reason: &str| RegistryError::Login {
            host: self.host(),
            reason: reason.to_owned(),
        };
        self.pass = match Challenge::parse(texts) {
            None => return Err(reason("it names no way to log in that is known here")),
            Some(Challenge::Basic) => match self.access.credentials {
                Credentials::Basic { username, password } => Pass::Basic {
                    username: username.clone(),
                    password: password.clone(),
                },
                Credentials::IdentityToken(_) => {
                    return Err(reason(
                        "it wants a password, but there is an identity token",
                    ));
                }
                Credentials::Anonymous => Pass::None,
            },
            Some(Challenge::Bearer { realm, service }) => {
                let realm = Realm::check(&realm, &self.base, &self.access.options.allowed_realms)
                    .map_err(|reason| RegistryError::Login {
                    host: self.host(),
                    reason,
                })?;
                Pass::Bearer(self.token(realm, service.as_deref())?)
            }
        };
        Ok(())
    }

    fn token(&self, realm: Realm, service: Option<&str>) -> Result<String, RegistryError> {
        if !realm.trusted && *self.access.credentials != Credentials::Anonymous {
            return Err(RegistryError::ForeignRealm {
                host: self.host(),
                realm: realm.url.to_string(),
            });
        }
        let subject = "token";
        let request = self.token_request(realm.url, service);
        let response = self.wait(self.send(subject, request))?;
        let bytes = self.wait(self.body(subject, response, TOKEN_MAX))?;
        let malformed = || RegistryError::Login {
            host: self.host(),
            reason: "the token is malformed".to_owned(),
        };
        // The parser's message could quote the token.
        let token: Token = json::parse("token", &bytes, &[]).map_err(|_| malformed())?;
        let token = if token.token.is_empty() {
            token.access_token
        } else {
            token.token
        };
        let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if visible { Ok(token) } else { Err(malformed()) }
    }

    /// GET with the password (distribution, "token"), or POST with the refresh token ("oauth2").
    fn token_request(&self, mut url: Url, service: Option<&str>) -> RequestBuilder {
        let actions = match self.direction {
            Direction::Pull => "pull",
            Direction::Push => "pull,push",
        };
        let own = self.access.reference.repository();
        let scopes: Vec<String> = self
            .is_scoped
            .then(|| format!("repository:{own}:{actions}"))
            .into_iter()
            .chain(
                self.neighbours
                    .iter()
                    .map(|name| format!("repository:{name}:pull")),
            )
            .collect();
        // Several scopes are several parameters for GET, and one with spaces for POST (distribution, "token" and "oauth2").
        let joined = scopes.join(" ");
        let mut parameters: Vec<_> = match self.access.credentials {
            Credentials::IdentityToken(_) => vec![("scope", joined.as_str())],
            _ => scopes
                .iter()
                .map(|scope| ("scope", scope.as_str()))
                .collect(),
        };
        parameters.extend(service.map(|service| ("service", service)));
        let Credentials::IdentityToken(secret) = self.access.credentials else {
            url.query_pairs_mut().extend_pairs(parameters);
            let request = self.client.get(url);
            return match self.access.credentials {
                Credentials::Basic { username, password } => {
                    request.basic_auth(username, Some(password))
                }
                _ => request,
            };
        };
        parameters.extend([
            ("grant_type", "refresh_token"),
            ("client_id", "rbuild"),
            ("refresh_token", secret),
        ]);
        let mut form = self.base.clone();
        form.query_pairs_mut().clear().extend_pairs(parameters);
        let body = form.query().unwrap_or_default().to_owned();
        self.client
            .post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
    }
}
