//! The floor: a bare watch, and on each event the least that any operator must do before a pipeline may be
//! started without risk of a second one: read the token, write the intent, send the POST. And the ceiling: all the
//! requests of a run, by clients that decide nothing.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DynamicObject, PostParams, WatchEvent, WatchParams};
use kube::runtime::WatchStreamExt;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::measure::{Bench, FIRED, SECRET};

/// Fires what is created in `namespace`, one after the other, until it is aborted.
pub async fn floor(bench: Bench, namespace: &'static str) -> anyhow::Result<()> {
    let triggers = bench.triggers(namespace);
    let mut events = pin!(triggers.watch(&WatchParams::default(), "0").await?);
    while let Some(event) = next(events.as_mut()).await {
        let WatchEvent::Added(object) = event? else { continue };
        fire(&bench, namespace, object).await?;
    }
    bail!("the watch ended")
}

/// Secret, intent, POST. Gives back the object as it stands then.
async fn fire(bench: &Bench, namespace: &str, mut object: DynamicObject) -> anyhow::Result<DynamicObject> {
    let name = object.name_any();
    let secret = Api::<Secret>::namespaced(bench.cluster.clone(), namespace).get(SECRET).await?;
    let token = secret.data.and_then(|mut data| data.remove("trigger")).unwrap_or_default();
    object.data["status"] = json!({"phase": "Firing"});
    let object = bench.triggers(namespace).replace_status(&name, &PostParams::default(), &object).await?;
    let body = json!({
        "token": String::from_utf8(token.0)?,
        "ref": "main",
        "variables": {"DEPLOY_ENV": "production"},
        "pipekick": {"object": format!("{namespace}/{name}")},
    });
    let path = format!("/api/v4/projects/{}/trigger/pipeline", FIRED.replace('/', "%2F"));
    let request = kube::core::Request::new(path).create(&PostParams::default(), body.to_string().into())?;
    bench.post.request_text(request).await?;
    Ok(object)
}

/// The requests of a run that is not followed, after its create: Secret, intent, POST, outcome, Event.
pub async fn run_by_hand(bench: &Bench, namespace: &str, object: DynamicObject) -> anyhow::Result<()> {
    let name = object.name_any();
    let mut object = fire(bench, namespace, object).await?;
    object.data["status"] = json!({"phase": "Fired"});
    bench.triggers(namespace).replace_status(&name, &PostParams::default(), &object).await?;
    let event: Event = serde_json::from_value(json!({
        "metadata": {"name": name}, "action": "Reconcile", "reason": "PipelineCreated", "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "pipekick.dev/measure", "reportingInstance": "measure",
        "regarding": {"kind": "PipelineTrigger", "name": name, "namespace": namespace},
    }))?;
    Api::namespaced(bench.cluster.clone(), namespace).create(&PostParams::default(), &event).await?;
    Ok(())
}

/// Counts, until it is aborted, the status writes of objects named `prefix…` that know of no pipeline yet.
pub async fn count_writes_before_answer(
    triggers: Api<DynamicObject>,
    prefix: &str,
    counter: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let mut events = pin!(triggers.watch(&WatchParams::default(), "0").await?);
    while let Some(event) = next(events.as_mut()).await {
        let WatchEvent::Modified(object) = event? else { continue };
        let unanswered = object.data["status"]["run"]["pipeline"].is_null();
        if unanswered && object.name_any().starts_with(prefix) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
    bail!("the watch ended")
}

/// The next item of a stream. `WatchStreamExt` is every stream's, and brings `poll_next` along.
async fn next<S: WatchStreamExt>(mut stream: Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}
