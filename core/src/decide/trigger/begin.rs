//! No run is under way: take the baseline, hold, try a refused run again, or begin a run for every cause
//! that stands.

use jiff::Timestamp;

use super::{Draft, FirstSight, end};
use crate::decide::action::told_apart;
use crate::decide::summary::Standing;
use crate::domain::UpdateRecord;
use crate::domain::digest::Compared;
use crate::domain::run::CauseKind;
use crate::domain::status::{Answered, Handled};
use crate::domain::trace::asked_with;
use crate::domain::{
    Attempt, Cause, FireId, FireOn, LastAttempt, Phase, Reason, Run, RunTrace, Spec, Target, TriggerStatus,
    Variable,
};

impl Draft<'_> {
    pub(super) fn begin(&mut self) {
        let trigger = self.seen.trigger;
        let first_sight = self.status.decided_digest.is_none();
        if first_sight && trigger.fire_on != FireOn::Apply {
            self.take_baseline(true);
        } else if trigger.fire_on == FireOn::Request && self.passed.is_none() {
            self.take_baseline(false);
        }
        if let Some(stopped) = self.stopped() {
            self.drop_request();
            if self.status.waiting.is_some() {
                self.note_waiting();
            }
            self.standing = Some(stopped);
            return;
        }
        let spec = match &trigger.spec {
            Ok(spec) => spec.clone(),
            Err(problem) => {
                let message = problem.0.clone();
                self.standing =
                    Some(Standing { phase: Phase::Rejected, reason: Reason::InvalidSpec, message });
                return;
            }
        };
        let hold = self.seen.policy.first_sight == FirstSight::Hold;
        if first_sight && trigger.fire_on == FireOn::Apply && hold {
            self.hold_first_sight(&spec);
            return;
        }
        match self.cause(first_sight) {
            Some(cause) => self.begin_run(&cause, spec),
            None => {
                // What waited for a run that has ended was taken back.
                self.status.waiting = None;
                if self.status.run.as_deref().is_some_and(|run| run.phase == Phase::Rejected) {
                    self.repeat();
                }
            }
        }
    }

    /// What stands in the spec now is what later edits are compared with; it fires nothing.
    fn take_baseline(&mut self, first_sight: bool) {
        self.status.decided_digest = Some(self.seen.trigger.firing.digest());
        if let Some(value) = self.asked().filter(|_| first_sight) {
            self.answer(value, Answered::Recorded);
        }
    }

    /// The value of `pipekick.dev/fire`, if it was not answered yet.
    pub(super) fn asked(&self) -> Option<String> {
        let TriggerStatus { last_handled, run, history, waiting, .. } = &self.status;
        let stands = self.seen.trigger.fire.as_ref();
        let value = stands.map_or_else(String::new, |value| told_apart(value));
        let answered = last_handled.fire.as_ref().is_some_and(|handled| handled.value == value)
            || run.as_deref().and_then(|run| run.request.as_ref()) == Some(&value)
            || history.iter().any(|entry| entry.request.as_ref() == Some(&value));
        if !value.is_empty() && !answered {
            return Some(value);
        }
        // It may have been taken away since; see `waiting.rs`.
        waiting.as_ref().and_then(|waiting| waiting.request.clone())
    }

    pub(super) fn answer(&mut self, value: String, answer: Answered) {
        self.status.last_handled.fire = Some(Handled { value, answer });
    }

    /// Why a run is due, if one is. A request outranks a change: who asked wants to find the answer.
    fn cause(&mut self, first_sight: bool) -> Option<Cause> {
        if let Some(value) = self.asked() {
            return Some(Cause::Request(value));
        }
        let held = |run: &Run| run.phase == Phase::Held && run.reason == Some(Reason::FirstSight);
        if self.status.run.as_deref().is_some_and(held) {
            // Whatever is edited meanwhile: it waits to be asked, and then fires what stands there.
            return None;
        }
        if let Some(passed) = self.passed.take() {
            return Some(passed);
        }
        if first_sight {
            return (self.seen.trigger.fire_on == FireOn::Apply).then_some(Cause::Apply);
        }
        if self.seen.trigger.fire_on != FireOn::Request && self.changed() {
            return Some(Cause::Change);
        }
        None
    }

    /// Whether a firing field differs from what was decided on last.
    pub(super) fn changed(&self) -> bool {
        let decided = self.status.decided_digest.as_ref();
        decided.is_some_and(|decided| self.seen.trigger.firing.compare(decided) == Compared::Changed)
    }

    fn begin_run(&mut self, cause: &Cause, spec: Spec) {
        if let Some(until) = self.budget_until() {
            self.wait_for_budget(until);
            return;
        }
        let mut run = self.new_run(cause, &spec);
        intend(&mut run, 1, self.seen.now, self.seen.policy.writer.clone(), &spec);
        if let Some(value) = self.asked() {
            self.answer(value, Answered::Fired);
        }
        self.put(run, spec.history_limit);
        self.fire(spec, true);
    }

    fn hold_first_sight(&mut self, spec: &Spec) {
        let mut run = self.new_run(&Cause::Apply, spec);
        let message = "held at first sight (--first-sight=Hold): annotate pipekick.dev/fire with a new value to fire it";
        end(&mut run, Phase::Held, Reason::FirstSight, message.into(), self.seen.now);
        if let Some(value) = self.asked() {
            self.answer(value, Answered::Recorded);
        }
        self.put(run, spec.history_limit);
        self.tell(true, Reason::FirstSight, message);
    }

    fn new_run(&self, cause: &Cause, spec: &Spec) -> Run {
        let (now, trigger) = (self.seen.now, self.seen.trigger);
        let last = self.status.run.as_deref().map_or(0, |run| run.seq);
        let seq = trigger.status.history.iter().map(|entry| entry.seq).fold(last, u64::max).saturating_add(1);
        let digest = trigger.firing.digest();
        let (kind, request) = match cause {
            Cause::Apply => (CauseKind::Apply, None),
            Cause::Change => (CauseKind::Change, None),
            Cause::Request(value) => (CauseKind::Request, Some(value.clone())),
        };
        Run {
            seq,
            fire_id: FireId::new(&trigger.uid, seq, cause, &digest, now),
            cause: kind,
            request,
            collapsed: 0,
            digest,
            target: target_of(spec),
            phase: Phase::Pending,
            reason: None,
            message: None,
            attempt: None,
            intended_at: now,
            intended_at_gitlab: self.seen.facts.gitlab_now,
            fired_at: None,
            cancel_requested_at: None,
            cancel_requested_by: None,
            finished_at: None,
            resumed_at: None,
            name: spec.name.clone().filter(|_| spec.access_token.is_some()),
            name_refused: None,
            retry: None,
            pipeline: None,
            duplicates: Vec::new(),
            failed_jobs: Vec::new(),
            tests: None,
            downstream: Vec::new(),
            image_updates: spec.image_updates.iter().map(UpdateRecord::of).collect(),
            trace: self.seen.policy.traced.then(|| RunTrace {
                due_at: self.status.waiting.as_ref().map_or(now, |waiting| waiting.since),
                parent: asked_with(&spec.variables).map(|parent| parent.to_string()),
                again: None,
            }),
        }
    }

    /// Makes `run` the current one; the one before it goes to history.
    fn put(&mut self, mut run: Run, history_limit: usize) {
        run.collapsed = self.status.waiting.take().map_or(0, |waiting| waiting.collapsed);
        self.status.decided_digest = Some(run.digest.clone());
        if let Some(mut before) = self.status.run.replace(Box::new(run)) {
            if before.phase == Phase::Held {
                before.phase = Phase::Superseded;
            }
            self.status.history.insert(0, before.to_history());
            self.trim_history(history_limit);
        }
    }
}

