//! Whether somebody has the rights that the operator needs: each one is asked of the API server. Which they are stands in
//! `deploy/rbac.yaml`, from which the chart has them too.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Report;
use crate::cluster::causes::causes;
use crate::cluster::client::DEADLINE;

const RBAC: &str = include_str!("../../../deploy/rbac.yaml");

/// Where rights are needed.
pub(super) struct Scope<'a> {
    /// Everywhere, if `None`.
    pub(super) namespace: Option<&'a str>,
}

/// What may be needed of one resource, or of one object of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    group: String,
    resource: String,
    subresource: Option<String>,
    name: Option<String>,
    verbs: Vec<String>,
}

impl Need {
    /// As `kubectl auth can-i` has it.
    fn what(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let sub = self.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{}{group}{sub}{name}", self.resource)
    }

    /// It is in no namespace.
    fn is_of_the_cluster(&self) -> bool {
        self.group.is_empty() && self.resource == "namespaces"
    }
}

/// What an operator needs.
pub(super) fn of_operator() -> Vec<Need> {
    needs(document::<ClusterRole>("ClusterRole").rules.unwrap_or_default())
}

/// What several operators need beside that, to agree on this Lease.
pub(super) fn of_elections(lease: &str) -> Vec<Need> {
    let mut needs = needs(document::<Role>("Role").rules.unwrap_or_default());
    for need in &mut needs {
        need.name = need.name.take().map(|_| lease.to_owned());
    }
    needs
}

fn document<K: DeserializeOwned>(kind: &str) -> K {
    let line = format!("\nkind: {kind}\n");
    let document = RBAC.split("\n---\n").find(|document| document.contains(&line));
    let document = document.and_then(|document| serde_saphyr::from_str(document).ok());
    document.expect("deploy/rbac.yaml has one of each; a test reads them")
}

fn needs(rules: Vec<PolicyRule>) -> Vec<Need> {
    let mut needs = Vec::new();
    for rule in rules {
        let names = match rule.resource_names {
            Some(names) if !names.is_empty() => names.into_iter().map(Some).collect(),
            Some(_) | None => vec![None],
        };
        for group in rule.api_groups.unwrap_or_default() {
            for resource in rule.resources.iter().flatten() {
                let (resource, subresource) = match resource.split_once('/') {
                    Some((resource, sub)) => (resource, Some(sub.to_owned())),
                    None => (resource.as_str(), None),
                };
                needs.extend(names.iter().map(|name| Need {
                    group: group.clone(),
                    resource: resource.to_owned(),
                    subresource: subresource.clone(),
                    name: name.clone(),
                    verbs: rule.verbs.clone(),
                }));
            }
        }
    }
    needs
}

/// Asks for each of them.
pub(super) async fn check(
    report: &mut Report,
    theirs: &Client,
    needs: &[Need],
    scope: &Scope<'_>,
) -> anyhow::Result<()> {
    for need in needs {
        let asked = need
            .verbs
            .iter()
            .map(|verb| async move { (verb, allowed(theirs, &need_of(need, verb, scope)).await) });
        let answers = futures::future::join_all(asked).await;
        let mut denied = Vec::new();
        let mut trouble = None;
        for (verb, answer) in answers {
            match answer {
                Ok(true) => {}
                Ok(false) => denied.push(verb.as_str()),
                Err(error) => trouble = Some(error),
            }
        }
        let (what, all) = (need.what(), need.verbs.join(", "));
        if let Some(trouble) = trouble {
            report.bad(&format!("{what}: {all}: the API server did not say: {trouble}"))?;
        } else if denied.is_empty() {
            report.good(&format!("{what}: {all}"))?;
        } else if need.is_of_the_cluster() {
            report.note(&format!(
                "{what}: may not {}; schedules with runBy: GitLab need --cluster-id then",
                denied.join(", ")
            ))?;
        } else {
            report.bad(&format!("{what}: may not {}", denied.join(", ")))?;
        }
    }
    Ok(())
}

fn need_of(need: &Need, verb: &str, scope: &Scope<'_>) -> ResourceAttributes {
    ResourceAttributes {
        group: Some(need.group.clone()),
        resource: Some(need.resource.clone()),
        subresource: need.subresource.clone(),
        name: need.name.clone(),
        verb: Some(verb.to_owned()),
        // Of all namespaces, if there is none.
        namespace: scope.namespace.filter(|_| !need.is_of_the_cluster()).map(str::to_owned),
        ..ResourceAttributes::default()
    }
}

async fn allowed(theirs: &Client, attributes: &ResourceAttributes) -> Result<bool, String> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(theirs.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes.clone()),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    match timeout(DEADLINE, reviews.create(&PostParams::default(), &review)).await {
        Ok(Ok(answer)) => Ok(answer.status.is_some_and(|status| status.allowed)),
        Ok(Err(error)) => Err(causes(&error)),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_needs_are_those_of_the_manifest() {
        let told = |needs: Vec<Need>| -> Vec<String> {
            needs.iter().map(|need| format!("{}: {}", need.what(), need.verbs.join(","))).collect()
        };
        let all = told(of_operator());
        for need in [
            "pipelinetriggers.pipekick.dev: get,list,watch,patch,create,delete",
            "pipelineschedules.pipekick.dev/finalizers: update",
            "secrets: get",
            "namespaces kube-system: get",
            "events.events.k8s.io: create",
        ] {
            assert!(all.contains(&need.to_owned()), "{need} is not in {all:?}");
        }
        let rules = document::<ClusterRole>("ClusterRole").rules.unwrap();
        let resources: usize = rules.iter().map(|rule| rule.resources.as_ref().unwrap().len()).sum();
        assert_eq!(all.len(), resources);
        assert_eq!(
            told(of_elections("mine")),
            ["leases.coordination.k8s.io mine: get,update", "leases.coordination.k8s.io: create"]
        );
    }
}
