//! The simulator's time: real time with a speed factor, or time that stands still until a test advances it.
//!
//! Everything GitLab would date (pipelines, windows of rate limits, expiry, the `Date` header) is
//! dated by this clock. Waiting on the wire (latency, hangs) is real time, because the caller's
//! deadline is.
#![allow(clippy::disallowed_methods, reason = "the simulator's only reading of the machine's clock")]

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// How time passes.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClockSeed {
    /// Starts now and runs `speed` times as fast as real time.
    Real { speed: f64 },
    /// Stands at `start` until advanced.
    Manual { start: Timestamp },
}

impl Default for ClockSeed {
    fn default() -> Self {
        Self::Real { speed: 1.0 }
    }
}

#[derive(Debug)]
pub(crate) struct Clock {
    base: Timestamp,
    running: Option<(Instant, f64)>,
}

impl Clock {
    pub(crate) fn new(seed: ClockSeed) -> Self {
        match seed {
            ClockSeed::Real { speed } => {
                Self { base: Timestamp::now(), running: Some((Instant::now(), speed)) }
            }
            ClockSeed::Manual { start } => Self { base: start, running: None },
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let Some((started, speed)) = self.running else { return self.base };
        self.base + SignedDuration::from_secs_f64(started.elapsed().as_secs_f64() * speed)
    }

    /// Moves the clock forward at once; a running clock then runs on from there.
    pub(crate) fn advance(&mut self, by: SignedDuration) {
        self.base += by;
    }
}

/// GitLab's JSON notation, to the millisecond.
pub(crate) fn iso(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The notation of `Date` and `RateLimit-ResetTime`.
pub(crate) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