/// Records in `run` that its POST number `count` is about to be sent by `writer`.
pub(super) fn intend(run: &mut Run, count: u32, now: Timestamp, writer: String, spec: &Spec) {
    run.phase = Phase::Firing;
    run.reason = Some(Reason::Sending);
    run.message = Some(format!("run {} is being sent to {}", run.seq, run.target.project));
    run.finished_at = None;
    run.attempt = Some(Attempt {
        count,
        last: LastAttempt::Unknown,
        at: now,
        by: writer,
        next_at: None,
        // With an access token the mark is a variable, and travels only beside others. Those that may turn out to be
        // left out promise nothing.
        marked: spec.trigger_token.is_some() || spec.variables.iter().any(Variable::is_certain),
        trouble: run.attempt.as_ref().and_then(|attempt| attempt.trouble),
        absent_at: None,
        absent_at_gitlab: None,
        unproven: run.attempt.as_ref().is_some_and(|attempt| attempt.unproven),
        check_at: None,
    });
}

/// Where a run of this spec goes.
pub(super) fn target_of(spec: &Spec) -> Target {
    Target {
        url: spec.url.to_string(),
        project: spec.project.to_string(),
        git_ref: spec.git_ref.to_string(),
        trigger: spec.trigger_token.clone(),
        access: spec.access_token.clone(),
        ca_bundle: spec.ca_bundle.clone(),
    }
}
