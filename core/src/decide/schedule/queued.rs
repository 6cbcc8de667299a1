//! The one tick that waits for an active run to end, under `concurrencyPolicy` Queue and Replace.

use jiff::Timestamp;

use super::{Draft, REPLACE_WAIT, child_name, later, release};
use crate::domain::Reason;
use crate::domain::schedule::{ConcurrencyPolicy, ScheduleSpec};

impl Draft<'_> {
    /// The tick that waits: fire it, wait on, or drop it.
    pub(super) fn queued(&mut self, spec: &ScheduleSpec) {
        let Some(tick) = self.status.queued_tick else { return };
        let shown = spec.clock.zone.rfc3339(tick);
        if self.is_too_late(spec, tick) {
            self.drop_queued();
            let message =
                format!("the tick of {shown}, which waited, was dropped: its startingDeadline has passed");
            self.tell(true, Reason::TicksMissed, Some(tick), message);
            return;
        }
        let name = child_name(&self.seen.schedule.key.name, tick);
        // A run that is being made for a request is active in the next decision.
        let busy = self.is_busy(&name) || !self.creates.is_empty();
        match spec.concurrency {
            ConcurrencyPolicy::Replace if busy => {
                let until = later(self.status.queued_since.unwrap_or(tick), REPLACE_WAIT);
                if self.seen.now >= until {
                    self.drop_queued();
                    let message = format!(
                        "the tick of {shown}, which waited, was dropped: the run that it was to replace did not end"
                    );
                    self.tell(true, Reason::TicksMissed, Some(tick), message);
                    return;
                }
                self.cancel_active(&name);
                self.wake_at(until);
            }
            ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Queue if busy => {}
            ConcurrencyPolicy::Allow
            | ConcurrencyPolicy::Forbid
            | ConcurrencyPolicy::Queue
            | ConcurrencyPolicy::Replace => {
                self.order(spec, tick);
            }
        }
        if let Some(deadline) = spec.starting_deadline {
            self.wake_at(later(release(self.seen.schedule, spec, tick), deadline.into()));
        }
    }

    /// Lets `tick` wait. At most one does: an older one gives its place up and is counted.
    pub(super) fn queue(&mut self, spec: &ScheduleSpec, tick: Timestamp) {
        let shown = spec.clock.zone.rfc3339(tick);
        if let Some(older) = self.drop_queued() {
            let (dropped, older) = (older, spec.clock.zone.rfc3339(older));
            let message = format!(
                "the tick of {older}, which waited, was dropped: the tick of {shown} takes its place"
            );
            self.tell(true, Reason::TicksMissed, Some(dropped), message);
        }
        self.pass(spec, tick, true);
        self.status.queued_tick = Some(tick);
        self.status.queued_since = Some(self.seen.now);
        if spec.concurrency == ConcurrencyPolicy::Replace {
            let name = child_name(&self.seen.schedule.key.name, tick);
            self.cancel_active(&name);
            self.wake_at(later(self.seen.now, REPLACE_WAIT));
            self.tell(
                false,
                Reason::RunReplaced,
                Some(tick),
                format!(
                    "the tick of {shown} waits until the active run, which is cancelled for it, has ended"
                ),
            );
        } else {
            self.tell(
                false,
                Reason::TickQueued,
                Some(tick),
                format!("the tick of {shown} waits until the active run has ended"),
            );
        }
        if let Some(deadline) = spec.starting_deadline {
            self.wake_at(later(release(self.seen.schedule, spec, tick), deadline.into()));
        }
    }

    /// The tick that waited waits no more and did not fire.
    pub(super) fn drop_queued(&mut self) -> Option<Timestamp> {
        self.status.queued_since = None;
        let tick = self.status.queued_tick.take()?;
        self.count(1, tick);
        Some(tick)
    }
}
