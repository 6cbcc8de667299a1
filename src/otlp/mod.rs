//! Spans of runs, told to a collector of traces by OTLP over HTTP.
//!
//! ```text
//! controllers ── Tracer::tell ──▶ queue, bounded ──▶ Exporter ── a batch a request ──▶ the collector
//!                                    └─ full: dropped and counted
//! ```
//!
//! What a span says is the core's ([`pipekick_core::decide::span`]). Telling never waits: a collector that is slow or away
//! costs spans and nothing else. Without `--otlp-endpoint` there is no [`Tracer`], and nothing of this runs.

mod export;
mod headers;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use pipekick_core::decide::span::TraceSpan;
use thiserror::Error;
use tokio::sync::mpsc;
use url::Url;

pub use export::Exporter;
pub use headers::Headers;

use crate::gitlab::Trust;
use crate::server::{Metrics, SpanEnd};

/// Spans that wait for the collector, at most. Some 1 KiB each.
const QUEUE: usize = 2048;

/// Where spans go to, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collector.
    pub endpoint: OtlpEndpoint,
    /// The file with the headers of each request, if one is named.
    pub headers: Option<PathBuf>,
    /// Whom to believe that it is the collector.
    pub trust: Trust,
    /// The operator process, as it signs its intents.
    pub instance: String,
}

/// The base URL of a collector of OTLP over HTTP; spans go to `/v1/traces` below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(Url);

/// Why a text is none; each says what to write instead, and quotes nothing that may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OtlpEndpointError {
    /// Not a URL of http or https.
    #[error("not a URL: write it like https://otel-collector.example.com:4318")]
    NotAUrl,
    /// User info, query or fragment.
    #[error(
        "it has no credentials, query or fragment: what the collector asks for goes into --otlp-headers-file"
    )]
    Extras,
    /// The path that we add.
    #[error("write it without /v1/traces, which is added")]
    Path,
}

impl OtlpEndpoint {
    /// Whether what is sent there is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Where spans are sent to.
    fn traces(&self) -> Url {
        let mut url = self.0.clone();
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }
}

impl FromStr for OtlpEndpoint {
    type Err = OtlpEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).map_err(|_| OtlpEndpointError::NotAUrl)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(OtlpEndpointError::NotAUrl);
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.query().is_some() || url.fragment().is_some() {
            return Err(OtlpEndpointError::Extras);
        }
        if url.path().trim_end_matches('/').ends_with("/v1/traces") {
            return Err(OtlpEndpointError::Path);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Where spans are handed in.
#[derive(Debug, Clone)]
pub struct Tracer {
    queue: mpsc::Sender<TraceSpan>,
    metrics: Arc<Metrics>,
}

impl Tracer {
    /// Hands in a span. It never waits: a span that finds no room is dropped.
    pub fn tell(&self, span: TraceSpan) {
        if self.queue.try_send(span).is_err() {
            self.metrics.spans(SpanEnd::Dropped, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use pipekick_core::domain::trace::{SpanId, TraceId};

    use super::*;

    #[test]
    fn a_span_that_finds_no_room_is_dropped_and_counted() {
        let (metrics, (queue, waiting)) = (Arc::new(Metrics::new()), mpsc::channel(1));
        let tracer = Tracer { queue, metrics: Arc::clone(&metrics) };
        let span = TraceSpan {
            name: "a",
            is_request: false,
            trace: TraceId([1; 16]),
            id: SpanId([1; 8]),
            parent: None,
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            attributes: Vec::new(),
            error: None,
        };
        for _ in 0..3 {
            tracer.tell(span.clone());
        }
        assert_eq!(waiting.len(), 1);
        assert!(metrics.encode().contains("pipekick_spans_total{outcome=\"dropped\"} 2\n"));
    }

    #[test]
    fn spans_go_below_what_was_given() {
        for (given, to) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("https://collector.example.com/", "https://collector.example.com/v1/traces"),
            (" https://example.com/otlp/\n", "https://example.com/otlp/v1/traces"),
        ] {
            assert_eq!(given.parse::<OtlpEndpoint>().unwrap().traces().as_str(), to);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_told_without_being_quoted() {
        for (bad, error) in [
            ("collector:4318", OtlpEndpointError::NotAUrl),
            ("grpc://canary:4317", OtlpEndpointError::NotAUrl),
            ("https://me:canary@example.com", OtlpEndpointError::Extras),
            ("https://example.com?key=canary", OtlpEndpointError::Extras),
            ("https://example.com/v1/traces/", OtlpEndpointError::Path),
        ] {
            assert_eq!(bad.parse::<OtlpEndpoint>(), Err(error), "{bad}");
            assert!(!error.to_string().contains("canary"));
        }
    }
}
