//! Cancelling a run: who asks, what GitLab is asked, and what came of it.
//!
//! ```text
//! asked ─┬─ Pending, Rejected: nothing exists ────────────────→ Canceled, nothing is sent
//!        ├─ Firing, Unknown: kept until the pipeline's id is known
//!        └─ Running, Retrying ── on record ── POST cancel ─┬─ taken: followed until it has ended → Canceled
//!                                    ▲                     ├─ refused: told, asked again in 10 min
//!                                    └─ 5 s to 60 s ───────┴─ trouble
//! ```
//!
//! GitLab takes any number of requests to cancel one pipeline, so the record that it is to be cancelled
//! (`run.cancelRequestedAt`) is all that must survive a crash: whoever finds it on a run under way asks again.

use std::time::Duration;

use jiff::Timestamp;

use super::{CancelOrder, Draft, Effect, access_of, end, follow_of, later};
use crate::decide::action::{seq_of, unanswered};
use crate::decide::summary::names_something_missing;
use crate::domain::run::CancelCause;
use crate::domain::status::{Answered, Handled};
use crate::domain::{Cancelled, Phase, PipelineStatus, Reason, Run, Sighting, Span, UpdateState};

/// What was refused is asked again this often: a token or a role may have been mended meanwhile.
const REFUSED_AGAIN: Duration = Duration::from_secs(600);
/// What was taken, and has not ended since, is asked again: somebody may have started a job again meanwhile.
const TAKEN_AGAIN: Duration = Duration::from_secs(60);
/// First and longest wait after trouble.
const TROUBLE_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// How long after the `count`-th request in a row that brought this the next one is sent, at the soonest.
#[must_use]
pub fn cancel_again(brought: &Cancelled, count: u32) -> Duration {
    let (first, longest) = TROUBLE_AGAIN;
    match brought {
        Cancelled::Taken(_) => TAKEN_AGAIN,
        Cancelled::Refused { .. } => REFUSED_AGAIN,
        Cancelled::Trouble { .. } => first.saturating_mul(1 << count.saturating_sub(1).min(8)).min(longest),
    }
}

/// Who wanted it, as a message says it.
pub(super) const fn words(by: CancelCause) -> &'static str {
    match by {
        CancelCause::Action => "as pipekick.dev/cancel asked",
        CancelCause::Replace => "for a newer cause (concurrencyPolicy: Replace)",
        CancelCause::Timeout => "as cancelOnTimeout says",
        CancelCause::Deletion => "for the object is being deleted (deletionPolicy: Cancel)",
    }
}

