//! `spec:inputs`: what a CI file declares, checked against what a request brings.
//! Inputs are GitLab 18; they are no pipeline variables and cannot be read back.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// More inputs than this are refused.
pub(crate) const MOST_INPUTS: usize = 20;

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

    fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
        }
    }
}

/// What is wrong with the inputs of a request, in GitLab's way of saying it.
pub(crate) fn check(
    declared: &BTreeMap<String, InputSpec>,
    given: &Map<String, Value>,
) -> Result<(), String> {
    if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
        return Err(format!(
            "Given inputs not defined in the `spec` section of the included configuration file: {unknown}"
        ));
    }
    for (name, spec) in declared {
        let InputSpec { kind, default, options } = spec;
        let Some(value) = given.get(name).or(default.as_ref()) else {
            return Err(format!("`{name}` input: required value has not been provided"));
        };
        let value = decoded(*kind, value);
        if !kind.admits(&value) {
            return Err(format!("`{name}` input: provided value is not a {}", kind.as_str()));
        }
        if !options.is_empty() && !options.contains(&value) {
            return Err(format!(
                "`{name}` input: `{value}` cannot be used because it is not in the list of allowed options"
            ));
        }
    }
    Ok(())
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
