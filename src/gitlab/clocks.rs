//! The clocks of GitLabs, as their answers told them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use pipekick_core::domain::GitLabUrl;
use tokio::time::Instant;

/// Clocks remembered at most; then all are forgotten, and told again with the next answer of each.
const MAX_CLOCKS: usize = 1024;

/// Each host's clock by its last answer, and when that came.
#[derive(Default)]
pub(super) struct Clocks(Mutex<HashMap<GitLabUrl, (Timestamp, Instant)>>);

impl Clocks {
    fn lock(&self) -> MutexGuard<'_, HashMap<GitLabUrl, (Timestamp, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer that came at `came` told this.
    pub(super) fn told(&self, url: GitLabUrl, date: Timestamp, came: Instant) {
        let mut clocks = self.lock();
        if clocks.len() >= MAX_CLOCKS && !clocks.contains_key(&url) {
            clocks.clear();
        }
        clocks.insert(url, (date, came));
    }

    /// What this one shows at `now`.
    pub(super) fn at(&self, url: &GitLabUrl, now: Instant) -> Option<Timestamp> {
        let (date, came) = *self.lock().get(url)?;
        let since = SignedDuration::try_from(now.saturating_duration_since(came)).ok()?;
        date.checked_add(since).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[test]
    fn a_clock_goes_on_from_what_was_told_and_no_crowd_of_hosts_fills_the_memory() {
        let (now, date) = (clock::instant(), Timestamp::from_second(1_800_000_000).unwrap());
        let url =
            |number: usize| format!("https://gitlab-{number}.example.com").parse::<GitLabUrl>().unwrap();
        let clocks = Clocks::default();
        for number in 0..3 * MAX_CLOCKS {
            clocks.told(url(number), date, now);
            assert!(clocks.lock().len() <= MAX_CLOCKS);
        }
        let last = url(3 * MAX_CLOCKS - 1);
        assert_eq!(clocks.at(&last, now + Duration::from_secs(5)), Some(date + Duration::from_secs(5)));
        assert_eq!(clocks.at(&url(0), now), None);
    }
}
