//! One row of the table of answers: what GitLab says, when, and how well we know it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// How a line of the facts is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Mark {
    /// Read in GitLab's source, spec or documentation.
    S,
    /// Derived from such code.
    D,
    /// From somebody else's public code, issue or measurement.
    X,
    /// Commonly known, not read again: unverified.
    K,
    /// Not GitLab's doing: a fault that was asked for.
    F,
}

/// The body of a row; `{}` stands for what differs from answer to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// `{"message":"…"}`
    Message(&'static str),
    /// `{"message":"…","error":"…"}`, the same twice.
    Twice(&'static str),
    /// `{"message":["…"]}`
    Listed(&'static str),
    /// `{"message":{"base":["…"]}}`
    Base(&'static str),
    /// `{"message":{"<attribute>":["…"]}}`
    Attribute(&'static str, &'static str),
    /// `{"message":{"error":"…"}}`
    Nested(&'static str),
    /// `{"error":"…"}`
    Error(&'static str),
    /// `{"error":…,"error_description":…}`, and `scope` for a scope that is too small.
    OAuth(&'static str, &'static str),
    /// An object with at least these keys.
    Entity(&'static [&'static str]),
    /// An array of objects with at least these keys.
    List(&'static [&'static str]),
    Text(&'static str),
    /// A file as it is.
    Raw,
    Html(&'static str),
    Empty,
}

/// One answer of the simulator.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub name: &'static str,
    /// The route's name, or `*`.
    pub route: &'static str,
    pub condition: &'static str,
    pub status: u16,
    pub body: Body,
    /// Headers that come with it, besides the common ones.
    pub headers: &'static [&'static str],
    /// Section and line of the facts, in our words; `none` if they are silent.
    pub facts: &'static str,
    pub mark: Mark,
}

/// What a handler hands back: a row, filled in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) row: &'static Row,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Row {
    /// The answer as it stands in the table.
    pub(crate) fn answer(&'static self) -> Answer {
        self.filled("")
    }

    /// The answer with `{}` filled in.
    pub(crate) fn filled(&'static self, word: &str) -> Answer {
        let fill = |text: &str| text.replace("{}", word);
        let body = match self.body {
            Body::Message(text) => json!({ "message": fill(text) }).to_string(),
            Body::Twice(text) => json!({ "message": fill(text), "error": fill(text) }).to_string(),
            Body::Listed(text) => json!({ "message": [fill(text)] }).to_string(),
            Body::Base(text) => json!({ "message": { "base": [fill(text)] } }).to_string(),
            Body::Attribute(name, text) => json!({ "message": { name: [fill(text)] } }).to_string(),
            Body::Nested(text) => json!({ "message": { "error": fill(text) } }).to_string(),
            Body::Error(text) => json!({ "error": fill(text) }).to_string(),
            Body::OAuth(error, description) => {
                let mut body = json!({ "error": error, "error_description": fill(description) });
                if error == "insufficient_scope" {
                    body["scope"] = word.into();
                }
                body.to_string()
            }
            Body::Text(text) | Body::Html(text) => fill(text),
            Body::Entity(_) | Body::List(_) | Body::Raw | Body::Empty => String::new(),
        };
        Answer { row: self, headers: Vec::new(), body: body.into_bytes() }
    }

    /// The answer with an object or array made elsewhere.
    pub(crate) fn entity(&'static self, value: &Value) -> Answer {
        Answer { row: self, headers: Vec::new(), body: value.to_string().into_bytes() }
    }

    /// The answer with a file's bytes.
    pub(crate) fn raw(&'static self, bytes: Vec<u8>) -> Answer {
        Answer { row: self, headers: Vec::new(), body: bytes }
    }

    pub(crate) fn content_type(&self) -> Option<&'static str> {
        match self.body {
            Body::Text(_) | Body::Raw => Some("text/plain"),
            Body::Html(_) => Some("text/html; charset=utf-8"),
            Body::Empty => None,
            Body::Message(_)
            | Body::Twice(_)
            | Body::Listed(_)
            | Body::Base(_)
            | Body::Attribute(..)
            | Body::Nested(_)
            | Body::Error(_)
            | Body::OAuth(..)
            | Body::Entity(_)
            | Body::List(_) => Some("application/json"),
        }
    }

    /// Whether an answer seen on the wire is this row; the error says what differs. Header names in lower case.
    pub fn check(&self, status: u16, headers: &BTreeMap<String, String>, body: &str) -> Result<(), String> {
        if status != self.status {
            return Err(format!("{}: status {status}, the table says {}", self.name, self.status));
        }
        for header in self.headers {
            if !headers.contains_key(&header.to_ascii_lowercase()) {
                return Err(format!("{}: header {header} is missing", self.name));
            }
        }
        let content_type = headers.get("content-type").map(String::as_str);
        if content_type != self.content_type() {
            return Err(format!("{}: content type {content_type:?}", self.name));
        }
        if self.body_fits(body) { Ok(()) } else { Err(format!("{}: unexpected body {body}", self.name)) }
    }

    fn body_fits(&self, body: &str) -> bool {
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        let has = |value: &Value, keys: &[&str]| keys.iter().all(|key| value.get(key).is_some());
        let says = |value: &Value, text: &str| value.as_str().is_some_and(|said| matches(said, text));
        match self.body {
            Body::Message(text) => says(&json["message"], text),
            Body::Twice(text) => says(&json["message"], text) && says(&json["error"], text),
            Body::Listed(text) => says(&json["message"][0], text),
            Body::Base(text) => says(&json["message"]["base"][0], text),
            Body::Attribute(name, text) => says(&json["message"][name][0], text),
            Body::Nested(text) => says(&json["message"]["error"], text),
            Body::Error(text) => says(&json["error"], text),
            Body::OAuth(error, text) => json["error"] == error && says(&json["error_description"], text),
            Body::Entity(keys) => has(&json, keys),
            Body::List(keys) => json.as_array().is_some_and(|items| items.iter().all(|item| has(item, keys))),
            Body::Text(text) | Body::Html(text) => matches(body, text),
            Body::Raw => true,
            Body::Empty => body.is_empty(),
        }
    }
}

/// Whether `said` is `text` with something in place of `{}`.
fn matches(said: &str, text: &str) -> bool {
    match text.split_once("{}") {
        Some((head, tail)) => {
            said.len() >= head.len() + tail.len() && said.starts_with(head) && said.ends_with(tail)
        }
        None => said == text,
    }
}

impl Answer {
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, route, condition, status, body, headers, facts, mark } = self;
        json!({
            "name": name, "route": route, "condition": condition, "status": status,
            "body": format!("{body:?}"), "headers": headers, "facts": facts, "mark": mark,
            "verified": *mark != Mark::K,
        })
        .serialize(serializer)
    }
}
