//! A person asks for the failed jobs of a run to be started again: the annotation `pipekick.dev/retry`.

use super::retry::can_be_retried;
use super::{Draft, Effect, access_of};
use crate::decide::action::{seq_of, unanswered};
use crate::domain::status::{Answered, Handled};
use crate::domain::{Phase, RetryState, Sighting};

impl Draft<'_> {
    /// Answers the annotation, once per value.
    pub(super) fn asked_to_retry(&mut self) {
        let handled = self.status.last_handled.retry.as_ref();
        let Some(value) = unanswered(self.seen.trigger.retry.as_ref(), handled) else { return };
        if self.effect != Effect::Nothing {
            return;
        }
        let answer = match (seq_of(&value), &self.status.run) {
            (None, _) => Some(Answered::Invalid),
            (Some(seq), Some(run)) if seq == run.seq => self.retry_as_asked(&value),
            (Some(_), _) => Some(Answered::Ignored),
        };
        if let Some(answer) = answer {
            self.status.last_handled.retry = Some(Handled { value, answer });
        }
    }

    /// `None` while the answer waits for a look at GitLab.
    fn retry_as_asked(&mut self, value: &str) -> Option<Answered> {
        let run = self.status.run.as_deref()?;
        if access_of(run, self.seen.trigger).is_none() {
            return Some(Answered::NotFollowed);
        }
        let Some(at) = self.own_pipeline() else { return Some(Answered::NothingFailed) };
        if self.stopped().is_some() {
            return Some(Answered::Suspended);
        }
        if run.is_updating() {
            // What they come to is known first.
            return None;
        }
        if self.gives_up {
            return Some(Answered::Canceling);
        }
        if self.retry_updates() {
            return Some(Answered::Retried);
        }
        let run = self.status.run.as_deref()?;
        // What would be started would be cancelled at once.
        if run.is_active() && run.cancel_request().is_some() {
            return Some(Answered::Canceling);
        }
        if run.phase == Phase::Retrying
            && run.retry.as_ref().is_some_and(|retry| retry.state == RetryState::Unknown)
        {
            return None;
        }
        match self.seen.facts.looked_at.as_ref().filter(|(of, _)| *of == at.pipeline_id) {
            None => {
                self.effect = Effect::LookAtOwn(Box::new(at));
                None
            }
            Some((_, Sighting::Seen { pipeline, report })) if can_be_retried(pipeline, report) => {
                self.intend_retry(report, Some(value.to_owned()));
                Some(Answered::Retried)
            }
            Some((_, Sighting::Seen { .. } | Sighting::Gone)) => Some(Answered::NothingFailed),
            Some((_, Sighting::Trouble { .. })) => {
                self.wake_for_look();
                None
            }
        }
    }
}
