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
use crate::domain::schedule::status::ActiveChild;
use crate::domain::schedule::{Course, ScheduleSpec};
use crate::domain::status::{Condition, Truth};
use crate::domain::{Phase, Reason};

/// Where a schedule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
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
    pub(super) fn resting(reason: Reason, message: &str) -> Self {
        Self { kind: StandingKind::Ready, reason, message: message.to_owned() }
    }

    pub(super) const fn waiting(reason: Reason, message: String) -> Self {
        Self { kind: StandingKind::Waiting, reason, message }
    }

    pub(super) const fn stalled(reason: Reason, message: String) -> Self {
        Self { kind: StandingKind::Stalled, reason, message }
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::stalled(Reason::InvalidSpec, message.to_owned())
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
            (None, None) => "never fires again: the schedule names no later time".to_owned(),
        };
        Standing { kind: StandingKind::Ready, reason: Reason::Scheduled, message }
    }

    pub(super) fn sum_up(&mut self, standing: Standing) {
        let active = self.ours.iter().filter(|child| child.course() == Course::Active);
        self.status.active =
            active.map(|child| ActiveChild { name: child.name.clone(), uid: child.uid.clone() }).collect();
        let succeeded = self.ours.iter().filter(|child| child.phase == Some(Phase::Succeeded));
        let last = succeeded.filter_map(|child| child.finished_at).max();
        self.status.last_successful_time = self.status.last_successful_time.max(last);
        let Standing { kind, reason, message } = standing;
        let (ready, reconciling, stalled) = match kind {
            StandingKind::Ready => (Truth::True, false, false),
            StandingKind::Waiting => (Truth::False, true, false),
            StandingKind::Stalled => (Truth::False, false, true),
        };
        let generation = self.seen.schedule.generation;
        let mut after = vec![self.condition("Ready", ready, reason, &message)];
        if reconciling {
            after.push(self.condition("Reconciling", Truth::True, reason, &message));
        }
        if stalled {
            after.push(self.condition("Stalled", Truth::True, reason, &message));
        }
        self.status.conditions = after;
        self.status.message = Some(message);
        self.status.observed_generation = Some(generation);
    }

    fn condition(&self, kind: &str, status: Truth, reason: Reason, message: &str) -> Condition {
        let unchanged = self.status.conditions.iter().find(|c| c.kind == kind && c.status == status);
        // Kubernetes writes condition times in whole seconds.
        let now = Timestamp::from_second(self.seen.now.as_second()).unwrap_or(self.seen.now);
        Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.as_str().to_owned(),
            message: message.to_owned(),
            last_transition_time: unchanged.map_or(now, |c| c.last_transition_time),
            observed_generation: Some(self.seen.schedule.generation),
        }
    }
}
