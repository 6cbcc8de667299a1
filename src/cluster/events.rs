//! Events: told when there is time, never in the way of firing, one at a time and by turns among namespaces. Each has
//! a name made of what it tells, so telling it twice is telling it once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::runtime::Rank;
use crate::runtime::queue::Queue;

/// Events that may wait to be told. Beyond that, new ones are dropped: the condition says the same.
const WAITING: usize = 8192;
/// While there is a crowd an Event waits so often so long before it is told all the same.
const CROWDED_LOOKS: u32 = 10;
const CROWDED_LOOK: Duration = Duration::from_millis(100);
/// Of one namespace: a crowd there leaves a quarter to the others.
const WAITING_OF_NAMESPACE: usize = WAITING / 4 * 3;
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
pub struct Events {
    waiting: Arc<Mutex<Waiting>>,
    /// Tells that some wait, and by its end that none will come any more.
    more: mpsc::Sender<()>,
}

impl Events {
    /// Hands in an Event about an object of kind `K`.
    pub fn tell(&self, subject: Subject, note: Note) {
        if !lock(&self.waiting).push(subject, note) {
            tracing::debug!("event was dropped: too many wait to be told");
        }
        // One that is there already says the same.
        let _ = self.more.try_send(());
    }
}

/// Events that wait, in the order in which they will be told.
#[derive(Default)]
struct Waiting {
    ticket: u64,
    turns: Queue<u64>,
    notes: HashMap<u64, (Subject, Note)>,
    of_namespace: HashMap<String, usize>,
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    // Every change is whole before anything can panic.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    /// `false` if there is no room.
    fn push(&mut self, subject: Subject, note: Note) -> bool {
        let namespace = &subject.key.namespace;
        let of_namespace = self.of_namespace.get(namespace).copied().unwrap_or_default();
        if self.notes.len() >= WAITING || of_namespace >= WAITING_OF_NAMESPACE {
            return false;
        }
        self.of_namespace.insert(namespace.clone(), of_namespace + 1);
        self.ticket += 1;
        self.turns.push(self.ticket, namespace, Rank::Bookkeeping);
        self.notes.insert(self.ticket, (subject, note));
        true
    }

    fn pop(&mut self) -> Option<(Subject, Note)> {
        let (ticket, _) = self.turns.pop()?;
        self.turns.done(&ticket);
        let (subject, note) = self.notes.remove(&ticket)?;
        let namespace = &subject.key.namespace;
        match self.of_namespace.get_mut(namespace) {
            Some(many) if *many > 1 => *many -= 1,
            Some(_) | None => drop(self.of_namespace.remove(namespace)),
        }
        Some((subject, note))
    }
}

/// The place to hand Events in, and the task that tells them one by one, until the last [`Events`] is gone. While
/// `crowded` they are told slowly: what the API server can do then belongs to firing.
pub fn teller<K: Resource<DynamicType = ()>>(
    client: Client,
    crowded: impl Fn() -> bool,
) -> (Events, impl Future<Output = ()>) {
    let waiting = Arc::<Mutex<Waiting>>::default();
    let (more, mut any) = mpsc::channel::<()>(1);
    let events = Events { waiting: Arc::clone(&waiting), more };
    let next = move || lock(&waiting).pop();
    let task = async move {
        while any.recv().await.is_some() {
            while let Some((subject, note)) = next() {
                for _ in 0..CROWDED_LOOKS {
                    if any.is_closed() || !crowded() {
                        break;
                    }
                    tokio::time::sleep(CROWDED_LOOK).await;
                }
                tell_one::<K>(&client, &subject, note).await;
            }
        }
    };
    (events, task)
}

async fn tell_one<K: Resource<DynamicType = ()>>(client: &Client, subject: &Subject, note: Note) {
    let api: Api<Event> = Api::namespaced(client.clone(), &subject.key.namespace);
    let event = event::<K>(subject, note);
    let params = PostParams::default();
    let create = tokio::time::timeout(DEADLINE, api.create(&params, &event));
    match crate::crash::point("event", create).await {
        Ok(Ok(_)) => {}
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
        Ok(Err(error)) => tracing::debug!(object = %subject.key, %error, "event was not told"),
        Err(_) => tracing::debug!(object = %subject.key, "event was not told in time"),
    }
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
    use pipekick_core::domain::Reason;

    use super::*;

    fn about(namespace: &str, number: usize) -> (Subject, Note) {
        let key = ObjectKey { namespace: namespace.into(), name: format!("t{number}") };
        let note = Note { warning: false, reason: Reason::PipelineCreated, message: String::new() };
        (Subject { key, uid: "uid".into(), occasion: "1".into() }, note)
    }

    fn push(waiting: &mut Waiting, (subject, note): (Subject, Note)) -> bool {
        waiting.push(subject, note)
    }

    #[test]
    fn a_crowd_in_one_namespace_is_in_nobodys_way() {
        let mut waiting = Waiting::default();
        let taken = (0..10_000).filter(|number| push(&mut waiting, about("crowd", *number))).count();
        assert_eq!(taken, WAITING_OF_NAMESPACE);
        assert!(push(&mut waiting, about("quiet", 0)), "a quarter is left to others");
        let told: Vec<String> = (0..3).map(|_| waiting.pop().unwrap().0.key.to_string()).collect();
        assert_eq!(told, ["crowd/t0", "quiet/t0", "crowd/t1"]);
        assert!(push(&mut waiting, about("crowd", 0)), "as room was made");
    }

    #[test]
    fn all_that_waits_is_told_and_nothing_of_it_is_kept() {
        let mut waiting = Waiting::default();
        for number in 0..100 {
            push(&mut waiting, about(["a", "b", "c"][number % 3], number));
        }
        assert_eq!(std::iter::from_fn(|| waiting.pop()).count(), 100);
        assert!(waiting.notes.is_empty() && waiting.of_namespace.is_empty());
    }

    #[test]
    fn an_events_name_always_fits() {
        let long = "x".repeat(253);
        assert_eq!(event_name(&long, "7hq2m0v6x5t1c9", "PipelineCreated").len(), 253);
        assert_eq!(event_name("a", "id-1", "TimedOut"), "a.id-1.timedout");
    }
}
