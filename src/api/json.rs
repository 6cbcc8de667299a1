//! Free JSON in spec. The schemas are written by hand: what is derived from a map of values would let the API server
//! drop whatever is nested in them, without a word. Each is one value to server-side apply (`atomic`): merged key by key,
//! an object that becomes empty would be made a null, and refused.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pipekick_core::domain::SpecProblem;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Of `payload`, and of all `inputs` together, as JSON without blanks.
const MAX_BYTES: usize = 64 * 1024;
/// Inputs that GitLab takes for one pipeline.
const MAX_INPUTS: u64 = 20;

/// `inputs`: names and free values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inputs(pub BTreeMap<String, Value>);

/// `payload`: a free object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(pub BTreeMap<String, Value>);

impl JsonSchema for Inputs {
    fn schema_name() -> Cow<'static, str> {
        "Inputs".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": MAX_INPUTS,
            "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-map-type": "atomic",
        })
    }
}

impl JsonSchema for Payload {
    fn schema_name() -> Cow<'static, str> {
        "Payload".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-map-type": "atomic",
        })
    }
}

impl Inputs {
    /// What the schema cannot see.
    pub(super) fn parse(&self) -> Result<BTreeMap<String, Value>, SpecProblem> {
        let Self(inputs) = self;
        for (name, value) in inputs {
            let wrong = match value {
                Value::Null => "null",
                Value::Object(_) => "an object",
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => continue,
            };
            return Err(SpecProblem(format!(
                "inputs.{name} is {wrong}, which GitLab takes for no input: write a string, number, boolean or array, or leave it out"
            )));
        }
        bounded("inputs", inputs)?;
        Ok(inputs.clone())
    }
}

impl Payload {
    /// What the schema cannot see.
    pub(super) fn parse(&self) -> Result<Value, SpecProblem> {
        bounded("payload", &self.0)?;
        Ok(self.written())
    }

    pub(super) fn written(&self) -> Value {
        Value::Object(self.0.clone().into_iter().collect())
    }
}

fn bounded(field: &str, json: &BTreeMap<String, Value>) -> Result<(), SpecProblem> {
    let size = serde_json::to_string(json).map_or(usize::MAX, |text| text.len());
    if size > MAX_BYTES {
        return Err(SpecProblem(format!(
            "{field} has {size} bytes of JSON; {MAX_BYTES} are allowed: pass what is larger by reference, such as a URL"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn inputs(value: Value) -> Result<BTreeMap<String, Value>, SpecProblem> {
        serde_json::from_value::<Inputs>(value).unwrap().parse()
    }

    #[test]
    fn inputs_are_what_gitlab_has_types_for() {
        assert!(inputs(json!({"a": "x", "b": 3, "c": 0.5, "d": false, "e": ["eu", {"k": null}]})).is_ok());
        for (wrong, says) in
            [(json!({"a": null}), "inputs.a is null"), (json!({"b": {}}), "inputs.b is an object")]
        {
            assert!(inputs(wrong).unwrap_err().0.starts_with(says));
        }
    }

    #[test]
    fn size_is_counted_in_bytes_of_json() {
        // {"a":"…"} is 8 bytes around the text, and an umlaut is two.
        for (text, fits) in [
            ("x".repeat(65_528), true),
            ("x".repeat(65_529), false),
            ("ä".repeat(32_764), true),
            ("ä".repeat(32_765), false),
        ] {
            let payload: Payload = serde_json::from_value(json!({"a": text})).unwrap();
            assert_eq!(payload.parse().is_ok(), fits, "{}", text.len());
            assert_eq!(inputs(json!({"a": text})).is_ok(), fits);
        }
    }
}
