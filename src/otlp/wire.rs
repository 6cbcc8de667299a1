//! The messages of OTLP, as far as spans need them: `opentelemetry/proto/collector/trace/v1` and what it names, version 1.
//! A field that is not used is left out, which in Protobuf is the same as empty. The story of the traces reads what is
//! sent with the project's own definitions.

use jiff::Timestamp;
use pipekick_core::decide::span::{Attribute, TraceSpan};
use pipekick_core::domain::trace::SpanId;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(int64, tag = "3")]
    Int(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// Something inside the process.
const INTERNAL: i32 = 1;
/// A request to somebody else.
const CLIENT: i32 = 3;
const ERROR: i32 = 2;
/// The lowest bit of `flags` is W3C's *sampled*. The next two say that it is known that the parent is in another process.
const SAMPLED: u32 = 1;

/// The body of a request that tells these spans.
pub(super) fn request(spans: &[TraceSpan], instance: &str) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource =
        [("service.name", "pipekick"), ("service.version", version), ("service.instance.id", instance)];
    let attributes = resource.map(|(key, value)| key_value(key, Value::String(value.into())));
    let scope = Scope { name: "pipekick".into(), version: version.into() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.iter().map(span).collect() }];
    let resource = Some(Resource { attributes: attributes.into() });
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource, scope_spans }] }
        .encode_to_vec()
}

fn span(told: &TraceSpan) -> Span {
    let TraceSpan { name, is_request, trace, id, parent, start, end, attributes, error } = told;
    Span {
        trace_id: trace.0.to_vec(),
        span_id: id.0.to_vec(),
        parent_span_id: parent.map(|SpanId(parent)| parent.to_vec()).unwrap_or_default(),
        name: (*name).to_owned(),
        kind: if *is_request { CLIENT } else { INTERNAL },
        start_time_unix_nano: nanos(*start),
        // Wall clocks differ between processes; a span that ends before it begins is refused by some.
        end_time_unix_nano: nanos((*end).max(*start)),
        attributes: attributes.iter().map(|(key, value)| key_value(key, of_attribute(value))).collect(),
        status: error.as_ref().map(|message| Status { message: message.clone(), code: ERROR }),
        flags: SAMPLED,
    }
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) }
}

fn of_attribute(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Text(text) => Value::String(text.clone()),
        Attribute::Number(number) => Value::Int(*number),
    }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or_default()
}

/// How many of a batch that was taken were refused. An answer that says nothing of it refuses none.
pub(super) fn refused(answer: &[u8]) -> u64 {
    let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or_default())
}
