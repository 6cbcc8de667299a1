//! `spec:inputs`: what a CI file declares, checked against what a request brings.
//! They are no pipeline variables, and cannot be read back.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// More inputs than this are refused.
const MOST_INPUTS: usize = 20;
/// Of many faults, GitLab tells three.
const MOST_TOLD: usize = 3;

/// One declared input; without a default it is required.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputSpec {
    #[serde(rename = "type")]
    pub kind: InputKind,
    pub default: Option<Value>,
    pub options: Vec<Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    #[default]
    String,
    Number,
    Boolean,
    Array,
}

impl InputKind {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
        }
    }

    fn with_article(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Array => "an array",
        }
    }
}

/// What is wrong with the inputs of a request, in GitLab's way of saying it.
pub(crate) fn check(
    declared: &BTreeMap<String, InputSpec>,
    given: &Map<String, Value>,
) -> Result<(), String> {
    if given.len() > MOST_INPUTS {
        return Err(format!("There cannot be more than {MOST_INPUTS} inputs"));
    }
    if declared.is_empty() {
        let none = "Given inputs not defined in the `spec` section of the included configuration file";
        return if given.is_empty() { Ok(()) } else { Err(none.into()) };
    }
    let unknown: Vec<&str> =
        given.keys().filter(|name| !declared.contains_key(*name)).map(String::as_str).collect();
    let unknown = (!unknown.is_empty()).then(|| format!("unknown input arguments: {}", unknown.join(", ")));
    let wrong = declared.iter().filter_map(|(name, spec)| fault(name, spec, given.get(name)));
    let told: Vec<String> = unknown.into_iter().chain(wrong).take(MOST_TOLD).collect();
    if told.is_empty() { Ok(()) } else { Err(told.join(", ")) }
}

fn fault(name: &str, spec: &InputSpec, given: Option<&Value>) -> Option<String> {
    let InputSpec { kind, default, options } = spec;
    let Some(value) = given.or(default.as_ref()) else {
        return Some(format!("`{name}` input: required value has not been provided"));
    };
    let value = decoded(*kind, value);
    if !kind.admits(&value) {
        return Some(format!("`{name}` input: provided value is not {}", kind.with_article()));
    }
    (!options.is_empty() && !options.contains(&value)).then(|| {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("`{name}` input: `{shown}` cannot be used because it is not in the list of allowed options")
    })
}

/// A form sends numbers, booleans and arrays as JSON text.
fn decoded(kind: InputKind, value: &Value) -> Value {
    match (kind, value) {
        (InputKind::Number | InputKind::Boolean | InputKind::Array, Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| value.clone())
        }
        (InputKind::String | InputKind::Number | InputKind::Boolean | InputKind::Array, _) => value.clone(),
    }
}
