//! What this process knows of an object and status does not say yet. It may be lost at any time: the next
//! process then knows less, never something wrong.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use pipekick_core::decide::trigger::{CancelOrder, CancelSent, LOOK_INTERVAL, MAX_DELETIONS, cancel_again};
use pipekick_core::domain::{Answer, AttemptKey, Cancelled, Changed, ObjectKey, RetryKey};
use tokio::time::Instant;

use crate::clock;

/// Answers kept of one object: the current POST's, and those of intents whose write was not confirmed.
const ANSWERS: usize = 4;

/// Longest wait before GitLab is asked again while it cannot be asked.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// A request to cancel that was sent.
struct Sent {
    pipeline_id: u64,
    requested_at: Timestamp,
    brought: Cancelled,
    again: Instant,
}

/// A record in status that something is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Intent {
    /// A pipeline is created.
    Post(AttemptKey),
    /// Failed jobs are started again.
    Retry(RetryKey),
    /// Image updates are handed in.
    Updates {
        /// When that was recorded.
        at: Option<Timestamp>,
        /// Who recorded it.
        by: Option<String>,
    },
}

#[derive(Default)]
struct Memory {
    /// What became of POSTs whose outcome is not in status yet, oldest first.
    answers: Vec<(AttemptKey, Answer)>,
    /// The intent in status, and when this process first saw it there.
    intent: Option<(Intent, Instant)>,
    /// What became of changes that status does not tell of yet.
    changes: Changes,
    /// When to look again for a pipeline that was lost, and how many looks in a row met trouble.
    look_again: Option<Instant>,
    troubles: u32,
    /// When merge requests were looked at, or GitLab asks to leave them alone until.
    requests_looked: Option<Instant>,
    /// The last request to cancel the run's pipeline, and how many in a row brought the like.
    cancel: Option<(Sent, u32)>,
    /// Writes in a row that the API server did not confirm.
    unconfirmed: u32,
}

/// What became of changes asked of pipelines.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// The last request to start failed jobs again.
    pub(super) retried: Option<(RetryKey, Changed)>,
    /// The last request to name a pipeline: which, and how.
    pub(super) naming: Option<(u64, String, Changed)>,
    /// Requests to delete pipelines: which, and the number of the try.
    pub(super) deleted: Vec<(u64, u32, Changed)>,
}

/// The memories of all objects that have some. A settled object has none.
#[derive(Default)]
pub(super) struct Memories {
    all: Mutex<HashMap<ObjectKey, Memory>>,
    /// Runs with an unknown outcome, and when their last request was recorded.
    unknown: Mutex<HashMap<ObjectKey, Timestamp>>,
    seed: std::hash::RandomState,
}

impl Memories {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Memory>> {
        // Every change is whole before anything can panic.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answered(&self, key: &ObjectKey, attempt: AttemptKey, answer: Answer) {
        let mut all = self.lock();
        let answers = &mut all.entry(key.clone()).or_default().answers;
        answers.push((attempt, answer));
        let excess = answers.len().saturating_sub(ANSWERS);
        answers.drain(..excess);
    }

    pub(super) fn answers(&self, key: &ObjectKey) -> Vec<(AttemptKey, Answer)> {
        self.lock().get(key).map(|memory| memory.answers.clone()).unwrap_or_default()
    }

    /// How long ago `intent` was first seen; now, if it is new.
    pub(super) fn age_of(&self, key: &ObjectKey, intent: Intent) -> Duration {
        let now = clock::instant();
        let mut all = self.lock();
        let memory = all.entry(key.clone()).or_default();
        match &memory.intent {
            Some((known, since)) if *known == intent => now.saturating_duration_since(*since),
            _ => {
                memory.intent = Some((intent, now));
                Duration::ZERO
            }
        }
    }

    /// What became of changes asked of the object's pipelines.
    pub(super) fn changes(&self, key: &ObjectKey) -> Changes {
        self.lock().get(key).map(|memory| memory.changes.clone()).unwrap_or_default()
    }

    /// Notes what became of a change.
    pub(super) fn changed(&self, key: &ObjectKey, note: impl FnOnce(&mut Changes)) {
        let mut all = self.lock();
        let changes = &mut all.entry(key.clone()).or_default().changes;
        note(changes);
        let excess = changes.deleted.len().saturating_sub(MAX_DELETIONS);
        changes.deleted.drain(..excess);
    }

