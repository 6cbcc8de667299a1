//! What a decision looks at: the schedule as the watch brought it, its children, and what this process knows beside.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use pipekick_core::decide::schedule::{Created, Creation, FRESH_FOR, Facts};
use pipekick_core::domain::schedule::{Child, Kept, Schedule};
use pipekick_core::domain::{GitLabUrl, ObjectKey, Phase};

use super::{Object, ScheduleController, Turn};
use crate::api::in_gitlab::to_kept;
use crate::api::schedule::{TriggerTemplate, to_domain};
use crate::api::trigger::UnreadableStatus;
use crate::clock;

/// A child that was created is remembered until the watch shows it, or for so long.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(60);
/// A create that failed is tried again within a minute while its tick wants it; older ones are wanted no more.
const WANTED: SignedDuration = SignedDuration::from_secs(300);

/// The template as text: it is wanted once a tick, and takes several times the room when it is read.
#[derive(Debug, Clone)]
pub(super) struct Template(Arc<str>);

impl Template {
    /// Nothing if it cannot be written, which no template that was read comes to.
    fn new(template: &TriggerTemplate) -> Option<Self> {
        serde_json::to_string(template).ok().map(|text| Self(text.into()))
    }

    /// Reads it.
    pub(super) fn read(&self) -> Result<TriggerTemplate, String> {
        serde_json::from_str(&self.0).map_err(|error| error.to_string())
    }
}

/// What is kept of an object: parsed once, when it arrives.
#[derive(Debug)]
pub struct Record {
    pub(super) resource_version: String,
    pub(super) schedule: Result<Schedule, UnreadableStatus>,
    pub(super) template: Option<Template>,
    /// The same, if GitLab runs it. In a box: of most it does not, and the room would be theirs too.
    pub(super) kept: Option<Box<Kept>>,
}

impl Record {
    /// Parses an object as it arrives.
    #[must_use]
    pub fn new(object: Object, default_url: &GitLabUrl) -> Self {
        let schedule = to_domain(&object.metadata, &object.spec, &object.status);
        let status = schedule.as_ref().ok().map(|schedule| &schedule.status);
        let kept = status
            .and_then(|status| to_kept(&object.metadata, &object.spec, status, default_url))
            .map(Box::new);
        Self {
            kept,
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            schedule,
            template: object.spec.ok().and_then(|spec| Template::new(&spec.trigger_template)),
        }
    }
}

/// What became of creates, by schedule: known here, and not yet by the watch.
#[derive(Debug, Default)]
pub(super) struct Creations(Mutex<HashMap<ObjectKey, Vec<Created>>>);

impl Creations {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Vec<Created>>> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A create ended like this.
    pub(super) fn add(&self, schedule: &Schedule, name: &str, tick: Option<Timestamp>, outcome: Creation) {
        let (now, generation) = (clock::now(), schedule.generation);
        let mut all = self.lock();
        let creations = all.entry(schedule.key.clone()).or_default();
        if let Some(known) = creations.iter_mut().find(|known| known.name == name) {
            // An edited spec has its own patience.
            let times = if known.generation == generation { known.times.saturating_add(1) } else { 1 };
            (known.at, known.generation, known.times, known.outcome) = (now, generation, times, outcome);
            return;
        }
        let name = name.to_owned();
        creations.push(Created { name, tick, generation, first_at: now, at: now, times: 1, outcome });
    }

    /// Those that still tell something beside `children`.
    fn beside(&self, schedule: &ObjectKey, children: &[Child]) -> Vec<Created> {
        let mut all = self.lock();
        let Some(creations) = all.get_mut(schedule) else { return Vec::new() };
        let now = clock::now();
        creations.retain(|created| {
            let age = now.duration_since(created.at);
            match &created.outcome {
                Creation::Made { uid } | Creation::Ours { uid } => {
                    age < REMEMBERED && !children.iter().any(|child| child.uid == *uid)
                }
                Creation::Earlier | Creation::Stranger | Creation::Refused { message: _ } => age < WANTED,
            }
        });
        if creations.is_empty() {
            all.remove(schedule);
            return Vec::new();
        }
        creations.clone()
    }

    pub(super) fn forget(&self, schedule: &ObjectKey) {
        self.lock().remove(schedule);
    }
}

/// Whose children are looked at before something is dropped, and since when.
#[derive(Debug, Default)]
pub(super) struct Looking(Mutex<HashMap<ObjectKey, Timestamp>>);

