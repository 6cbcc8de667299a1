//! Signs of life: when the runtime last turned, and when the API server was last heard of.
//!
//! It judges ages by the monotonic clock and takes the time as an argument; `/livez` and `/readyz` are in
//! `server`.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The runtime turns at least every 10 s; six of them missed means that its task hangs.
const BEAT_MAX: Duration = Duration::from_secs(60);
/// A watch says something every minute (a bookmark) and is ended by the server after less than five.
const CONTACT_MAX: Duration = Duration::from_secs(360);

/// Signs of life of one runtime.
#[derive(Debug)]
pub struct Vitals(Mutex<Signs>);

#[derive(Debug)]
struct Signs {
    phase: Phase,
    beat: Instant,
    contact: Instant,
    listed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    StandingBy,
    Running,
}

impl Vitals {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Signs { phase: Phase::Starting, beat: now, contact: now, listed: false }))
    }

    /// This process waits for its turn to lead: it is ready to take over, and nothing beats yet.
    pub fn stand_by(&self) {
        self.with(|signs| signs.phase = Phase::StandingBy);
    }

    /// From now on there has to be a heartbeat, and contact with the API server.
    pub(super) fn start(&self, now: Instant) {
        self.with(|signs| (signs.phase, signs.beat, signs.contact) = (Phase::Running, now, now));
    }

    pub(super) fn beat(&self, now: Instant) {
        self.with(|signs| signs.beat = now);
    }

    pub(super) fn contact(&self, now: Instant) {
        self.with(|signs| signs.contact = now);
    }

    pub(super) fn listed(&self) {
        self.with(|signs| signs.listed = true);
    }

    /// How long ago the API server was last heard of.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        self.with(|signs| now.saturating_duration_since(signs.contact))
    }

    /// Whether it lives, or what speaks against it.
    ///
    /// # Errors
    /// A sentence, if the heart stopped for 60 s or the watch heard nothing for 6 minutes.
    pub fn live(&self, now: Instant) -> Result<(), String> {
        self.with(|signs| {
            if signs.phase != Phase::Running {
                return Ok(());
            }
            let (beat, contact) =
                (now.saturating_duration_since(signs.beat), now.saturating_duration_since(signs.contact));
            if beat > BEAT_MAX {
                return Err(format!("the runtime has not turned for {} s", beat.as_secs()));
            }
            if contact > CONTACT_MAX {
                return Err(format!("the watch has heard nothing for {} s", contact.as_secs()));
            }
            Ok(())
        })
    }

    /// Whether it knows every object, or stands by.
    ///
    /// # Errors
    /// A sentence, if it does not.
    pub fn ready(&self) -> Result<(), String> {
        self.with(|signs| match signs.phase {
            Phase::StandingBy => Ok(()),
            Phase::Running if signs.listed => Ok(()),
            Phase::Running => Err("the first list is not complete".into()),
            Phase::Starting => Err("it has not started".into()),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Signs) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn only_a_running_runtime_has_to_show_signs_of_life() {
        let start = clock::instant();
        let after = |seconds| start + Duration::from_secs(seconds);
        let vitals = Vitals::new(start);
        assert!(vitals.live(after(1000)).is_ok() && vitals.ready().is_err());
        vitals.stand_by();
        assert!(vitals.live(after(1000)).is_ok() && vitals.ready().is_ok());
        vitals.start(after(1000));
        assert!(vitals.live(after(1060)).is_ok() && vitals.ready().is_err());
        assert!(vitals.live(after(1061)).unwrap_err().contains("61 s"));
        vitals.beat(after(1361));
        assert!(vitals.live(after(1361)).unwrap_err().contains("watch"));
        vitals.contact(after(1361));
        vitals.listed();
        assert!(vitals.live(after(1361)).is_ok() && vitals.ready().is_ok());
    }
}
