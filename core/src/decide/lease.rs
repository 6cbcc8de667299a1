//! Who of several operators leads, by one Lease: client-go's rules, as far as they matter.
//!
//! ```text
//!           nobody holds it, or its holder was silent for its duration
//! stands by ───────────────────── Write ────────────────────▶ leads ── Write again and again ──▶ leads
//!     ▲                                                          │
//!     └── another writes first                                   └── no write came through for 2/3 of it, or
//!                                                                    another holds it ──▶ Lost: the process ends
//! ```
//!
//! Only the clock of this process counts, and it is the monotonic one: a holder is silent for as long as *we* have
//! not seen its record change. What it wrote into `renewTime` is for people; its clock may be wrong.
//!
//! Two that lead at once, for a moment and by whatever accident, fire nothing twice: each firing is decided by a
//! guarded write of its own. The Lease saves work and requests.

use std::time::Duration;

/// How long a leader may be silent, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A leader that was silent for so long leads no more; what we write as `leaseDurationSeconds`.
    pub duration: Duration,
}

impl Policy {
    /// A leader whose writes have failed for so long gives up: a third of the duration before another may begin.
    #[must_use]
    pub fn give_up_after(self) -> Duration {
        self.duration * 2 / 3
    }

    /// Between two writes of a leader: 2 s of 15.
    #[must_use]
    pub fn renew_every(self) -> Duration {
        self.duration * 2 / 15
    }

    /// Between two looks of one who stands by: half a second of 15, so that a Lease that was released is taken within
    /// a second.
    #[must_use]
    pub fn look_every(self) -> Duration {
        self.duration / 30
    }
}

/// A Lease as it was read or written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who holds it.
    pub holder: Option<String>,
    /// How long its holder may be silent, by the holder's own word.
    pub duration: Duration,
    /// The version; it changes with every write.
    pub version: String,
}

/// Everything one decision looks at. Times are those of one monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// This process; no other one has that name.
    pub me: &'a str,
    /// The time.
    pub now: Duration,
    /// The rules.
    pub policy: Policy,
    /// The Lease; `None`: there is none.
    pub record: Option<&'a Record>,
    /// When this version of it was first seen.
    pub changed_at: Duration,
    /// This process leads: when it sent the last write that came through.
    pub renewed_at: Option<Duration>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Write ourselves into the Lease, guarded by the version that was seen.
    Write {
        /// Another held it before.
        takes_over: bool,
        /// Try for no longer than this.
        within: Duration,
    },
    /// Nothing; look, or decide, again after this time.
    Wait(Duration),
    /// We led, and do so no more.
    Lost(Loss),
}

/// Why a leader leads no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// No write came through for so long.
    Silent(Duration),
    /// Another holds the Lease.
    Taken(String),
    /// Somebody deleted it, or emptied it.
    Gone,
}

/// What to do next.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Plan {
    match observed.renewed_at {
        Some(renewed_at) => lead(observed, renewed_at),
        None => stand_by(observed),
    }
}

fn lead(observed: &Observed<'_>, renewed_at: Duration) -> Plan {
    let Observed { me, now, policy, record, changed_at: _, renewed_at: _ } = *observed;
    let silent = now.saturating_sub(renewed_at);
    if silent >= policy.give_up_after() {
        return Plan::Lost(Loss::Silent(silent));
    }
    match record.map(|record| record.holder.as_deref()) {
        Some(Some(holder)) if holder == me => {}
        Some(Some(holder)) => return Plan::Lost(Loss::Taken(holder.to_owned())),
        Some(None) | None => return Plan::Lost(Loss::Gone),
    }
    let due = policy.renew_every().saturating_sub(silent);
    if due > Duration::ZERO {
        return Plan::Wait(due);
    }
    Plan::Write { takes_over: false, within: policy.give_up_after() - silent }
}

