//! One call to the API server, in Kubernetes' own words: a verb and a path.

use std::time::Instant;

use bytes::Bytes;
use http::Method;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

/// One call that came.
#[derive(Debug, Clone)]
pub struct CallRecord {
    pub at: Instant,
    /// None of a call that is no resource request, such as `/readyz`.
    pub verb: Option<Verb>,
    /// Without the query.
    pub path: String,
    pub query: String,
    pub body: Bytes,
    /// The fault that struck, by name.
    pub fault: Option<&'static str>,
    /// What the API server answered; none while, or if, it was not asked.
    pub applied: Option<u16>,
    /// What the caller was answered; none if its connection was closed.
    pub answered: Option<u16>,
}

impl CallRecord {
    pub(super) fn new(method: &Method, path: &str, query: &str, body: Bytes) -> Self {
        let (path, query) = (path.to_owned(), query.to_owned());
        let verb = verb(method, &path, &query);
        Self { at: Instant::now(), verb, path, query, body, fault: None, applied: None, answered: None }
    }
}

/// By method, and by whether the path names one object or all of a kind.
fn verb(method: &Method, path: &str, query: &str) -> Option<Verb> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (["api", _, below @ ..] | ["apis", _, _, below @ ..]) = segments.as_slice() else { return None };
    // `namespaces/x` is itself an object; `namespaces/x/secrets` names the kind behind it.
    let below = match below {
        ["namespaces", _, inside @ ..] if !inside.is_empty() => inside,
        _ => below,
    };
    let watches = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"));
    match (method.as_str(), below.len()) {
        (_, 0) => None,
        ("GET", 1) if watches => Some(Verb::Watch),
        ("GET", 1) => Some(Verb::List),
        ("GET", _) => Some(Verb::Get),
        ("POST", _) => Some(Verb::Create),
        ("PUT", _) => Some(Verb::Update),
        ("PATCH", _) => Some(Verb::Patch),
        ("DELETE", _) => Some(Verb::Delete),
        _ => None,
    }
}

/// Calls that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calls {
    verb: Option<Verb>,
    path: Option<String>,
    says: Option<String>,
}

impl Calls {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// Calls of this verb whose path ends like this, segment by segment, where `*` is any one segment:
    /// `pipelinetriggers` in whatever namespace, `pipelinetriggers/*/status`, `pipelinetriggers/checkout/status`.
    pub fn to(verb: Verb, path: &str) -> Self {
        Self { verb: Some(verb), path: Some(path.to_owned()), says: None }
    }

    /// Only those whose body contains this text.
    #[must_use]
    pub fn saying(self, text: &str) -> Self {
        Self { says: Some(text.to_owned()), ..self }
    }

    pub(super) fn covers(&self, record: &CallRecord) -> bool {
        let Self { verb, path, says } = self;
        let contains = |text: &String| record.body.windows(text.len().max(1)).any(|w| w == text.as_bytes());
        (verb.is_none() || *verb == record.verb)
            && path.as_ref().is_none_or(|pattern| ends_like(&record.path, pattern))
            && says.as_ref().is_none_or(contains)
    }
}

/// Whether the last segments of a path fit a pattern.
pub(super) fn ends_like(path: &str, pattern: &str) -> bool {
    let mut path = path.trim_matches('/').rsplit('/');
    pattern
        .trim_matches('/')
        .rsplit('/')
        .all(|wanted| path.next().is_some_and(|is| wanted == "*" || wanted == is))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGERS: &str = "/apis/pipekick.dev/v1alpha1/namespaces/shop/pipelinetriggers";

    fn read(method: &str, path: &str) -> Option<Verb> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        verb(&method.parse().unwrap(), path, query)
    }

    #[test]
    fn a_verb_is_read_from_method_and_path() {
        let of = |method: &str, rest: &str| read(method, &format!("{TRIGGERS}{rest}"));
        assert_eq!(of("GET", "?limit=500"), Some(Verb::List));
        assert_eq!(of("GET", "?watch=true&resourceVersion=7"), Some(Verb::Watch));
        assert_eq!(of("GET", "/checkout"), Some(Verb::Get));
        assert_eq!(of("PUT", "/checkout/status"), Some(Verb::Update));
        assert_eq!(of("DELETE", "/checkout"), Some(Verb::Delete));
        assert_eq!(read("GET", "/apis/pipekick.dev/v1alpha1/pipelinetriggers"), Some(Verb::List));
        assert_eq!(read("GET", "/api/v1/namespaces/shop/secrets/gitlab"), Some(Verb::Get));
        assert_eq!(read("GET", "/api/v1/namespaces"), Some(Verb::List));
        assert_eq!(read("GET", "/api/v1/namespaces/shop"), Some(Verb::Get));
        assert_eq!(read("POST", "/apis/events.k8s.io/v1/namespaces/shop/events"), Some(Verb::Create));
        for other in ["/readyz", "/apis", "/apis/pipekick.dev/v1alpha1", "/api/v1"] {
            assert_eq!(read("GET", other), None, "{other}");
        }
    }

    #[test]
    fn a_pattern_is_compared_from_the_end_segment_by_segment() {
        let status = format!("{TRIGGERS}/checkout/status");
        for fits in ["status", "*", "pipelinetriggers/*/status", "pipelinetriggers/checkout/status"] {
            assert!(ends_like(&status, fits), "{fits}");
        }
        for other in
            ["pipelinetriggers", "tatus", "pipelinetriggers/status", "pipelinetriggers/checkin/status"]
        {
            assert!(!ends_like(&status, other), "{other}");
        }
        assert!(!ends_like("/a", "*/a"));
    }

    #[test]
    fn calls_are_told_apart_by_what_they_say() {
        let record = |body: &'static str| {
            CallRecord::new(
                &Method::PUT,
                &format!("{TRIGGERS}/checkout/status"),
                "",
                Bytes::from_static(body.as_bytes()),
            )
        };
        let intents = Calls::to(Verb::Update, "pipelinetriggers/*/status").saying("\"phase\":\"Firing\"");
        assert!(intents.covers(&record("{\"status\":{\"phase\":\"Firing\"}}")));
        assert!(!intents.covers(&record("{\"status\":{\"phase\":\"Running\"}}")));
        assert!(!intents.covers(&record("")));
        assert!(Calls::all().covers(&record("")));
        assert!(!Calls::to(Verb::Patch, "status").covers(&record("")));
    }
}
