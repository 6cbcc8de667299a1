//! Signs of life: when the runtime last turned, and when the API server was last heard of.
//!
//! It judges ages by the monotonic clock and takes the time as an argument; `/livez` and `/readyz` are in
//! `server`.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::store::Scope;

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
    watches: Vec<Watch>,
}

#[derive(Debug)]
struct Watch {
    scope: Scope,
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
        Self(Mutex::new(Signs { phase: Phase::Starting, beat: now, watches: Vec::new() }))
    }

    /// This process waits for its turn to lead: it is ready to take over, and nothing beats yet.
    pub fn stand_by(&self) {
        self.with(|signs| signs.phase = Phase::StandingBy);
    }

    /// There is a watch of `scope`.
    pub(super) fn expect(&self, scope: Scope, now: Instant) {
        self.with(|signs| {
            if signs.watches.iter().all(|watch| watch.scope != scope) {
                signs.watches.push(Watch { scope, contact: now, listed: false });
            }
        });
    }

    /// From now on there has to be a heartbeat, and contact with the API server.
    pub(super) fn start(&self, now: Instant) {
        self.with(|signs| {
            (signs.phase, signs.beat) = (Phase::Running, now);
            signs.watches.iter_mut().for_each(|watch| watch.contact = now);
        });
    }

    pub(super) fn beat(&self, now: Instant) {
        self.with(|signs| signs.beat = now);
    }

    pub(super) fn contact(&self, scope: &Scope, now: Instant) {
        self.of(scope, |watch| watch.contact = now);
    }

    pub(super) fn listed(&self, scope: &Scope) {
        self.of(scope, |watch| watch.listed = true);
    }

    fn of(&self, scope: &Scope, note: impl FnOnce(&mut Watch)) {
        self.with(|signs| {
            if let Some(watch) = signs.watches.iter_mut().find(|watch| watch.scope == *scope) {
                note(watch);
            }
        });
    }

    /// Whether it lives, or what speaks against it.
    ///
    /// # Errors
    /// A sentence, if the heart stopped for 60 s or a watch heard nothing for 6 minutes.
    pub fn live(&self, now: Instant) -> Result<(), String> {
        self.with(|signs| {
            if signs.phase != Phase::Running {
                return Ok(());
            }
            for Watch { scope, contact, listed: _ } in &signs.watches {
                let silence = now.saturating_duration_since(*contact);
                if silence > CONTACT_MAX {
                    let seconds = silence.as_secs();
                    return Err(format!("the watch of {scope} has heard nothing for {seconds} s"));
                }
            }
            let beat = now.saturating_duration_since(signs.beat);
            if beat > BEAT_MAX {
                return Err(format!("the runtime has not turned for {} s", beat.as_secs()));
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
            Phase::Running => match signs.watches.iter().find(|watch| !watch.listed) {
                None => Ok(()),
                Some(watch) => Err(format!("the first list of {} is not complete", watch.scope)),
            },
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
        let scopes = ["one", "two"].map(|name| Scope::Namespace(name.into()));
        scopes.iter().for_each(|scope| vitals.expect(scope.clone(), start));
        assert!(vitals.live(after(1000)).is_ok() && vitals.ready().is_err());
        vitals.stand_by();
        assert!(vitals.live(after(1000)).is_ok() && vitals.ready().is_ok());
        vitals.start(after(1000));
        assert!(vitals.live(after(1060)).is_ok() && vitals.ready().is_err());
        assert!(vitals.live(after(1061)).unwrap_err().contains("61 s"));
        vitals.beat(after(1361));
        for scope in &scopes {
            let silent = format!("the watch of {scope} has heard nothing for 361 s");
            assert_eq!(vitals.live(after(1361)).unwrap_err(), silent);
            assert_eq!(vitals.ready().unwrap_err(), format!("the first list of {scope} is not complete"));
            vitals.contact(scope, after(1361));
            vitals.listed(scope);
        }
        assert!(vitals.live(after(1361)).is_ok() && vitals.ready().is_ok());
    }
}
