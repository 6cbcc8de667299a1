//! Secrets and ConfigMaps: one object, read by its name when something in it is needed. Nothing lists, watches or
//! keeps them. Triggers that need the same one at the same time share one read of it ([`super::reads`]).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource};
use pipekick_core::domain::ObjectKey;
use serde::de::DeserializeOwned;

use super::client::DEADLINE;
use super::reads::SharedReads;
use crate::api::names::is_subdomain;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// What one of them holds.
pub(super) struct Stored {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) data: BTreeMap<String, Vec<u8>>,
}

impl Stored {
    fn new(metadata: ObjectMeta, data: BTreeMap<String, Vec<u8>>) -> Self {
        let ObjectMeta { labels, annotations, .. } = metadata;
        Self { labels: labels.unwrap_or_default(), annotations: annotations.unwrap_or_default(), data }
    }
}

/// Why there is nothing to look into.
pub(super) enum NotRead {
    /// The name cannot be one.
    NoName,
    /// There is no such object.
    Missing,
    /// The API server did not say, and why.
    Unreadable(String),
}

/// All of them, each read shared by those who want it at the same time.
pub(super) struct StoredObjects {
    client: Client,
    reads: SharedReads<(Kind, ObjectKey), Result<Stored, NotRead>>,
}

impl StoredObjects {
    pub(super) fn new(client: Client) -> Self {
        Self { client, reads: SharedReads::new() }
    }

    /// Reads the object `name`.
    pub(super) async fn read(&self, kind: Kind, namespace: &str, name: &str) -> Arc<Result<Stored, NotRead>> {
        let key = ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let client = self.client.clone();
        self.reads.read((kind, key.clone()), || fetch(client, kind, key)).await
    }
}

async fn fetch(client: Client, kind: Kind, key: ObjectKey) -> Result<Stored, NotRead> {
    let ObjectKey { namespace, name } = &key;
    match kind {
        Kind::ConfigMap => {
            let ConfigMap { metadata, data, binary_data, immutable: _ } =
                object(&client, namespace, name).await?;
            let binary = binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
            let text = data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
            Ok(Stored::new(metadata, binary.chain(text).collect()))
        }
        Kind::Secret => {
            let Secret { metadata, data, string_data: _, immutable: _, type_: _ } =
                object(&client, namespace, name).await?;
            let data = data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
            Ok(Stored::new(metadata, data.collect()))
        }
    }
}

async fn object<K>(client: &Client, namespace: &str, name: &str) -> Result<K, NotRead>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    // The name becomes part of a path, and must not lead out of the namespace.
    if !is_subdomain(name) {
        return Err(NotRead::NoName);
    }
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    match tokio::time::timeout(DEADLINE, api.get_opt(name)).await {
        Ok(Ok(Some(object))) => Ok(object),
        Ok(Ok(None)) => Err(NotRead::Missing),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(NotRead::Unreadable("the operator has no right to; see its RBAC".into()))
        }
        Ok(Err(error)) => Err(NotRead::Unreadable(error.to_string())),
        Err(_) => Err(NotRead::Unreadable(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}
