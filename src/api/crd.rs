//! The CRDs as they are installed: what `kube` derives from the types, made fit for GitOps and old kubectls.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{PipelineSchedule, PipelineTrigger};

/// Every CRD with the name of its file in `crds/`.
#[must_use]
pub fn crds() -> Vec<(&'static str, Value)> {
    vec![
        ("pipekick.dev_pipelineschedules.yaml", finish(&PipelineSchedule::crd())),
        ("pipekick.dev_pipelinetriggers.yaml", finish(&PipelineTrigger::crd())),
    ]
}

fn finish(crd: &CustomResourceDefinition) -> Value {
    let mut crd = serde_json::to_value(crd).expect("a CRD is plain data");
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    tidy(schema);
    // So that kstatus says InProgress before the operator has looked. The only default there is.
    schema["properties"]["status"]["default"] = json!({"observedGeneration": -1});
    crd
}

/// Takes out what the derive adds and nobody asked for:
/// * `nullable`: a `null` would be stored and then read back as something a GitOps tool did not apply;
/// * `format: uint…`: kubectl warns of formats that OpenAPI does not know;
/// * `default`, which would be written into users' objects;
/// * the description of a list's items, which kubectl prints behind the list's own.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            // `properties` maps names to schemas: a field may well be called `default`.
            let keywords = map.get("type").is_some() || map.get("x-kubernetes-int-or-string").is_some();
            if keywords {
                if let Some(Value::String(text)) = map.get_mut("description") {
                    *text = unwrapped(text);
                }
                map.remove("nullable");
                map.remove("default");
                if let Some(Value::Object(items)) = map.get_mut("items") {
                    items.remove("description");
                }
                if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint"))
                {
                    map.remove("format");
                }
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The lines of a doc comment as paragraphs: `kubectl explain` wraps by itself.
fn unwrapped(text: &str) -> String {
    let paragraphs: Vec<String> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    paragraphs.join("\n\n")
}
