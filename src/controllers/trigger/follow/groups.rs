//! Who follows which pipelines, when the next look is due, and what of it is worth telling: pure.

mod told;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use pipekick_core::decide::trigger::{FOLLOWED_AFTER_END, Follow};
use pipekick_core::domain::{Access, ObjectKey, Pipeline, PipelineStatus, Sighting, Stretch};
use tokio::time::Instant;

use super::look::Look;
use told::{Told, told};

/// Looks at one GitLab at the same time, at most: a slow one keeps no other's pipelines waiting.
const LOOKS_PER_HOST: usize = 4;
/// Longest interval between two looks at a pipeline younger than a day.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// A pipeline older than this is a long story.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// Interval for such.
const INTERVAL_OLD: Duration = Duration::from_secs(600);
/// A pipeline that has ended is looked at after a quarter of the time since, from six of the shortest intervals up
/// to this.
const INTERVAL_ENDED: Duration = Duration::from_secs(1800);

/// That GitLab cannot be asked, and that it can again, is told once in so long: one that answers every other look costs
/// a write a minute, not one a look.
const TROUBLE_SETTLES: Duration = Duration::from_secs(60);

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
    /// A look was asked for while one was under way.
    again: bool,
    troubles: u32,
}

struct Followed {
    stretch: Stretch,
    since: Timestamp,
    /// When this stretch began to be followed: a look that began before says nothing of it.
    entered: Instant,
    /// What was handed on last.
    told: Option<Told>,
    /// When it was last told of trouble that passes by itself, or that it had passed.
    troubled: Option<Instant>,
    /// When it was last asked alone; those that waited longest go first.
    asked: Option<Instant>,
    /// When the look began that last found it under way.
    ran: Option<Timestamp>,
    /// The last time since when somebody wanted to know.
    wanted: Option<Timestamp>,
    /// Of one that has ended.
    ended: Option<Ended>,
}

impl Followed {
    /// Whether `newer` is about nothing but trouble that passes by itself: that it came, or is over.
    fn is_of_trouble(&self, newer: &Told) -> bool {
        let was_trouble = self.told.as_ref().is_some_and(Told::passes);
        newer.passes() || (was_trouble && matches!(newer, Told::Moving | Told::Manual(_)))
    }
}

/// A pipeline that has ended, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ended {
    status: PipelineStatus,
    /// As GitLab told it first after the end.
    updated_at: Option<Timestamp>,
    /// When to look next.
    due: Instant,
}

/// A pipeline to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) id: u64,
    /// Whether it is asked for, or only taken along from a list that is asked for others.
    pub(super) due: bool,
    ended: Option<Ended>,
}

impl Wanted {
    /// Whether it ended before and still looks as it did then.
    pub(super) fn is_unchanged(&self, now: &Pipeline) -> bool {
        let Some(Ended { status, updated_at, due: _ }) = &self.ended else { return false };
        now.status == *status && (updated_at.is_none() || now.updated_at == *updated_at)
    }

    /// Whether its end was told.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
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
    of: HashMap<ObjectKey, (GroupKey, Stretch)>,
    sightings: HashMap<ObjectKey, (Stretch, Sighting)>,
    /// When those that ended too long ago are left next.
    tidy_at: Option<Instant>,
}

impl Groups {
    pub(super) fn new(interval_min: Duration) -> Self {
        let (groups, of, sightings) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { interval_min, groups, of, sightings, tidy_at: None }
    }

