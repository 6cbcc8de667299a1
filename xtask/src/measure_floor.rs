//! The floor: a bare watch, and on each event the least that any operator must do before a pipeline may be
//! started without risk of a second one: read the token, write the intent, send the POST.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, PostParams, WatchEvent, WatchParams};
use kube::runtime::WatchStreamExt;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::measure::{FIRED, SECRET};

/// Fires what is created in the namespace of `triggers`, one after the other, until it is aborted.
pub async fn floor(triggers: Api<DynamicObject>, cluster: Client, gitlab: Client) -> anyhow::Result<()> {
    let path = format!("/api/v4/projects/{}/trigger/pipeline", FIRED.replace('/', "%2F"));
    let mut events = pin!(triggers.watch(&WatchParams::default(), "0").await?);
    while let Some(event) = next(events.as_mut()).await {
        let WatchEvent::Added(mut object) = event? else { continue };
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let secret = Api::<Secret>::namespaced(cluster.clone(), &namespace).get(SECRET).await?;
        let token = secret.data.and_then(|mut data| data.remove("trigger")).unwrap_or_default();
        object.data["status"] = json!({"phase": "Firing"});
        triggers.replace_status(&name, &PostParams::default(), &object).await?;
        let body = json!({
            "token": String::from_utf8(token.0)?,
            "ref": "main",
            "variables": {"DEPLOY_ENV": "production"},
            "pipekick": {"object": format!("{namespace}/{name}")},
        });
        let request =
            kube::core::Request::new(&*path).create(&PostParams::default(), body.to_string().into())?;
        gitlab.request_text(request).await?;
    }
    bail!("the watch ended")
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
