//! Fetches a file over HTTPS and hands it out only if its SHA-512 is the expected one.
//!
//! A host that cannot be reached is given up within seconds: the caller has another way. Nothing is resumed or
//! repeated. Plain HTTP is spoken to loopback only, which is what its tests use.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Response, Url};
use sha2::{Digest as _, Sha512};
use tokio::time::timeout;

use super::error::Error;
use super::progress::Progress;

/// Includes DNS and TLS. A firewall that drops packets costs this much.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Up to the response's head, redirects included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of a body.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// GitHub needs one; more than a few is a loop.
const MOST_REDIRECTS: usize = 5;
/// An envtest archive has 50 to 60 MB; nobody fills the disk with one.
const LARGEST_FILE: u64 = 512 * 1024 * 1024;
/// controller-tools' index has about 100 kB.
const LARGEST_TEXT: u64 = 4 * 1024 * 1024;

/// A SHA-512.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest([u8; 64]);

impl Digest {
    /// From 128 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha512::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An HTTP client with this module's limits.
#[derive(Clone, Debug)]
pub struct Downloader {
    /// Through `HTTPS_PROXY` where that is set.
    outside: Client,
    /// A proxy's loopback is not ours.
    loopback: Client,
}

impl Downloader {
    pub fn new() -> Result<Self, Error> {
        super::install_crypto();
        let client = || {
            Client::builder()
                .user_agent(concat!("pipekick-sandbox/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(STALL_TIMEOUT)
                .redirect(Policy::custom(follow))
        };
        let built = |client: ClientBuilder| {
            client
                .build()
                .map_err(|error| Error::Download { url: "https".to_owned(), problem: chain(&error) })
        };
        Ok(Self { outside: built(client())?, loopback: built(client().no_proxy())? })
    }

    /// Writes what `url` answers to `to`. If it is not what was `expected`, `to` is not to be used.
    pub async fn file(
        &self,
        url: &Url,
        expected: &Digest,
        to: &Path,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut answer = self.get(url).await?;
        let total = answer.content_length();
        let mut file = File::create(to).map_err(Error::io("create", to))?;
        let mut hash = Sha512::new();
        let mut so_far = 0;
        while let Some(piece) = answer.chunk().await.map_err(|error| failed(url, chain(&error)))? {
            so_far += piece.len() as u64;
            if so_far > LARGEST_FILE {
                return Err(failed(url, format!("more than {}", megabytes(LARGEST_FILE))));
            }
            hash.update(&piece);
            file.write_all(&piece).map_err(Error::io("write", to))?;
            progress.so_far(&portion(so_far, total));
        }
        let found = Digest(hash.finalize().into());
        if found == *expected {
            Ok(())
        } else {
            let (expected, found) = (expected.to_string(), found.to_string());
            Err(Error::Digest { url: url.to_string(), expected, found })
        }
    }

    /// A small text.
    pub async fn text(&self, url: &Url) -> Result<String, Error> {
        let mut answer = self.get(url).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| failed(url, chain(&error)))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > LARGEST_TEXT {
                return Err(failed(url, format!("more than {}", megabytes(LARGEST_TEXT))));
            }
        }
        String::from_utf8(bytes).map_err(|error| failed(url, error.to_string()))
    }

    async fn get(&self, url: &Url) -> Result<Response, Error> {
        if !trustworthy(url) {
            return Err(failed(url, "only https is spoken".to_owned()));
        }
        let client = if is_plain_loopback(url) { &self.loopback } else { &self.outside };
        let answer = timeout(ANSWER_TIMEOUT, client.get(url.clone()).send())
            .await
            .map_err(|_| failed(url, format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))?
            .map_err(|error| failed(url, chain(&error)))?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(failed(url, format!("HTTP status {}", answer.status())))
        }
    }
}

fn trustworthy(url: &Url) -> bool {
    url.scheme() == "https" || is_plain_loopback(url)
}

fn is_plain_loopback(url: &Url) -> bool {
    url.scheme() == "http" && url.host_str() == Some("127.0.0.1")
}

/// Never from https down to http.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let started_plain = attempt.previous().first().is_some_and(is_plain_loopback);
    if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("too many redirects")
    } else if attempt.url().scheme() == "https" || (started_plain && is_plain_loopback(attempt.url())) {
        attempt.follow()
    } else {
        attempt.error("redirected away from https")
    }
}

fn failed(url: &Url, problem: String) -> Error {
    Error::Download { url: url.to_string(), problem }
}

/// reqwest says *what* failed and keeps *why* in the sources.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let this = error.to_string();
        // The first has the URL, which the reader has already.
        let this = this.split(" for url (").next().unwrap_or_default().to_owned();
        if !text.contains(&this) {
            text = if text.is_empty() { this } else { format!("{text}: {this}") };
        }
        next = error.source();
    }
    text
}

fn portion(so_far: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total > 0 => {
            format!("{} of {}, {} %", megabytes(so_far), megabytes(total), so_far * 100 / total)
        }
        _ => megabytes(so_far),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_anywhere_and_plain_http_to_loopback_only() {
        let cases = [
            ("https://example.com/a", true),
            ("http://127.0.0.1:8080/a", true),
            ("http://example.com/a", false),
            ("http://127.0.0.1.example.com/a", false),
            ("file:///etc/passwd", false),
        ];
        for (url, expected) in cases {
            assert_eq!(trustworthy(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_digest_is_128_hexadecimal_digits() {
        assert_eq!(Digest::parse(&"0F".repeat(64)).unwrap().to_string(), "0f".repeat(64));
        assert_eq!(Digest::parse(&"0f".repeat(63)), None);
        assert_eq!(Digest::parse(&"xy".repeat(64)), None);
    }

    #[test]
    fn how_far_is_told_with_and_without_a_total() {
        assert_eq!(portion(26_157_474, Some(52_314_948)), "26.1 MB of 52.3 MB, 50 %");
        assert_eq!(portion(950_000, None), "0.9 MB");
    }
}