    /// Follows this pipeline for `object` from now on, or none. Returns whether that is new.
    pub(super) fn follow(&mut self, object: &ObjectKey, wanted: Option<Follow>, now: Now) -> bool {
        let wanted = wanted.map(|follow| {
            let Follow { fire_id: _, stretch, status, url, project, named_project, access, since } = follow;
            let namespace = object.namespace.clone();
            (GroupKey { namespace, url, project, named_project, access }, stretch, status, since)
        });
        if let (Some((group, stretch, _, since)), Some(known)) = (&wanted, self.of.get(object))
            && known.0 == *group
            && known.1 == *stretch
        {
            return self.look_more_often(group, object, *since, now);
        }
        self.leave(object);
        let Some((key, stretch, status, since)) = wanted else { return false };
        self.of.insert(object.clone(), (key.clone(), stretch.clone()));
        let has_ended = stretch.finished_at.is_some();
        let wait = if has_ended { self.interval_ended(since, now) } else { self.interval(since, now) };
        let due = now.instant + wait;
        let ended = has_ended.then_some(Ended { status, updated_at: None, due });
        let group = self.groups.entry(key).or_insert_with(|| Group {
            objects: HashMap::new(),
            next: due,
            busy: false,
            again: false,
            troubles: 0,
        });
        group.next = group.next.min(due);
        let entered = now.instant;
        let followed = Followed {
            stretch,
            since,
            entered,
            told: None,
            troubled: None,
            asked: None,
            ran: None,
            wanted: None,
            ended,
        };
        group.objects.insert(object.clone(), followed);
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
            group.again = group.busy;
        }
    }

    /// Makes a look due for `object`, unless one was for somebody who wanted to know of the time since then.
    pub(super) fn look_since(&mut self, object: &ObjectKey, since: Timestamp, now: Instant) {
        let Some((key, _)) = self.of.get(object) else { return };
        let group = self.groups.get_mut(key);
        let Some(followed) = group.and_then(|group| group.objects.get_mut(object)) else { return };
        if followed.wanted.is_none_or(|wanted| wanted < since) {
            followed.wanted = Some(since);
            self.look_soon(object, now);
        }
    }

    /// When the look began that last found the pipeline of `object` under way.
    pub(super) fn ran_at(&self, object: &ObjectKey) -> Option<Timestamp> {
        let (key, _) = self.of.get(object)?;
        self.groups.get(key)?.objects.get(object)?.ran
    }

    /// Follows nothing for this object any more.
    fn leave(&mut self, object: &ObjectKey) {
        let Some((group, _)) = self.of.remove(object) else { return };
        self.sightings.remove(object);
        if let Some(left) = self.groups.get_mut(&group) {
            left.objects.remove(object);
            if left.objects.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// Leaves what ended too long ago, once a minute.
    fn leave_the_old(&mut self, now: Now) {
        if self.tidy_at.is_some_and(|at| now.instant < at) {
            return;
        }
        self.tidy_at = Some(now.instant + INTERVAL_MAX);
        let is_old = |ended: Timestamp| age(ended, now) >= FOLLOWED_AFTER_END;
        let old =
            |(_, (_, stretch)): &(&ObjectKey, &(GroupKey, Stretch))| stretch.finished_at.is_some_and(is_old);
        let old: Vec<ObjectKey> = self.of.iter().filter(old).map(|(object, _)| object.clone()).collect();
        for object in old {
            self.leave(&object);
        }
    }

    /// What was seen last of the pipeline that is followed for `object`.
    pub(super) fn sighting(&self, object: &ObjectKey) -> Option<(Stretch, Sighting)> {
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
    pub(super) fn take_due(&mut self, room: usize, now: Now) -> (Vec<(GroupKey, Vec<Wanted>)>, Instant) {
        self.leave_the_old(now);
        let now = now.instant;
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
            let wanted = self.groups.get_mut(&key).map(|group| group.begin(now)).unwrap_or_default();
            (key, wanted)
        });
        (due.collect(), next.unwrap_or(now + INTERVAL_OLD))
    }

    /// A look panicked, and which group's it was went with it: all may look again.
    pub(super) fn lost_a_look(&mut self) {
        self.groups.values_mut().for_each(|group| group.busy = false);
    }

    /// Takes in what a look that began then brought; returns whom it concerns.
    pub(super) fn looked(&mut self, key: &GroupKey, began: Instant, look: Look, now: Now) -> Vec<ObjectKey> {
        let interval_min = self.interval_min;
        let Self { interval_min: _, groups, of: _, sightings, tidy_at: _ } = self;
        let Some(group) = groups.get_mut(key) else { return Vec::new() };
        let mut concerned = Vec::new();
        let took = now.instant.saturating_duration_since(began);
        let began_at = now.wall.checked_sub(took).unwrap_or(now.wall);
        group.busy = false;
        group.troubles = if look.trouble { group.troubles.saturating_add(1) } else { 0 };
        let unchanged: HashMap<u64, Option<Timestamp>> = look.unchanged.into_iter().collect();
        let found: HashMap<u64, Sighting> = look.found.into_iter().collect();
        let mut next = now.instant + INTERVAL_ENDED;
        for (object, followed) in &mut group.objects {
            let id = followed.stretch.pipeline_id;
            if look.alone.contains(&id) {
                followed.asked = Some(now.instant);
            }
            if let Some(ended) = &mut followed.ended {
                ended.updated_at = ended.updated_at.or_else(|| unchanged.get(&id).copied().flatten());
                if look.due.contains(&id) {
                    ended.due = now.instant + interval_ended(age(followed.since, now), interval_min);
                }
            }
            let due = followed.ended.as_ref().map_or_else(
                || now.instant + interval(age(followed.since, now), interval_min),
                |ended| ended.due,
            );
            next = next.min(due);
            let Some(sighting) = found.get(&id).filter(|_| followed.entered <= began) else { continue };
            // Nothing is told of one that has ended but that it runs again, or ended anew.
            let dull = followed.ended.is_some() && !matches!(sighting, Sighting::Seen { .. });
            let telling = told(sighting);
            match telling {
                Told::Moving | Told::Manual(_) => followed.ran = Some(began_at),
                Told::Ended(..) | Told::Gone => followed.ran = None,
                Told::Trouble(..) => {}
            }
            let is_known = followed.told.as_ref().is_some_and(|told| told.covers(&telling));
            let of_trouble = followed.is_of_trouble(&telling);
            let is_young = |at: Instant| now.instant.saturating_duration_since(at) < TROUBLE_SETTLES;
            let flutters = of_trouble && followed.troubled.is_some_and(is_young);
            if !is_known && !dull && !flutters {
                if of_trouble {
                    followed.troubled = Some(now.instant);
                }
                followed.told = Some(telling);
                sightings.insert(object.clone(), (followed.stretch.clone(), sighting.clone()));
                concerned.push(object.clone());
            }
        }
        let backed_off = interval_min.saturating_mul(1 << group.troubles.min(5)).min(INTERVAL_MAX);
        let at_least = if look.trouble { backed_off } else { Duration::ZERO }.max(look.wait);
        group.next = next.max(now.instant + at_least);
        if std::mem::take(&mut group.again) && !look.trouble {
            group.next = now.instant + look.wait;
        }
        concerned
    }

    fn interval_ended(&self, ended: Timestamp, now: Now) -> Duration {
        interval_ended(age(ended, now), self.interval_min)
    }

    fn interval(&self, since: Timestamp, now: Now) -> Duration {
        interval(age(since, now), self.interval_min)
    }
}

