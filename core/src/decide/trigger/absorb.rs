//! What has become of the run: the answer to its POST, its pipeline, and the time.

use std::time::Duration;

use jiff::Timestamp;

use super::super::summary::names_something_missing;
use super::cancel::{in_time, words};
use super::{CLOCKS_DIFFER, Draft, INTENT_MAX_AGE, NOT_SENT_BACKOFF, REJECTED_RETRY, end, later};
use crate::domain::run::CancelCause;
use crate::domain::{
    Answer, FailedJob, LastAttempt, Phase, Pipeline, PipelineStatus, Reason, Report, Run, Sighting, Span,
    YamlErrors,
};

/// Manual jobs named in a message, at most.
const MANUAL_JOBS: usize = 3;
/// Failed jobs, and downstream pipelines, that a status tells of.
const FAILED_JOBS: usize = 5;
const DOWNSTREAM: usize = 20;

impl Draft<'_> {
    /// Brings the run up to what is known now.
    pub(super) fn absorb(&mut self) {
        let Some(run) = self.status.active_run() else {
            self.link_stillborn();
            self.absorb_afterlife();
            return;
        };
        if run.is_updating() {
            // What its pipeline does after its end is looked at when they are done.
            self.absorb_updates();
            return;
        }
        match run.phase {
            Phase::Firing => {
                if !self.absorb_answer() {
                    self.absorb_silence();
                }
                self.absorb_blindness();
                self.absorb_progress();
            }
            Phase::Unknown => {
                // Its own answer may come late, after another process has given it up.
                if !self.absorb_answer() {
                    self.absorb_lookup();
                }
                self.absorb_progress();
            }
            Phase::Running | Phase::Retrying => self.absorb_progress(),
            // It waits for its turn.
            Phase::Pending => {}
            Phase::Succeeded
            | Phase::Fired
            | Phase::Failed
            | Phase::Canceled
            | Phase::Skipped
            | Phase::Rejected
            | Phase::Held
            | Phase::TimedOut
            | Phase::Superseded
            | Phase::Suspended
            | Phase::Idle => {}
        }
    }

    /// Takes the answer to the POST that the intent names; `false` if there is none, or none that helps.
    fn absorb_answer(&mut self) -> bool {
        let Some(run) = &self.status.run else { return false };
        let Some(key) = run.attempt_key() else { return false };
        let known = self.seen.facts.answers.iter().find(|(of, _)| *of == key);
        let Some((_, answer)) = known else { return false };
        if run.phase == Phase::Unknown && matches!(answer, Answer::Unknown { .. }) {
            return false;
        }
        // What it leaves open is asked first.
        if let Some(answer) = self.looked_into(&key, answer.clone()) {
            self.take(answer);
        }
        true
    }

    /// An intent without an answer: of a process that is gone, or of this one, which lost track. It may have
    /// been sent up to the last moment of its age and may have been answered up to the deadline after that.
    fn absorb_silence(&mut self) {
        let patience = INTENT_MAX_AGE + self.seen.policy.request_deadline;
        let age = self.seen.facts.intent_age.unwrap_or_default();
        // A process may not live so long. Somebody else's intent that is so old by the wall clock that no
        // difference of clocks explains it is as well taken as unknown at once: what is proven of it is proven later.
        let attempt = self.status.run.as_deref().and_then(|run| run.attempt.as_ref());
        let is_old = attempt.is_some_and(|attempt| {
            attempt.by != self.seen.policy.writer
                && self.seen.now >= later(attempt.at, CLOCKS_DIFFER + patience)
        });
        if let Some(left) = patience.checked_sub(age).filter(|left| !left.is_zero() && !is_old) {
            self.wake_after(left);
            return;
        }
        self.take(Answer::Unknown {
            message: "the operator stopped between sending and recording the outcome".into(),
        });
    }

    /// Nobody was asked, for GitLab could not do it: as if it had refused.
    pub(super) fn refuse(&mut self, reason: Reason, message: String) {
        self.take(Answer::Refused { reason, message });
    }

    fn take(&mut self, answer: Answer) {
        let (now, edited) = (self.seen.now, self.edited());
        let Some(run) = &mut self.status.run else { return };
        let Some(attempt) = &mut run.attempt else { return };
        attempt.next_at = None;
        let repeated = attempt.count > 1;
        let (warning, reason, message) = match answer {
            Answer::Accepted(pipeline) => {
                attempt.last = LastAttempt::Accepted;
                attempt.trouble = None;
                run.fired_at = Some(now);
                let created = format!("pipeline {} was created on {}", pipeline.id, run.target.git_ref);
                let followed = run.target.access.is_some();
                accept(run, pipeline, Report::default(), followed, now);
                if run.phase == Phase::Failed {
                    (
                        true,
                        run.reason.unwrap_or(Reason::PipelineFailed),
                        run.message.clone().unwrap_or(created),
                    )
                } else {
                    (false, Reason::PipelineCreated, created)
                }
            }
            Answer::FailedAtBirth { message } => {
                attempt.last = LastAttempt::Accepted;
                run.fired_at = Some(now);
                let message = format!("GitLab stored a failed pipeline: {message}");
                end(run, Phase::Failed, Reason::PipelineFailedAtBirth, message.clone(), now);
                if run.target.access.is_some() {
                    // First on record, then looked up: it is not settled before it is linked.
                    self.wake_at(now);
                }
                (true, Reason::PipelineFailedAtBirth, message)
            }
            Answer::Refused { reason, message } => {
                attempt.last = LastAttempt::Refused;
                let told = attempt.trouble.replace(reason) == Some(reason);
                if edited {
                    // Something was mended while the request was on its way.
                    wait(run, now, reason, message.clone());
                    self.wake_at(now);
                } else {
                    attempt.next_at = Some(later(now, REJECTED_RETRY));
                    end(run, Phase::Rejected, reason, message.clone(), now);
                    self.wake_after(REJECTED_RETRY);
                }
                if told {
                    return;
                }
                (true, reason, message)
            }
            Answer::Throttled { reason, message, until } => {
                attempt.last = LastAttempt::Refused;
                attempt.trouble = Some(reason);
                wait(run, until, reason, message);
                self.wake_at(until);
                return;
            }
            Answer::NotSent { reason, message } => {
                attempt.last = LastAttempt::NotSent;
                let told = attempt.trouble.replace(reason) == Some(reason);
                let until = later(now, back_off(attempt.count));
                wait(run, until, reason, message.clone());
                self.wake_at(until);
                if told {
                    return;
                }
                (true, reason, message)
            }
            Answer::Unknown { message } => {
                attempt.last = LastAttempt::Unknown;
                let told = attempt.is_lost_again();
                run.phase = Phase::Unknown;
                run.reason = Some(Reason::OutcomeUnknown);
                let message = format!("a pipeline may or may not have been created: {message}");
                run.message = Some(message.clone());
                // First on record, then looked up.
                self.wake_at(now);
                if told {
                    return;
                }
                (true, Reason::OutcomeUnknown, message)
            }
        };
        self.tell(warning, reason, &message);
        let made =
            |run: &Run| run.attempt.as_ref().is_some_and(|attempt| attempt.last == LastAttempt::Accepted);
        if repeated && self.status.run.as_deref().is_some_and(made) {
            self.check_later();
        }
    }

    /// Of a pipeline under way: what it does, and how long it takes.
    fn absorb_progress(&mut self) {
        self.absorb_cancel();
        self.absorb_sighting();
        self.retry_if_wanted();
        self.absorb_time();
    }

    fn absorb_sighting(&mut self) {
        let seen = self.seen;
        let under_way = |run: &&mut Run| matches!(run.phase, Phase::Running | Phase::Retrying);
        let Some(run) = self.status.run.as_deref_mut().filter(under_way) else { return };
        let stretch = run.stretch();
        let Some((_, sighting)) = seen.facts.sighting.as_ref().filter(|(of, _)| Some(of) == stretch.as_ref())
        else {
            return;
        };
        self.take_look(sighting.clone());
    }

    /// Takes in what a look at the pipeline of a run under way brought.
    pub(super) fn take_look(&mut self, sighting: Sighting) {
        let now = self.seen.now;
        let Some(run) = self.status.run.as_deref_mut() else { return };
        match sighting {
            Sighting::Seen { pipeline, report } => {
                if self.is_old_news(&pipeline, &report) {
                    return;
                }
                let Some(run) = self.status.run.as_deref_mut() else { return };
                if !pipeline.status.is_complete() {
                    // How cancelling goes is told instead.
                    if run.cancel_request().is_none() {
                        progress(run, &pipeline.status, &report.manual_jobs);
                    }
                    return;
                }
                complete(run, pipeline, report, now);
            }
            Sighting::Gone => {
                let id = run.pipeline.as_ref().map(|pipeline| pipeline.id).unwrap_or_default();
                let message = format!("pipeline {id} was deleted in GitLab before its end was seen");
                let (phase, reason, message) = in_time(run, Phase::Canceled, Reason::PipelineGone, message);
                end(run, phase, reason, message, now);
            }
            Sighting::Trouble { reason, message } => {
                let id = run.pipeline.as_ref().map(|pipeline| pipeline.id).unwrap_or_default();
                // Where a person must provide something, the reason says what.
                let missing = names_something_missing(reason);
                run.reason = Some(if missing { reason } else { Reason::CannotFollow });
                run.message = Some(format!("pipeline {id} cannot be followed ({reason}): {message}"));
                return;
            }
        }
        self.tell_end();
    }

    fn tell_end(&mut self) {
        let Some(run) = &self.status.run else { return };
        let (warning, reason) = (run.phase != Phase::Succeeded, run.reason.unwrap_or(Reason::Other));
        let message = run.message.clone().unwrap_or_default();
        self.tell(warning, reason, &message);
    }

    /// Of a pipeline that has ended: whether somebody ran it again in GitLab.
    fn absorb_afterlife(&mut self) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref_mut().filter(|run| run.has_ended_pipeline()) else { return };
        let (stretch, Some(known)) = (run.stretch(), &run.pipeline) else { return };
        let sighting = seen.facts.sighting.as_ref().filter(|(of, _)| Some(of) == stretch.as_ref());
        // Deleted or unreadable after its end: what is told of it stays true.
        let Some((_, Sighting::Seen { pipeline, report })) = sighting else { return };
        if pipeline.status.is_complete() {
            let ended_anew = known.finished_at.is_some()
                && pipeline.finished_at.is_some()
                && known.finished_at != pipeline.finished_at;
            if pipeline.status != known.status || ended_anew {
                complete(run, pipeline.clone(), report.clone(), seen.now);
                self.tell_end();
            }
            return;
        }
        run.phase = Phase::Running;
        run.finished_at = None;
        run.resumed_at = Some(seen.now);
        // What was to be cancelled has ended; this is another life.
        (run.cancel_requested_at, run.cancel_requested_by) = (None, None);
        run.failed_jobs = Vec::new();
        run.tests = None;
        run.downstream = Vec::new();
        let message = format!("pipeline {} runs again in GitLab", pipeline.id);
        let status = pipeline.status.clone();
        run.pipeline = Some(pipeline.clone());
        progress(run, &status, &report.manual_jobs);
        self.tell(false, Reason::PipelineRunsAgain, &message);
    }

    /// When the run takes too long, if it has a limit.
    pub(super) fn over(&self) -> Option<(Span, Timestamp)> {
        let (timeout, run) = (self.seen.trigger.spec.as_ref().ok()?.timeout?, self.status.run.as_deref()?);
        let since = run.resumed_at.or(run.fired_at).unwrap_or(run.intended_at);
        Some((timeout, later(since, timeout.into())))
    }

    fn absorb_time(&mut self) {
        let now = self.seen.now;
        let cancels = self.seen.trigger.spec.as_ref().is_ok_and(|spec| spec.cancel_on_timeout);
        let (Some((timeout, over)), Some(run)) = (self.over(), &self.status.run) else { return };
        if !matches!(run.phase, Phase::Running | Phase::Retrying) {
            return;
        }
        // Whoever had it cancelled: it has some time to end so.
        if let Some(wait) = Some(over).filter(|over| *over > now).or_else(|| self.cancel_pends_until()) {
            self.wake_at(wait);
            return;
        }
        if cancels && run.cancel_request().is_none_or(|(_, by)| by != CancelCause::Timeout) {
            self.request_cancel(CancelCause::Timeout);
            return;
        }
        let message = format!("the run took longer than {timeout}; {}", self.what_cancel_brought());
        let Some(run) = &mut self.status.run else { return };
        end(run, Phase::TimedOut, Reason::TimedOut, message.clone(), now);
        self.tell(true, Reason::TimedOut, &message);
    }
}

