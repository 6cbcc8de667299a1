//! The upgrade promise: what an earlier version's schema took in and its operator wrote is still what it was.
//!
//! `tests/fixtures/crds/<version>/` has the CRDs of each version that was released (and of the one that will be), and
//! objects that use every field of them. They are never changed afterwards. Until the first release a field may still
//! be taken back: then both are written anew.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pipekick::api::{PipelineSchedule, PipelineTrigger};
use serde_json::Value;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn versions() -> Vec<PathBuf> {
    let fixtures = std::fs::read_dir(root().join("tests/fixtures/crds")).unwrap();
    let versions: Vec<PathBuf> = fixtures.map(|entry| entry.unwrap().path()).collect();
    assert!(!versions.is_empty());
    versions
}

const KINDS: [(&str, &str); 2] = [
    ("PipelineTrigger", "pipekick.dev_pipelinetriggers.yaml"),
    ("PipelineSchedule", "pipekick.dev_pipelineschedules.yaml"),
];

fn schema(file: &Path) -> Value {
    let crd: Value = serde_saphyr::from_str(&read(file)).unwrap();
    let version =
        crd["spec"]["versions"].as_array().unwrap().iter().find(|v| v["name"] == "v1alpha1").unwrap();
    assert_eq!(version["served"], true, "{}", file.display());
    version["schema"]["openAPIV3Schema"].clone()
}

fn objects(version: &Path) -> Vec<Value> {
    let text = read(&version.join("objects.yaml"));
    text.split("\n---\n").skip(1).map(|object| serde_saphyr::from_str(object).unwrap()).collect()
}

/// What of an earlier schema a later one takes back.
fn taken_back(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for keyword in
        ["type", "format", "default", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"]
    {
        if old[keyword] != new[keyword] {
            found.push(format!("{path}: {keyword} was {}, and is {}", old[keyword], new[keyword]));
        }
    }
    // A bound may be widened or dropped; a new one, or a narrower one, refuses what is stored.
    for (keyword, widens) in [
        ("maxLength", true),
        ("maximum", true),
        ("maxItems", true),
        ("maxProperties", true),
        ("minLength", false),
        ("minimum", false),
        ("minItems", false),
    ] {
        let Some(bound) = new[keyword].as_f64() else { continue };
        let before = old[keyword].as_f64();
        if before.is_none_or(|before| if widens { bound < before } else { bound > before }) {
            found.push(format!("{path}: {keyword} was {}, and is {}", old[keyword], new[keyword]));
        }
    }
    if !new["pattern"].is_null() && old["pattern"] != new["pattern"] {
        found.push(format!("{path}: pattern was {}, and is {}", old["pattern"], new["pattern"]));
    }
    if let Some(values) = new["enum"].as_array() {
        let Some(before) = old["enum"].as_array() else {
            return found.push(format!("{path}: any value was taken, and now only {values:?}"));
        };
        found.extend(
            before
                .iter()
                .filter(|value| !values.contains(value))
                .map(|value| format!("{path}: {value} is gone")),
        );
    }
    let required = |schema: &Value| -> BTreeSet<String> {
        schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    found.extend(
        required(new).difference(&required(old)).map(|name| format!("{path}.{name} is required now")),
    );
    for (name, before) in old["properties"].as_object().into_iter().flatten() {
        match &new["properties"][name] {
            Value::Null => found.push(format!("{path}.{name} is gone")),
            now => taken_back(&format!("{path}.{name}"), before, now, found),
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if old[keyword].is_object() {
            taken_back(&format!("{path}[]"), &old[keyword], &new[keyword], found);
        }
    }
}

/// Every field of a schema, by its path.
fn fields(path: &str, schema: &Value, all: &mut BTreeSet<String>) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        fields(&path, below, all);
        all.insert(path);
    }
    if schema["items"].is_object() {
        fields(path, &schema["items"], all);
    }
}

/// Every field that an object uses, by the same path.
fn used(path: &str, value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, below) in map {
                let path = format!("{path}.{name}");
                used(&path, below, all);
                all.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| used(path, item, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Where two values differ.
fn differences(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for name in ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name))) {
                differences(&format!("{path}.{name}"), &one[name], &other[name], found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (ours, theirs) in ours.iter().zip(theirs) {
                differences(path, ours, theirs, found);
            }
        }
        _ if one == other => {}
        _ => found.push(format!("{path} was {one}, and is {other}")),
    }
}