impl Group {
    /// A look begins: at each pipeline once, however many follow it; those that waited longest to be asked first.
    fn begin(&mut self, now: Instant) -> Vec<Wanted> {
        self.busy = true;
        let mut by_id: HashMap<u64, (Option<Instant>, Wanted)> = HashMap::new();
        for Followed {
            stretch,
            since: _,
            entered: _,
            told: _,
            troubled: _,
            asked,
            ran: _,
            wanted: _,
            ended,
        } in self.objects.values()
        {
            let id = stretch.pipeline_id;
            let due = ended.as_ref().is_none_or(|ended| ended.due <= now);
            let new = || (*asked, Wanted { id, due, ended: ended.clone() });
            let (at, known) = by_id.entry(id).or_insert_with(new);
            *at = (*at).max(*asked);
            known.due |= due;
            // Where another object's run of it is under way, all of it is of interest.
            known.ended = known.ended.take().filter(|_| ended.is_some());
        }
        let mut wanted: Vec<_> = by_id.into_values().collect();
        wanted.sort_by_key(|(asked, wanted)| (*asked, wanted.id));
        wanted.into_iter().map(|(_, wanted)| wanted).collect()
    }
}

fn age(since: Timestamp, now: Now) -> Duration {
    now.wall.duration_since(since).try_into().unwrap_or_default()
}

/// How long until the next look at a pipeline of this age.
fn interval(age: Duration, min: Duration) -> Duration {
    if age >= OLD { INTERVAL_OLD } else { (age / 10).clamp(min, INTERVAL_MAX.max(min)) }
}

/// How long until the next look at a pipeline that ended so long ago.
fn interval_ended(age: Duration, min: Duration) -> Duration {
    let least = min.saturating_mul(6);
    (age / 4).clamp(least, INTERVAL_ENDED.max(least))
}

#[cfg(test)]
mod tests;
