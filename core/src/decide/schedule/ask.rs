//! `pipekick.dev/fire` on a schedule: a run now, beside the clock. It counts for `concurrencyPolicy` and does not move
//! the high-water mark.

use super::{ChildCause, ChildOrder, Draft, Standing, request_name};
use crate::decide::action::told_apart;
use crate::domain::Reason;
use crate::domain::schedule::{ConcurrencyPolicy, ScheduleSpec, ScheduleStatus};
use crate::domain::status::{Answered, Handled};

impl Draft<'_> {
    /// The value of the annotation, if it was not answered yet.
    pub(super) fn asked(&self) -> Option<String> {
        self.unanswered(&self.status)
    }

    /// The value of the annotation, if it is not answered in `status`.
    pub(super) fn unanswered(&self, status: &ScheduleStatus) -> Option<String> {
        let value = told_apart(self.seen.schedule.fire.as_ref()?);
        let answered = status.last_handled.fire.as_ref().is_some_and(|handled| handled.value == value);
        (!value.is_empty() && !answered).then_some(value)
    }

    /// The name of the child of a request.
    pub(super) fn child_of(&self, value: &str) -> String {
        request_name(&self.seen.schedule.key.name, &self.seen.schedule.uid, value)
    }

    fn answer(&mut self, value: String, answer: Answered) {
        self.status.last_handled.fire = Some(Handled { value, answer });
    }

    /// What stands there at first sight is no request: the object may come from a backup, or from git.
    pub(super) fn record_request(&mut self) {
        if let Some(value) = self.asked() {
            self.answer(value, Answered::Recorded);
        }
    }

    /// Suspended or paused: a child that was made before is told, anything else is dropped.
    pub(super) fn answer_stopped(&mut self) {
        if let Some(value) = self.asked() {
            let made = self.has(&self.child_of(&value));
            self.answer(value, if made { Answered::Fired } else { Answered::Suspended });
        }
    }

    /// Whether the child of this name is no news, but stands for a request that was answered before the last one.
    fn came_back(&self, name: &str) -> bool {
        if self.tried(name).is_some() {
            return false;
        }
        let created =
            |name: &str| self.ours.iter().find(|child| child.name == name).map(|child| child.created);
        let last = self.seen.schedule.status.last_handled.fire.as_ref();
        let last = last.and_then(|last| created(&self.child_of(&last.value)));
        last > created(name)
    }

    fn waits_for_active(&mut self) {
        let message = "the run that pipekick.dev/fire asked for waits until the active run has ended";
        self.standing = Some(Standing::resting(Reason::Scheduled, message));
    }

    pub(super) fn ask(&mut self, spec: &ScheduleSpec) {
        let Some(value) = self.asked() else { return };
        let name = self.child_of(&value);
        if self.has(&name) {
            if self.came_back(&name) {
                let message = format!(
                    "{name} ran for this value of pipekick.dev/fire before: write one that was not used yet"
                );
                self.tell(true, Reason::AlreadyRun, None, message);
                return self.answer(value, Answered::AlreadyRun);
            }
            let message = format!("{name} was created because pipekick.dev/fire asked for it");
            self.tell(false, Reason::ChildCreated, None, message);
            return self.answer(value, Answered::Fired);
        }
        if let Some(tried) = self.tried(&name)
            && self.must_wait(&tried)
        {
            return;
        }
        let busy = self.is_busy(&name);
        match spec.concurrency {
            ConcurrencyPolicy::Allow => {}
            // A tick that is being fired right now is active in the next decision.
            ConcurrencyPolicy::Forbid if !self.creates.is_empty() => return,
            ConcurrencyPolicy::Forbid if busy || self.status.queued_tick.is_some() => {
                let message = "the run that pipekick.dev/fire asked for was dropped: one is still active and concurrencyPolicy is Forbid";
                self.tell(true, Reason::StillActive, None, message.into());
                self.answer(value, Answered::Forbidden);
                return;
            }
            ConcurrencyPolicy::Replace if busy || self.status.queued_tick.is_some() => {
                // Written before the request is fired.
                if let Some(tick) = self.drop_queued() {
                    let message = format!(
                        "the tick of {}, which waited, was dropped: the run that pipekick.dev/fire asked for takes its place",
                        spec.clock.zone.rfc3339(tick)
                    );
                    self.tell(true, Reason::TicksMissed, Some(tick), message);
                }
                self.cancel_active(&name);
                return self.waits_for_active();
            }
            // The annotation itself waits: it stands there until it is answered.
            ConcurrencyPolicy::Queue if busy => return self.waits_for_active(),
            ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Queue | ConcurrencyPolicy::Replace => {}
        }
        self.confirm = true;
        self.creates.push(ChildOrder { name, cause: ChildCause::Request { value } });
    }
}
