//! The digest of the firing fields: what a run was fired for, as it was written.
//!
//! Taken of the written fields, not of what they default to, so that neither a new default nor another
//! `--gitlab-url` fires anything. The text carries the version of its algorithm and is compared by that
//! algorithm: an upgraded operator recomputes the old digest of an unchanged object and finds it equal.
//! `tests::version_one_never_changes` holds the fixture.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A digest of [`FiringFields`], as text with the version of its algorithm: `v1:` and 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Digest(String);

/// The fields of a spec whose change is a cause to fire, as the user wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FiringFields {
    /// `gitlab.url`, unless it is left to the operator.
    pub url: Option<String>,
    /// `gitlab.project`; the number 42 and the text "42" mean the same project.
    pub project: String,
    /// `ref`.
    pub git_ref: String,
    /// `variables` by name; each value is the entry as written, without its name.
    pub variables: BTreeMap<String, Value>,
    /// `inputs` by name, as they are stored.
    pub inputs: BTreeMap<String, Value>,
    /// `payload`, as it is stored.
    pub payload: Option<Value>,
}

/// How a stored digest stands to the fields of today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Nothing that fires has changed.
    Same,
    /// A firing field was changed.
    Changed,
    /// Recorded by an algorithm that this build does not know: a newer operator wrote it.
    UnknownVersion,
}

impl FiringFields {
    /// The digest by the newest algorithm.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.v1()
    }

    /// Compares by the algorithm that made `stored`.
    #[must_use]
    pub fn compare(&self, stored: &Digest) -> Compared {
        match stored.0.split_once(':') {
            Some(("v1", _)) if *stored == self.v1() => Compared::Same,
            Some(("v1", _)) => Compared::Changed,
            _ => Compared::UnknownVersion,
        }
    }

    /// Version 1: SHA-256, cut to 128 bits, over the JSON object of the written fields with sorted keys and
    /// without blanks. Frozen: objects in users' clusters carry it.
    fn v1(&self) -> Digest {
        let mut text = String::new();
        text.push('{');
        let object = |map: &BTreeMap<String, Value>| {
            Value::Object(map.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        // What was added later stands before the rest, in the order of the names, and is left out where unset.
        let mut fields: Vec<(&str, Value)> = Vec::new();
        if !self.inputs.is_empty() {
            fields.push(("inputs", object(&self.inputs)));
        }
        if let Some(payload) = &self.payload {
            fields.push(("payload", payload.clone()));
        }
        fields.push(("project", Value::String(self.project.clone())));
        fields.push(("ref", Value::String(self.git_ref.clone())));
        if let Some(url) = &self.url {
            fields.push(("url", Value::String(url.clone())));
        }
        if !self.variables.is_empty() {
            fields.push(("variables", object(&self.variables)));
        }
        for (i, (name, value)) in fields.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(&Value::from(*name).to_string());
            text.push(':');
            write_canonical(value, &mut text);
        }
        text.push('}');
        let hash = Sha256::digest(text.as_bytes());
        Digest(format!("v1:{}", data_encoding::HEXLOWER.encode(&hash[..16])))
    }

    /// A small example for tests of other modules.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            url: Some("https://gitlab.example.com".into()),
            project: "shop/checkout".into(),
            git_ref: "main".into(),
            variables: BTreeMap::from([
                ("DEPLOY_ENV".into(), serde_json::json!({"value": "production"})),
                ("NOTES".into(), serde_json::json!({"value": "a \"quoted\" ünïcode\nline"})),
            ]),
            ..Self::default()
        }
    }
}

