//! Who follows which pipelines, when the next look is due, and what of it is worth telling: pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use pipekick_core::decide::trigger::Follow;
use pipekick_core::domain::{Access, ObjectKey, PipelineStatus, Reason, Sighting};
use tokio::time::Instant;

use super::look::Look;

/// Looks at one GitLab at the same time, at most: a slow one keeps no other's pipelines waiting.
const LOOKS_PER_HOST: usize = 4;
/// Longest interval between two looks at a pipeline younger than a day.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// A pipeline older than this is a long story.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// Interval for such.
const INTERVAL_OLD: Duration = Duration::from_secs(600);

/// What one look answers for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) namespace: String,
    pub(super) url: String,
    pub(super) project: String,
    pub(super) named_project: String,
    pub(super) access: Access,
}

struct Group {
    /// By object: two may follow one pipeline, where a person gave it to both.
    objects: HashMap<ObjectKey, Followed>,
    next: Instant,
    busy: bool,
    troubles: u32,
}

impl Group {
    /// A look begins: at each pipeline once, however many follow it; those that waited longest to be asked first.
    fn begin(&mut self) -> Vec<u64> {
        self.busy = true;
        let mut asked: HashMap<u64, Option<Instant>> = HashMap::new();
        for followed in self.objects.values() {
            let at = asked.entry(followed.pipeline).or_insert(followed.asked);
            *at = (*at).max(followed.asked);
        }
        let mut ids: Vec<(Option<Instant>, u64)> = asked.into_iter().map(|(id, asked)| (asked, id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }
}

struct Followed {
    pipeline: u64,
    since: Timestamp,
    /// What was handed on last.
    told: Option<Told>,
    /// When it was last asked alone; those that waited longest go first.
    asked: Option<Instant>,
}

/// What of a sighting a decision could care about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Moving,
    /// What a person must play.
    Manual(Vec<String>),
    Ended,
    Trouble(Reason, String),
}

impl Told {
    /// Whether `newer` is no news after this. Names that could not be read take none back.
    fn covers(&self, newer: &Self) -> bool {
        self == newer || matches!((self, newer), (Self::Manual(_), Self::Manual(unread)) if unread.is_empty())
    }
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall: Timestamp,
}

/// All groups.
pub(super) struct Groups {
    interval_min: Duration,
    groups: HashMap<GroupKey, Group>,
    of: HashMap<ObjectKey, (GroupKey, u64)>,
    sightings: HashMap<ObjectKey, (u64, Sighting)>,
}

impl Groups {
    pub(super) fn new(interval_min: Duration) -> Self {
        let (groups, of, sightings) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { interval_min, groups, of, sightings }
    }

    /// Follows this pipeline for `object` from now on, or none. Returns whether that is new.
    pub(super) fn follow(&mut self, object: &ObjectKey, wanted: Option<Follow>, now: Now) -> bool {
        let wanted = wanted.map(|follow| {
            let Follow { fire_id: _, pipeline_id, url, project, named_project, access, since } = follow;
            let namespace = object.namespace.clone();
            (GroupKey { namespace, url, project, named_project, access }, pipeline_id, since)
        });
        if let (Some((group, id, since)), Some(known)) = (&wanted, self.of.get(object))
            && known.0 == *group
            && known.1 == *id
        {
            return self.look_more_often(group, object, *since, now);
        }
        if let Some((group, _)) = self.of.remove(object) {
            self.sightings.remove(object);
            if let Some(left) = self.groups.get_mut(&group) {
                left.objects.remove(object);
                if left.objects.is_empty() {
                    self.groups.remove(&group);
                }
            }
        }
        let Some((key, id, since)) = wanted else { return false };
        self.of.insert(object.clone(), (key.clone(), id));
        let due = now.instant + self.interval(since, now);
        let group = self.groups.entry(key).or_insert_with(|| Group {
            objects: HashMap::new(),
            next: due,
            busy: false,
            troubles: 0,
        });
        group.next = group.next.min(due);
        group.objects.insert(object.clone(), Followed { pipeline: id, since, told: None, asked: None });
        true
    }

    /// A pipeline that is being cancelled is looked at like a young one. Returns whether that is new.
    fn look_more_often(&mut self, key: &GroupKey, object: &ObjectKey, since: Timestamp, now: Now) -> bool {
        let due = now.instant + self.interval(since, now);
        let Some(group) = self.groups.get_mut(key) else { return false };
        let Some(followed) = group.objects.get_mut(object).filter(|followed| followed.since != since) else {
            return false;
        };
        followed.since = since;
        group.next = group.next.min(due);
        true
    }

    /// Makes the next look due that is for `object`.
    pub(super) fn look_soon(&mut self, object: &ObjectKey, now: Instant) {
        if let Some((key, _)) = self.of.get(object)
            && let Some(group) = self.groups.get_mut(key)
        {
            group.next = now;
        }
    }

    /// What was seen last of the pipeline that is followed for `object`.
    pub(super) fn sighting(&self, object: &ObjectKey) -> Option<(u64, Sighting)> {
        self.sightings.get(object).cloned()
    }

