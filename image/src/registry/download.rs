//! One blob on its way here: asked for once, and again from where it broke off (RFC 9110, 14.2 "Range").
//!
//! Invariant: the pieces that are given out are consecutive, each byte once, however often the transfer was taken up again;
//! every wait is bounded. Whether they are the right bytes is for the digest to say.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Response, StatusCode, Url};

use super::RegistryError;
use super::documents::Session;
use super::retry::Patience;
use crate::digest::Digest;

/// What has to arrive in each stall limit: a byte now and then is no progress.
const WINDOW_MIN: u64 = 1 << 10;
/// After so many bytes a transfer that breaks off counts as the first one again.
const PROGRESS_MIN: u64 = 1 << 20;

/// Less than [`WINDOW_MIN`] bytes in a stall limit.
#[derive(Debug, thiserror::Error)]
#[error("too little arrives")]
struct Stalled;

/// The connection was closed in an orderly way before the end.
#[derive(Debug, thiserror::Error)]
#[error("the transfer ended after {at} of {size} bytes")]
struct EndedEarly {
    at: u64,
    size: u64,
}

/// A blob of the session's repository that is being fetched.
pub(super) struct Download<'s, 'a> {
    session: &'s mut Session<'a>,
    subject: String,
    url: Url,
    /// How long the blob is, where that is known.
    size: Option<u64>,
    /// How much was given out.
    at: u64,
    /// How much of that since something failed.
    fresh: u64,
    /// Whether parts are worth asking for.
    ranges: bool,
    patience: Patience<'a>,
    body: Option<Body>,
}

struct Body {
    response: Response,
    /// What was given out before, and is sent once more.
    skip: u64,
    /// What arrived, and how long was waited for it, in this window.
    arrived: u64,
    waited: Duration,
}

impl<'s, 'a> Download<'s, 'a> {
    /// Nothing is asked for yet.
    pub(super) fn new(
        session: &'s mut Session<'a>,
        subject: String,
        digest: &Digest,
        size: Option<u64>,
    ) -> Self {
        Self {
            url: session.url(&format!("blobs/{digest}")),
            patience: Patience::new(session.access),
            session,
            subject,
            size,
            at: 0,
            fresh: 0,
            ranges: true,
            body: None,
        }
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// When they do not come, however often they are asked for.
    pub(super) fn piece(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match self.attempt() {
                Ok(piece) => return Ok(piece),
                Err(error) => self.fail(error)?,
            }
        }
    }

    fn fail(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.body = None;
        if std::mem::take(&mut self.fresh) >= PROGRESS_MIN {
            self.patience = Patience::new(self.session.access);
        }
        self.patience.bear(&self.subject, error)
    }

    fn attempt(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if self.body.is_none() {
            self.body = Some(self.open()?);
        }
        loop {
            let Some(mut piece) = self.receive()? else {
                return self.end();
            };
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            let known = body.skip.min(piece.len() as u64);
            body.skip -= known;
            // A piece is far smaller than the address space.
            let piece = piece.split_off(known as usize);
            if !piece.is_empty() {
                self.at += piece.len() as u64;
                self.fresh += piece.len() as u64;
                return Ok(Some(piece));
            }
        }
    }

    /// A body that ended too early is taken up again as long as that brings anything.
    fn end(&self) -> Result<Option<Bytes>, RegistryError> {
        match self.size {
            Some(size) if self.at < size && self.fresh > 0 => {
                let at = self.at;
                Err(self.session.network(&self.subject, EndedEarly { at, size }))
            }
            _ => Ok(None),
        }
    }

    fn receive(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let stall = self.session.access.options.stall_timeout;
        let (session, subject) = (&*self.session, &self.subject);
        session.wait(async {
            loop {
                let begun = Instant::now();
                let left = stall.saturating_sub(body.waited);
                let got = tokio::time::timeout(left, body.response.chunk()).await;
                body.waited += begun.elapsed();
                if let Ok(Ok(Some(piece))) = &got {
                    body.arrived += piece.len() as u64;
                }
                if body.waited >= stall && !matches!(got, Ok(Ok(None))) {
                    if body.arrived < WINDOW_MIN {
                        return Err(session.network(subject, Stalled));
                    }
                    (body.arrived, body.waited) = (0, Duration::ZERO);
                }
                match got {
                    Ok(Ok(piece)) => return Ok(piece),
                    Ok(Err(error)) => return Err(session.network(subject, error.without_url())),
                    Err(_) => {}
                }
            }
        })
    }

    /// Asks for the blob, or for what is missing of it, with a new token where the old one has expired.
    fn open(&mut self) -> Result<Body, RegistryError> {
        let mut may_log_in = true;
        loop {
            let mut request = self.session.client.get(self.url.clone());
            if self.at > 0 && self.ranges {
                request = request.header(RANGE, format!("bytes={}-", self.at));
            }
            let request = self.session.shown(request);
            let response = self
                .session
                .wait(self.session.send(&self.subject, request))?;
            let skip = match response.status() {
                StatusCode::OK => self.at,
                StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), self.at) => 0,
                StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE
                    if self.at > 0 && self.ranges =>
                {
                    self.ranges = false;
                    continue;
                }
                StatusCode::UNAUTHORIZED if may_log_in => {
                    may_log_in = false;
                    self.session.log_in(response.headers())?;
                    continue;
                }
                _ => {
                    let told = async { Ok(self.session.refusal(&self.subject, response).await) };
                    return Err(self.session.wait(told).unwrap_or_else(|stopped| stopped));
                }
            };
            return Ok(Body {
                response,
                skip,
                arrived: 0,
                waited: Duration::ZERO,
            });
        }
    }
}

/// `Content-Range: bytes FROM-TO/SIZE`
fn starts_at(headers: &HeaderMap, at: u64) -> bool {
    let text = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let from = text
        .and_then(|text| text.trim().strip_prefix("bytes "))
        .and_then(|range| range.split_once('-'));
    from.is_some_and(|(from, _)| from.trim().parse() == Ok(at))
}