/// How long to wait before something that made nothing is tried again, the `count`-th time.
pub(super) fn back_off(count: u32) -> Duration {
    let (first, longest) = NOT_SENT_BACKOFF;
    growing(first, count, longest)
}

/// The same where requests are lost one after the other.
pub(super) fn back_off_lost(count: u32) -> Duration {
    growing(NOT_SENT_BACKOFF.0, count, REJECTED_RETRY)
}

fn growing(first: Duration, count: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << count.saturating_sub(1).min(8)).min(longest)
}

/// A pipeline was made for the run.
pub(super) fn accept(run: &mut Run, pipeline: Pipeline, report: Report, followed: bool, now: Timestamp) {
    if pipeline.status.is_complete() {
        complete(run, pipeline, report, now);
    } else if followed {
        run.phase = Phase::Running;
        let status = pipeline.status.clone();
        run.pipeline = Some(pipeline);
        progress(run, &status, &[]);
    } else {
        let message =
            format!("pipeline {} was created; without accessTokenRef its end is not followed", pipeline.id);
        end(run, Phase::Fired, Reason::NotFollowed, message, now);
        run.pipeline = Some(pipeline);
    }
}

/// Back to waiting, with nothing sent or nothing made.
fn wait(run: &mut Run, until: Timestamp, reason: Reason, message: String) {
    run.phase = Phase::Pending;
    run.reason = Some(reason);
    run.message = Some(message);
    if let Some(attempt) = &mut run.attempt {
        attempt.next_at = Some(until);
    }
}

