//! The task that takes spans from the queue and sends them, a batch a request.
//!
//! A collector that does not answer, or asks to come again, is asked again with the same batch, ever more seldom; meanwhile
//! the queue fills up. What it refuses for good is dropped. A lost answer means that a batch is told twice, under the
//! same names.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use pipekick_core::decide::span::TraceSpan;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use url::Url;

use super::{Headers, QUEUE, Settings, Tracer, wire};
use crate::gitlab::{self, BuildError};
use crate::server::{Metrics, SpanEnd};

/// Spans of one request, at most.
const BATCH: usize = 512;
/// The first span of a batch waits so long for others.
const GATHER: Duration = Duration::from_secs(1);
/// The whole of a request.
const DEADLINE: Duration = Duration::from_secs(5);
/// All that is left at the end has so long: within the time that the last Events have.
const LAST: Duration = Duration::from_millis(1500);
/// First and longest wait before a batch is sent again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The largest answer that is read: one that refuses spans says why, in a sentence.
const MAX_ANSWER: usize = 64 * 1024;
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Sends what a [`Tracer`] is told.
#[derive(Debug)]
pub struct Exporter {
    spans: mpsc::Receiver<TraceSpan>,
    client: reqwest::Client,
    to: Url,
    headers: Option<Headers>,
    instance: String,
    metrics: Arc<Metrics>,
    standing: Standing,
}

/// How it stood with the collector when that was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Taking,
    Troubled,
}

/// Why a batch was not taken.
#[derive(Debug)]
enum NotTaken {
    /// It may be later.
    Now(String),
    /// It never will be.
    Ever(String),
}

impl Exporter {
    /// An exporter, and where its spans are handed in.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Result<(Tracer, Self), BuildError> {
        let Settings { endpoint, headers, trust, instance } = settings;
        let (queue, spans) = mpsc::channel(QUEUE);
        let tracer = Tracer { queue, metrics: Arc::clone(&metrics) };
        let exporter = Self {
            spans,
            client: gitlab::client_believing(trust)?,
            to: endpoint.traces(),
            headers: headers.as_deref().map(Headers::of),
            instance: instance.clone(),
            metrics,
            standing: Standing::Unknown,
        };
        Ok((tracer, exporter))
    }

    /// Sends until `close`; then what is left, in a moment.
    pub async fn run(mut self, mut close: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        tokio::select! {
            () = self.send_all(&mut batch) => {}
            // An error means that the operator is on its way out, too.
            _ = &mut close => {}
        }
        if timeout(LAST, self.send_rest(&mut batch)).await.is_err() || !batch.is_empty() {
            let left = batch.len() + self.spans.len();
            self.count(SpanEnd::Dropped, left);
            tracing::warn!(left, "spans were not told before the end");
        }
    }

    /// For ever. What is on its way stays in `batch` until its end is known.
    async fn send_all(&mut self, batch: &mut Vec<TraceSpan>) {
        while self.gather(batch).await {
            let mut wait = BACKOFF.0;
            while self.send(batch).await {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }

    /// Fills a batch; `false` if nobody will tell anything any more.
    async fn gather(&mut self, batch: &mut Vec<TraceSpan>) -> bool {
        let Some(first) = self.spans.recv().await else { return false };
        batch.push(first);
        let fill = async {
            while batch.len() < BATCH
                && let Some(span) = self.spans.recv().await
            {
                batch.push(span);
            }
        };
        // Full or not.
        let _ = timeout(GATHER, fill).await;
        true
    }

    async fn send_rest(&mut self, batch: &mut Vec<TraceSpan>) {
        self.spans.close();
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() || self.send(batch).await {
                return;
            }
        }
    }

    /// Sends a batch; `true` if it is to be sent again, else it is empty afterwards.
    async fn send(&mut self, batch: &mut Vec<TraceSpan>) -> bool {
        let count = batch.len();
        match self.post(wire::request(batch, &self.instance)).await {
            Ok(refused) => {
                let refused = usize::try_from(refused).unwrap_or(usize::MAX).min(count);
                self.count(SpanEnd::Exported, count - refused);
                self.count(SpanEnd::Dropped, refused);
                self.stands(Standing::Taking, if refused > 0 { "it refused some of them" } else { "" });
            }
            Err(NotTaken::Now(why)) => {
                self.stands(Standing::Troubled, &why);
                return true;
            }
            Err(NotTaken::Ever(why)) => {
                self.count(SpanEnd::Dropped, count);
                self.stands(Standing::Troubled, &why);
            }
        }
        batch.clear();
        false
    }

    /// One request. How many spans were refused of a batch that was taken.
    async fn post(&self, body: Vec<u8>) -> Result<u64, NotTaken> {
        let headers = self.headers.as_ref().map(Headers::read).transpose().map_err(NotTaken::Now)?;
        let request =
            self.client.post(self.to.clone()).timeout(DEADLINE).headers(headers.unwrap_or_default());
        let request = request.header(CONTENT_TYPE, PROTOBUF).header(ACCEPT, PROTOBUF).body(body);
        let mut response = request.send().await.map_err(|error| NotTaken::Now(gitlab::causes_of(error)))?;
        let status = response.status();
        if !status.is_success() {
            // What its body says is not told on: it may be anybody's.
            let why = format!("it answered {}", status.as_u16());
            // Those that OTLP says to send again.
            return Err(match status.as_u16() {
                429 | 502 | 503 | 504 => NotTaken::Now(why),
                _ => NotTaken::Ever(why),
            });
        }
        let mut answer = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await
            && answer.len() + chunk.len() <= MAX_ANSWER
        {
            answer.extend_from_slice(&chunk);
        }
        Ok(wire::refused(&answer))
    }

    fn count(&self, end: SpanEnd, spans: usize) {
        self.metrics.spans(end, u64::try_from(spans).unwrap_or(u64::MAX));
    }

    /// Tells of a change, not of each request.
    fn stands(&mut self, now: Standing, detail: &str) {
        let before = std::mem::replace(&mut self.standing, now);
        if before == now {
            return;
        }
        let to = self.to.origin().ascii_serialization();
        match now {
            Standing::Taking => tracing::info!(to, detail, "collector took spans"),
            Standing::Troubled => tracing::warn!(to, detail, "collector took no spans"),
            Standing::Unknown => {}
        }
    }
}
