//! Whose bookkeeping waits because there is a crowd, and since when.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipekick_core::domain::ObjectKey;
use tokio::time::Instant;

/// Longest wait. Shorter than a created child is remembered or must live.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Postponed(Mutex<HashMap<ObjectKey, Instant>>);

impl Postponed {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Instant>> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may wait a little longer.
    pub(super) fn may_wait(&self, schedule: &ObjectKey, now: Instant) -> bool {
        let since = *self.lock().entry(schedule.clone()).or_insert(now);
        now.saturating_duration_since(since) < LONGEST
    }

    /// It was done, or is no longer wanted.
    pub(super) fn done(&self, schedule: &ObjectKey) {
        self.lock().remove(schedule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_wait_ends_and_the_next_one_begins_anew() {
        let (postponed, now) = (Postponed::default(), clock::instant());
        let schedule = ObjectKey { namespace: "shop".into(), name: "nightly".into() };
        assert!(postponed.may_wait(&schedule, now));
        assert!(postponed.may_wait(&schedule, now + LONGEST / 2));
        assert!(!postponed.may_wait(&schedule, now + LONGEST));
        postponed.done(&schedule);
        assert!(postponed.may_wait(&schedule, now + LONGEST));
    }
}
