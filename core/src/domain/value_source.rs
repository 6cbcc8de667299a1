//! Where the value of a variable is read from, if it does not stand in spec.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{ObjectKey, SecretKeyRef};

/// Where a value is read from. All of it is in the trigger's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueSource {
    /// A key of a Secret.
    Secret(SecretKeyRef),
    /// A key of a `ConfigMap`.
    ConfigMap {
        /// Name of the `ConfigMap`.
        name: String,
        /// Key in its data or binary data.
        key: String,
    },
    /// A field of the trigger itself, as it was when the trigger was read.
    Field {
        /// Which.
        path: FieldPath,
        /// What stands there.
        value: Option<String>,
    },
}

/// A field of an object that may become a variable: `metadata.name`, `metadata.namespace`, `metadata.uid`,
/// `metadata.labels['x']` or `metadata.annotations['x']`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldPath {
    /// `metadata.name`
    Name,
    /// `metadata.namespace`
    Namespace,
    /// `metadata.uid`
    Uid,
    /// `metadata.labels['x']`
    Label(String),
    /// `metadata.annotations['x']`
    Annotation(String),
}

/// The text names no field that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` cannot be read: write metadata.name, metadata.namespace, metadata.uid, metadata.labels['key'] or metadata.annotations['key']"
)]
pub struct UnknownField(String);

/// What fields of an object are read from.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// Namespace and name.
    pub key: &'a ObjectKey,
    /// `metadata.uid`
    pub uid: &'a str,
    /// `metadata.labels`
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// `metadata.annotations`
    pub annotations: Option<&'a BTreeMap<String, String>>,
}

impl FieldPath {
    /// What stands there.
    #[must_use]
    pub fn of(&self, object: Fields<'_>) -> Option<String> {
        let Fields { key, uid, labels, annotations } = object;
        match self {
            Self::Name => Some(key.name.clone()),
            Self::Namespace => Some(key.namespace.clone()),
            Self::Uid => Some(uid.to_owned()),
            Self::Label(label) => labels?.get(label).cloned(),
            Self::Annotation(annotation) => annotations?.get(annotation).cloned(),
        }
    }
}

impl FromStr for FieldPath {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key_in = |map: &str| {
            let key = text.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")?;
            let plain = !key.is_empty() && !key.contains(['\'', '[', ']']);
            plain.then(|| key.to_owned())
        };
        match text {
            "metadata.name" => Ok(Self::Name),
            "metadata.namespace" => Ok(Self::Namespace),
            "metadata.uid" => Ok(Self::Uid),
            _ => key_in("metadata.labels")
                .map(Self::Label)
                .or_else(|| key_in("metadata.annotations").map(Self::Annotation))
                .ok_or_else(|| UnknownField(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("metadata.name"),
            Self::Namespace => f.write_str("metadata.namespace"),
            Self::Uid => f.write_str("metadata.uid"),
            Self::Label(label) => write!(f, "metadata.labels['{label}']"),
            Self::Annotation(annotation) => write!(f, "metadata.annotations['{annotation}']"),
        }
    }
}

/// As a message names it.
impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(SecretKeyRef { name, key }) => write!(f, "key {key} of Secret {name}"),
            Self::ConfigMap { name, key } => write!(f, "key {key} of ConfigMap {name}"),
            Self::Field { path, value: _ } => write!(f, "{path} of this object"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_reads_back_as_it_was_written_and_yields_what_stands_there() {
        let key = ObjectKey { namespace: "shop".into(), name: "checkout".into() };
        let labels = BTreeMap::from([("example.com/team".to_owned(), "pay".to_owned())]);
        let object = Fields { key: &key, uid: "u-1", labels: Some(&labels), annotations: None };
        for (text, value) in [
            ("metadata.name", Some("checkout")),
            ("metadata.namespace", Some("shop")),
            ("metadata.uid", Some("u-1")),
            ("metadata.labels['example.com/team']", Some("pay")),
            ("metadata.labels['team']", None),
            ("metadata.annotations['example.com/team']", None),
        ] {
            let path: FieldPath = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
            assert_eq!(path.of(object).as_deref(), value, "{text}");
        }
    }

    #[test]
    fn other_fields_are_refused() {
        for bad in [
            "",
            "spec.ref",
            "metadata.labels",
            "metadata.labels['']",
            "metadata.labels[\"a\"]",
            "metadata.labels['a'].b",
            "metadata.labels['a']['b']",
            "metadata.generation",
            "metadata.name ",
        ] {
            assert!(bad.parse::<FieldPath>().is_err(), "{bad}");
        }
    }
}
