//! Learns what pipelines do: one follower per (host, project, credential), however many triggers.
//!
//! A list call answers for all pipelines of a group; a single one is asked alone. A pipeline is looked at
//! after a tenth of its age, between 5 s (`--follow-interval`) and 60 s; after a day every 10 minutes. What it
//! sees it hands to the runtime as a [`Sighting`], and only what a decision could care about.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use pipekick_core::decide::trigger::Follow;
use pipekick_core::domain::{
    CredentialUse, GitLabUrl, ObjectKey, Pipeline, PipelineStatus, ProjectRef, Reason, SecretKeyRef, Sighting,
};
use secrecy::SecretString;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Record;
use crate::clock;
use crate::cluster::secrets::Secrets;
use crate::gitlab::{self, Endpoint, Fingerprint, PipelineFilter, ReadKind};
use crate::runtime::{Handle, Rank};

/// Looks at the same time, at most, and at one GitLab: a slow one keeps no other's pipelines waiting, and
/// following never takes what firing needs.
const CONCURRENT_LOOKS: usize = 32;
const LOOKS_PER_HOST: usize = 4;
/// Pages of 100 read in one look; what is older is asked one by one.
const PAGES: u32 = 20;
/// Pipelines asked one by one in one look, in turns.
const ALONE: usize = 20;
/// Longest interval between two looks at a pipeline younger than a day.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// A pipeline older than this is a long story.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// Interval for such.
const INTERVAL_OLD: Duration = Duration::from_secs(600);
/// Waits of the budget that are shorter than this are not worth a word in a condition.
const WAIT_WORTH_TELLING: Duration = Duration::from_secs(60);
/// Fingerprints remembered at most.
const FINGERPRINTS: usize = 4096;

/// What one follower shares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    namespace: String,
    url: String,
    project: String,
    named_project: String,
    access: SecretKeyRef,
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

#[derive(Default)]
struct State {
    groups: HashMap<GroupKey, Group>,
    of: HashMap<ObjectKey, (GroupKey, u64)>,
    sightings: HashMap<ObjectKey, (u64, Sighting)>,
    fingerprints: HashMap<(String, SecretKeyRef), Fingerprint>,
}

/// Everything that is followed.
pub struct Follower {
    gitlab: Arc<gitlab::Client>,
    secrets: Arc<Secrets>,
    handle: Handle<Record>,
    default_url: GitLabUrl,
    interval_min: Duration,
    state: Mutex<State>,
    changed: Notify,
}

impl Follower {
    /// A follower that follows nothing yet.
    #[must_use]
    pub fn new(
        gitlab: Arc<gitlab::Client>,
        secrets: Arc<Secrets>,
        handle: Handle<Record>,
        default_url: GitLabUrl,
        interval_min: Duration,
    ) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self { gitlab, secrets, handle, default_url, interval_min, state, changed }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows this pipeline for `object` from now on, or none.
    pub fn follow(&self, object: &ObjectKey, wanted: Option<Follow>) {
        let mut state = self.lock();
        let wanted = wanted.map(|follow| {
            let Follow { fire_id: _, pipeline_id, url, project, named_project, access, since } = follow;
            let namespace = object.namespace.clone();
            (GroupKey { namespace, url, project, named_project, access }, pipeline_id, since)
        });
        if let (Some((group, id, _)), Some(known)) = (&wanted, state.of.get(object))
            && known.0 == *group
            && known.1 == *id
        {
            return;
        }
        if let Some((group, _)) = state.of.remove(object) {
            state.sightings.remove(object);
            if let Some(left) = state.groups.get_mut(&group) {
                left.objects.remove(object);
                if left.objects.is_empty() {
                    state.groups.remove(&group);
                }
            }
        }
        let Some((key, id, since)) = wanted else { return };
        state.of.insert(object.clone(), (key.clone(), id));
        let due = clock::instant() + self.interval(since);
        let group = state.groups.entry(key).or_insert_with(|| Group {
            objects: HashMap::new(),
            next: due,
            busy: false,
            troubles: 0,
        });
        group.next = group.next.min(due);
        group.objects.insert(object.clone(), Followed { pipeline: id, since, told: None, asked: None });
        drop(state);
        self.changed.notify_one();
    }

    /// What was seen last of the pipeline that is followed for `object`.
    #[must_use]
    pub fn sighting(&self, object: &ObjectKey) -> Option<(u64, Sighting)> {
        self.lock().sightings.get(object).cloned()
    }

    /// Forgets what was seen; the next look tells it again.
    pub fn drop_sighting(&self, object: &ObjectKey) {
        let mut state = self.lock();
        state.sightings.remove(object);
        if let Some((group, _)) = state.of.get(object).cloned()
            && let Some(followed) =
                state.groups.get_mut(&group).and_then(|group| group.objects.get_mut(object))
        {
            followed.told = None;
        }
    }