/// A pipeline on its way. Only what a person must know of is told: not every status on the way.
pub(super) fn progress(run: &mut Run, status: &PipelineStatus, manual_jobs: &[String]) {
    let id = run.pipeline.as_ref().map(|pipeline| pipeline.id).unwrap_or_default();
    let retries = run.retry.as_ref().filter(|_| run.phase == Phase::Retrying).map(|retry| retry.count);
    let (reason, message) = if *status == PipelineStatus::Manual {
        let jobs = what_to_play(manual_jobs);
        (Reason::PipelineManual, format!("pipeline {id} waits for a person to play {jobs}"))
    } else if let Some(count) = retries {
        (Reason::PipelineRetrying, format!("failed jobs of pipeline {id} were started again (retry {count})"))
    } else {
        (Reason::PipelineRunning, format!("pipeline {id} is under way"))
    };
    run.reason = Some(reason);
    run.message = Some(message);
}

/// The jobs that a person must play, as far as they are known.
fn what_to_play(jobs: &[String]) -> String {
    let (named, others) = jobs.split_at(jobs.len().min(MANUAL_JOBS));
    let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
    match named {
        [] => "a manual job".into(),
        [job] => format!("job {job}"),
        jobs => format!("jobs {}{more}", jobs.join(", ")),
    }
}

