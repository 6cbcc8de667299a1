//! A run that is known to have made nothing is sent once more, under the same fire id, or makes room for the next.

use super::{Draft, Effect, FireOrder, INTENT_MAX_AGE, begin, end};
use crate::decide::summary::Standing;
use crate::decide::trigger::Credentials;
use crate::domain::digest::Compared;
use crate::domain::run::CauseKind;
use crate::domain::{Attempt, Cause, LastAttempt, Phase, Reason, Run, Spec, Target, TriggerStatus};

impl Draft<'_> {
    /// The POST of a run that is known to have made nothing: once more, under the same fire id, if it is due
    /// and still means the same.
    pub(super) fn repeat(&mut self) {
        let seen = self.seen;
        let Some(run) = &self.status.run else { return };
        if let Some(stopped) = self.stopped() {
            // The run is kept; its phase stays what it is.
            let phase = run.phase;
            self.standing = Some(Standing { phase, ..stopped });
            return;
        }
        let spec = match &seen.trigger.spec {
            Ok(spec) => spec.clone(),
            Err(problem) => {
                let (phase, message) = (run.phase, problem.0.clone());
                self.standing = Some(Standing { phase, reason: Reason::InvalidSpec, message });
                return;
            }
        };
        let same = self.still_means(run);
        let same_gitlab = run.target.url == spec.url.as_str();
        let asked_to_wait = run.attempt.as_ref().is_some_and(|attempt| attempt.last == LastAttempt::Refused);
        let due = run.attempt.as_ref().and_then(|attempt| attempt.next_at).filter(|due| *due > seen.now);
        let lost = run.attempt.as_ref().is_some_and(Attempt::is_lost_again);
        if (run.phase == Phase::Rejected || lost) && same && (self.edited() || self.newly_asked()) {
            // Now, and on record: the next decision does not see the edit any more.
            self.wait_again(Reason::Waiting, "somebody edited the object or asked: the run is tried again");
        } else if let Some(due) = due.filter(|_| same || (asked_to_wait && same_gitlab && run.is_active())) {
            self.wake_at(due);
            return;
        }
        if let Some(until) = self.budget_until() {
            self.wait_for_budget(until);
            return;
        }
        // Only now, when the next run can begin in the same write: a cause passes, it is never dropped.
        if !same {
            self.supersede();
            self.begin();
            return;
        }
        let target = begin::target_of(&spec);
        match &seen.facts.credentials {
            Credentials::Unread => self.effect = Effect::ReadCredentials(Box::new(target)),
            Credentials::Missing { reason, message, look_again } => {
                self.say(*reason, message.clone());
                self.wake_at(*look_again);
            }
            Credentials::Refused { reason, message } => self.refuse(*reason, message.clone()),
            Credentials::Ready => self.intend_again(spec, target),
        }
    }

    fn intend_again(&mut self, spec: Spec, target: Target) {
        let (now, writer) = (self.seen.now, self.seen.policy.writer.clone());
        let Some(run) = &mut self.status.run else { return };
        let count = run.attempt.as_ref().map_or(0, |attempt| attempt.count).saturating_add(1);
        begin::intend(run, count, now, writer, &spec);
        run.target = target;
        self.fire(spec, false);
    }

    /// Orders the POST of the intent that stands in the drafted status.
    pub(super) fn fire(&mut self, spec: Spec, read_beside: bool) {
        let Some(run) = &self.status.run else { return };
        let Some(key) = run.attempt_key() else { return };
        let order = FireOrder { key, target: run.target.clone(), spec, read_beside };
        self.effect = Effect::Fire(Box::new(order));
        self.standing = None;
        // Should this process lose track of it, somebody looks again.
        self.wake_after(INTENT_MAX_AGE + self.seen.policy.request_deadline);
    }

    /// Ends a run whose content is no longer wanted; its cause passes to the next one.
    fn supersede(&mut self) {
        let now = self.seen.now;
        let Some(run) = &mut self.status.run else { return };
        self.passed = Some(match (run.cause, run.request.clone()) {
            (_, Some(value)) => Cause::Request(value),
            (CauseKind::Apply, None) => Cause::Apply,
            (CauseKind::Change | CauseKind::Request, None) => Cause::Change,
        });
        let message = format!("run {} was never sent: the firing fields changed before it could be", run.seq);
        end(run, Phase::Superseded, Reason::Superseded, message, now);
    }

    /// Whether the firing fields are still what `run` was fired for.
    fn still_means(&self, run: &Run) -> bool {
        match self.seen.trigger.firing.compare(&run.digest) {
            Compared::Same => true,
            Compared::Changed => false,
            Compared::UnknownVersion => !self.edited(),
        }
    }

    /// Whether spec was edited since status was last written.
    pub(super) fn edited(&self) -> bool {
        self.seen.trigger.status.observed_generation != Some(self.seen.trigger.generation)
    }

    /// Whether a request is seen to wait for the first time.
    fn newly_asked(&self) -> bool {
        let request = |status: &TriggerStatus| status.waiting.as_ref().and_then(|w| w.request.clone());
        let now = request(&self.status);
        now.is_some() && now != request(&self.seen.trigger.status)
    }

    /// Makes the run wait to be sent once more, from now on.
    pub(super) fn wait_again(&mut self, reason: Reason, message: &str) {
        let now = self.seen.now;
        let Some(run) = &mut self.status.run else { return };
        run.phase = Phase::Pending;
        run.finished_at = None;
        run.reason = Some(reason);
        run.message = Some(message.to_owned());
        if let Some(attempt) = &mut run.attempt {
            attempt.next_at = Some(now);
            attempt.absent_at = None;
            attempt.absent_at_gitlab = None;
            attempt.last = match attempt.last {
                LastAttempt::Refused => LastAttempt::Refused,
                LastAttempt::NotSent | LastAttempt::Unknown | LastAttempt::Accepted => LastAttempt::NotSent,
            };
        }
    }
}