    /// The name of the token last read from this key, for budgets.
    #[must_use]
    pub fn fingerprint(&self, namespace: &str, access: &SecretKeyRef) -> Option<Fingerprint> {
        self.lock().fingerprints.get(&(namespace.to_owned(), access.clone())).copied()
    }

    /// Remembers the name of the token last read from this key.
    pub fn remember_fingerprint(&self, namespace: &str, access: &SecretKeyRef, fingerprint: Fingerprint) {
        let mut state = self.lock();
        if state.fingerprints.len() >= FINGERPRINTS {
            state.fingerprints.clear();
        }
        state.fingerprints.insert((namespace.to_owned(), access.clone()), fingerprint);
    }

    fn interval(&self, since: Timestamp) -> Duration {
        let age: Duration = clock::now().duration_since(since).try_into().unwrap_or_default();
        interval(age, self.interval_min)
    }

    /// Looks when looks are due, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut looks = JoinSet::new();
        loop {
            while let Some(ended) = looks.try_join_next() {
                self.looked(ended);
            }
            let (due, next) = self.take_due(CONCURRENT_LOOKS.saturating_sub(looks.len()));
            for (key, ids) in due {
                let follower = Arc::clone(&self);
                looks.spawn(async move {
                    let found = follower.look(&key, ids).await;
                    (key, found)
                });
            }
            tokio::select! {
                Some(ended) = looks.join_next() => self.looked(ended),
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Groups whose look is due, and when the next one is.
    fn take_due(&self, room: usize) -> (Vec<(GroupKey, Vec<u64>)>, Instant) {
        let now = clock::instant();
        let mut state = self.lock();
        let mut due = Vec::new();
        let mut next = now + INTERVAL_OLD;
        let mut looks: HashMap<String, usize> = HashMap::new();
        for (key, _) in state.groups.iter().filter(|(_, group)| group.busy) {
            *looks.entry(key.url.clone()).or_default() += 1;
        }
        // Those that are due for longest go first.
        let mut groups: Vec<(&GroupKey, &mut Group)> =
            state.groups.iter_mut().filter(|(_, group)| !group.busy).collect();
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

    fn looked(&self, ended: Result<(GroupKey, Look), tokio::task::JoinError>) {
        let (key, look) = match ended {
            Ok(look) => look,
            Err(error) => {
                tracing::error!(%error, "look at pipelines panicked");
                // Which group it was went with it: all may look again.
                self.lock().groups.values_mut().for_each(|group| group.busy = false);
                return;
            }
        };
        let now = clock::instant();
        let mut poke = Vec::new();
        let mut state = self.lock();
        let State { groups, sightings, .. } = &mut *state;
        let Some(group) = groups.get_mut(&key) else { return };
        group.busy = false;
        group.troubles = if look.trouble { group.troubles.saturating_add(1) } else { 0 };
        for (id, sighting) in look.found {
            let telling = told(&sighting);
            for (object, followed) in group.objects.iter_mut().filter(|(_, followed)| followed.pipeline == id)
            {
                if look.alone.contains(&id) {
                    followed.asked = Some(now);
                }
                if followed.told.as_ref() != Some(&telling) {
                    followed.told = Some(telling.clone());
                    sightings.insert(object.clone(), (id, sighting.clone()));
                    poke.push(object.clone());
                }
            }
        }
        let soonest = group.objects.values().map(|followed| self.interval(followed.since)).min();
        let backed_off = self.interval_min.saturating_mul(1 << group.troubles.min(5)).min(INTERVAL_MAX);
        let interval =
            soonest.unwrap_or(INTERVAL_MAX).max(if look.trouble { backed_off } else { Duration::ZERO });
        group.next = now + interval.max(look.wait);
        drop(state);
        for object in poke {
            self.handle.poke(&object, Rank::Following);
        }
    }
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

/// What a look at a group brought.
#[derive(Default)]
struct Look {
    found: Vec<(u64, Sighting)>,
    /// Which of them were asked one by one.
    alone: Vec<u64>,
    trouble: bool,
    /// GitLab, or our budget, asks to wait so long.
    wait: Duration,
}

impl Follower {
    async fn look(&self, key: &GroupKey, ids: Vec<u64>) -> Look {
        let (at, token) = match self.reach(key).await {
            Ok(reached) => reached,
            Err((reason, message)) => return Look::trouble(&ids, reason, &message, Duration::ZERO),
        };
        let mut look = Look::default();
        let mut left = ids;
        if left.len() > 1 {
            let listed = match self.list(&at, &left, &token).await {
                Ok(listed) => listed,
                Err(error) => return Look::failed(&left, &error),
            };
            left.retain(|id| !listed.contains_key(id));
            for (id, pipeline) in listed {
                look.found.push((id, self.complete(&at, pipeline, &token).await));
            }
        }
        left.truncate(ALONE);
        for id in left {
            look.alone.push(id);
            match self.gitlab.pipeline(&at, id, &token).await {
                Ok(pipeline) => look.found.push((id, self.end(&at, pipeline, &token).await)),
                Err(error) if error.kind == ReadKind::NotFound && error.moved_to.is_none() => {
                    // A project that still lists its pipelines has lost this one; else it is the project.
                    let probe = PipelineFilter { per_page: 1, ..PipelineFilter::default() };
                    let sighting = match self.gitlab.pipelines(&at, &probe, &token).await {
                        Ok(_) => Sighting::Gone,
                        Err(error) => error.into(),
                    };
                    look.found.push((id, sighting));
                }
                Err(error) => {
                    let failed = Look::failed(&[id], &error);
                    look.found.extend(failed.found);
                    look.trouble = true;
                    look.wait = look.wait.max(failed.wait);
                    break;
                }
            }
        }
        look
    }

    async fn reach(&self, key: &GroupKey) -> Result<(Endpoint, SecretString), (Reason, String)> {
        let parsed = |e: &dyn std::fmt::Display| (Reason::CannotFollow, e.to_string());
        let url: GitLabUrl = key.url.parse().map_err(|e| parsed(&e))?;
        let project: ProjectRef = key.project.parse().map_err(|e| parsed(&e))?;
        let named: ProjectRef = key.named_project.parse().map_err(|e| parsed(&e))?;
        let to = CredentialUse { url: &url, default_url: &self.default_url, project: &named };
        let token =
            self.secrets.token(&key.namespace, &key.access, to).await.map_err(|e| (e.reason, e.message))?;
        self.remember_fingerprint(&key.namespace, &key.access, self.gitlab.fingerprint(&token));
        Ok((Endpoint { url, project }, token))
    }

    /// The wanted pipelines that are found in the project's list, from the newest back to the oldest wanted.
    async fn list(
        &self,
        at: &Endpoint,
        wanted: &[u64],
        token: &SecretString,
    ) -> Result<HashMap<u64, Pipeline>, gitlab::ReadError> {
        let oldest = wanted.iter().min().copied().unwrap_or_default();
        let mut found = HashMap::new();
        let mut page = 1;
        // More pages than single questions would be no saving.
        let pages = PAGES.min(u32::try_from(wanted.len()).unwrap_or(PAGES));
        for _ in 0..pages {
            let filter = PipelineFilter { page, ..PipelineFilter::default() };
            let listed = self.gitlab.pipelines(at, &filter, token).await?;
            let reached = listed.pipelines.iter().map(|pipeline| pipeline.id).min().unwrap_or_default();
            found.extend(listed.pipelines.into_iter().filter(|p| wanted.contains(&p.id)).map(|p| (p.id, p)));
            match listed.next {
                Some(next) if reached > oldest => page = next,
                _ => break,
            }
        }
        Ok(found)
    }

    /// A pipeline from a list lacks its times: one that has ended is asked for them.
    async fn complete(&self, at: &Endpoint, listed: Pipeline, token: &SecretString) -> Sighting {
        if !listed.status.is_complete() {
            return Sighting::Seen { pipeline: listed, failed_jobs: Vec::new() };
        }
        match self.gitlab.pipeline(at, listed.id, token).await {
            Ok(whole) => self.end(at, whole, token).await,
            Err(error) => error.into(),
        }
    }

    /// A failed pipeline is told with its failed jobs. Without them it is still told.
    async fn end(&self, at: &Endpoint, pipeline: Pipeline, token: &SecretString) -> Sighting {
        if pipeline.status != PipelineStatus::Failed {
            return Sighting::Seen { pipeline, failed_jobs: Vec::new() };
        }
        match self.gitlab.failed_jobs(at, pipeline.id, token).await {
            Ok(failed_jobs) => Sighting::Seen { pipeline, failed_jobs },
            Err(error) if matches!(error.kind, ReadKind::Forbidden | ReadKind::NotFound) => {
                Sighting::Seen { pipeline, failed_jobs: Vec::new() }
            }
            Err(error) => error.into(),
        }
    }
}

impl Look {
    fn trouble(ids: &[u64], reason: Reason, message: &str, wait: Duration) -> Self {
        let sighting = Sighting::Trouble { reason, message: message.to_owned() };
        Self {
            found: ids.iter().map(|id| (*id, sighting.clone())).collect(),
            alone: Vec::new(),
            trouble: true,
            wait,
        }
    }

    fn failed(ids: &[u64], error: &gitlab::ReadError) -> Self {
        match error.kind {
            ReadKind::Throttled { wait } if wait < WAIT_WORTH_TELLING => {
                Self { trouble: true, wait, ..Self::default() }
            }
            ReadKind::Throttled { wait } => Self::trouble(ids, error.reason, &error.message, wait),
            ReadKind::NotFound
            | ReadKind::Unauthorized
            | ReadKind::Forbidden
            | ReadKind::Unreachable
            | ReadKind::Trouble => Self::trouble(ids, error.reason, &error.message, Duration::ZERO),
        }
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
