//! Which `PipelineTrigger`s are children of which schedules, and how far they have come. Fed by the one watch of
//! triggers that there is; a change calls the schedule.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use pipekick_core::domain::ObjectKey;
use pipekick_core::domain::schedule::{Child, ChildOwner};

use super::Record;
use crate::api::schedule::SCHEDULED_TIME_ANNOTATION;
use crate::api::trigger::CANCEL_ANNOTATION;
use crate::api::{PipelineSchedule, key_of};
use crate::controllers::trigger;
use crate::runtime::{Handle, Rank};

/// The schedule that controls an object, by its owner reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRef {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl ScheduleRef {
    /// The controlling owner, if that is a `PipelineSchedule` of any version.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let owners = metadata.owner_references.as_ref()?;
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        let (group, _) = owner.api_version.split_once('/')?;
        let ours = group == PipelineSchedule::group(&()) && owner.kind == PipelineSchedule::kind(&());
        ours.then(|| Self { name: owner.name.clone(), uid: owner.uid.clone() })
    }
}

/// The tick that an object was made for, as its annotation has it.
#[must_use]
pub fn scheduled_time(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(SCHEDULED_TIME_ANNOTATION).map(String::as_str)
}

/// All children of all schedules.
#[derive(Debug)]
pub struct Children {
    schedules: Handle<Record>,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    /// By the key of their schedule.
    of_schedule: HashMap<ObjectKey, Vec<Child>>,
    /// A child's schedule.
    schedule_of: HashMap<ObjectKey, ObjectKey>,
}