impl Draft<'_> {
    /// Answers the annotation `pipekick.dev/cancel`, once per value. It works while suspended and paused.
    pub(super) fn heed_cancel(&mut self) {
        let handled = self.status.last_handled.cancel.as_ref();
        let Some(value) = unanswered(self.seen.trigger.cancel.as_ref(), handled) else { return };
        let answer = match (seq_of(&value), &self.status.run) {
            (None, _) => Some(Answered::Invalid),
            (Some(seq), Some(run)) if run.seq == seq && run.is_updating() => self.cancel_updates(),
            (Some(seq), Some(run)) if run.seq == seq => Some(self.cancel_as_asked()),
            (Some(_), _) => Some(Answered::Ignored),
        };
        let Some(answer) = answer else { return };
        self.status.last_handled.cancel = Some(Handled { value, answer });
        if let (Effect::LookUp(_), true) = (&self.effect, self.status.active_run().is_some()) {
            // The answer goes on record before GitLab is asked anything.
            self.effect = Effect::Nothing;
            self.wake_at(self.seen.now);
        }
    }

    fn cancel_as_asked(&mut self) -> Answered {
        let Some(run) = &self.status.run else { return Answered::Ignored };
        match run.phase {
            // A refused run would be tried again.
            Phase::Pending | Phase::Rejected => {
                self.end_unsent(CancelCause::Action);
                Answered::Canceled
            }
            Phase::Firing | Phase::Unknown | Phase::Running | Phase::Retrying => {
                if access_of(run, self.seen.trigger).is_none() {
                    return Answered::NotFollowed;
                }
                self.request_cancel(CancelCause::Action);
                Answered::Canceling
            }
            Phase::Fired => Answered::NotFollowed,
            Phase::Succeeded | Phase::Failed | Phase::Canceled | Phase::Skipped
                if run.image_updates.iter().any(|update| update.state == UpdateState::Canceled) =>
            {
                Answered::Canceled
            }
            Phase::Succeeded
            | Phase::Failed
            | Phase::Canceled
            | Phase::Skipped
            | Phase::Held
            | Phase::TimedOut
            | Phase::Superseded
            | Phase::Suspended
            | Phase::Idle => Answered::Ignored,
        }
    }

    /// Puts on record that the run's pipeline is to be cancelled, from now on for this cause.
    pub(super) fn request_cancel(&mut self, by: CancelCause) {
        let now = self.seen.now;
        let Some(run) = &mut self.status.run else { return };
        run.cancel_requested_at = Some(now);
        run.cancel_requested_by = Some(by);
        let message = match &run.pipeline {
            Some(pipeline) => format!("pipeline {} is being cancelled, {}", pipeline.id, words(by)),
            None => format!("run {} will be cancelled once its pipeline is known, {}", run.seq, words(by)),
        };
        self.tell(false, Reason::CancelRequested, &message);
    }

    /// A run that was to be cancelled, and of which nothing exists, has reached that.
    pub(super) fn cancel_unsent(&mut self) {
        let Some(run) = &self.status.run else { return };
        if let (Phase::Pending | Phase::Rejected, Some((_, by))) = (run.phase, run.cancel_request()) {
            self.end_unsent(by);
        }
    }

    fn end_unsent(&mut self, by: CancelCause) {
        let now = self.seen.now;
        let Some(run) = &mut self.status.run else { return };
        let unproven = if run.reason == Some(Reason::OutcomeUnknown) {
            "; nobody could tell whether an earlier request of it had made one"
        } else {
            ""
        };
        let message =
            format!("run {} was cancelled before it had a pipeline, {}{unproven}", run.seq, words(by));
        if let Some(attempt) = &mut run.attempt {
            attempt.next_at = None;
        }
        end(run, Phase::Canceled, Reason::Canceled, message.clone(), now);
        self.tell(false, Reason::Canceled, &message);
    }

    /// What the last request to cancel brought, if it was sent for what stands on record now.
    pub(super) fn cancel_brought(&self) -> Option<(&Cancelled, Timestamp)> {
        let run = self.status.run.as_deref()?;
        let known = self.seen.facts.cancel.as_ref()?;
        let same = Some(known.pipeline_id) == run.pipeline.as_ref().map(|pipeline| pipeline.id)
            && Some(known.requested_at) == run.cancel_request().map(|(at, _)| at);
        same.then_some((&known.brought, known.again_at))
    }

    /// A pipeline that waits for a person is not ended by cancelling it: what could be stopped was, and what is
    /// left runs only if a person plays it.
    pub(super) fn absorb_cancel(&mut self) {
        let now = self.seen.now;
        let Some((Cancelled::Taken(pipeline), _)) = self.cancel_brought() else { return };
        if pipeline.status != PipelineStatus::Manual {
            return;
        }
        let pipeline = pipeline.clone();
        let Some(run) = self.status.run.as_deref_mut().filter(|run| is_followed(run)) else { return };
        let Some((_, by)) = run.cancel_request() else { return };
        let message = format!(
            "pipeline {} was cancelled, {}; what is left of it waits for a person to play a manual job",
            pipeline.id,
            words(by)
        );
        let (phase, reason, message) = in_time(run, Phase::Canceled, Reason::PipelineCanceled, message);
        run.pipeline = Some(pipeline);
        end(run, phase, reason, message.clone(), now);
        self.tell(true, reason, &message);
    }

    /// Asks GitLab, and again where that is due, until the pipeline is seen to have ended.
    pub(super) fn pursue_cancel(&mut self) {
        if self.effect != Effect::Nothing {
            return;
        }
        let (seen, patience) = (self.seen, self.seen.policy.cancel_patience);
        let Some(run) = self.status.run.as_deref().filter(|run| is_followed(run)) else { return };
        let Some((requested_at, _)) = run.cancel_request() else { return };
        let Some(follow) = follow_of(run, seen.trigger, seen.now) else { return };
        let on_record = seen
            .trigger
            .status
            .run
            .as_ref()
            .is_some_and(|stored| is_followed(stored) && stored.cancel_request() == run.cancel_request());
        let brought = self.cancel_brought();
        let (known, again_at) = (brought.is_some(), brought.map(|(_, again_at)| again_at));
        // A process that has not asked yet does not take back what the one before it was told.
        if known || !on_record {
            self.tell_cancel(later(requested_at, patience) <= seen.now);
        }
        match again_at.filter(|again_at| *again_at > seen.now) {
            Some(again_at) => self.wake_at(again_at),
            None => self.effect = Effect::Cancel(Box::new(CancelOrder::new(follow, requested_at))),
        }
        if later(requested_at, patience) > seen.now {
            self.wake_at(later(requested_at, patience));
        }
    }

    fn tell_cancel(&mut self, late: bool) {
        let Some(run) = &self.status.run else { return };
        let (Some(pipeline), Some((_, by))) = (&run.pipeline, run.cancel_request()) else { return };
        let (id, by) = (pipeline.id, words(by));
        let (mut reason, mut message) = match self.cancel_brought().map(|(brought, _)| brought) {
            Some(Cancelled::Refused { reason, message }) => (
                Reason::CancelRefused,
                format!("pipeline {id} is to be cancelled, {by}, and cannot be ({reason}): {message}"),
            ),
            Some(Cancelled::Trouble { reason, message }) => {
                let missing = names_something_missing(*reason);
                let reason_now = if missing { *reason } else { Reason::CancelRequested };
                (
                    reason_now,
                    format!(
                        "pipeline {id} is to be cancelled, {by}, and could not be yet{}: {message}",
                        in_brackets(*reason)
                    ),
                )
            }
            Some(Cancelled::Taken(_)) if late => {
                let patience = Span::from_secs(self.seen.policy.cancel_patience.as_secs());
                let message =
                    format!("pipeline {id} was to be cancelled, {by}, and has not ended in {patience}");
                (Reason::CancelRequested, message)
            }
            Some(Cancelled::Taken(_)) | None => {
                (Reason::CancelRequested, format!("pipeline {id} is being cancelled, {by}"))
            }
        };
        if let Some((of, Sighting::Trouble { reason: why, message: detail })) = &self.seen.facts.sighting
            && of.pipeline_id == id
        {
            if names_something_missing(*why) {
                reason = *why;
            }
            message = format!("{message}; it cannot be followed ({why}): {detail}");
        }
        let refused = reason == Reason::CancelRefused;
        if self.wants_to_replace() && (late || refused) {
            message = format!("a newer cause waits: {message}");
            if !names_something_missing(reason) {
                reason = Reason::ReplaceBlocked;
            }
        }
        let told_before = self.seen.trigger.status.run.as_deref().and_then(|run| run.reason) == Some(reason);
        if matches!(reason, Reason::CancelRefused | Reason::ReplaceBlocked) && !told_before {
            self.tell(true, reason, &message);
        }
        self.say(reason, message);
    }

    /// Whether a request to cancel stands that may still bring the end of the run; until when, if so.
    pub(super) fn cancel_pends_until(&self) -> Option<Timestamp> {
        let run = self.status.run.as_deref()?;
        if matches!(self.cancel_brought(), Some((Cancelled::Refused { .. }, _))) {
            return None;
        }
        let (requested_at, _) = run.cancel_request()?;
        let until = later(requested_at, self.seen.policy.cancel_patience);
        (until > self.seen.now).then_some(until)
    }

    /// What is to be said of the pipeline of a run that is given up although it goes on.
    pub(super) fn what_cancel_brought(&self) -> String {
        let asked = self.status.run.as_deref().is_some_and(|run| run.cancel_request().is_some());
        match self.cancel_brought().map(|(brought, _)| brought) {
            None if !asked => "its pipeline goes on in GitLab".into(),
            None => "its pipeline could not be cancelled in time and may go on in GitLab".into(),
            Some(Cancelled::Taken(_)) => {
                "its pipeline was to be cancelled, and has not ended in GitLab".into()
            }
            Some(Cancelled::Refused { reason, message } | Cancelled::Trouble { reason, message }) => {
                let why = in_brackets(*reason);
                format!("its pipeline goes on in GitLab, for it could not be cancelled{why}: {message}")
            }
        }
    }
}

