//! The only place that asks what time it is.
//!
//! Wall time ([`now`]) is for records that outlive the process; the monotonic clock ([`instant`]) for every
//! age and deadline inside it, so that a stepped clock neither fires nor forgets anything.
#![allow(clippy::disallowed_methods, reason = "this is the one module that may ask")]

use jiff::Timestamp;
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
