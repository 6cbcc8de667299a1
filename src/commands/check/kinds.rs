//! Whether the kinds are there, and are those of this version.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::timeout;

use super::Report;
use crate::api::crd::crds;
use crate::cluster::causes::causes;
use crate::cluster::client::DEADLINE;

/// What makes them so.
const MEND: &str = "pipekick crds | kubectl apply --server-side --force-conflicts -f -, or helm upgrade";

/// Looks at each kind.
pub(super) async fn check(report: &mut Report, cluster: &Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.clone());
    for (_, ours) in crds() {
        let ours: CustomResourceDefinition = serde_json::from_value(ours)?;
        let name = ours.metadata.name.clone().unwrap_or_default();
        match timeout(DEADLINE, api.get_opt(&name)).await {
            Ok(Ok(Some(theirs))) => match differs(&ours, &theirs) {
                None => report.good(&format!("{name}: as this version has it"))?,
                Some(how) => report.bad(&format!("{name}: {how}: {MEND}"))?,
            },
            Ok(Ok(None)) => report.bad(&format!("{name} is not there: {MEND}"))?,
            // The operator's own account may not: it needs the kinds, not their definitions.
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => served(report, cluster, &name).await?,
            Ok(Err(error)) => report.bad(&format!("{name} could not be read: {}", causes(&error)))?,
            Err(_) => report.bad(&format!("{name}: no answer within {} s", DEADLINE.as_secs()))?,
        }
    }
    Ok(())
}

/// Whether a kind is served, which everybody may ask.
async fn served(report: &mut Report, cluster: &Client, name: &str) -> anyhow::Result<()> {
    let plural = name.split('.').next().unwrap_or_default();
    match timeout(DEADLINE, cluster.list_api_group_resources("pipekick.dev/v1alpha1")).await {
        Ok(Ok(list)) if list.resources.iter().any(|resource| resource.name == plural) => report.note(&format!(
            "{name} is there; whether it is this version's is not known, for you may not get customresourcedefinitions"
        )),
        Ok(Ok(_)) => report.bad(&format!("{name} is not there: {MEND}")),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            report.bad(&format!("{name} is not there: {MEND}"))
        }
        Ok(Err(error)) => report.bad(&format!("{name} could not be read: {}", causes(&error))),
        Err(_) => report.bad(&format!("{name}: no answer within {} s", DEADLINE.as_secs())),
    }
}

/// In what a definition differs from ours, as far as it matters to objects.
fn differs(ours: &CustomResourceDefinition, theirs: &CustomResourceDefinition) -> Option<String> {
    let established =
        theirs.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|all| {
            all.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
        });
    if !established {
        return Some("the API server does not serve it".into());
    }
    for ours in &ours.spec.versions {
        let Some(theirs) = theirs.spec.versions.iter().find(|theirs| theirs.name == ours.name) else {
            return Some(format!("version {} is not there", ours.name));
        };
        if let Some(path) = first_difference(&plain(ours), &plain(theirs)) {
            return Some(format!("version {} differs from this version's at {path}", ours.name));
        }
    }
    None
}

/// Schema and columns, as the types of Kubernetes write them.
fn plain(version: &CustomResourceDefinitionVersion) -> Value {
    let mut plain = serde_json::to_value(version).expect("a CRD is plain data");
    // Kubernetes keeps it as false where it is not set.
    if let Some(map) = plain.as_object_mut() {
        map.retain(|_, value| *value != Value::Bool(false));
    }
    plain
}

/// The first place at which two values differ, in the order of their keys.
fn first_difference(ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let keys = ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
            for key in keys {
                let (mine, other) =
                    (ours.get(key).unwrap_or(&Value::Null), theirs.get(key).unwrap_or(&Value::Null));
                if let Some(rest) = first_difference(mine, other) {
                    return Some(if rest.is_empty() { key.clone() } else { format!("{key}.{rest}") });
                }
            }
            None
        }
        _ => (ours != theirs).then(String::new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_place_of_a_difference_is_named() {
        let ours = json!({"a": {"b": 1, "c": [1, 2]}, "d": {}});
        for (theirs, place) in [
            (json!({"a": {"b": 1, "c": [1, 2]}, "d": {}}), None),
            (json!({"a": {"b": 2, "c": [1, 2]}, "d": {}}), Some("a.b")),
            (json!({"a": {"b": 1, "c": [2, 1]}, "d": {}}), Some("a.c")),
            (json!({"a": {"b": 1, "c": [1, 2]}}), Some("d")),
            (json!({"a": {"b": 1, "c": [1, 2]}, "d": {"new": true}}), Some("d.new")),
        ] {
            assert_eq!(first_difference(&ours, &theirs).as_deref(), place, "{theirs}");
        }
    }
}