/// A reason that says something of a cancel; that an answer could not be read is said by the message.
fn in_brackets(reason: Reason) -> String {
    if reason == Reason::CannotFollow { String::new() } else { format!(" ({reason})") }
}

/// How a run ends whose end was seen after its time was over: that was before.
pub(super) fn in_time(run: &Run, phase: Phase, reason: Reason, message: String) -> (Phase, Reason, String) {
    match run.cancel_request() {
        Some((_, CancelCause::Timeout)) => {
            let message = format!("the run took longer than its timeout; {message}");
            (Phase::TimedOut, Reason::TimedOut, message)
        }
        Some((_, CancelCause::Action | CancelCause::Replace | CancelCause::Deletion)) | None => {
            (phase, reason, message)
        }
    }
}

/// Whether the run has a pipeline under way.
const fn is_followed(run: &Run) -> bool {
    matches!(run.phase, Phase::Running | Phase::Retrying)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_backs_off_and_everything_else_has_its_time() {
        let trouble = Cancelled::Trouble { reason: Reason::Unreachable, message: String::new() };
        let waits: Vec<u64> = (1..=6).map(|count| cancel_again(&trouble, count).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        let refused = Cancelled::Refused { reason: Reason::Forbidden, message: String::new() };
        assert_eq!(cancel_again(&refused, 3), REFUSED_AGAIN);
    }
}