fn stand_by(observed: &Observed<'_>) -> Plan {
    let Observed { me, now, policy, record, changed_at, renewed_at: _ } = *observed;
    let write = |takes_over| Plan::Write { takes_over, within: policy.give_up_after() };
    let Some(record) = record else { return write(false) };
    match &record.holder {
        None => write(true),
        // Our own write came through, though we were not told.
        Some(holder) if holder == me => write(false),
        Some(_) => {
            let left = record.duration.saturating_sub(now.saturating_sub(changed_at));
            if left.is_zero() { write(true) } else { Plan::Wait(left.min(policy.look_every())) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { duration: Duration::from_secs(15) };
    const WITHIN: Duration = Duration::from_secs(10);

    fn record(holder: &str) -> Record {
        let holder = (!holder.is_empty()).then(|| holder.to_owned());
        Record { holder, duration: Duration::from_secs(15), version: "7".into() }
    }

    fn at(now: f64, record: Option<&Record>, changed_at: f64, renewed_at: Option<f64>) -> Plan {
        decide(&Observed {
            me: "me",
            now: Duration::from_secs_f64(now),
            policy: POLICY,
            record,
            changed_at: Duration::from_secs_f64(changed_at),
            renewed_at: renewed_at.map(Duration::from_secs_f64),
        })
    }

    #[test]
    fn what_nobody_holds_is_taken_at_once() {
        assert_eq!(at(0.0, None, 0.0, None), Plan::Write { takes_over: false, within: WITHIN });
        assert_eq!(at(0.0, Some(&record("")), 0.0, None), Plan::Write { takes_over: true, within: WITHIN });
        assert_eq!(
            at(0.0, Some(&record("me")), 0.0, None),
            Plan::Write { takes_over: false, within: WITHIN }
        );
    }

    #[test]
    fn a_holder_is_silent_for_as_long_as_we_saw_no_change() {
        let other = record("other");
        for now in [100.0, 107.0, 114.4] {
            assert_eq!(at(now, Some(&other), 100.0, None), Plan::Wait(Duration::from_millis(500)));
        }
        assert_eq!(at(114.9, Some(&other), 100.0, None), Plan::Wait(Duration::from_millis(100)));
        assert_eq!(at(115.0, Some(&other), 100.0, None), Plan::Write { takes_over: true, within: WITHIN });
        // By its own word it may be silent for longer than we may.
        let patient = Record { duration: Duration::from_secs(60), ..record("other") };
        assert_eq!(at(150.0, Some(&patient), 100.0, None), Plan::Wait(Duration::from_millis(500)));
        // A clock that was set back is no silence.
        assert_eq!(at(90.0, Some(&other), 100.0, None), Plan::Wait(Duration::from_millis(500)));
    }

    #[test]
    fn a_leader_writes_every_other_second_and_gives_up_before_another_may_begin() {
        let mine = record("me");
        assert_eq!(at(101.0, Some(&mine), 100.0, Some(100.0)), Plan::Wait(Duration::from_secs(1)));
        let write = |left| Plan::Write { takes_over: false, within: Duration::from_secs(left) };
        assert_eq!(at(102.0, Some(&mine), 100.0, Some(100.0)), write(8));
        assert_eq!(at(109.0, Some(&mine), 100.0, Some(100.0)), write(1));
        let silent = |secs| Plan::Lost(Loss::Silent(Duration::from_secs(secs)));
        assert_eq!(at(110.0, Some(&mine), 100.0, Some(100.0)), silent(10));
        // Stopped for an hour, and continued: not one request more.
        assert_eq!(at(3700.0, Some(&mine), 100.0, Some(100.0)), silent(3600));
        assert!(POLICY.give_up_after() < POLICY.duration);
    }

    #[test]
    fn a_leader_that_is_no_holder_leads_no_more() {
        let other = record("other");
        assert_eq!(at(100.5, Some(&other), 100.4, Some(100.0)), Plan::Lost(Loss::Taken("other".into())));
        assert_eq!(at(100.5, Some(&record("")), 100.4, Some(100.0)), Plan::Lost(Loss::Gone));
        assert_eq!(at(100.5, None, 100.4, Some(100.0)), Plan::Lost(Loss::Gone));
    }

    /// Whatever happens to requests and to the processes, no two believe that they lead at the same time, as long
    /// as their clocks run at one speed: each ends before the other may begin.
    #[test]
    fn no_two_lead_at_once_however_their_writes_fare() {
        use proptest::prelude::*;
        #[derive(Default, Clone)]
        struct Process {
            record: Option<Record>,
            changed_at: Duration,
            renewed_at: Option<Duration>,
            next: Duration,
        }
        let step = (0_usize..3, 0_u8..10, 1_u64..4000);
        let strategy = prop::collection::vec(step, 1..400);
        proptest!(|(steps in strategy)| {
            let mut stored: Option<Record> = None;
            let mut version = 0;
            let mut processes = vec![Process::default(); 3];
            let mut now = Duration::ZERO;
            for (who, fate, millis) in steps {
                now += Duration::from_millis(millis);
                let me = format!("p{who}");
                let process = &mut processes[who];
                // One that is paused does nothing; then it sees what there is, unless the read fails.
                if now < process.next { continue }
                if process.renewed_at.is_none() && fate != 0 && process.record != stored {
                    process.record = stored.clone();
                    process.changed_at = now;
                }
                let plan = decide(&Observed {
                    me: &me,
                    now,
                    policy: POLICY,
                    record: process.record.as_ref(),
                    changed_at: process.changed_at,
                    renewed_at: process.renewed_at,
                });
                match plan {
                    Plan::Wait(delay) => process.next = now + delay,
                    Plan::Lost(_) => *process = Process::default(),
                    Plan::Write { .. } => {
                        let guarded = process.record.as_ref().map(|r| &r.version) == stored.as_ref().map(|r| &r.version);
                        let arrives = fate > 1;
                        if guarded && arrives {
                            version += 1;
                            let written = Record { version: version.to_string(), ..record(&me) };
                            stored = Some(written.clone());
                            // Some replies are lost.
                            if fate > 3 {
                                process.record = Some(written);
                                process.changed_at = now;
                                process.renewed_at = Some(now);
                            }
                        } else if arrives {
                            process.record = stored.clone();
                            process.changed_at = now;
                        }
                    }
                }
                let leads = |p: &&Process| {
                    p.renewed_at.is_some_and(|at| now.saturating_sub(at) < POLICY.give_up_after())
                };
                prop_assert!(processes.iter().filter(leads).count() <= 1);
            }
        });
    }
}
