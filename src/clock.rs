//! The only place that asks what time it is.
//!
//! Wall time ([`now`]) is for records that outlive the process; the monotonic clock ([`instant`]) for every
//! age and deadline inside it, so that a stepped clock neither fires nor forgets anything.
#![allow(clippy::disallowed_methods, reason = "this is the one module that may ask")]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Wall time in whole milliseconds: what status holds reads back equal.
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// The monotonic clock.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// How long it is until `at`; nothing once it has passed.
#[must_use]
pub fn until(at: Timestamp) -> Duration {
    at.duration_since(now()).try_into().unwrap_or_default()
}

/// What the wall will show after `wait`.
#[must_use]
pub fn after(wait: Duration) -> Timestamp {
    let now = now();
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(now)
}

/// What the wall will show at a moment of the monotonic clock; what it shows now, once that has passed.
#[must_use]
pub fn at(moment: Instant) -> Timestamp {
    after(moment.saturating_duration_since(instant()))
}

/// A moment by both clocks, to tell an age by.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    wall: Timestamp,
    instant: Instant,
}

impl Moment {
    /// This one.
    #[must_use]
    pub fn now() -> Self {
        Self { wall: now(), instant: instant() }
    }

    /// Its age by the clock that shows more of it: the monotonic one stands still while the whole machine is
    /// suspended, and the wall clock may be set back.
    #[must_use]
    pub fn age(&self) -> Duration {
        let by_wall = now().duration_since(self.wall).try_into().unwrap_or_default();
        instant().saturating_duration_since(self.instant).max(by_wall)
    }
}
