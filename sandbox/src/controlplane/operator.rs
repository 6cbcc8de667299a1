//! The operator's identity: a real ServiceAccount with exactly the rights of the manifest that users install.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::sleep;

use super::apply::{apply, within};
use super::error::Error;
use super::kubeconfig::{Kubeconfig, User};

pub(crate) const NAMESPACE: &str = "pipekick-system";
pub(crate) const ACCOUNT: &str = "pipekick";
/// Longer than any sandbox lives: the operator here does not renew.
const TOKEN_SECONDS: i64 = 30 * 24 * 3600;
const REQUEST: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const POLLS: u32 = 500;

/// Applies `rbac` and writes a kubeconfig with a token of the ServiceAccount.
pub(crate) async fn kubeconfig(
    client: &Client,
    rbac: &str,
    path: PathBuf,
    url: &str,
    authority: &str,
) -> Result<Kubeconfig, Error> {
    apply(client, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}")).await?;
    apply(client, rbac).await?;

    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let doing = format!("have the ServiceAccount {NAMESPACE}/{ACCOUNT}");
    if within(REQUEST, &doing, accounts.get_opt(ACCOUNT)).await?.is_none() {
        apply(
            client,
            &format!(
                "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {ACCOUNT}, namespace: {NAMESPACE}}}}}"
            ),
        )
        .await?;
    }
    let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..Default::default() };
    let request = TokenRequest { spec, ..Default::default() };
    let params = PostParams::default();
    let asked = accounts.create_token_request(ACCOUNT, &params, &request);
    let token = within(REQUEST, "get a token of the ServiceAccount", asked).await?;
    let token = token.status.map(|status| status.token).unwrap_or_default();

    rights_are_in_effect(client).await?;
    Kubeconfig::write(path, url, authority, &User::Token(&token))
}

/// The authorizer follows roles and bindings by watching, so a right takes effect some milliseconds after it was
/// written, and nothing says when. But it sees them in order: once it knows a role and a binding made last, it
/// knows all before. Cluster-wide and namespaced ones are followed apart.
async fn rights_are_in_effect(client: &Client) -> Result<(), Error> {
    static ROUND: AtomicU32 = AtomicU32::new(0);
    let resource = format!("round-{}", ROUND.fetch_add(1, Ordering::Relaxed));
    let user = "pipekick-sandbox-probe";
    for (scope, namespace) in [("Cluster", None), ("", Some(NAMESPACE))] {
        let metadata = match namespace {
            Some(namespace) => format!("{{name: {user}, namespace: {namespace}}}"),
            None => format!("{{name: {user}}}"),
        };
        let group = "rbac.authorization.k8s.io";
        apply(
            client,
            &format!(
                "apiVersion: {group}/v1
kind: {scope}Role
metadata: {metadata}
rules: [{{apiGroups: [{user}], resources: [{resource}], verbs: [get]}}]
---
apiVersion: {group}/v1
kind: {scope}RoleBinding
metadata: {metadata}
roleRef: {{apiGroup: {group}, kind: {scope}Role, name: {user}}}
subjects: [{{apiGroup: {group}, kind: User, name: {user}}}]
"
            ),
        )
        .await?;
        let attributes = ResourceAttributes {
            group: Some(user.to_owned()),
            resource: Some(resource.clone()),
            verb: Some("get".to_owned()),
            namespace: namespace.map(str::to_owned),
            ..Default::default()
        };
        until_allowed(client, user, attributes).await?;
    }
    Ok(())
}

async fn until_allowed(client: &Client, user: &str, attributes: ResourceAttributes) -> Result<(), Error> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        resource_attributes: Some(attributes),
        ..Default::default()
    };
    let review = SubjectAccessReview { spec, ..Default::default() };
    let doing = "see the operator's rights take effect";
    let params = PostParams::default();
    for _ in 0..POLLS {
        let answer = within(REQUEST, doing, reviews.create(&params, &review)).await?;
        if answer.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        sleep(POLL).await;
    }
    Err(Error::Timeout { doing: doing.to_owned(), after: POLL * POLLS })
}
