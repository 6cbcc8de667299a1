//! Status and finalizers, written guarded, and objects deleted so: each write carries the resourceVersion and uid that
//! were decided on, so a stale view loses.

use std::time::Duration;

use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource};
use pipekick_core::domain::ObjectKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::client::DEADLINE;

/// Why a status does not stand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Somebody else wrote first; look again.
    #[error("the object was changed meanwhile")]
    Conflict,
    /// The object is gone, or another one has its name.
    #[error("the object is gone")]
    Gone,
    /// The API server is busy; nothing was written.
    #[error("the API server asks to wait {} s", .0.as_secs())]
    Busy(Duration),
    /// The API server refused and nothing was written.
    #[error("the API server refused the status: {0}")]
    Refused(String),
    /// No answer: it may stand, or may still come to stand.
    #[error("the API server did not confirm the status: {0}")]
    Unconfirmed(String),
}

/// What identifies the version that was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The object's uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
}

/// Writes `status` of the object of kind `K` that `guard` names, and gives back the object as it stands then.
///
/// # Errors
/// See [`WriteError`]; only after [`WriteError::Unconfirmed`] the write may have happened.
pub async fn write<K, O>(client: &Client, guard: &Guard, status: &impl Serialize) -> Result<O, WriteError>
where
    K: Resource<DynamicType = ()>,
    O: DeserializeOwned,
{
    // The API server takes everything but the status from what it has stored.
    let body = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": ObjectMeta {
            name: Some(guard.key.name.clone()),
            namespace: Some(guard.key.namespace.clone()),
            uid: Some(guard.uid.clone()),
            resource_version: Some(guard.resource_version.clone()),
            ..ObjectMeta::default()
        },
        "status": status,
    });
    let path = format!("{}/{}/status", K::url_path(&(), Some(&guard.key.namespace)), guard.key.name);
    send("status", client, Request::put(path), "application/json", &body).await
}

/// Makes `finalizers` those of the object of kind `K` that `guard` names, and gives back the object as it stands
/// then.
///
/// # Errors
/// See [`WriteError`]; only after [`WriteError::Unconfirmed`] the write may have happened.
pub async fn set_finalizers<K, O>(
    client: &Client,
    guard: &Guard,
    finalizers: &[String],
) -> Result<O, WriteError>
where
    K: Resource<DynamicType = ()>,
    O: DeserializeOwned,
{
    let body = serde_json::json!({"metadata": {
        "uid": guard.uid,
        "resourceVersion": guard.resource_version,
        "finalizers": finalizers,
    }});
    let path = format!("{}/{}", K::url_path(&(), Some(&guard.key.namespace)), guard.key.name);
    send("finalizers", client, Request::patch(path), "application/merge-patch+json", &body).await
}

/// Takes one finalizer off the object of kind `K`, and leaves all others as they are: it has to stand in place `at`, and
/// the object to have this uid.
///
/// # Errors
/// See [`WriteError`]. What is no longer so is [`WriteError::Refused`]: the API server says no more about a test that
/// failed.
pub async fn drop_finalizer<K>(
    client: &Client,
    key: &ObjectKey,
    uid: &str,
    (at, finalizer): (usize, &str),
) -> Result<(), WriteError>
where
    K: Resource<DynamicType = ()>,
{
    let place = format!("/metadata/finalizers/{at}");
    let body = serde_json::json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": place, "value": finalizer},
        {"op": "remove", "path": place},
    ]);
    let path = format!("{}/{}", K::url_path(&(), Some(&key.namespace)), key.name);
    let request = Request::patch(path);
    let _: serde_json::Value =
        send("finalizers", client, request, "application/json-patch+json", &body).await?;
    Ok(())
}

/// Writes `status` once, in the background and without insisting: it tells a bug of ours, and so do the log and the
/// metric.
pub fn tell_bug<K, O>(client: &Client, guard: Guard, status: impl Serialize + Send + Sync + 'static)
where
    K: Resource<DynamicType = ()>,
    O: DeserializeOwned + Send,
{
    let client = client.clone();
    tokio::spawn(async move {
        if let Err(error) = write::<K, O>(&client, &guard, &status).await {
            tracing::warn!(object = %guard.key, %error, "the bug could not be told in status");
        }
    });
}

async fn send<O: DeserializeOwned>(
    point: &'static str,
    client: &Client,
    request: http::request::Builder,
    content: &str,
    body: &serde_json::Value,
) -> Result<O, WriteError> {
    let request = request
        .header(http::header::CONTENT_TYPE, content)
        .body(body.to_string().into_bytes())
        .map_err(|e| WriteError::Refused(e.to_string()))?;
    let sent = crate::crash::point(point, tokio::time::timeout(DEADLINE, client.request::<O>(request)));
    match sent.await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(WriteError::Unconfirmed(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

/// Deletes the object of kind `K` that `guard` names, if it still is the one that was looked at.
///
/// # Errors
/// See [`WriteError`]; only after [`WriteError::Unconfirmed`] it may be deleted.
pub async fn delete<K>(client: &Client, guard: &Guard) -> Result<(), WriteError>
where
    K: Resource<DynamicType = ()>,
{
    let body = serde_json::json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": guard.uid, "resourceVersion": guard.resource_version},
    });
    let path = format!("{}/{}", K::url_path(&(), Some(&guard.key.namespace)), guard.key.name);
    let request = Request::delete(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|e| WriteError::Refused(e.to_string()))?;
    let sent = client.request::<serde_json::Value>(request);
    match crate::crash::point("delete", tokio::time::timeout(DEADLINE, sent)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(WriteError::Unconfirmed(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

fn classify(error: &kube::Error) -> WriteError {
    match error {
        kube::Error::Api(status) => match status.code {
            // A uid that differs is a conflict too; the next look tells which it was.
            409 => WriteError::Conflict,
            404 | 410 => WriteError::Gone,
            // Its queue is full, and it drops what it refuses.
            429 => {
                let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                WriteError::Busy(Duration::from_secs(u64::from(asked.clamp(1, 60))))
            }
            // Refused before anything was stored.
            400 | 401 | 403 | 413 | 422 => WriteError::Refused(status.message.clone()),
            _ => WriteError::Unconfirmed(status.message.clone()),
        },
        other => WriteError::Unconfirmed(other.to_string()),
    }
}

/// Reads the object afresh; `None` when it is gone.
///
/// # Errors
/// When the API server cannot be read within the deadline.
pub async fn read<K, O>(client: &Client, key: &ObjectKey) -> Result<Option<O>, String>
where
    K: Resource<DynamicType = ()>,
    O: DeserializeOwned,
{
    let path = format!("{}/{}", K::url_path(&(), Some(&key.namespace)), key.name);
    let request = Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
    match tokio::time::timeout(DEADLINE, client.request::<O>(request)).await {
        Ok(Ok(object)) => Ok(Some(object)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}
