//! The transport: one request, at most one answer, within a deadline.
//!
//! It never retries and never follows a redirect, and when no answer comes it tells *nothing was sent* from *it
//! may have been sent*. It does not know what an answer means; that is [`super::explain`]'s.
//!
//! hyper itself puts a request on another connection if the pooled one turned out closed before a byte of it was
//! written. That cannot be switched off here, and cannot send a request twice.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, HeaderValue, LOCATION};
use http::{HeaderMap, Method};
use pipekick_core::domain::{GitLabUrl, ProjectRef, Reason};
use reqwest::{Url, redirect, retry};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use super::says::{GitLabSays, printable};
use super::{CaBundle, ResponseMeta, Trust};
use crate::clock;

/// The whole of a request, from the first lookup of the name to the last byte of the answer.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
/// DNS, TCP and TLS together. Well below the deadline, so that a host that does not answer is known not to have
/// been sent anything.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the 60 s or more that proxies keep an idle connection: ours is closed first.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// A dead HTTP/2 connection would hold every request until its deadline.
const PING: Duration = Duration::from_secs(10);
/// The largest answer wanted as a rule is a page of 100 pipelines, about 50 KiB; variables of a pipeline may take more.
const MAX_BODY: usize = 1024 * 1024;
/// Clients kept for CA bundles; each has a pool of connections.
const MAX_BUNDLES: usize = 16;
/// What stands in place of a secret.
const HIDDEN: &str = "[secret]";
/// Far above any token of GitLab's; a whole file mistaken for a token is refused.
const MAX_TOKEN: usize = 4096;

/// What the process decides once for all requests.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether plain http may be used.
    pub allow_http: bool,
    /// The deadline of a whole request.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { allow_http: false, deadline: DEFAULT_DEADLINE }
    }
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum BuildError {
    /// `main` installs it first.
    #[error("no TLS crypto provider is installed")]
    NoCryptoProvider,
    /// As a rule, a container image without CA certificates.
    #[error("cannot set up TLS ({0}): does the image carry CA certificates (/etc/ssl/certs)?")]
    Tls(String),
    /// One that was read, and that TLS cannot use.
    #[error("{0}")]
    Bundle(String),
}

/// One request. It has no `Debug`: query and body may hold what is nobody's business.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: &'a GitLabUrl,
    pub(super) trust: &'a Trust,
    /// The path below `/api/v4`, percent-encoded.
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) token: Token<'a>,
    /// What stands in the body and must not be told on, should GitLab repeat it.
    pub(super) hide: Vec<&'a SecretString>,
    pub(super) want: Want,
}

/// What is wanted of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// GitLab's JSON; at most this many bytes, or it counts as unreadable.
    Json(usize),
    /// The bytes of a file as they are, cut after this many. They are never quoted, and so not searched for secrets.
    File(usize),
}

impl Want {
    /// As large as any answer that is not made of people's texts.
    pub(super) const JSON: Self = Self::Json(MAX_BODY);
}

/// The credential and where it goes.
pub(super) enum Token<'a> {
    /// Into the header `PRIVATE-TOKEN`.
    Header(&'a SecretString, Option<Vec<u8>>),
    /// It stands in this body already.
    Body(&'a SecretString, Vec<u8>),
    /// None goes anywhere.
    None,
}

impl Token<'_> {
    fn secret(&self) -> Option<&str> {
        match self {
            Self::Header(token, _) | Self::Body(token, _) => Some(token.expose_secret()),
            Self::None => None,
        }
    }
}

/// An answer's head, and its body as far as it could be read.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) meta: ResponseMeta,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Vec<u8>, Unreadable>,
    /// What was asked, to tell what a redirect is about.
    pub(super) asked: Url,
}

impl Reply {
    /// GitLab's words, or what the body is instead.
    pub(super) fn said(&self) -> Result<GitLabSays, String> {
        let body = self.body.as_ref().map_err(ToString::to_string)?;
        GitLabSays::parse(body).ok_or_else(|| "a body that is not GitLab's".to_owned())
    }

    /// The value that was asked for, or what the body is instead.
    pub(super) fn value<T: DeserializeOwned>(&self) -> Result<T, String> {
        let body = self.body.as_ref().map_err(ToString::to_string)?;
        serde_json::from_slice(body).map_err(|_| "a body that is not what was asked for".to_owned())
    }

    /// The address that a 3xx points to, if it is another than a project's new one.
    pub(super) fn location(&self) -> Option<Url> {
        let Some(Redirect::Elsewhere { .. }) = self.redirect() else { return None };
        let location = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        location.and_then(|text| self.asked.join(text).ok())
    }

