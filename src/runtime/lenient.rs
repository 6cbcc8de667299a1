//! An object that decodes whatever its spec and status hold.
//!
//! kube decodes a page or an event as a whole, so that one object the types do not fit would stop the watch
//! of all others. `Api<Lenient<PipelineTrigger>>` serves every object: its metadata, and for spec and
//! status either the value or why it is none. kube's own `DeserializeGuard` is all or nothing: a spec that
//! does not fit would take with it the status that says a pipeline was started.
//!
//! It only reads. Writes go through `Api<PipelineTrigger>`, or with a body of their own.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::{
    Resource,
    core::object::{HasSpec, HasStatus},
};
use pipekick_core::domain::size::Weight;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// A `K` of which spec and status may each not fit.
#[derive(Debug, Clone)]
pub struct Lenient<K: HasSpec + HasStatus> {
    /// `metadata` without what nobody here reads; this has to fit, and the API server sees to it.
    pub metadata: ObjectMeta,
    /// How many bytes `managedFields` takes up.
    pub managed: Weight,
    /// The spec, or what serde says about it. That may quote a value of the spec.
    pub spec: Result<K::Spec, String>,
    /// The status if there is one, or what serde says about it.
    pub status: Result<Option<K::Status>, String>,
}

/// The metadata that is read here. Of `managedFields` nothing is kept: it would take more room than the rest of the object.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    managed_fields: Weight,
}

impl Metadata {
    fn parts(self) -> (ObjectMeta, Weight) {
        let Self {
            name,
            generate_name,
            namespace,
            uid,
            resource_version,
            generation,
            creation_timestamp,
            deletion_timestamp,
            labels,
            annotations,
            owner_references,
            finalizers,
            managed_fields,
        } = self;
        let kept = ObjectMeta {
            name,
            generate_name,
            namespace,
            uid,
            resource_version,
            generation,
            creation_timestamp,
            deletion_timestamp,
            labels,
            annotations,
            owner_references,
            finalizers,
            ..ObjectMeta::default()
        };
        (kept, managed_fields)
    }
}

#[derive(Deserialize)]
struct Raw {
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl<'de, K> Deserialize<'de> for Lenient<K>
where
    K: HasSpec + HasStatus,
    K::Spec: DeserializeOwned,
    K::Status: DeserializeOwned,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { metadata, spec, status } = Raw::deserialize(deserializer)?;
        let (metadata, managed) = metadata.parts();
        Ok(Self {
            metadata,
            managed,
            spec: serde_json::from_value(spec).map_err(|e| e.to_string()),
            status: serde_json::from_value(status).map_err(|e| e.to_string()),
        })
    }
}

impl<K: Resource + HasSpec + HasStatus> Resource for Lenient<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
pub(super) mod tests {
    use kube::{CustomResource, core::WatchEvent};
    use schemars::JsonSchema;
    use serde::Serialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, JsonSchema)]
    #[kube(group = "test.example", version = "v1", kind = "Probe", namespaced, status = "ProbeStatus")]
    pub(crate) struct ProbeSpec {
        pub(crate) size: u32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub(crate) struct ProbeStatus {
        pub(crate) phase: String,
    }

    #[test]
    fn an_event_with_a_spec_that_does_not_fit_is_still_an_event() {
        let event = json!({"type": "ADDED", "object": {
            "apiVersion": "test.example/v1", "kind": "Probe",
            "metadata": {"name": "x", "namespace": "ns", "uid": "u", "resourceVersion": "7"},
            "spec": {"size": "large"}, "status": {"phase": "Firing"},
        }});
        let WatchEvent::Added(probe) = serde_json::from_value::<WatchEvent<Lenient<Probe>>>(event).unwrap()
        else {
            panic!("not an addition")
        };
        assert_eq!(probe.metadata.name.as_deref(), Some("x"));
        assert!(probe.spec.unwrap_err().contains("expected u32"));
        assert_eq!(probe.status.unwrap().unwrap().phase, "Firing");
        assert_eq!(Lenient::<Probe>::plural(&()), "probes");
    }

    #[test]
    fn of_metadata_all_is_read_but_who_manages_which_field() {
        let mut metadata = json!({
            "name": "x-1", "generateName": "x-", "namespace": "ns", "uid": "u", "resourceVersion": "7",
            "generation": 3, "creationTimestamp": "2026-11-01T12:00:00Z",
            "deletionTimestamp": "2026-11-01T13:00:00Z", "labels": {"l": "1"}, "annotations": {"a": "1"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": "ou", "controller": true}],
            "finalizers": ["f"], "managedFields": [{"manager": "kubectl"}],
        });
        let probe: Lenient<Probe> = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        let managed = metadata.as_object_mut().unwrap().remove("managedFields").unwrap();
        assert_eq!(probe.managed, Weight(managed.to_string().len()));
        assert_eq!(serde_json::to_value(probe.metadata).unwrap(), metadata);
    }

    #[test]
    fn an_object_without_spec_and_status_decodes() {
        let probe: Lenient<Probe> = serde_json::from_value(json!({"metadata": {"name": "x"}})).unwrap();
        assert!(probe.spec.is_err());
        assert_eq!(probe.status, Ok(None));
    }
}
