//! One entry of `variables`, as written.

use kube::KubeSchema;
use pipekick_core::domain::{
    FieldPath, Fields, SecretKeyRef, SpecProblem, ValueSource, Variable, VariableType, VariableValue,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trigger::problem;

/// One CI/CD variable.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.valueFrom)").message("a variable has either value or valueFrom: write one of them"),
)]
pub struct VariableSpec {
    /// Name of the variable: letters, digits and underscores. TRIGGER_PAYLOAD, which GitLab adds itself, and names that
    /// begin with PIPEKICK_ are not allowed.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9_]+$')").message("GitLab refuses this variable name: use letters, digits and underscores"),
        validation = Rule::new("self != 'TRIGGER_PAYLOAD'").message("GitLab adds TRIGGER_PAYLOAD itself and fails a pipeline that has a second one: choose another name"),
        validation = Rule::new("!self.startsWith('PIPEKICK_')").message("names that begin with PIPEKICK_ are Pipekick's own: choose another name"),
    )]
    pub name: String,
    /// Its value, always text: quote numbers and booleans. At most 10000 characters. GitLab expands $NAME in
    /// it; write $$ for a dollar sign, or set raw. Never put a secret here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10000))]
    pub value: Option<String>,
    /// Where its value is read from, instead of value: a key of a Secret or ConfigMap in this namespace, or a field of
    /// this object. Read when the request is sent, and again for each repeat of it. A value that is not there is waited for,
    /// unless it is optional. A change of the content does not fire by itself: annotate pipekick.dev/fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFromSpec>,
    /// `kubectl explain` shows what stands at [`VariableType`].
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<VariableType>,
    /// true: the value arrives as it is, although GitLab expands $NAME in values: each $ is sent as $$. In pipelines
    /// that the pipeline itself starts (trigger jobs that forward variables) GitLab expands it all the same, and
    /// TRIGGER_PAYLOAD shows the doubled signs. Unset: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<bool>,
}

/// Where a value is read from: exactly one of the three.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.secretKeyRef) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0) + (has(self.fieldRef) ? 1 : 0) == 1").message("valueFrom: write exactly one of secretKeyRef, configMapKeyRef and fieldRef"),
)]
pub struct ValueFromSpec {
    /// A key of a Secret. Pipeline variables are not masked: Maintainers of the project and receivers of its pipeline
    /// webhooks can read them. So the Secret must carry the label pipekick.dev/variables: "true", and is bound to a
    /// GitLab by the annotation pipekick.dev/gitlab-url and to projects by pipekick.dev/projects, as credentials are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<ValueKeySelector>,
    /// A key of a ConfigMap, in its data or binaryData. The value must be UTF-8 text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ValueKeySelector>,
    /// A field of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldSelector>,
}

/// A key of a Secret or ConfigMap in this object's namespace.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValueKeySelector {
    /// Name of the Secret or ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("name: Kubernetes names have lower-case letters, digits, - and . alone, and begin and end with a letter or digit"),
    )]
    pub name: String,
    /// Key in its data. The value is text of at most 10000 characters; a line end at its end is part of it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$')").message("key: keys of Secrets and ConfigMaps have letters, digits, - _ and . alone"),
    )]
    pub key: String,
    /// true: where object or key do not exist, the variable is left out. Unset: they are waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A field of this object.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldSelector {
    /// metadata.name, metadata.namespace, metadata.uid, metadata.labels['key'] or metadata.annotations['key'], such as
    /// metadata.annotations['pipekick.dev/fire'].
    #[schemars(length(max = 345))]
    #[x_kube(
        validation = Rule::new(r"self.matches(r'''^metadata[.](name|namespace|uid|(labels|annotations)\['[A-Za-z0-9][A-Za-z0-9._/-]*'\])$''')").message("fieldPath: write metadata.name, metadata.namespace, metadata.uid, metadata.labels['key'] or metadata.annotations['key']"),
    )]
    pub field_path: String,
    /// true: where there is no such label or annotation, the variable is left out. Unset: it is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

impl VariableSpec {
    /// The entry as written, without its name: what the digest is taken of.
    pub(super) fn written(&self) -> Value {
        let mut written = serde_json::to_value(self).expect("an entry of spec came from JSON");
        if let Value::Object(fields) = &mut written {
            fields.remove("name");
        }
        written
    }

    /// What it means; fields are read from `object`.
    pub(super) fn parse(&self, object: Fields<'_>) -> Result<Variable, SpecProblem> {
        let Self { name, value, value_from, kind, raw } = self;
        let name = name.parse().map_err(|e| problem("variables", &e))?;
        let value = match (value, value_from) {
            (Some(text), None) => VariableValue::Text(text.clone()),
            (None, Some(from)) => from.parse(object)?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(SpecProblem(format!("variable {name}: write either value or valueFrom")));
            }
        };
        Ok(Variable { name, kind: kind.unwrap_or_default(), raw: raw.unwrap_or(false), value })
    }
}

impl ValueFromSpec {
    fn parse(&self, object: Fields<'_>) -> Result<VariableValue, SpecProblem> {
        let Self { secret_key_ref, config_map_key_ref, field_ref } = self;
        let (source, optional) = match (secret_key_ref, config_map_key_ref, field_ref) {
            (Some(ValueKeySelector { name, key, optional }), None, None) => {
                (ValueSource::Secret(SecretKeyRef { name: name.clone(), key: key.clone() }), optional)
            }
            (None, Some(ValueKeySelector { name, key, optional }), None) => {
                (ValueSource::ConfigMap { name: name.clone(), key: key.clone() }, optional)
            }
            (None, None, Some(FieldSelector { field_path, optional })) => {
                let path: FieldPath = field_path.parse().map_err(|e| problem("fieldPath", &e))?;
                let value = path.of(object);
                (ValueSource::Field { path, value }, optional)
            }
            _ => {
                let what = "valueFrom: write exactly one of secretKeyRef, configMapKeyRef and fieldRef";
                return Err(SpecProblem(what.into()));
            }
        };
        Ok(VariableValue::From { source, optional: optional.unwrap_or(false) })
    }
}
