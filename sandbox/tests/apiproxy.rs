//! The proxy in front of a real kube-apiserver: what it spoils is spoilt as told, and nothing else is.

#![allow(clippy::unwrap_used, reason = "a test; the lint knows only those with an attribute")]

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error, ResourceExt};
use pipekick_sandbox::apiproxy::{ApiProxy, Calls, Fault, Strike, Verb};
use pipekick_sandbox::controlplane::{ControlPlane, Options, Printer};
use serde_json::json;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(5);

const RBAC: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pipekick, namespace: pipekick-system}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pipekick, namespace: pipekick-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pipekick}
subjects:
- {kind: ServiceAccount, name: pipekick, namespace: pipekick-system}
";

async fn start() -> (ControlPlane, ApiProxy, Api<ConfigMap>) {
    let plane = ControlPlane::start(Options::from_env(Printer::installs_only()).unwrap()).await.unwrap();
    // The ServiceAccount's token is what passes through; an admin's certificate could not.
    let operator = plane.operator_kubeconfig(RBAC).await.unwrap();
    let proxy = ApiProxy::start(operator.path()).await.unwrap();
    let parsed = Kubeconfig::read_from(proxy.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    let maps = Api::namespaced(Client::try_from(config).unwrap(), "pipekick-system");
    (plane, proxy, maps)
}

/// Raw, to see the bytes that come and the way it ends.
async fn watch(proxy: &ApiProxy) -> reqwest::Response {
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(proxy.kubeconfig()).unwrap()).unwrap();
    let token = config["users"][0]["user"]["token"].as_str().unwrap();
    let url = format!("{}/api/v1/namespaces/pipekick-system/configmaps?watch=true", proxy.url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(url).bearer_auth(token).send().await.unwrap()
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

fn code(error: &Error) -> Option<u16> {
    if let Error::Api(status) = error { Some(status.code) } else { None }
}

#[tokio::test]
async fn a_call_is_spoilt_as_told_and_what_it_did_is_recorded() {
    let (_plane, proxy, maps) = start().await;
    let creates = || Calls::to(Verb::Create, "configmaps");
    let create = async |name: &str| maps.create(&PostParams::default(), &map(name)).await.map(drop);
    let stored = async |name: &str| maps.get_opt(name).await.unwrap().is_some();

    create("fine").await.unwrap();
    proxy.fault(creates().saying("spoilt"), Strike::Nth(1), Fault::Drop);
    proxy.fault(creates().saying("spoilt"), Strike::Nth(2), Fault::ApplyThenDrop);
    proxy.fault(creates().saying("spoilt"), Strike::Nth(3), Fault::ApplyThenTimeout);
    let later = Fault::ApplyLater { after: Duration::from_millis(400) };
    proxy.fault(creates().saying("spoilt"), Strike::Nth(4), later);
    proxy.fault(creates().saying("spoilt"), Strike::Nth(5), Fault::TooManyRequests { retry_after: 1 });

    create("untouched").await.unwrap();
    assert_eq!(code(&create("spoilt-1").await.unwrap_err()), None);
    assert!(!stored("spoilt-1").await, "dropped: it never came");
    assert_eq!(code(&create("spoilt-2").await.unwrap_err()), None);
    assert!(stored("spoilt-2").await, "only the answer was dropped");
    assert_eq!(code(&create("spoilt-3").await.unwrap_err()), Some(504));
    assert!(stored("spoilt-3").await);
    assert_eq!(code(&create("spoilt-4").await.unwrap_err()), Some(504));
    assert!(!stored("spoilt-4").await, "not yet");
    sleep(Duration::from_secs(1)).await;
    assert!(stored("spoilt-4").await);
    assert_eq!(code(&create("spoilt-5").await.unwrap_err()), Some(429));
    assert!(!stored("spoilt-5").await);

    let calls: Vec<_> = proxy.calls().into_iter().filter(|call| call.verb == Some(Verb::Create)).collect();
    let codes: Vec<_> = calls.iter().map(|call| (call.applied, call.answered)).collect();
    let (made, lost, late) = (Some(201), None, Some(504));
    let expected = [
        (made, made),
        (made, made),
        (lost, lost),
        (made, lost),
        (made, late),
        (made, late),
        (lost, Some(429)),
    ];
    assert_eq!(codes, expected);
    assert_eq!(proxy.count(&creates()), 7);
}

#[tokio::test]
async fn a_watch_flows_freezes_is_cut_and_is_told_that_it_is_too_old() {
    let (_plane, proxy, maps) = start().await;
    maps.create(&PostParams::default(), &map("fine")).await.unwrap();

    let mut events = watch(&proxy).await;
    let first = timeout(SOON, events.chunk()).await.expect("it flows").unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("ADDED"));
    assert_eq!(proxy.freeze_watches("secrets"), 0);
    assert_eq!(proxy.freeze_watches("configmaps"), 1);
    maps.create(&PostParams::default(), &map("unseen")).await.unwrap();
    let silent = async |events: &mut reqwest::Response| {
        while let Ok(chunk) = timeout(Duration::from_millis(700), events.chunk()).await {
            // What was under way when it froze.
            let text = chunk.unwrap().unwrap();
            assert!(!String::from_utf8_lossy(&text).contains("unseen"));
        }
    };
    silent(&mut events).await;
    assert_eq!(proxy.cut_watches("configmaps"), 1);
    timeout(SOON, events.chunk()).await.expect("it ends").unwrap_err();

    proxy.fault(Calls::to(Verb::Watch, "configmaps"), Strike::Nth(1), Fault::Gone);
    proxy.fault(Calls::to(Verb::Watch, "configmaps"), Strike::Nth(2), Fault::GoneEvent);
    proxy.fault(Calls::to(Verb::Watch, "configmaps"), Strike::Nth(3), Fault::FrozenWatch);
    assert_eq!(watch(&proxy).await.status(), 410);
    let expired = watch(&proxy).await;
    assert_eq!(expired.status(), 200);
    assert!(expired.text().await.unwrap().contains("\"ERROR\""));
    let mut frozen = watch(&proxy).await;
    assert_eq!(frozen.status(), 200);
    silent(&mut frozen).await;
    proxy.clear();
    timeout(SOON, watch(&proxy).await.chunk()).await.expect("the next one flows").unwrap().unwrap();
}

#[tokio::test]
async fn an_old_list_is_served_again_and_a_proxy_that_is_down_refuses() {
    let (_plane, proxy, maps) = start().await;
    let names = async || -> Result<Vec<String>, Error> {
        let list = maps.list(&ListParams::default()).await?;
        Ok(list.iter().map(ResourceExt::name_any).filter(|name| !name.starts_with("kube-")).collect())
    };
    assert_eq!(names().await.unwrap(), Vec::<String>::new());
    maps.create(&PostParams::default(), &map("new")).await.unwrap();
    assert_eq!(names().await.unwrap(), ["new"]);
    proxy.fault(Calls::to(Verb::List, "configmaps"), Strike::Times(1), Fault::OldList { nth: 1 });
    assert_eq!(names().await.unwrap(), Vec::<String>::new());
    assert_eq!(names().await.unwrap(), ["new"]);

    let seen = proxy.count(&Calls::all());
    proxy.down();
    sleep(Duration::from_millis(100)).await;
    assert!(names().await.is_err());
    proxy.up();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(proxy.count(&Calls::all()), seen);
    assert_eq!(names().await.unwrap(), ["new"]);
}