impl Looking {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Timestamp>> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They are; since when.
    pub(super) fn go_on(&self, schedule: &ObjectKey) -> Timestamp {
        *self.lock().entry(schedule.clone()).or_insert_with(clock::now)
    }

    /// Nothing waits for a look.
    pub(super) fn stop(&self, schedule: &ObjectKey) {
        self.lock().remove(schedule);
    }

    fn since(&self, schedule: &ObjectKey) -> Option<Timestamp> {
        self.lock().get(schedule).copied()
    }
}

impl ScheduleController {
    pub(super) fn facts(&self, key: &ObjectKey, turn: &Turn, children: &[Child]) -> Facts {
        let age = turn.read_at.map(|read_at| clock::instant().saturating_duration_since(read_at));
        Facts {
            fresh: age.is_some_and(|age| age < FRESH_FOR),
            creations: self.creations.beside(key, children),
            seen_running: children.iter().filter_map(|child| self.seen_running(key, child)).collect(),
            looking_since: self.looking.since(key),
        }
    }

    /// When the child's pipeline was last found under way, if it was and nothing newer is known.
    fn seen_running(&self, schedule: &ObjectKey, child: &Child) -> Option<(String, Timestamp)> {
        if child.phase != Some(Phase::Running) {
            return None;
        }
        let ran = self.follower.ran_at(&sibling(schedule, &child.name))?;
        Some((child.name.clone(), ran))
    }
}

/// A trigger beside the schedule.
pub(super) fn sibling(schedule: &ObjectKey, name: &str) -> ObjectKey {
    ObjectKey { namespace: schedule.namespace.clone(), name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use pipekick_core::domain::schedule::ChildOwner;

    use super::*;

    fn key() -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: "nightly".into() }
    }

    /// The schedule of which this generation is known.
    fn schedule(generation: i64) -> Schedule {
        Schedule {
            key: key(),
            uid: "schedule".into(),
            generation,
            created: Timestamp::UNIX_EPOCH,
            being_deleted: false,
            fire: None,
            suspend: false,
            spec: Err(pipekick_core::domain::SpecProblem("none".into())),
            status: pipekick_core::domain::schedule::ScheduleStatus::default(),
        }
    }

    fn child(name: &str, uid: &str) -> Child {
        Child {
            name: name.into(),
            uid: uid.into(),
            owner: ChildOwner::Schedule { name: "nightly".into(), uid: "schedule".into() },
            being_deleted: false,
            created: Timestamp::UNIX_EPOCH,
            tick: None,
            phase: None,
            run_seq: None,
            cancel: None,
            finished_at: None,
        }
    }

    #[test]
    fn a_create_is_remembered_until_the_watch_shows_that_very_child() {
        let creations = Creations::default();
        creations.add(&schedule(1), "nightly-a", None, Creation::Made { uid: "one".into() });
        assert_eq!(creations.beside(&key(), &[child("nightly-a", "earlier")]).len(), 1);
        assert!(creations.beside(&key(), &[child("nightly-a", "one")]).is_empty());
        assert!(creations.lock().is_empty());
    }

    #[test]
    fn failures_are_counted_and_success_replaces_them() {
        let creations = Creations::default();
        let refused = || Creation::Refused { message: "quota".into() };
        creations.add(&schedule(1), "nightly-a", None, refused());
        creations.add(&schedule(1), "nightly-a", None, refused());
        let [tried] = &creations.beside(&key(), &[])[..] else { panic!("one name, one entry") };
        assert_eq!((tried.times, tried.generation, &tried.outcome), (2, 1, &refused()));
        creations.add(&schedule(2), "nightly-a", None, refused());
        let [tried] = &creations.beside(&key(), &[])[..] else { panic!("one name, one entry") };
        assert_eq!((tried.times, tried.generation), (1, 2), "an edited spec begins anew");
        creations.add(&schedule(1), "nightly-a", None, Creation::Ours { uid: "one".into() });
        assert!(matches!(creations.beside(&key(), &[])[0].outcome, Creation::Ours { .. }));
        creations.forget(&key());
        assert!(creations.beside(&key(), &[]).is_empty());
    }

    /// Ten thousand of them are nothing special.
    #[test]
    fn a_record_has_no_room_for_what_few_schedules_have() {
        assert!(size_of::<Record>() <= size_of::<Schedule>() + 64, "{} bytes", size_of::<Record>());
        assert!(size_of::<Schedule>() <= 1200, "{} bytes", size_of::<Schedule>());
    }
}
