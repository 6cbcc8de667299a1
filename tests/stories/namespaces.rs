//! `--namespace`: an operator that watches some namespaces, with rights in these alone, as the chart's
//! `watchNamespaces` gives them.

use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Secret as StoredSecret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role, RoleBinding};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use pipekick_sandbox::gitlab::Seed;
use serde_json::{Value, json};

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Secret, Story, Trigger, story};

/// The name of one more namespace of this story.
fn another(story: &Story, which: &str) -> String {
    let (number, _) = story.namespace.split_once('-').unwrap();
    format!("{number}-{which}")
}

fn gitops() -> PatchParams {
    PatchParams::apply("gitops").force()
}

/// A namespace with the Secret that triggers name.
async fn furnish(story: &Story, namespace: &str) {
    let namespaces: Api<Namespace> = Api::all(story.client.clone());
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    namespaces.patch(namespace, &gitops(), &Patch::Apply(manifest)).await.unwrap();
    let secrets: Api<StoredSecret> = Api::namespaced(story.client.clone(), namespace);
    let secret = Secret::new("gitlab").key("trigger-token", Seed::TRIGGER_TOKEN);
    secrets.patch("gitlab", &gitops(), &Patch::Apply(secret.manifest())).await.unwrap();
}

fn triggers(story: &Story, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("pipekick.dev", "v1alpha1", "PipelineTrigger");
    let kind = ApiResource::from_gvk_with_plural(&kind, "pipelinetriggers");
    Api::namespaced_with(story.client.clone(), namespace, &kind)
}

async fn apply(story: &Story, namespace: &str, name: &str) {
    let trigger = Trigger::new(name).without("spec.gitlab.accessTokenRef");
    triggers(story, namespace).patch(name, &gitops(), &Patch::Apply(&trigger.0)).await.unwrap();
}

async fn phase(story: &Story, namespace: &str, name: &str) -> String {
    let object = triggers(story, namespace).get(name).await.unwrap();
    object.data["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

async fn until_fired(story: &Story, namespace: &str, name: &str) {
    story
        .until_true(&format!("{namespace}/{name} should be Fired"), async || {
            let phase = phase(story, namespace, name).await;
            if phase == "Fired" { Ok(()) } else { Err(format!("it is {phase:?}")) }
        })
        .await;
}

/// The rules of `deploy/rbac.yaml`, as Roles in these namespaces for an account of its own, and its kubeconfig.
async fn rights_in(story: &Story, namespaces: &[&str]) -> PathBuf {
    let manifest = include_str!("../../deploy/rbac.yaml");
    let document =
        manifest.split("\n---\n").find(|document| document.contains("kind: ClusterRole\n")).unwrap();
    let rules = serde_saphyr::from_str::<ClusterRole>(document).unwrap().rules;
    let accounts: Api<ServiceAccount> = Api::namespaced(story.client.clone(), &story.namespace);
    let create = PostParams::default();
    let metadata = json!({"name": "narrow"});
    accounts.create(&create, &serde_json::from_value(json!({"metadata": metadata})).unwrap()).await.unwrap();
    for namespace in namespaces {
        let roles: Api<Role> = Api::namespaced(story.client.clone(), namespace);
        let role = json!({"metadata": metadata, "rules": rules});
        roles.create(&create, &serde_json::from_value(role).unwrap()).await.unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(story.client.clone(), namespace);
        let binding = json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "narrow"},
            "subjects": [{"kind": "ServiceAccount", "name": "narrow", "namespace": story.namespace}],
        });
        bindings.create(&create, &serde_json::from_value(binding).unwrap()).await.unwrap();
    }
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let token = accounts.create_token_request("narrow", &create, &request).await.unwrap();
    let theirs = std::fs::read_to_string(story.operator_kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_saphyr::from_str(&theirs).unwrap();
    kubeconfig["users"][0]["user"] = json!({"token": token.status.unwrap().token});
    let path =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.narrow.kubeconfig", story.namespace));
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}

#[test]
fn several_namespaces_are_watched_with_rights_in_them_and_no_other_is() {
    story(playing(quick()), async |story| {
        let (first, second) = (story.namespace.clone(), another(story, "second"));
        let third = another(story, "third");
        for namespace in [&second, &third] {
            furnish(story, namespace).await;
        }
        let kubeconfig = rights_in(story, &[&first, &second]).await;
        apply(story, &second, "early").await;
        apply(story, &third, "unwatched").await;
        let flags = ["--namespace", second.as_str(), "--cluster-id", "narrow"];
        story.operator_as(&kubeconfig, &flags);
        until_fired(story, &second, "early").await;
        apply(story, &first, "one").await;
        apply(story, &second, "two").await;
        until_fired(story, &first, "one").await;
        until_fired(story, &second, "two").await;

        // What is gone when it starts again is forgotten in its namespace, and nowhere else.
        story.kill_operators();
        triggers(story, &second).delete("two", &Default::default()).await.unwrap();
        story.operator_as(&kubeconfig, &flags);
        apply(story, &second, "three").await;
        apply(story, &first, "four").await;
        until_fired(story, &second, "three").await;
        until_fired(story, &first, "four").await;
        story.let_pass().await;
        let made = story.ledger().pipelines;
        let mut made: Vec<&str> =
            made.iter().map(|made| made.params["pipekick"]["object"].as_str().unwrap()).collect();
        made.retain(|object| !object.contains("/marker"));
        made.sort_by_key(|object| object.rsplit_once('/').unwrap().1);
        let [of_first, of_second] = [first, second].map(|of| move |name: &str| format!("{of}/{name}"));
        let expected =
            [of_second("early"), of_first("four"), of_first("one"), of_second("three"), of_second("two")];
        assert_eq!(made, expected);
        assert_eq!(phase(story, &third, "unwatched").await, "", "nobody looked at it");
    });
}

#[test]
fn a_namespace_without_rights_keeps_the_operator_from_being_ready_and_no_other_from_being_served() {
    story(playing(quick()), async |story| {
        let (first, second) = (story.namespace.clone(), another(story, "second"));
        furnish(story, &second).await;
        let kubeconfig = rights_in(story, &[&first]).await;
        story.operator_as(&kubeconfig, &["--namespace", &second, "--cluster-id", "narrow"]);
        apply(story, &first, "one").await;
        until_fired(story, &first, "one").await;
        let ready = story.readyz().await;
        assert_eq!(ready.0, 503, "{}", ready.1);
        assert!(
            ready.1.contains(&format!("the first list of namespace {second} is not complete")),
            "{}",
            ready.1
        );
    });
}
