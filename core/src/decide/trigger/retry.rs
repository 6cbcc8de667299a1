//! Failed jobs of a run's pipeline are started again, as `spec.retry` says or somebody asked (`retry_asked.rs`).
//!
//! ```text
//!                    ┌──────────────── not now, or proven without effect ───────────┐
//!                    ▼                                                              │
//! failed by jobs → Waiting ─ due; a look: still failed → Unknown (intent, request) ─┤
//!                    │                                     ├─ new jobs → Started ───┴─ failed again → Waiting …
//!                    └─ runs again: Running, uncounted     └─ refused → Failed
//! ```
//!
//! GitLab has no idempotency key here either. The intent names the jobs that had failed; that other jobs have failed,
//! or that the pipeline runs, is what tells a request with an effect from one without. A reply that is lost is
//! never a reason to ask again: only the same failed jobs a resolution delay later are.

use std::time::Duration;

use jiff::Timestamp;

use super::absorb::{back_off, failure, progress};
use super::cancel::in_time;
use super::look::LOOK_INTERVAL;
use super::{Draft, Effect, INTENT_MAX_AGE, LookAt, RetryOrder, access_of, end, later};
use crate::decide::summary::Standing;
use crate::domain::status::Answered;
use crate::domain::{
    Changed, Phase, Pipeline, PipelineStatus, Reason, Report, Retry, RetryPolicy, RetryState, Run, Sighting,
};

/// Requests for one retry that turned out to have had no effect, at most. What GitLab put off is none.
pub const RETRY_TRIES: u32 = 5;
/// Longest wait before failed jobs are started again, however often `backoff` was doubled.
const BACKOFF_MAX: Duration = Duration::from_secs(3600);

