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
    Manual,
    Ended,
    Trouble(Reason, String),
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
    pub(super) fn take_due(&mut self, room: usize, now: Instant) -> (Vec<(GroupKey, Vec<u64>)>, Instant) {
        let mut due = Vec::new();
        let mut next = now + INTERVAL_OLD;
        let mut looks: HashMap<String, usize> = HashMap::new();
        for (key, _) in self.groups.iter().filter(|(_, group)| group.busy) {
            *looks.entry(key.url.clone()).or_default() += 1;
        }
        // Those that are due for longest go first.
        let mut groups: Vec<(&GroupKey, &mut Group)> =
            self.groups.iter_mut().filter(|(_, group)| !group.busy).collect();
        groups.sort_by_key(|(_, group)| group.next);
        for (key, group) in groups {
            let of_host = looks.entry(key.url.clone()).or_default();
            if group.next <= now && *of_host >= LOOKS_PER_HOST {
                // Whoever of this host ends makes room and asks again.
                continue;
            }
            if group.next <= now && due.len() < room {
                *of_host += 1;
                group.busy = true;
                let mut ids: Vec<(Option<Instant>, u64)> =
                    group.objects.values().map(|followed| (followed.asked, followed.pipeline)).collect();
                ids.sort_unstable();
                ids.dedup_by_key(|(_, id)| *id);
                due.push((key.clone(), ids.into_iter().map(|(_, id)| id).collect()));
            } else if room > due.len() {
                next = next.min(group.next);
            }
        }
        (due, next)
    }

    /// A look panicked, and which group's it was went with it: all may look again.
    pub(super) fn lost_a_look(&mut self) {
        self.groups.values_mut().for_each(|group| group.busy = false);
    }

    /// Takes in what a look brought; returns whom it concerns.
    pub(super) fn looked(&mut self, key: &GroupKey, look: Look, now: Now) -> Vec<ObjectKey> {
        let interval_min = self.interval_min;
        let Self { groups, sightings, .. } = self;
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
                if followed.told.as_ref() != Some(&telling) {
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
        Sighting::Seen { pipeline, failed_jobs: _ } if pipeline.status.is_complete() => Told::Ended,
        Sighting::Seen { pipeline, failed_jobs: _ } if pipeline.status == PipelineStatus::Manual => {
            Told::Manual
        }
        Sighting::Seen { .. } => Told::Moving,
        Sighting::Gone => Told::Ended,
        Sighting::Trouble { reason, message } => Told::Trouble(*reason, message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_looked_at_after_a_tenth_of_its_age_within_bounds() {
        let min = Duration::from_secs(5);
        for (age, expected) in
            [(0, 5), (49, 5), (120, 12), (599, 59), (3600, 60), (86_400, 600), (900_000, 600)]
        {
            assert_eq!(interval(Duration::from_secs(age), min).as_secs().abs_diff(expected), 0, "{age} s");
        }
    }
}
