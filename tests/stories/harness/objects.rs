//! What users write: triggers and Secrets, as they stand in a git repository.

use serde_json::{Map, Value, json};

use super::gitlab::PROJECT;

pub const FIRE: &str = "pipekick.dev/fire";

/// A `PipelineTrigger` to apply.
#[derive(Debug, Clone)]
pub struct Trigger(pub Value);

impl Trigger {
    /// Fires `main` of [`PROJECT`] with the trigger token and follows with the access token, both in Secret `gitlab`.
    pub fn new(name: &str) -> Self {
        Self(json!({
            "apiVersion": "pipekick.dev/v1alpha1",
            "kind": "PipelineTrigger",
            "metadata": {"name": name},
            "spec": {
                "gitlab": {
                    "project": PROJECT,
                    "triggerTokenRef": {"name": "gitlab", "key": "trigger-token"},
                    "accessTokenRef": {"name": "gitlab", "key": "access-token"},
                },
                "ref": "main",
            },
        }))
    }

    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    /// Sets a field by its path: `spec.gitlab.project`.
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        *path.split('.').fold(&mut self.0, |at, key| &mut at[key]) = value.into();
        self
    }

    /// Takes a field away.
    pub fn without(mut self, path: &str) -> Self {
        let (parent, last) = path.rsplit_once('.').unwrap();
        let parent = parent.split('.').fold(&mut self.0, |at, key| &mut at[key]);
        parent.as_object_mut().unwrap().remove(last).expect("the field was there");
        self
    }

    pub fn variables(self, variables: &[(&str, &str)]) -> Self {
        let list: Vec<Value> =
            variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        self.with("spec.variables", list)
    }

    /// With the annotation that asks for a run.
    pub fn asking(mut self, value: &str) -> Self {
        self.0["metadata"]["annotations"][FIRE] = value.into();
        self
    }
}

/// A Secret to apply.
#[derive(Debug, Clone)]
pub struct Secret {
    pub name: String,
    pub values: Vec<(String, String)>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
}

impl Secret {
    /// One that is marked as a credential.
    pub fn new(name: &str) -> Self {
        Self { labels: Map::new(), ..Self::unmarked(name) }.label("pipekick.dev/credential", "true")
    }

    pub fn unmarked(name: &str) -> Self {
        Self { name: name.into(), values: Vec::new(), labels: Map::new(), annotations: Map::new() }
    }

    pub fn key(mut self, key: &str, value: &str) -> Self {
        self.values.push((key.into(), value.into()));
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    pub fn manifest(&self) -> Value {
        let values: Map<String, Value> =
            self.values.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "labels": self.labels, "annotations": self.annotations},
            "stringData": values,
        })
    }
}

/// A `ConfigMap` to apply.
#[derive(Debug, Clone)]
pub struct ConfigMap {
    pub name: String,
    data: Map<String, Value>,
    binary: Map<String, Value>,
}

impl ConfigMap {
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), data: Map::new(), binary: Map::new() }
    }

    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.data.insert(key.into(), value.into());
        self
    }

    pub fn binary(mut self, key: &str, value: &[u8]) -> Self {
        self.binary.insert(key.into(), data_encoding::BASE64.encode(value).into());
        self
    }

    pub fn manifest(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name},
            "data": self.data,
            "binaryData": self.binary,
        })
    }
}
