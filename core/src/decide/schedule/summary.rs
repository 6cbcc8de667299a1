//! Sums up what is known of a schedule: active children, times, message and conditions. Derived from facts alone, so
//! the same facts always read the same.
//!
//! | reason | Ready | Reconciling | Stalled |
//! | --- | --- | --- | --- |
//! | Scheduled, Suspended, Paused | True | – | – |
//! | NameNotFree, ChildRefused | False | True | – |
//! | InvalidSpec, NameTaken | False | – | True |

use jiff::Timestamp;

use super::Draft;
use crate::decide::summary::Conditions;
use crate::domain::schedule::status::ActiveChild;
use crate::domain::schedule::{Course, Gap, ScheduleSpec, ScheduleStatus};
use crate::domain::status::Truth;
use crate::domain::{Phase, Reason};

/// What names a time now and then, and never fires all the same.
pub const NEVER_FIRES: &str = "never fires: each time that it names falls where the zone's clocks are put forward, and gap is Skip; write another time, or gap RunAfter";

/// Where a schedule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decide) struct Standing {
    kind: StandingKind,
    reason: Reason,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StandingKind {
    /// In order.
    Ready,
    /// Something is in the way that may pass.
    Waiting,
    /// A person must do something.
    Stalled,
}

impl Standing {
    pub(in crate::decide) fn resting(reason: Reason, message: &str) -> Self {
        Self { kind: StandingKind::Ready, reason, message: message.to_owned() }
    }

    pub(in crate::decide) const fn waiting(reason: Reason, message: String) -> Self {
        Self { kind: StandingKind::Waiting, reason, message }
    }

    pub(in crate::decide) const fn stalled(reason: Reason, message: String) -> Self {
        Self { kind: StandingKind::Stalled, reason, message }
    }

    pub(in crate::decide) fn invalid(message: &str) -> Self {
        Self::stalled(Reason::InvalidSpec, message.to_owned())
    }

    /// Message and conditions.
    pub(in crate::decide) fn write(self, status: &mut ScheduleStatus, generation: i64, now: Timestamp) {
        let Self { kind, reason, message } = self;
        let (ready, reconciling, stalled) = match kind {
            StandingKind::Ready => (Truth::True, false, false),
            StandingKind::Waiting => (Truth::False, true, false),
            StandingKind::Stalled => (Truth::False, false, true),
        };
        let mut conditions = Conditions { before: &status.conditions, after: Vec::new(), generation, now };
        conditions.add("Ready", ready, reason, &message);
        if reconciling {
            conditions.add("Reconciling", Truth::True, reason, &message);
        }
        if stalled {
            conditions.add("Stalled", Truth::True, reason, &message);
        }
        status.conditions = conditions.after;
        status.message = Some(message);
        status.observed_generation = Some(generation);
    }
}

impl Draft<'_> {
    /// A schedule in order: what it waits for.
    pub(super) fn scheduled(&self, spec: &ScheduleSpec) -> Standing {
        let zone = &spec.clock.zone;
        let message = match (self.status.queued_tick, self.status.next_schedule_time) {
            (Some(tick), _) => {
                format!("the tick of {} waits until the active run has ended", zone.rfc3339(tick))
            }
            (None, Some(next)) => format!("fires next at {}", zone.rfc3339(next)),
            // What names no time in any zone was refused before.
            (None, None) if spec.clock.dst.gap == Gap::Skip => {
                return Standing::invalid(&format!("schedule: {NEVER_FIRES}"));
            }
            (None, None) => "never fires again: the schedule names no later time".to_owned(),
        };
        Standing { kind: StandingKind::Ready, reason: Reason::Scheduled, message }
    }

    pub(super) fn sum_up(&mut self, standing: Standing) {
        let active = self.ours.iter().filter(|child| child.course() == Course::Active);
        self.status.active =
            active.map(|child| ActiveChild { name: child.name.clone(), uid: child.uid.clone() }).collect();
        let count = u32::try_from(self.status.active.len()).unwrap_or(u32::MAX);
        self.status.active_count = (count > 0).then_some(count);
        let succeeded = self.ours.iter().filter(|child| child.phase == Some(Phase::Succeeded));
        let last = succeeded.filter_map(|child| child.finished_at).max();
        self.status.last_successful_time = self.status.last_successful_time.max(last);
        standing.write(&mut self.status, self.seen.schedule.generation, self.seen.now);
    }
}