impl Draft<'_> {
    /// A run that has just failed by its jobs, and may be retried, goes on instead.
    pub(super) fn retry_if_wanted(&mut self) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref().filter(|run| failed_by_its_jobs(run)) else { return };
        let goes_on = seen.trigger.status.active_run().is_some() && run.cancel_request().is_none();
        if seen.trigger.deleted_at.is_some() || !goes_on {
            return;
        }
        let count = run.retry.as_ref().map_or(0, |retry| retry.count);
        let policy = seen.trigger.spec.as_ref().ok().and_then(|spec| spec.retry);
        let Some(policy) = policy.filter(|policy| count < policy.limit) else { return };
        let due = later(seen.now, wait_before(policy, count));
        let too_late = self.over().is_some_and(|(_, over)| due >= over);
        if too_late || access_of(run, seen.trigger).is_none() {
            return;
        }
        let Some(run) = self.status.run.as_deref_mut() else { return };
        let retry = run.retry.get_or_insert_with(none_yet);
        (retry.state, retry.next_at, retry.asked) = (RetryState::Waiting, Some(due), None);
        (retry.tries, retry.put_off) = (0, 0);
        run.phase = Phase::Retrying;
        run.finished_at = None;
        say_waiting(run);
        let message = run.message.clone().unwrap_or_default();
        self.tell(false, Reason::PipelineRetrying, &message);
    }

    /// Whether a look at the pipeline shows nothing but what the retry under way began with. Notes it if it shows
    /// more.
    pub(super) fn is_old_news(&mut self, pipeline: &Pipeline, report: &Report) -> bool {
        let now = self.seen.now;
        let Some(run) = self.status.run.as_deref_mut().filter(|run| run.phase == Phase::Retrying) else {
            return false;
        };
        let Some(retry) = &mut run.retry else { return false };
        let failed = pipeline.status == PipelineStatus::Failed;
        match retry.state {
            RetryState::Waiting if failed => {
                say_waiting(run);
                true
            }
            RetryState::Waiting => {
                // Somebody was quicker: theirs is not counted.
                (retry.state, retry.next_at) = (RetryState::Started, None);
                if retry.at.is_none() {
                    run.retry = None;
                }
                run.phase = Phase::Running;
                false
            }
            RetryState::Unknown if failed && ids(report) == retry.job_ids => {
                say_sent(run);
                true
            }
            RetryState::Unknown => {
                started(run, now);
                false
            }
            RetryState::Started | RetryState::Refused => false,
        }
    }

    /// A run in phase Retrying: waits, looks, asks.
    pub(super) fn go_on_retrying(&mut self) {
        let Some(retry) = self.status.run.as_deref().and_then(|run| run.retry.as_ref()) else { return };
        match retry.state {
            RetryState::Waiting => self.await_retry(retry.next_at.unwrap_or(self.seen.now)),
            RetryState::Unknown => {
                self.resolve_retry();
                if let Some(due) = self.put_off_until() {
                    // What the next decision says of it is said now.
                    self.await_retry(due);
                }
            }
            // The follower tells how it goes on.
            RetryState::Started | RetryState::Refused => {}
        }
    }

    /// When failed jobs are to be started again, if that is later.
    fn put_off_until(&self) -> Option<Timestamp> {
        let run = self.status.run.as_deref().filter(|run| run.phase == Phase::Retrying)?;
        let retry = run.retry.as_ref().filter(|retry| retry.state == RetryState::Waiting)?;
        retry.next_at.filter(|due| *due > self.seen.now)
    }

    /// Before the request: is it still the failed pipeline that it was?
    fn await_retry(&mut self, due: Timestamp) {
        let asked = self.status.run.as_deref().and_then(|run| run.retry.as_ref()?.asked.clone());
        if self.status.run.as_deref().is_some_and(|run| run.cancel_request().is_some()) {
            self.give_up_for_cancel();
            return;
        }
        if let Some(stopped) = self.stopped() {
            self.standing = Some(Standing { phase: Phase::Retrying, ..stopped });
            return;
        }
        // An edit may have taken the wish away. One that broke the spec says nothing of it.
        match &self.seen.trigger.spec {
            Ok(spec) if asked.is_none() && spec.retry.is_none() => {
                self.give_up("spec.retry was taken away");
                return;
            }
            Err(problem) if asked.is_none() => {
                let (phase, message) = (Phase::Retrying, problem.0.clone());
                self.standing = Some(Standing { phase, reason: Reason::InvalidSpec, message });
                return;
            }
            Ok(_) | Err(_) => {}
        }
        if due > self.seen.now {
            self.wake_at(due);
            return;
        }
        match self.look_at_own() {
            None => {}
            Some(Sighting::Seen { pipeline, report }) if can_be_retried(&pipeline, &report) => {
                self.intend_retry(&report, asked);
            }
            Some(Sighting::Seen { pipeline, report: _ }) if pipeline.status == PipelineStatus::Failed => {
                self.give_up("none of its jobs stands as failed any more");
            }
            Some(other) => self.take_look(other),
        }
    }

    /// The request was sent, or may have been: what came of it?
    pub(super) fn resolve_retry(&mut self) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref_mut() else { return };
        let key = run.retry_key();
        let answer = seen.facts.retried.as_ref().filter(|(of, _)| Some(of) == key.as_ref());
        let age = seen.facts.intent_age.unwrap_or_default();
        match answer.map(|(_, answer)| answer) {
            Some(Changed::Done(Some(pipeline))) if !pipeline.status.is_complete() => {
                started(run, seen.now);
                if run.cancel_request().is_none() {
                    progress(run, &pipeline.status, &[]);
                }
                return;
            }
            Some(Changed::Refused { reason, message }) => {
                self.refused(*reason, message);
                return;
            }
            Some(Changed::NotNow { reason, message, until }) => {
                self.not_now(*reason, message, *until);
                return;
            }
            Some(Changed::Done(_) | Changed::Gone | Changed::Unknown { .. }) => {}
            None => {
                // Of a process that is gone, or of this one, which lost track: it may still be on its way.
                let patience = INTENT_MAX_AGE + seen.policy.request_deadline;
                if let Some(left) = patience.checked_sub(age).filter(|left| !left.is_zero()) {
                    self.wake_after(left);
                    return;
                }
            }
        }
        let accepted = matches!(answer, Some((_, Changed::Done(_))));
        match self.look_at_own() {
            None => {}
            Some(Sighting::Seen { pipeline, report }) if self.is_old_news(&pipeline, &report) => {
                self.without_effect(&report, accepted);
            }
            Some(other) => {
                self.take_look(other);
                // What was seen may be another failure already.
                self.retry_if_wanted();
                self.wake_at(seen.now);
            }
        }
    }

    /// The same jobs as before have failed. Once that is proven to last, the request is taken to have had no effect.
    fn without_effect(&mut self, report: &Report, accepted: bool) {
        let seen = self.seen;
        let age = seen.facts.intent_age.unwrap_or_default().saturating_sub(seen.facts.look_took);
        if age < INTENT_MAX_AGE + seen.policy.resolution_delay {
            self.wake_after(LOOK_INTERVAL);
            return;
        }
        let Some(retry) = self.status.run.as_deref().and_then(|run| run.retry.as_ref()) else { return };
        if self.status.run.as_deref().is_some_and(|run| run.cancel_request().is_some()) {
            self.give_up_for_cancel();
        } else if seen.trigger.deleted_at.is_some() {
            self.give_up("the object is being deleted");
        } else if accepted {
            self.refused(Reason::RetryRefused, "GitLab accepted the request and started no job");
        } else if retry.tries >= RETRY_TRIES {
            let message = format!("{} requests had no effect", retry.tries);
            self.refused(Reason::RetryRefused, &message);
        } else if let Some(stopped) = self.stopped() {
            self.standing = Some(Standing { phase: Phase::Retrying, ..stopped });
        } else {
            let asked = retry.asked.clone();
            self.intend_retry(report, asked);
        }
    }

    /// What a look at the run's own pipeline brought, or the order to take one.
    fn look_at_own(&mut self) -> Option<Sighting> {
        let seen = self.seen;
        let at = self.own_pipeline()?;
        if let Some((_, sighting)) = seen.facts.looked_at.as_ref().filter(|(of, _)| *of == at.pipeline_id) {
            if matches!(sighting, Sighting::Trouble { .. }) {
                self.wake_for_look();
            }
            return Some(sighting.clone());
        }
        match seen.facts.look_again.filter(|wait| *wait > seen.now) {
            Some(wait) => self.wake_at(wait),
            None => self.effect = Effect::LookAtOwn(Box::new(at)),
        }
        None
    }

    /// The run's pipeline, where it is, and the access token for it.
    pub(super) fn own_pipeline(&self) -> Option<LookAt> {
        let run = self.status.run.as_deref()?;
        Some(LookAt {
            pipeline_id: run.pipeline.as_ref()?.id,
            target: run.target.clone(),
            access: access_of(run, self.seen.trigger)?,
        })
    }

    /// Records that the jobs in `report` are about to be started again, and orders it.
    pub(super) fn intend_retry(&mut self, report: &Report, asked: Option<String>) {
        let (now, writer) = (self.seen.now, self.seen.policy.writer.clone());
        let Some(at) = self.own_pipeline() else { return };
        let Some(run) = self.status.run.as_deref_mut() else { return };
        if !run.is_active() {
            run.resumed_at = Some(now);
            run.finished_at = None;
            (run.cancel_requested_at, run.cancel_requested_by) = (None, None);
            let retry = run.retry.get_or_insert_with(none_yet);
            (retry.tries, retry.put_off) = (0, 0);
        }
        let retry = run.retry.get_or_insert_with(none_yet);
        *retry = Retry {
            count: retry.count,
            state: RetryState::Unknown,
            next_at: None,
            job_ids: ids(report),
            at: Some(now),
            by: Some(writer),
            tries: retry.tries.saturating_add(1),
            put_off: retry.put_off,
            asked,
        };
        run.phase = Phase::Retrying;
        run.failed_jobs.clone_from(&report.failed_jobs);
        say_sent(run);
        let Some(key) = run.retry_key() else { return };
        self.effect = Effect::Retry(Box::new(RetryOrder { key, at }));
        // Should this process lose track of it, somebody looks again.
        self.wake_after(INTENT_MAX_AGE + self.seen.policy.request_deadline);
    }

    fn not_now(&mut self, reason: Reason, message: &str, until: Timestamp) {
        let now = self.seen.now;
        let Some(run) = self.status.run.as_deref_mut() else { return };
        let Some(retry) = &mut run.retry else { return };
        (retry.tries, retry.put_off) = (retry.tries.saturating_sub(1), retry.put_off.saturating_add(1));
        let due = until.max(later(now, back_off(retry.put_off)));
        (retry.state, retry.next_at) = (RetryState::Waiting, Some(due));
        run.reason = Some(reason);
        run.message = Some(format!("failed jobs cannot be started again yet: {message}"));
        self.wake_at(due);
    }

    fn refused(&mut self, reason: Reason, message: &str) {
        self.answer_anew(Answered::Refused);
        let text =
            if reason == Reason::RetryRefused { message.to_owned() } else { format!("{message} ({reason})") };
        self.tell(true, Reason::RetryRefused, &format!("failed jobs were not started again: {text}"));
        self.give_up(&text);
    }

    fn give_up_for_cancel(&mut self) {
        self.answer_anew(Answered::Canceling);
        self.give_up("the run was to be cancelled");
    }

    /// Who asked for the retry under way finds another answer now.
    fn answer_anew(&mut self, answer: Answered) {
        if let Some(asked) = self.status.run.as_deref().and_then(|run| run.retry.as_ref()?.asked.clone())
            && let Some(handled) = &mut self.status.last_handled.retry
            && handled.value == asked
        {
            handled.answer = answer;
        }
    }

    /// The run ends as its pipeline did.
    fn give_up(&mut self, why: &str) {
        let now = self.seen.now;
        let Some(run) = self.status.run.as_deref_mut() else { return };
        if let Some(retry) = &mut run.retry {
            (retry.state, retry.next_at) = (RetryState::Refused, None);
        }
        let id = run.pipeline.as_ref().map(|pipeline| pipeline.id).unwrap_or_default();
        let message = format!("{}; not started again: {why}", failure(id, &run.failed_jobs));
        let (phase, reason, message) = in_time(run, Phase::Failed, Reason::PipelineFailed, message);
        end(run, phase, reason, message, now);
    }
}

