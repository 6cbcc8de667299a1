//! Events: told when there is time, never in the way of firing. Each has a name made of what it tells, so
//! telling it twice is telling it once.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use pipekick_core::decide::trigger::Note;
use pipekick_core::domain::ObjectKey;
use tokio::sync::mpsc;

use super::client::DEADLINE;
use crate::clock;

/// Events that may wait to be told. Beyond that, new ones are dropped: the condition says the same.
const WAITING: usize = 8192;
/// While there is a crowd an Event waits so often so long before it is told all the same.
const CROWDED_LOOKS: u32 = 10;
const CROWDED_LOOK: Duration = Duration::from_millis(100);
/// The API server's bound for an Event's note.
const MAX_NOTE: usize = 1024;

/// The object an Event is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// What tells this occasion from others of the same reason: a fire id and attempt.
    pub occasion: String,
}

/// Where Events are handed in.
#[derive(Clone)]
pub struct Events(mpsc::Sender<(Subject, Note)>);

impl Events {
    /// Hands in an Event about an object of kind `K`.
    pub fn tell(&self, subject: Subject, note: Note) {
        if self.0.try_send((subject, note)).is_err() {
            tracing::debug!("event was dropped: too many wait to be told");
        }
    }
}

/// The place to hand Events in, and the task that tells them one by one, until the last [`Events`] is gone. While
/// `crowded` they are told slowly: what the API server can do then belongs to firing.
pub fn teller<K: Resource<DynamicType = ()>>(
    client: Client,
    crowded: impl Fn() -> bool,
) -> (Events, impl Future<Output = ()>) {
    let (sender, mut waiting) = mpsc::channel::<(Subject, Note)>(WAITING);
    let task = async move {
        while let Some((subject, note)) = waiting.recv().await {
            for _ in 0..CROWDED_LOOKS {
                if waiting.is_closed() || !crowded() {
                    break;
                }
                tokio::time::sleep(CROWDED_LOOK).await;
            }
            let api: Api<Event> = Api::namespaced(client.clone(), &subject.key.namespace);
            let event = event::<K>(&subject, note);
            let params = PostParams::default();
            let create = tokio::time::timeout(DEADLINE, api.create(&params, &event));
            match crate::crash::point("event", create).await {
                Ok(Ok(_)) => {}
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
                Ok(Err(error)) => tracing::debug!(object = %subject.key, %error, "event was not told"),
                Err(_) => tracing::debug!(object = %subject.key, "event was not told in time"),
            }
        }
    };
    (Events(sender), task)
}

fn event<K: Resource<DynamicType = ()>>(subject: &Subject, note: Note) -> Event {
    let Note { warning, reason, message } = note;
    let ObjectKey { namespace, name } = &subject.key;
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(name, &subject.occasion, reason.as_str())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".into()),
        event_time: Some(MicroTime(clock::now())),
        note: Some(message.chars().take(MAX_NOTE).collect()),
        reason: Some(reason.as_str().into()),
        regarding: Some(ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: Some(subject.uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("pipekick.dev/pipekick".into()),
        reporting_instance: Some("pipekick".into()),
        type_: Some(if warning { "Warning" } else { "Normal" }.into()),
        ..Event::default()
    }
}

/// At most 253 characters: the object's name is cut where it would not fit.
fn event_name(object: &str, occasion: &str, reason: &str) -> String {
    let tail = format!(".{occasion}.{}", reason.to_lowercase());
    let room = 253_usize.saturating_sub(tail.len());
    let head: String = object.chars().take(room).collect();
    format!("{}{tail}", head.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_name_always_fits() {
        let long = "x".repeat(253);
        assert_eq!(event_name(&long, "7hq2m0v6x5t1c9", "PipelineCreated").len(), 253);
        assert_eq!(event_name("a", "id-1", "TimedOut"), "a.id-1.timedout");
    }
}