#[test]
fn no_schema_takes_back_what_an_earlier_one_gave() {
    for version in versions() {
        for (_, file) in KINDS {
            let mut found = Vec::new();
            taken_back(
                "",
                &schema(&version.join(file)),
                &schema(&root().join("crds").join(file)),
                &mut found,
            );
            assert!(found.is_empty(), "since {}:\n{}", version.display(), found.join("\n"));
        }
    }
}

type Change = fn(&mut Value);

#[test]
fn what_takes_back_is_told() {
    let old = schema(&root().join("crds").join(KINDS[0].1));
    let at = "/properties/spec/properties";
    let breaks: [(&str, Change); 7] = [
        (".spec.ref is gone", |spec| drop(spec.as_object_mut().unwrap().remove("ref"))),
        (".spec.ref: type was", |spec| spec["ref"]["type"] = "integer".into()),
        (".spec.suspend: default was null, and is true", |spec| spec["suspend"]["default"] = true.into()),
        (".spec.fireOn: \"Change\" is gone", |spec| {
            spec["fireOn"]["enum"] = serde_json::json!(["Apply", "Request"]);
        }),
        (".spec.historyLimit: maximum", |spec| spec["historyLimit"]["maximum"] = 1.into()),
        (".spec.gitlab.url is required now", |spec| {
            spec["gitlab"]["required"] = serde_json::json!(["project", "url"]);
        }),
        (".spec.variables[].name: maxLength", |spec| {
            spec["variables"]["items"]["properties"]["name"]["maxLength"] = 3.into();
        }),
    ];
    for (says, change) in breaks {
        let mut new = old.clone();
        change(new.pointer_mut(at).unwrap());
        let mut found = Vec::new();
        taken_back("", &old, &new, &mut found);
        assert!(matches!(&found[..], [one] if one.starts_with(says)), "{says}: {found:?}");
    }
}

#[test]
fn the_objects_use_every_field_of_their_version() {
    for version in versions() {
        for (kind, file) in KINDS {
            let schema = schema(&version.join(file));
            let (mut known, mut there) = (BTreeSet::new(), BTreeSet::new());
            for part in ["spec", "status"] {
                fields(part, &schema["properties"][part], &mut known);
            }
            for object in objects(&version).iter().filter(|object| object["kind"] == kind) {
                for part in ["spec", "status"] {
                    used(part, &object[part], &mut there);
                }
            }
            // What a template has is a trigger's spec.
            let unused: Vec<&String> = known
                .difference(&there)
                .filter(|path| !path.starts_with("spec.triggerTemplate.spec."))
                .collect();
            assert!(unused.is_empty(), "{} of {}: {unused:#?}", kind, version.display());
        }
    }
}

#[test]
fn what_was_stored_reads_back_whole() {
    for version in versions() {
        for object in objects(&version) {
            let name = format!("{}/{}", object["kind"], object["metadata"]["name"]);
            let again = match object["kind"].as_str().unwrap() {
                "PipelineTrigger" => serde_json::from_value::<PipelineTrigger>(object.clone())
                    .map(|it| serde_json::to_value(it).unwrap()),
                _ => serde_json::from_value::<PipelineSchedule>(object.clone())
                    .map(|it| serde_json::to_value(it).unwrap()),
            };
            let again = again.unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut lost = Vec::new();
            for part in ["spec", "status"] {
                differences(part, &object[part], &again[part], &mut lost);
            }
            assert!(lost.is_empty(), "{name} of {}: {lost:#?}", version.display());
        }
    }
}