impl Children {
    /// None yet. `schedules` is called when one of theirs changes.
    #[must_use]
    pub fn new(schedules: Handle<Record>) -> Self {
        Self { schedules, index: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // Every change is whole before anything can panic.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch shows a trigger.
    pub fn seen(&self, object: &trigger::Object) {
        let key = key_of(&object.metadata);
        let changed = match child(object) {
            Some((schedule, child)) => self.lock().put(key, schedule, child),
            None => self.lock().remove(&key, None),
        };
        self.call(changed);
    }

    /// The trigger with this uid is gone.
    pub fn gone(&self, key: &ObjectKey, uid: &str) {
        let changed = self.lock().remove(key, Some(uid));
        self.call(changed);
    }

    /// The children that name this schedule as their controller, whichever uid it had.
    pub(super) fn of(&self, schedule: &ObjectKey) -> Vec<Child> {
        self.lock().of_schedule.get(schedule).cloned().unwrap_or_default()
    }

    /// Whether the watch has shown the schedule with this uid.
    pub(in crate::controllers) fn knows(&self, schedule: &ObjectKey, uid: &str) -> bool {
        self.schedules.entry(schedule).is_some_and(|entry| *entry.uid == *uid)
    }

    fn call(&self, schedule: Option<ObjectKey>) {
        if let Some(schedule) = schedule {
            self.schedules.poke(&schedule, Rank::Following);
        }
    }
}

impl Index {
    /// Answers the schedule that is concerned, if anything changed for it.
    fn put(&mut self, key: ObjectKey, schedule: ObjectKey, child: Child) -> Option<ObjectKey> {
        if self.schedule_of.get(&key).is_some_and(|known| *known != schedule) {
            self.remove(&key, None);
        }
        let siblings = self.of_schedule.entry(schedule.clone()).or_default();
        match siblings.iter_mut().find(|known| known.name == child.name) {
            Some(known) if *known == child => return None,
            Some(known) => *known = child,
            None => siblings.push(child),
        }
        self.schedule_of.insert(key, schedule.clone());
        Some(schedule)
    }

    /// `uid`: only if it is that one.
    fn remove(&mut self, key: &ObjectKey, uid: Option<&str>) -> Option<ObjectKey> {
        let schedule = self.schedule_of.get(key)?.clone();
        let siblings = self.of_schedule.get_mut(&schedule)?;
        let at = siblings.iter().position(|child| child.name == key.name)?;
        if uid.is_some_and(|uid| siblings[at].uid != uid) {
            return None;
        }
        siblings.swap_remove(at);
        if siblings.is_empty() {
            self.of_schedule.remove(&schedule);
        }
        self.schedule_of.remove(key);
        Some(schedule)
    }
}

/// A trigger as its schedule sees it; nothing if no schedule controls it.
fn child(object: &trigger::Object) -> Option<(ObjectKey, Child)> {
    let metadata = &object.metadata;
    let ScheduleRef { name, uid } = ScheduleRef::of(metadata)?;
    let status = object.status.as_ref().ok().and_then(Option::as_ref);
    let run = status.and_then(|status| status.run.as_deref());
    let child = Child {
        name: metadata.name.clone()?,
        uid: metadata.uid.clone()?,
        owner: ChildOwner::Schedule { name: name.clone(), uid },
        being_deleted: metadata.deletion_timestamp.is_some(),
        created: metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        tick: scheduled_time(metadata).and_then(|text| text.parse().ok()),
        phase: status.and_then(|status| status.phase),
        run_seq: run.map(|run| run.seq),
        cancel: metadata.annotations.as_ref().and_then(|map| map.get(CANCEL_ANNOTATION)).cloned(),
        finished_at: run.and_then(|run| run.finished_at),
    };
    Some((ObjectKey { namespace: metadata.namespace.clone().unwrap_or_default(), name }, child))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(uid: &str, owner: &Value, phase: &str) -> trigger::Object {
        serde_json::from_value(json!({
            "metadata": {
                "name": "nightly-abc", "namespace": "shop", "uid": uid,
                "ownerReferences": [owner],
                "annotations": {"pipekick.dev/scheduled-time": "2026-03-29T03:00:00+02:00"},
            },
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn owner(uid: &str) -> Value {
        json!({
            "apiVersion": "pipekick.dev/v1alpha1", "kind": "PipelineSchedule", "name": "nightly", "uid": uid,
            "controller": true,
        })
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn a_child_is_known_until_it_is_gone_and_only_its_own_end_takes_it_out() {
        let children = Children::new(Handle::new());
        children.seen(&object("one", &owner("schedule"), "Running"));
        let known = children.of(&key("nightly"));
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].tick, Some("2026-03-29T01:00:00Z".parse().unwrap()));
        children.seen(&object("two", &owner("schedule"), "Succeeded"));
        children.gone(&key("nightly-abc"), "one");
        assert_eq!(children.of(&key("nightly"))[0].uid, "two", "its predecessor's end is not its own");
        children.gone(&key("nightly-abc"), "two");
        assert!(children.of(&key("nightly")).is_empty());
        assert!(children.lock().schedule_of.is_empty() && children.lock().of_schedule.is_empty());
    }

    #[test]
    fn what_no_schedule_controls_is_no_child() {
        let children = Children::new(Handle::new());
        let mut others = [owner("x"), owner("x"), owner("x")];
        others[0]["controller"] = false.into();
        others[1]["apiVersion"] = "pipekick.example/v1".into();
        others[2]["kind"] = "CronJob".into();
        for other in others {
            children.seen(&object("one", &other, "Running"));
            assert!(children.of(&key("nightly")).is_empty());
        }
        children.seen(&object("one", &owner("schedule"), "Running"));
        let mut orphaned = object("one", &owner("schedule"), "Running");
        orphaned.metadata.owner_references = None;
        children.seen(&orphaned);
        assert!(children.of(&key("nightly")).is_empty());
    }

    #[test]
    fn only_what_a_schedule_cares_about_is_a_change() {
        let mut index = Index::default();
        let mut put = |phase| {
            let (schedule, child) = child(&object("one", &owner("schedule"), phase)).unwrap();
            index.put(key("nightly-abc"), schedule, child)
        };
        assert_eq!(put("Running"), Some(key("nightly")));
        assert_eq!(put("Running"), None);
        assert_eq!(put("Succeeded"), Some(key("nightly")));
    }
}