    /// A look for a lost pipeline was taken; `trouble` if GitLab could not be asked.
    pub(super) fn looked(&self, key: &ObjectKey, trouble: bool, at_least: Duration) {
        let mut all = self.lock();
        let memory = all.entry(key.clone()).or_default();
        memory.troubles = if trouble { memory.troubles.saturating_add(1) } else { 0 };
        let backed_off = LOOK_INTERVAL.saturating_mul(1 << memory.troubles.saturating_sub(1).min(3));
        memory.look_again = Some(clock::instant() + backed_off.min(LOOK_INTERVAL_MAX).max(at_least));
    }

    /// Merge requests were looked at; none are for so long beside.
    pub(super) fn looked_at_requests(&self, key: &ObjectKey, at_least: Duration) {
        self.lock().entry(key.clone()).or_default().requests_looked = Some(clock::instant() + at_least);
    }

    /// How long ago merge requests were looked at last.
    pub(super) fn requests_look_age(&self, key: &ObjectKey) -> Option<Duration> {
        let looked = self.lock().get(key)?.requests_looked?;
        Some(clock::instant().saturating_duration_since(looked))
    }

    /// A write was not confirmed; how long to leave it: 1 s growing to 60 s, spread by up to a half, so that objects
    /// that met the same trouble do not come back together.
    pub(super) fn unconfirmed(&self, key: &ObjectKey) -> Duration {
        let mut all = self.lock();
        let memory = all.entry(key.clone()).or_default();
        let wait = Duration::from_secs(1 << memory.unconfirmed.min(6)).min(LOOK_INTERVAL_MAX);
        memory.unconfirmed = memory.unconfirmed.saturating_add(1);
        let spread = std::hash::BuildHasher::hash_one(&self.seed, (key, memory.unconfirmed)) % 512;
        wait + wait.mul_f64(f64::from(u16::try_from(spread).unwrap_or_default()) / 1024.0)
    }

    /// A write was confirmed.
    pub(super) fn confirmed(&self, key: &ObjectKey) {
        if let Some(memory) = self.lock().get_mut(key) {
            memory.unconfirmed = 0;
        }
    }

    /// A request to cancel brought this.
    pub(super) fn cancelled(
        &self,
        key: &ObjectKey,
        order: &CancelOrder,
        brought: Cancelled,
        at_least: Duration,
    ) {
        let CancelOrder { pipeline_id, requested_at, .. } = order;
        let mut all = self.lock();
        let memory = all.entry(key.clone()).or_default();
        let count = match &memory.cancel {
            Some((before, count))
                if before.requested_at == *requested_at
                    && std::mem::discriminant(&before.brought) == std::mem::discriminant(&brought) =>
            {
                count.saturating_add(1)
            }
            Some(_) | None => 1,
        };
        let again = clock::instant() + cancel_again(&brought, count).max(at_least);
        let sent = Sent { pipeline_id: *pipeline_id, requested_at: *requested_at, brought, again };
        memory.cancel = Some((sent, count));
    }

    /// What the last request to cancel brought.
    pub(super) fn cancel_sent(&self, key: &ObjectKey) -> Option<CancelSent> {
        let all = self.lock();
        let (Sent { pipeline_id, requested_at, brought, again }, _) = all.get(key)?.cancel.as_ref()?;
        Some(CancelSent {
            pipeline_id: *pipeline_id,
            requested_at: *requested_at,
            brought: brought.clone(),
            again_at: clock::at(*again),
        })
    }

    /// When to look again.
    pub(super) fn look_again(&self, key: &ObjectKey) -> Option<Instant> {
        self.lock().get(key).and_then(|memory| memory.look_again)
    }

    /// Notes whether the outcome of the object's run is unknown, and since when; says how many there are, and since when
    /// the oldest is.
    pub(super) fn unknown(&self, key: &ObjectKey, since: Option<Timestamp>) -> (usize, Option<Timestamp>) {
        let mut all = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        match since {
            Some(since) => all.insert(key.clone(), since),
            None => all.remove(key),
        };
        (all.len(), all.values().min().copied())
    }

    pub(super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }
}