fn none_yet() -> Retry {
    Retry {
        count: 0,
        state: RetryState::Waiting,
        next_at: None,
        job_ids: Vec::new(),
        at: None,
        by: None,
        tries: 0,
        put_off: 0,
        asked: None,
    }
}

fn failed_by_its_jobs(run: &Run) -> bool {
    run.phase == Phase::Failed
        && run.reason == Some(Reason::PipelineFailed)
        && run.failed_jobs.iter().any(|job| job.id.is_some())
}

/// A pipeline that failed at birth has no jobs to start again.
pub(super) fn can_be_retried(pipeline: &Pipeline, report: &Report) -> bool {
    pipeline.status == PipelineStatus::Failed && !ids(report).is_empty()
}

fn ids(report: &Report) -> Vec<u64> {
    let mut ids: Vec<u64> = report.failed_jobs.iter().filter_map(|job| job.id).collect();
    ids.sort_unstable();
    ids
}

fn wait_before(policy: RetryPolicy, count: u32) -> Duration {
    Duration::from(policy.backoff)
        .saturating_mul(1 << count.min(16))
        .min(BACKOFF_MAX.max(policy.backoff.into()))
}

fn started(run: &mut Run, now: Timestamp) {
    if let Some(retry) = &mut run.retry {
        (retry.state, retry.next_at, retry.tries, retry.put_off) = (RetryState::Started, None, 0, 0);
        retry.count = retry.count.saturating_add(1);
    }
    // What GitLab took before may have met no job that runs now: it is asked anew.
    run.cancel_requested_at = run.cancel_requested_at.map(|_| now);
}