    /// Where a 3xx points to.
    pub(super) fn redirect(&self) -> Option<Redirect> {
        let status = self.status;
        if !(300..400).contains(&status) {
            return None;
        }
        let location = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|text| self.asked.join(text).ok());
        Some(match to {
            // GitLab answers so when a project's path was changed.
            Some(to)
                if to.origin() == self.asked.origin()
                    && to.path() != self.asked.path()
                    && to.path().contains("/api/v4/projects/") =>
            {
                Redirect::Moved { status, to: project_of(&to) }
            }
            // http to https, another host, a sign-in page.
            Some(to) => Redirect::Elsewhere { status, to: printable(&to.origin().ascii_serialization()) },
            None => Redirect::Elsewhere { status, to: "nowhere".into() },
        })
    }
}

/// The project in the path of an API address.
fn project_of(url: &Url) -> Option<ProjectRef> {
    let (_, rest) = url.path().split_once("/api/v4/projects/")?;
    let segment = rest.split('/').next()?;
    percent_encoding::percent_decode_str(segment).decode_utf8().ok()?.parse().ok()
}

/// A redirect. None is followed: the credential belongs to the host that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Redirect {
    #[error(
        "GitLab answered {status}, for it was renamed or moved. Write its new path, or its numeric id, which stays"
    )]
    Moved { status: u16, to: Option<ProjectRef> },
    #[error(
        "{status}, a redirect to {to}, which is not followed: write the URL under which the API answers directly"
    )]
    Elsewhere { status: u16, to: String },
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Unreadable {
    #[error("a body larger than expected")]
    TooLarge,
    #[error("a body that broke off")]
    Cut,
}

/// No answer came.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum SendError {
    /// Nothing left this process.
    #[error("{message}")]
    NotSent { reason: Reason, message: String },
    /// It was sent, or may have been.
    #[error("{message}")]
    Lost { message: String },
}

pub(super) struct Http {
    client: reqwest::Client,
    /// One more for each CA bundle in use; the one used last stands at the end.
    with_bundle: Mutex<Vec<(CaBundle, reqwest::Client)>>,
    options: Options,
}

impl Http {
    pub(super) fn new(options: Options) -> Result<Self, BuildError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(BuildError::NoCryptoProvider); // reqwest would panic
        }
        let client = client_believing(&Trust::System)?;
        Ok(Self { client, with_bundle: Mutex::default(), options })
    }

    /// The client that believes so. A rotated bundle is another bundle; the client of the old one goes once others
    /// have pushed it out.
    fn client(&self, trust: &Trust) -> Result<reqwest::Client, SendError> {
        let Trust::Bundle(bundle) = trust else { return Ok(self.client.clone()) };
        let mut clients = self.with_bundle.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients.iter().position(|(of, _)| of == bundle).map(|at| clients.remove(at));
        let (bundle, client) = match known {
            Some(known) => known,
            None => (bundle.clone(), believing(bundle)?),
        };
        if clients.len() >= MAX_BUNDLES {
            clients.remove(0);
        }
        clients.push((bundle, client.clone()));
        Ok(client)
    }

    pub(super) async fn send(&self, request: Request<'_>) -> Result<Reply, SendError> {
        let Request { method, url, trust, path, query, token, hide, want } = request;
        if !url.is_https() && !self.options.allow_http {
            return Err(SendError::NotSent {
                reason: Reason::PlainHttpRefused,
                message: format!(
                    "{url} is plain http, and the operator was started without --allow-http: write https"
                ),
            });
        }
        token.secret().map_or(Ok(()), check)?;
        let mut asked = Url::parse(&format!("{url}/api/v4{path}")).map_err(|error| SendError::NotSent {
            reason: Reason::InvalidSpec,
            message: format!("{url} cannot be asked: {error}"),
        })?;
        if !query.is_empty() {
            asked.query_pairs_mut().extend_pairs(query);
        }
        let mut builder = self.client(trust)?.request(method, asked.clone()).timeout(self.options.deadline);
        let body = match &token {
            Token::Header(secret, body) => {
                builder = builder.header("PRIVATE-TOKEN", sensitive(secret)?);
                body.clone()
            }
            Token::Body(_, body) => Some(body.clone()),
            Token::None => None,
        };
        if let Some(body) = body {
            builder = builder.header("Content-Type", "application/json").body(body);
        }
        let sent = crate::crash::point("gitlab", builder.send()).await;
        let response = sent.map_err(|error| self.lost(url.authority(), error))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let meta = ResponseMeta::read(status, &headers, clock::now());
        let hide = hide.iter().map(|secret| secret.expose_secret()).chain(token.secret());
        let body = read(response, want).await;
        let body = match want {
            Want::File(_) if (200..300).contains(&status) => body,
            Want::File(_) | Want::Json(_) => body.map(|body| hide.fold(body, scrub)),
        };
        Ok(Reply { status, meta, headers, body, asked })
    }

    /// Fetches a file from where a redirect points to, without any credential; at most so many bytes of it. The address
    /// is a permission by itself, so it is told to nobody.
    pub(super) async fn fetch(
        &self,
        to: &Url,
        trust: &Trust,
        most: usize,
    ) -> Result<(u16, Vec<u8>), SendError> {
        let host = printable(&to.origin().ascii_serialization());
        if to.scheme() != "https" && !(self.options.allow_http && to.scheme() == "http") {
            return Err(SendError::NotSent {
                reason: Reason::PlainHttpRefused,
                message: format!("{host}, where GitLab keeps the file, is not https. Nothing was sent"),
            });
        }
        let builder = self.client(trust)?.get(to.clone()).timeout(self.options.deadline);
        let response = builder.send().await.map_err(|error| self.lost(&host, error))?;
        let status = response.status().as_u16();
        let body = read(response, Want::File(most)).await;
        body.map(|body| (status, body))
            .map_err(|error| SendError::Lost { message: format!("{host} answered with {error}") })
    }

    /// Sorts a failure by whether anything can have arrived.
    fn lost(&self, host: &str, error: reqwest::Error) -> SendError {
        // `is_connect` covers DNS, TCP, a proxy's CONNECT and TLS, and their timeout: no request was written.
        if error.is_connect() || error.is_builder() {
            let slow = if error.is_timeout() { ", no answer within 5 s" } else { "" };
            return SendError::NotSent {
                reason: Reason::Unreachable,
                message: format!("cannot connect to {host}{slow}: {}. Nothing was sent", causes_of(error)),
            };
        }
        // The deadline does not say in which phase it struck, and a broken connection not how much got through.
        let message = if error.is_timeout() {
            format!("no answer from {host} within {} s", self.options.deadline.as_secs_f32())
        } else {
            format!("the connection to {host} broke before an answer came: {}", causes_of(error))
        };
        SendError::Lost { message }
    }
}