/// The pipeline has ended.
fn complete(run: &mut Run, mut pipeline: Pipeline, report: Report, now: Timestamp) {
    let Report { mut failed_jobs, manual_jobs: _, tests, mut downstream } = report;
    failed_jobs.truncate(FAILED_JOBS);
    downstream.truncate(DOWNSTREAM);
    let (id, yaml_errors) = (pipeline.id, pipeline.yaml_errors.take());
    let took = pipeline.duration_seconds.map_or(String::new(), |s| format!(" in {}", Span::from_secs(s)));
    let (phase, reason, message) = match &pipeline.status {
        PipelineStatus::Success => {
            (Phase::Succeeded, Reason::PipelineSucceeded, format!("pipeline {id} succeeded{took}"))
        }
        PipelineStatus::Canceled => {
            let message = match run.cancel_request() {
                None => format!("pipeline {id} was cancelled in GitLab"),
                Some((_, by)) => format!("pipeline {id} was cancelled, {}", words(by)),
            };
            (Phase::Canceled, Reason::PipelineCanceled, message)
        }
        PipelineStatus::Skipped => {
            (Phase::Skipped, Reason::PipelineSkipped, format!("pipeline {id} was skipped by GitLab"))
        }
        PipelineStatus::Failed => match yaml_errors.filter(|_| failed_jobs.is_empty()) {
            Some(why) => {
                let message = match why {
                    YamlErrors::Told(why) => {
                        format!("GitLab stored a failed pipeline: {why}. Mend that, then ask for a new run")
                    }
                    YamlErrors::Untold => format!(
                        "GitLab stored pipeline {id} as failed, for it could make no jobs of the CI configuration: the pipeline's page says why. Mend that, then ask for a new run"
                    ),
                };
                (Phase::Failed, Reason::PipelineFailedAtBirth, message)
            }
            None => (Phase::Failed, Reason::PipelineFailed, failure(id, &failed_jobs)),
        },
        PipelineStatus::Created
        | PipelineStatus::WaitingForResource
        | PipelineStatus::Preparing
        | PipelineStatus::WaitingForCallback
        | PipelineStatus::Pending
        | PipelineStatus::Running
        | PipelineStatus::Canceling
        | PipelineStatus::Manual
        | PipelineStatus::Scheduled
        | PipelineStatus::Other(_) => return,
    };
    let (phase, reason, message) = in_time(run, phase, reason, message);
    run.pipeline = Some(pipeline);
    run.failed_jobs = failed_jobs;
    run.tests = tests;
    run.downstream = downstream;
    end(run, phase, reason, message, now);
}

pub(super) fn failure(id: u64, jobs: &[FailedJob]) -> String {
    let Some((first, others)) = jobs.split_first() else { return format!("pipeline {id} failed") };
    let stage = first.stage.as_ref().map_or(String::new(), |stage| format!(" ({stage})"));
    let why = first.failure_reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let more = match others.len() {
        0 => String::new(),
        // What is read and kept ends here, and there may be more.
        count if jobs.len() >= FAILED_JOBS => format!(" (and at least {count} more)"),
        count => format!(" (and {count} more)"),
    };
    format!("job {}{stage} failed{why}{more}", first.name)
}
