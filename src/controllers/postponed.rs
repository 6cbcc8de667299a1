//! Whose writes wait because there is a crowd, and since when.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipekick_core::domain::ObjectKey;
use tokio::time::Instant;

/// What may wait for a crowd, for so long at most.
#[derive(Debug)]
pub(super) struct Postponed {
    longest: Duration,
    /// Since when; `None` once nothing may wait any more.
    since: Mutex<Option<HashMap<ObjectKey, Instant>>>,
}

impl Postponed {
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, since: Mutex::new(Some(HashMap::new())) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<ObjectKey, Instant>>> {
        // Every change is whole before anything can panic.
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may wait a little longer.
    pub(super) fn may_wait(&self, key: &ObjectKey, now: Instant) -> bool {
        let mut all = self.lock();
        let Some(all) = all.as_mut() else { return false };
        let since = *all.entry(key.clone()).or_insert(now);
        now.saturating_duration_since(since) < self.longest
    }

    /// It was done, or is no longer wanted.
    pub(super) fn done(&self, key: &ObjectKey) {
        if let Some(all) = self.lock().as_mut() {
            all.remove(key);
        }
    }

    /// Nothing may wait from now on; who has waited.
    pub(super) fn close(&self) -> Vec<ObjectKey> {
        self.lock().take().unwrap_or_default().into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const LONGEST: Duration = Duration::from_secs(30);

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn a_wait_ends_and_the_next_one_begins_anew() {
        let (postponed, now, nightly) = (Postponed::new(LONGEST), clock::instant(), key("nightly"));
        assert!(postponed.may_wait(&nightly, now));
        assert!(postponed.may_wait(&nightly, now + LONGEST / 2));
        assert!(!postponed.may_wait(&nightly, now + LONGEST));
        postponed.done(&nightly);
        assert!(postponed.may_wait(&nightly, now + LONGEST));
    }

    #[test]
    fn at_the_end_those_who_wait_are_told_and_nobody_may_wait_any_more() {
        let (postponed, now) = (Postponed::new(LONGEST), clock::instant());
        assert!(postponed.may_wait(&key("waits"), now) && postponed.may_wait(&key("waited"), now));
        postponed.done(&key("waited"));
        assert_eq!(postponed.close(), [key("waits")]);
        assert!(!postponed.may_wait(&key("comes-later"), now));
        assert!(postponed.close().is_empty());
    }
}