/// What all clients have in common.
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("pipekick/", env!("CARGO_PKG_VERSION")))
        .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_gzip()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(CONNECT_TIMEOUT)
}

/// A client for a host that is no GitLab, with the same care: it sends once, follows nowhere, and believes these.
///
/// # Errors
/// TLS cannot be set up, or the bundle cannot be used.
pub fn client_believing(trust: &Trust) -> Result<reqwest::Client, BuildError> {
    match trust {
        Trust::System => builder().build().map_err(|error| BuildError::Tls(causes_of(error))),
        Trust::Bundle(bundle) => believing(bundle).map_err(|error| BuildError::Bundle(error.to_string())),
    }
}

/// A client that believes the certificates of this bundle and no others.
fn believing(bundle: &CaBundle) -> Result<reqwest::Client, SendError> {
    let unusable = |error: reqwest::Error| SendError::NotSent {
        reason: Reason::CaBundleUnusable,
        message: format!("the CA bundle cannot be used: {}. Nothing was sent", causes_of(error)),
    };
    let certificates = bundle
        .certificates()
        .map(reqwest::Certificate::from_der)
        .collect::<Result<Vec<_>, _>>()
        .map_err(unusable)?;
    builder().tls_certs_only(certificates).build().map_err(unusable)
}

/// A token is refused rather than sent altered: a line break at the end is the usual slip.
fn check(token: &str) -> Result<(), SendError> {
    let wrong = if token.is_empty() {
        "is empty"
    } else if token.len() > MAX_TOKEN {
        "is too long"
    } else if !token.bytes().all(|b| b.is_ascii_graphic()) {
        "has a blank, a line break or a character that no token has"
    } else {
        return Ok(());
    };
    let message = format!("the token {wrong}: put the token alone into the Secret. Nothing was sent");
    Err(SendError::NotSent { reason: Reason::SecretUnusable, message })
}

