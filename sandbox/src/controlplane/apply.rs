//! Applies YAML manifests as `kubectl apply --server-side` does, and waits where kubectl would leave it to you.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use tokio::time::{sleep, timeout};

use super::error::Error;

/// Each request; kube itself waits for ever.
const REQUEST: Duration = Duration::from_secs(30);
const ESTABLISHED: Duration = Duration::from_secs(30);
/// An established CRD may be missing from discovery for a moment.
const DISCOVERY_LAG: [Duration; 5] = [Duration::from_millis(200); 5];
const FIELD_MANAGER: &str = "pipekick-sandbox";

/// Applies the documents of `yaml` in order, each CRD until it is established.
pub(crate) async fn apply(client: &Client, yaml: &str) -> Result<(), Error> {
    for (kind, object) in parse(yaml)? {
        let doing = format!("apply {} {}", kind.kind, object.name_any());
        let (resource, capabilities) = discover(client, &kind, &doing).await?;
        let api = api_for(client, &object, &resource, &capabilities);
        match &object.metadata.name {
            Some(name) => {
                let params = PatchParams::apply(FIELD_MANAGER).force();
                within(REQUEST, &doing, api.patch(name, &params, &Patch::Apply(&object))).await?;
                if kind.kind == "CustomResourceDefinition" {
                    established(client, name).await?;
                }
            }
            // generateName: server-side apply needs a name, as kubectl's users know; this creates.
            None => {
                within(REQUEST, &doing, api.create(&PostParams::default(), &object)).await?;
            }
        }
    }
    Ok(())
}

/// Waits until a CRD, by its name (`pipelinetriggers.pipekick.dev`), is served. It need not exist yet.
pub(crate) async fn established(client: &Client, name: &str) -> Result<(), Error> {
    let doing = format!("see the CRD {name} established");
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let waiting = await_condition(crds, name, conditions::is_crd_established());
    match timeout(ESTABLISHED, waiting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Watch { doing, source: Box::new(error) }),
        Err(_) => Err(Error::Timeout { doing, after: ESTABLISHED }),
    }
}

/// A request to the API server, which may take so long and no longer.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match timeout(limit, request).await {
        Ok(answer) => answer.map_err(Error::api(doing)),
        Err(_) => Err(Error::Timeout { doing: doing.to_owned(), after: limit }),
    }
}

fn parse(yaml: &str) -> Result<Vec<(GroupVersionKind, DynamicObject)>, Error> {
    let documents: Vec<Option<serde_json::Value>> =
        serde_saphyr::from_multiple(yaml).map_err(|error| Error::Yaml(error.to_string()))?;
    let mut objects = Vec::new();
    for (number, document) in (1..).zip(documents) {
        let refused = |problem: String| Error::Manifest { number, problem };
        // Nothing between two `---`, or only comments.
        let Some(document) = document.filter(|document| !document.is_null()) else { continue };
        let object: DynamicObject =
            serde_json::from_value(document).map_err(|error| refused(error.to_string()))?;
        let types = object.types.as_ref().ok_or_else(|| refused("no apiVersion and kind".to_owned()))?;
        let kind = GroupVersionKind::try_from(types).map_err(|error| refused(error.to_string()))?;
        objects.push((kind, object));
    }
    Ok(objects)
}

async fn discover(
    client: &Client,
    kind: &GroupVersionKind,
    doing: &str,
) -> Result<(ApiResource, ApiCapabilities), Error> {
    let mut lag = DISCOVERY_LAG.iter();
    loop {
        match (within(REQUEST, doing, pinned_kind(client, kind)).await, lag.next()) {
            (Err(error), Some(pause)) if is_unknown_kind(&error) => sleep(*pause).await,
            (found, _) => return found,
        }
    }
}

fn is_unknown_kind(error: &Error) -> bool {
    let Error::Api { source, .. } = error else { return false };
    match source.as_ref() {
        kube::Error::Api(status) => status.is_not_found(),
        kube::Error::Discovery(_) => true,
        _ => false,
    }
}

fn api_for(
    client: &Client,
    object: &DynamicObject,
    resource: &ApiResource,
    capabilities: &ApiCapabilities,
) -> Api<DynamicObject> {
    match (&capabilities.scope, &object.metadata.namespace) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_documents_are_passed_over() {
        let yaml = "---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n";
        let parsed = parse(yaml).unwrap();
        assert_eq!(parsed.len(), 1);
        assert_eq!(parsed[0].0, GroupVersionKind::gvk("", "v1", "Namespace"));
        assert_eq!(parsed[0].1.name_any(), "shop");
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_line() {
        let refused = parse("a: b\nc: [d\n").unwrap_err().to_string();
        assert!(refused.starts_with("the manifest is not YAML: ") && refused.contains("line 2"), "{refused}");
    }

    #[test]
    fn a_document_that_is_no_object_is_refused_by_number() {
        let yaml = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\nmetadata: {name: lost}\n";
        let refused = parse(yaml).unwrap_err().to_string();
        assert_eq!(refused, "document 2 of the manifest: no apiVersion and kind");
    }
}