/// JSON with keys in byte order, whatever map type a dependency has switched `serde_json` to.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            out.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        // A feature of serde_json that a dependency may switch on keeps numbers as they were spelt.
        Value::Number(number) => {
            let spelt = number.to_string();
            let plain = number.as_f64().filter(|_| !number.is_i64() && !number.is_u64());
            out.push_str(&plain.and_then(serde_json::Number::from_f64).map_or(spelt, |n| n.to_string()));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

impl Digest {
    /// A digest that no fields have: what was decided on cannot be known.
    #[must_use]
    pub fn unequal() -> Self {
        Self("v1:unknown".into())
    }

    /// The text as it stands in status.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Digest {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn version_one_never_changes() {
        // Recorded from the first build. If this fails, add a version 2 beside it instead of mending the number.
        assert_eq!(FiringFields::example().v1().as_str(), "v1:b5d128ff2e6d4180aa0e85e8f52577fa");
        let small = FiringFields { project: "42".into(), git_ref: "main".into(), ..FiringFields::default() };
        assert_eq!(small.v1().as_str(), "v1:35ac880c154ac478bb4986ffc938efbb");
        // Recorded when these fields were added.
        let whole = FiringFields {
            variables: BTreeMap::from([(
                "LICENSE".into(),
                serde_json::json!({"type": "File", "raw": true, "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}),
            )]),
            inputs: BTreeMap::from([
                ("replicas".into(), serde_json::json!(3)),
                ("ratio".into(), serde_json::json!(0.5)),
                ("regions".into(), serde_json::json!(["eu", "us"])),
            ]),
            payload: Some(serde_json::json!({"release": {"tag": null, "parts": [1, -2, 1e30]}})),
            ..FiringFields::example()
        };
        assert_eq!(whole.v1().as_str(), "v1:0b806265fe17e0935343558007b42e19");
    }

    #[test]
    fn canonical_json_has_sorted_keys_and_no_blanks_at_any_depth() {
        let mut text = String::new();
        write_canonical(&serde_json::json!({"b": [1, {"d": null, "c": "x"}, []], "a": true}), &mut text);
        assert_eq!(text, r#"{"a":true,"b":[1,{"c":"x","d":null},[]]}"#);
        assert_eq!(Digest::from("v1:abc").to_string(), "v1:abc");
    }

    #[test]
    fn whole_numbers_are_spelt_in_full_to_both_ends_and_fractions_as_they_are_read() {
        // As a float, each end would be rounded: two edits of one value would read the same.
        let ends = serde_json::json!([i64::MIN, u64::MAX, u64::MAX - 1, 0.5]);
        let mut text = String::new();
        write_canonical(&ends, &mut text);
        assert_eq!(text, "[-9223372036854775808,18446744073709551615,18446744073709551614,0.5]");
    }

    #[test]
    fn what_is_unset_is_not_part_of_it_and_what_is_set_is() {
        let plain = FiringFields::example();
        let with = |edit: fn(&mut FiringFields)| {
            let mut fields = plain.clone();
            edit(&mut fields);
            fields.digest()
        };
        assert_eq!(with(|f| f.inputs.clear()), plain.digest());
        let changed = [
            with(|f| drop(f.inputs.insert("a".into(), serde_json::json!(1)))),
            with(|f| drop(f.inputs.insert("a".into(), serde_json::json!("1")))),
            with(|f| f.payload = Some(serde_json::json!({}))),
            with(|f| f.payload = Some(serde_json::json!({"a": null}))),
            with(|f| drop(f.variables.insert("X".into(), serde_json::json!({"value": ""})))),
            with(|f| drop(f.variables.insert("X".into(), serde_json::json!({"value": "", "type": "File"})))),
            plain.digest(),
        ];
        for (i, one) in changed.iter().enumerate() {
            assert!(!changed[i + 1..].contains(one), "number {i}");
        }
    }

    #[test]
    fn an_unchanged_object_is_the_same_by_the_algorithm_that_recorded_it() {
        let fields = FiringFields::example();
        assert_eq!(fields.compare(&fields.digest()), Compared::Same);
        let edited = FiringFields { git_ref: "develop".into(), ..fields.clone() };
        assert_eq!(edited.compare(&fields.digest()), Compared::Changed);
        assert_eq!(fields.compare(&Digest::from("v9:abc")), Compared::UnknownVersion);
        assert_eq!(fields.compare(&Digest::from("nonsense")), Compared::UnknownVersion);
    }

    proptest! {
        #[test]
        fn any_edit_of_a_value_shows(a in ".{0,20}", b in ".{0,20}") {
            let with = |value: &str| {
                let mut fields = FiringFields::example();
                fields.variables.insert("X".into(), serde_json::json!({"value": value}));
                fields.digest()
            };
            prop_assert_eq!(with(&a) == with(&b), a == b);
        }
    }
}