fn sensitive(token: &SecretString) -> Result<HeaderValue, SendError> {
    let mut value = HeaderValue::from_str(token.expose_secret()).map_err(|_| SendError::NotSent {
        reason: Reason::SecretUnusable,
        message: "the token cannot be sent in a header. Nothing was sent".into(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(mut response: reqwest::Response, want: Want) -> Result<Vec<u8>, Unreadable> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Unreadable::Cut)? {
        match want {
            Want::Json(most) if body.len() + chunk.len() > most => return Err(Unreadable::TooLarge),
            Want::File(most) if body.len() + chunk.len() > most => {
                body.extend_from_slice(&chunk[..most - body.len()]);
                break;
            }
            Want::Json(_) | Want::File(_) => body.extend_from_slice(&chunk),
        }
    }
    Ok(body)
}

/// Takes a secret out of an answer that echoes it, before anything is quoted or stored of it.
fn scrub(body: Vec<u8>, secret: &str) -> Vec<u8> {
    if secret.len() < 8 {
        return body; // no real token is that short, and replacing a few characters would garble the answer
    }
    let text = match String::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return error.into_bytes(), // not JSON, never quoted
    };
    // No token of GitLab's has anything to escape: only a value of a variable costs more than one search.
    if secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return if text.contains(secret) { text.replace(secret, HIDDEN) } else { text }.into_bytes();
    }
    // There are many ways to write a text as JSON, and it is quoted as it reads.
    let Ok(mut answer) = serde_json::from_str::<Value>(&text) else {
        return text.into_bytes(); // never quoted
    };
    // What the pipeline chain says goes through a sanitiser that writes HTML.
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let attribute = html.replace('"', "&quot;").replace('\'', "&#39;");
    if hide(&mut answer, &[secret, &html, &attribute]) { answer.to_string() } else { text }.into_bytes()
}

/// Takes these out of every text; says whether there were any.
fn hide(value: &mut Value, secrets: &[&str]) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => {
            let hidden = secrets.iter().fold(text.clone(), |text, secret| text.replace(secret, HIDDEN));
            let found = hidden != *text;
            *text = hidden;
            found
        }
        Value::Array(items) => items.iter_mut().fold(false, |found, item| hide(item, secrets) | found),
        Value::Object(fields) => fields.values_mut().fold(false, |found, item| hide(item, secrets) | found),
    }
}

/// The chain of causes without reqwest's own sentence, which says no more than that sending failed, and without the URL.
#[must_use]
pub fn causes_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut texts: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        source = cause.source();
    }
    if texts.is_empty() {
        texts.push(error.to_string());
    }
    printable(&texts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_token_is_not_sent() {
        for bad in ["", "glptt-1\n", "two words", "tökén", &"x".repeat(5000)] {
            let Err(SendError::NotSent { reason, message }) = check(bad) else {
                panic!("{bad} was accepted")
            };
            assert_eq!(reason, Reason::SecretUnusable);
            assert!(bad.is_empty() || !message.contains(bad));
        }
        assert_eq!(check("glptt-0123_abc.XYZ"), Ok(()));
    }

    #[test]
    fn a_header_with_a_token_does_not_show_it() {
        let value = sensitive(&SecretString::from("glpat-canary")).unwrap();
        assert!(!format!("{value:?}").contains("canary"));
    }

    #[test]
    fn an_echoed_token_is_taken_out() {
        assert_eq!(
            scrub(b"{\"message\":\"bad glpat-canary\"}".to_vec(), "glpat-canary"),
            b"{\"message\":\"bad [secret]\"}"
        );
        assert_eq!(
            scrub(br#"{"message":"no file a\"canary\nb"}"#.to_vec(), "a\"canary\nb"),
            br#"{"message":"no file [secret]"}"#
        );
    }

    #[test]
    fn a_secret_is_taken_out_however_it_was_escaped() {
        for (sentence, secret, body, told) in [
            (
                "by GitLab's sanitiser, which a message of the pipeline chain goes through",
                "a&b<canary>\"'",
                r#"{"message":{"base":["no file a&amp;b&lt;canary&gt;&quot;&#39;.yml"]}}"#,
                r#"{"message":{"base":["no file [secret].yml"]}}"#,
            ),
            (
                "the same, which leaves quotes alone within a text",
                "a&b<canary>\"'",
                r#"{"message":{"base":["no file a&amp;b&lt;canary&gt;\"'.yml"]}}"#,
                r#"{"message":{"base":["no file [secret].yml"]}}"#,
            ),
            (
                "as Rails writes JSON",
                "a&b<canary>",
                r#"{"message":"no file a\u0026b\u003ccanary\u003E"}"#,
                r#"{"message":"no file [secret]"}"#,
            ),
            (
                "as JSON of nothing but ASCII, and with slashes escaped",
                "kanarienvögel/1",
                r#"{"message":"no file kanarienv\u00f6gel\/1"}"#,
                r#"{"message":"no file [secret]"}"#,
            ),
            (
                "and what holds none stays as it is",
                "a&b<canary>",
                r#"{ "message" : "a\u0026b" }"#,
                r#"{ "message" : "a\u0026b" }"#,
            ),
        ] {
            let scrubbed = scrub(body.as_bytes().to_vec(), secret);
            assert_eq!(String::from_utf8(scrubbed).unwrap(), told, "{sentence}");
        }
    }
}
