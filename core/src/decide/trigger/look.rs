//! A POST whose outcome is not known is resolved by looking, never by sending it again on a guess.
//!
//! ```text
//!            ┌ found ──────────────────────────────→ Running (or where the pipeline stands)
//! Unknown ───┼ absent, twice, a resolution delay apart → Pending: sent once more, same fire id
//!            └ cannot tell ── onUnknown ── Hold → Held (Undecided)
//!                                       └─ Refire → Pending: at least once
//! ```
//!
//! Assumption: a request takes effect within the resolution delay or never.

use std::time::Duration;

use super::absorb::{accept, back_off};
use super::{Draft, Effect, INTENT_MAX_AGE, LookUp, access_of, end, later};
use crate::domain::{FailedJob, LastAttempt, Lookup, OnUnknown, Phase, Pipeline, Reason, Run};

/// Looks that settled nothing are this far apart: what takes effect late is found soon after.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(10);

impl Draft<'_> {
    /// The outcome of the last POST is unknown: look, or take in what a look brought.
    pub(super) fn absorb_lookup(&mut self) {
        let seen = self.seen;
        let Some(run) = &self.status.run else { return };
        let (Some(key), Some(attempt)) = (run.attempt_key(), &run.attempt) else { return };
        if access_of(run, seen.trigger).is_none() {
            self.absorb_blindness();
            return;
        }
        let lookup =
            seen.facts.lookup.as_ref().filter(|(of, _)| *of == key).map(|(_, lookup)| lookup.clone());
        let marked = attempt.marked;
        match lookup {
            None => self.look(),
            Some(Lookup::Found { pipeline, failed_jobs, duplicates }) => {
                self.found(pipeline, failed_jobs, &duplicates);
            }
            Some(Lookup::NoCandidate) => self.absent(),
            Some(Lookup::NoneOurs) if marked => self.absent(),
            Some(Lookup::NoneOurs) => self.cannot_tell(
                "other pipelines were created on the ref meanwhile, and the lost request carried no mark to tell its own by",
            ),
            Some(Lookup::CannotTell { reason, message }) => {
                self.cannot_tell(&format!("{message} ({reason})"));
            }
            Some(Lookup::Trouble { reason, message }) => {
                let message = format!("a pipeline may or may not have been created, and GitLab cannot be asked yet ({reason}): {message}");
                self.say(Reason::OutcomeUnknown, message);
                self.wake_for_look();
            }
        }
    }

    /// Without an access token an unknown outcome stays one: no look will ever tell.
    pub(super) fn absorb_blindness(&mut self) {
        let Some(run) = self.status.run.as_ref().filter(|run| run.phase == Phase::Unknown) else { return };
        if access_of(run, self.seen.trigger).is_none() {
            self.undecided("without accessTokenRef nobody can look whether the lost request made a pipeline");
        }
    }

    /// Orders a look, unless the last one was a moment ago or its trouble asks to wait.
    fn look(&mut self) {
        let seen = self.seen;
        // What is not on record yet is written before anything is asked.
        let on_record = seen.trigger.status.run.as_ref() == self.status.run.as_ref();
        if !on_record {
            self.wake_at(seen.now);
            return;
        }
        if let Some(wait) = seen.facts.look_again.filter(|wait| *wait > seen.now) {
            self.wake_at(wait);
            return;
        }
        let Some(run) = &self.status.run else { return };
        let (Some(key), Some(attempt)) = (run.attempt_key(), &run.attempt) else { return };
        let Some(access) = access_of(run, seen.trigger) else { return };
        self.effect = Effect::LookUp(Box::new(LookUp {
            key,
            target: run.target.clone(),
            access,
            intended_at: run.intended_at,
            marked: attempt.marked,
        }));
    }

    fn found(&mut self, pipeline: Pipeline, failed_jobs: Vec<FailedJob>, duplicates: &[u64]) {
        let now = self.seen.now;
        let Some(run) = &mut self.status.run else { return };
        // What it was found with, it is followed with, whatever becomes of spec.
        run.target.look_with(access_of(run, self.seen.trigger));
        let Some(attempt) = &mut run.attempt else { return };
        attempt.last = LastAttempt::Accepted;
        attempt.absent_at = None;
        attempt.trouble = None;
        // By GitLab's clock, within what ours knows.
        run.fired_at = Some(pipeline.created_at.unwrap_or(now).clamp(run.intended_at.min(now), now));
        let message = format!("pipeline {} was found: the reply to the request had been lost", pipeline.id);
        accept(run, pipeline, failed_jobs, true, now);
        self.tell(false, Reason::PipelineFound, &message);
        if !duplicates.is_empty() {
            let message = format!("pipelines {duplicates:?} carry the same fire id");
            self.tell(true, Reason::DuplicatePipeline, &message);
        }
    }

    /// A look found nothing. It proves something only when the request can no longer be on its way to this
    /// process's knowledge, and a second look, a resolution delay later, finds nothing either.
    fn absent(&mut self) {
        let (now, delay) = (self.seen.now, self.seen.policy.resolution_delay);
        // A look counts from when it began: its list may have been read long before its reply was decided on.
        let took = self.seen.facts.look_took;
        let age = self.seen.facts.intent_age.unwrap_or_default().saturating_sub(took);
        if age < INTENT_MAX_AGE {
            self.wake_after((INTENT_MAX_AGE - age).min(LOOK_INTERVAL));
            return;
        }
        let Some(attempt) = self.status.run.as_mut().and_then(|run| run.attempt.as_mut()) else { return };
        let first = *attempt.absent_at.get_or_insert(now);
        // Wall time is what status can keep; the age by the monotonic clock guards against a stepped one.
        let proven = now >= later(first, delay + took) && age >= INTENT_MAX_AGE + delay;
        if proven {
            let message = "the lost request made no pipeline (looked twice): it is sent again";
            self.wait_again(Reason::Waiting, message);
            return;
        }
        let left = later(first, delay).duration_since(now).try_into().unwrap_or(Duration::ZERO);
        self.wake_after(left.max((INTENT_MAX_AGE + delay).saturating_sub(age)).min(LOOK_INTERVAL));
    }

    /// Candidates cannot be told apart, or not be read. A token may be mended within the resolution delay.
    fn cannot_tell(&mut self, message: &str) {
        let age = self.seen.facts.intent_age.unwrap_or_default();
        if age < self.seen.policy.resolution_delay {
            self.wake_after((self.seen.policy.resolution_delay - age).min(LOOK_INTERVAL));
            return;
        }
        self.undecided(message);
    }

    fn undecided(&mut self, message: &str) {
        let now = self.seen.now;
        let on_unknown = self.seen.trigger.spec.as_ref().map_or(OnUnknown::Hold, |spec| spec.on_unknown);
        match on_unknown {
            OnUnknown::Hold => {
                let Some(run) = &mut self.status.run else { return };
                let message = format!(
                    "nobody can tell whether a pipeline was created: {message}. Look in GitLab, then annotate \
                     pipekick.dev/resolve=\"{0}:refire\", \"{0}:abandon\" or \"{0}:adopt=<pipeline id>\"",
                    run.seq
                );
                end(run, Phase::Held, Reason::Undecided, message.clone(), now);
                self.tell(true, Reason::Undecided, &message);
            }
            OnUnknown::Refire => {
                let count =
                    self.status.run.as_ref().and_then(|run| run.attempt.as_ref()).map_or(1, |a| a.count);
                self.wait_again(
                    Reason::OutcomeUnknown,
                    &format!("{message}; sent again, as onUnknown is Refire"),
                );
                let due = later(now, back_off(count));
                if let Some(attempt) = self.status.run.as_mut().and_then(|run| run.attempt.as_mut()) {
                    attempt.next_at = Some(due);
                }
            }
        }
    }

    fn wake_for_look(&mut self) {
        let next = later(self.seen.now, LOOK_INTERVAL);
        self.wake_at(self.seen.facts.look_again.filter(|wait| *wait > self.seen.now).unwrap_or(next));
    }

    /// A pipeline that failed at birth exists, and GitLab did not tell its id: find it, for a while.
    pub(super) fn link_stillborn(&mut self) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_mut() else { return };
        if !is_unlinked_stillborn(run) || access_of(run, seen.trigger).is_none() {
            return;
        }
        let until = later(run.finished_at.unwrap_or(run.intended_at), seen.policy.resolution_delay);
        match (&seen.facts.lookup, run.attempt_key()) {
            (Some((of, Lookup::Found { pipeline, failed_jobs: _, duplicates: _ })), Some(key))
                if *of == key =>
            {
                run.pipeline = Some(pipeline.clone());
            }
            _ if seen.now >= until => {}
            (Some(_), _) => self.wake_after(LOOK_INTERVAL),
            (None, _) => self.look(),
        }
    }
}

fn is_unlinked_stillborn(run: &Run) -> bool {
    run.phase == Phase::Failed && run.reason == Some(Reason::PipelineFailedAtBirth) && run.pipeline.is_none()
}
