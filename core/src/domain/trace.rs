//! W3C Trace Context: the names by which the spans of several systems become one trace.
//!
//! Ours are hashed from the fire id, so that any process that knows a run knows them too.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::fire_id::digest_of;
use super::{FieldPath, Phase, ValueSource, Variable, VariableType, VariableValue};

/// The variable under which tools look for a trace context in the environment of a job.
pub const TRACEPARENT_VARIABLE: &str = "TRACEPARENT";

/// Names a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Names a span within a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    /// Hashed from `parts`.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        Self(first(&digest_of(parts)))
    }
}

impl SpanId {
    /// Hashed from `parts`.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        Self(first(&digest_of(parts)))
    }
}

fn first<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    std::array::from_fn(|at| digest[at])
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// A span as others are told of it: the value of a header `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span under which others put theirs.
    pub span: SpanId,
    /// Whether who began the trace wants it told.
    pub sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "not a traceparent of W3C Trace Context, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)]
pub struct NoTraceParent;

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// A later version is read as version 00, as the standard wants it; what it adds is dropped.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().split('-');
        let mut next = || parts.next().ok_or(NoTraceParent);
        let [version] = hex(next()?)?;
        let (trace, span) = (TraceId(hex(next()?)?), SpanId(hex(next()?)?));
        let [flags] = hex(next()?)?;
        let more = parts.next().is_some();
        if version == 0xff || (version == 0 && more) || trace.0 == [0; 16] || span.0 == [0; 8] {
            return Err(NoTraceParent);
        }
        Ok(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Lower case alone, as the standard has it.
fn hex<const N: usize>(text: &str) -> Result<[u8; N], NoTraceParent> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| NoTraceParent)?;
    bytes.try_into().map_err(|_| NoTraceParent)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, sampled } = self;
        write!(f, "00-{trace}-{span}-{:02x}", u8::from(*sampled))
    }
}

/// What a run's spans need beside the run. Recorded where the operator tells of runs (--otlp-endpoint), for the process
/// that sees the end may be another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunTrace {
    /// Since when the run was due.
    pub due_at: Timestamp,
    /// The trace context that it continues: what the annotation read by its variable TRACEPARENT held when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Where it goes on after an end: since when, and after which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
}

/// A run that goes on after an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Again {
    /// Since when.
    pub since: Timestamp,
    /// How it had ended.
    pub after: Phase,
}

/// Whether a variable asks for the run's trace context: `TRACEPARENT`, read from an annotation.
#[must_use]
pub fn asks_for_context(variable: &Variable) -> bool {
    annotation(variable).is_some()
}

/// What stands in the annotation of the variable that asks for a trace context, where that is one.
#[must_use]
pub fn asked_with(variables: &[Variable]) -> Option<TraceParent> {
    variables.iter().find_map(annotation)?.as_deref()?.parse().ok()
}

fn annotation(variable: &Variable) -> Option<&Option<String>> {
    let Variable { name, kind, raw: _, value } = variable;
    if name.as_str() != TRACEPARENT_VARIABLE || *kind != VariableType::EnvVar {
        return None;
    }
    match value {
        VariableValue::From {
            source: ValueSource::Field { path: FieldPath::Annotation(_), value },
            optional: _,
        } => Some(value),
        VariableValue::From {
            source:
                ValueSource::Field {
                    path: FieldPath::Name | FieldPath::Namespace | FieldPath::Uid | FieldPath::Label(_),
                    value: _,
                }
                | ValueSource::Secret(_)
                | ValueSource::ConfigMap { .. },
            optional: _,
        }
        | VariableValue::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_context_reads_back_as_it_is_written() {
        let read: TraceParent = ASKED.parse().unwrap();
        assert_eq!((read.to_string().as_str(), read.sampled), (ASKED, true));
        let unsampled = ASKED.replace("-01", "-00");
        assert_eq!(unsampled.parse::<TraceParent>().unwrap().to_string(), unsampled);
        // Of a later version what is known is taken.
        let later = ASKED.replacen("00", "cc", 1) + "-more";
        assert_eq!(later.parse(), Ok(read));
        assert_eq!(format!(" {ASKED}\n").parse(), Ok(read), "as a shell may have written it");
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        for bad in [
            "",
            "00",
            "canary",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NoTraceParent), "{bad}");
        }
    }

    #[test]
    fn only_an_annotation_under_its_name_asks_for_the_context() {
        let variable =
            |name: &str, kind, value| Variable { name: name.parse().unwrap(), kind, raw: false, value };
        let field = |path, value: Option<&str>| VariableValue::From {
            source: ValueSource::Field { path, value: value.map(str::to_owned) },
            optional: true,
        };
        let annotation = |value| field(FieldPath::Annotation("example.com/trace".into()), value);
        let env = VariableType::EnvVar;
        let asking = variable("TRACEPARENT", env, annotation(Some(ASKED)));
        assert!(asks_for_context(&asking));
        assert_eq!(asked_with(&[asking]).unwrap().to_string(), ASKED);
        for value in [None, Some("canary")] {
            let asking = variable("TRACEPARENT", env, annotation(value));
            assert!(asks_for_context(&asking));
            assert_eq!(asked_with(&[asking]), None, "it begins a trace of its own");
        }
        for other in [
            variable("TRACE", env, annotation(Some(ASKED))),
            variable("TRACEPARENT", VariableType::File, annotation(Some(ASKED))),
            variable("TRACEPARENT", env, field(FieldPath::Label("trace".into()), Some(ASKED))),
            variable("TRACEPARENT", env, VariableValue::Text(ASKED.into())),
        ] {
            assert!(!asks_for_context(&other), "{other:?}");
            assert_eq!(asked_with(&[other]), None);
        }
    }
}