fn say_waiting(run: &mut Run) {
    let Some(due) = run.retry.as_ref().and_then(|retry| retry.next_at) else { return };
    let due = Timestamp::from_second(due.as_second()).unwrap_or(due);
    let id = run.pipeline.as_ref().map(|pipeline| pipeline.id).unwrap_or_default();
    let message = format!("{}; failed jobs are started again at {due}", failure(id, &run.failed_jobs));
    run.reason = Some(Reason::PipelineRetrying);
    run.message = Some(message);
}

fn say_sent(run: &mut Run) {
    let id = run.pipeline.as_ref().map(|pipeline| pipeline.id).unwrap_or_default();
    run.reason = Some(Reason::PipelineRetrying);
    run.message = Some(format!("failed jobs of pipeline {id} are being started again"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Span;

    #[test]
    fn the_wait_doubles_up_to_an_hour_unless_more_is_asked_for() {
        let wait = |seconds, count| {
            wait_before(RetryPolicy { limit: 9, backoff: Span::from_secs(seconds) }, count).as_secs()
        };
        assert_eq!([0, 1, 2, 9, 99].map(|count| wait(30, count)), [30, 60, 120, 3600, 3600]);
        assert_eq!([0, 1].map(|count| wait(7200, count)), [7200, 7200]);
        assert_eq!(wait(0, 5), 0);
    }
}