    /// Forgets what was seen; the next look tells it again.
    pub(super) fn drop_sighting(&mut self, object: &ObjectKey) {
        self.sightings.remove(object);
        if let Some((group, _)) = self.of.get(object)
            && let Some(followed) = self.groups.get_mut(group).and_then(|group| group.objects.get_mut(object))
        {
            followed.told = None;
        }
    }

    /// Groups whose look is due, at most `room`, with the pipelines to look at; and when the next one is.
    ///
    /// Whoever's namespace has the fewest looks under way goes first, then who is due for longest: a namespace with
    /// many projects takes no more of the places than one with a single one.
    pub(super) fn take_due(&mut self, room: usize, now: Instant) -> (Vec<(GroupKey, Vec<u64>)>, Instant) {
        let (mut of_host, mut of_namespace) = (HashMap::new(), HashMap::new());
        for (key, _) in self.groups.iter().filter(|(_, group)| group.busy) {
            *of_host.entry(key.url.clone()).or_insert(0) += 1;
            *of_namespace.entry(key.namespace.clone()).or_insert(0_usize) += 1;
        }
        let idle = self.groups.iter().filter(|(_, group)| !group.busy);
        let (mut waiting, later): (Vec<_>, Vec<_>) =
            idle.map(|(key, group)| (group.next, key)).partition(|(next, _)| *next <= now);
        waiting.sort_by_key(|(next, _)| *next);
        // The place in the line of its namespace, those who are being served already included.
        let mut ranked: Vec<(usize, Instant, &GroupKey)> = waiting
            .into_iter()
            .map(|(next, key)| {
                let before = of_namespace.entry(key.namespace.clone()).or_default();
                *before += 1;
                (*before, next, key)
            })
            .collect();
        ranked.sort_by_key(|(place, next, _)| (*place, *next));
        let mut chosen = Vec::new();
        for (_, _, key) in ranked {
            let looks = of_host.entry(key.url.clone()).or_default();
            // Whoever of this host ends makes room and asks again.
            if chosen.len() < room && *looks < LOOKS_PER_HOST {
                *looks += 1;
                chosen.push(key.clone());
            }
        }
        let next = later.into_iter().map(|(next, _)| next).min();
        let due = chosen.into_iter().map(|key| {
            let ids = self.groups.get_mut(&key).map(Group::begin).unwrap_or_default();
            (key, ids)
        });
        (due.collect(), next.unwrap_or(now + INTERVAL_OLD))
    }

    /// A look panicked, and which group's it was went with it: all may look again.
    pub(super) fn lost_a_look(&mut self) {
        self.groups.values_mut().for_each(|group| group.busy = false);
    }

    /// Takes in what a look brought; returns whom it concerns.
    pub(super) fn looked(&mut self, key: &GroupKey, look: Look, now: Now) -> Vec<ObjectKey> {
        let interval_min = self.interval_min;
        let Self { interval_min: _, groups, of: _, sightings } = self;
        let Some(group) = groups.get_mut(key) else { return Vec::new() };
        let mut concerned = Vec::new();
        group.busy = false;
        group.troubles = if look.trouble { group.troubles.saturating_add(1) } else { 0 };
        for (id, sighting) in look.found {
            let telling = told(&sighting);
            for (object, followed) in group.objects.iter_mut().filter(|(_, followed)| followed.pipeline == id)
            {
                if look.alone.contains(&id) {
                    followed.asked = Some(now.instant);
                }
                if !followed.told.as_ref().is_some_and(|told| told.covers(&telling)) {
                    followed.told = Some(telling.clone());
                    sightings.insert(object.clone(), (id, sighting.clone()));
                    concerned.push(object.clone());
                }
            }
        }
        let intervals =
            group.objects.values().map(|followed| interval(age(followed.since, now), interval_min));
        let soonest = intervals.min().unwrap_or(INTERVAL_MAX);
        let backed_off = interval_min.saturating_mul(1 << group.troubles.min(5)).min(INTERVAL_MAX);
        let interval = soonest.max(if look.trouble { backed_off } else { Duration::ZERO });
        group.next = now.instant + interval.max(look.wait);
        concerned
    }

    fn interval(&self, since: Timestamp, now: Now) -> Duration {
        interval(age(since, now), self.interval_min)
    }
}

fn age(since: Timestamp, now: Now) -> Duration {
    now.wall.duration_since(since).try_into().unwrap_or_default()
}

/// How long until the next look at a pipeline of this age.
fn interval(age: Duration, min: Duration) -> Duration {
    if age >= OLD { INTERVAL_OLD } else { (age / 10).clamp(min, INTERVAL_MAX.max(min)) }
}

fn told(sighting: &Sighting) -> Told {
    match sighting {
        Sighting::Seen { pipeline, failed_jobs: _, manual_jobs: _ } if pipeline.status.is_complete() => {
            Told::Ended
        }
        Sighting::Seen { pipeline, failed_jobs: _, manual_jobs }
            if pipeline.status == PipelineStatus::Manual =>
        {
            Told::Manual(manual_jobs.clone())
        }
        Sighting::Seen { .. } => Told::Moving,
        Sighting::Gone => Told::Ended,
        Sighting::Trouble { reason, message } => Told::Trouble(*reason, message.clone()),
    }
}

#[cfg(test)]
mod tests;
