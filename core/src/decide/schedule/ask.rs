//! `pipekick.dev/fire` on a schedule: a run now, beside the clock. It counts for `concurrencyPolicy` and does not move
//! the high-water mark.

use jiff::Timestamp;

use super::{ChildCause, ChildOrder, Draft, Standing, request_name};
use crate::decide::action::told_apart;
use crate::domain::Reason;
use crate::domain::schedule::status::{Asked, ScheduleHandled};
use crate::domain::schedule::{Child, ConcurrencyPolicy, ScheduleSpec, ScheduleStatus};
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
        if let Some(value) = self.asked()
            && !self.answer_made(&value)
        {
            self.answer(value, Answered::Suspended);
        }
    }

    /// If the child of `value` exists, answers by it: it was made for this request, or for the same value before.
    fn answer_made(&mut self, value: &str) -> bool {
        let name = self.child_of(value);
        let Some(child) = self.ours.iter().find(|child| child.name == name).cloned() else { return false };
        let told = self.told();
        if self.came_back(&child, told.as_ref()) {
            let message = format!(
                "{name} ran for this value of pipekick.dev/fire before: write one that was not used yet"
            );
            self.tell(true, Reason::AlreadyRun, None, message);
            self.status.last_handled.asked = told;
            self.answer(value.to_owned(), Answered::AlreadyRun);
            return true;
        }
        let message = format!("{name} was created because pipekick.dev/fire asked for it");
        self.tell(false, Reason::ChildCreated, None, message);
        // No clock goes back by a note of ours.
        let created = told.map_or(child.created, |told| told.created.max(child.created));
        self.status.last_handled.asked = Some(Asked { child: name, created });
        self.answer(value.to_owned(), Answered::Fired);
        true
    }

    /// The children that were told. A status that was written before they were kept has the value that was answered last.
    fn told(&self) -> Option<Asked> {
        let ScheduleHandled { fire, asked } = &self.status.last_handled;
        asked.clone().or_else(|| {
            let child = self.child_of(&fire.as_ref()?.value);
            let created = self.ours.iter().find(|known| known.name == child)?.created;
            Some(Asked { child, created })
        })
    }

    /// Whether `child` is no news: it was told, for the same value. One that this process made is news though clocks were
    /// set. Of another one, and of those told before, the API server's creation time, in whole seconds, is all that is
    /// known.
    fn came_back(&self, child: &Child, told: Option<&Asked>) -> bool {
        told.is_some_and(|told| {
            told.child == child.name || self.tried(&child.name).is_none() && child.created <= told.created
        })
    }

    /// From when on a look tells whether a request may run: it stands there now, and did when the first look was asked for.
    fn asked_at(&self) -> Timestamp {
        self.seen.facts.looking_since.unwrap_or(self.seen.now)
    }

    fn waits_for_active(&mut self) {
        let message = "the run that pipekick.dev/fire asked for waits until the active run has ended";
        self.standing = Some(Standing::resting(Reason::Scheduled, message));
    }

    pub(super) fn ask(&mut self, spec: &ScheduleSpec) {
        let Some(value) = self.asked() else { return };
        if self.answer_made(&value) {
            return;
        }
        let name = self.child_of(&value);
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
            ConcurrencyPolicy::Forbid if busy && self.must_look(&name, self.asked_at()) => return,
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
