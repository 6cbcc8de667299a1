//! A collector of traces: OTLP over HTTP, read by the definitions of the OpenTelemetry project, not by ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::{POLL, Story};
use crate::DEADLINE;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// With this status; spans count as told if it is 200.
    With(u16),
    /// Never.
    Never,
}

#[derive(Debug)]
struct Received {
    answers: Answers,
    requests: usize,
    headers: HeaderMap,
    bytes: Vec<u8>,
    resource: BTreeMap<String, String>,
    spans: Vec<Span>,
}

/// Has a thread of its own: who waits for an operator's end stops the story's.
pub struct Collector {
    pub address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    /// An address at which nobody listens yet.
    pub fn nowhere() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    pub fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub fn at(address: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Received {
            answers: Answers::With(200),
            requests: 0,
            headers: HeaderMap::new(),
            bytes: Vec::new(),
            resource: BTreeMap::new(),
            spans: Vec::new(),
        }));
        let state = Arc::clone(&received);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let app = Router::new().route("/v1/traces", post(take)).with_state(state);
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { address, received }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn answer(&self, answers: Answers) {
        self.received.lock().unwrap().answers = answers;
    }

    /// How often somebody asked.
    pub fn requests(&self) -> usize {
        self.received.lock().unwrap().requests
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> String {
        let received = self.received.lock().unwrap();
        received.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// What it was told of who tells.
    pub fn resource(&self, name: &str) -> String {
        self.received.lock().unwrap().resource.get(name).cloned().unwrap_or_default()
    }

    /// Whether this text stands anywhere in what was sent.
    pub fn was_told(&self, text: &str) -> bool {
        let received = self.received.lock().unwrap();
        received.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// The spans about a trigger, in the order in which they came.
    pub fn spans_of(&self, trigger: &str) -> Vec<Told> {
        let spans = self.received.lock().unwrap().spans.clone();
        spans.into_iter().map(Told::new).filter(|told| told.text("pipekick.trigger") == trigger).collect()
    }

    /// Waits until so many came about a trigger, and gives them back.
    pub async fn until(&self, story: &Story, trigger: &str, count: usize) -> Vec<Told> {
        let began = Instant::now();
        loop {
            let spans = self.spans_of(trigger);
            if spans.len() >= count {
                return spans;
            }
            story.check_operators();
            assert!(began.elapsed() < DEADLINE, "{trigger} should have {count} spans; it has {spans:#?}");
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn take(State(state): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let answers = {
        let mut received = state.lock().unwrap();
        received.requests += 1;
        received.headers = headers;
        received.bytes.extend_from_slice(&body);
        let answers = received.answers;
        if answers == Answers::With(200) {
            for told in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
                received.resource = attributes(&told.resource.unwrap().attributes);
                received.spans.extend(told.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        answers
    };
    match answers {
        Answers::With(status) => StatusCode::from_u16(status).unwrap(),
        Answers::Never => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            StatusCode::OK
        }
    }
}

/// A span as it was told.
#[derive(Debug)]
pub struct Told {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: i32,
    pub start: u64,
    pub end: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
    attributes: BTreeMap<String, String>,
}

impl Told {
    fn new(span: Span) -> Self {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        // 2 is ERROR.
        let error = span.status.filter(|status| status.code == 2).map(|status| status.message);
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name,
            kind: span.kind,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            error,
            attributes: attributes(&span.attributes),
        }
    }

    pub fn text(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// What a pipeline's spans below it are told.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

fn attributes(told: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("neither text nor number: {other:?}"),
    };
    let of = |told: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        (told.key.clone(), text(told.value.clone().and_then(|value| value.value)))
    };
    told.iter().map(of).collect()
}
