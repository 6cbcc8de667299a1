//! What to do about one `PipelineTrigger` next: the protocol that fires once.
//!
//! [`decide`] looks at the object and at what this process knows beside it, and answers with one [`Plan`]: at
//! most one status to write, and at most one effect after that write has won. It never waits and never fails.
//!
//! ```text
//! resolve  what a person says of a run that nobody can decide
//! absorb   what became of the last POST, of the pipeline, of the time      → the run as it stands now
//! go on    a run under way: wait, ask for credentials, send once more, start failed jobs again
//! begin    no run under way: baseline, hold, or a new run for every cause that stands
//! tidy     what may be done at leisure: name a pipeline, delete old ones, delete the object itself
//! sum up   phase, message, conditions; write only what reads differently
//! ```
//!
//! What it does not do: read Secrets, talk to GitLab, write. `src/controllers/trigger` does, as told.

mod absorb;
mod begin;
mod cancel;
mod duplicates;
mod leaving;
mod look;
mod look_into;
mod observed;
mod plan;
mod repeat;
mod resolve;
mod retry;
mod retry_asked;
#[cfg(test)]
mod tests;
mod tidy;
mod updates;
mod waiting;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use cancel::cancel_again;
pub use leaving::FINALIZER;
pub use look::LOOK_INTERVAL;
pub use observed::{
    CancelSent, Credentials, Facts, FirstSight, Observed, OutputsRead, Policy, RequestSight, UpdateSeen,
};
pub use plan::{
    CancelOrder, Effect, FireOrder, Follow, LookAt, LookInto, LookUp, NameOrder, Note, OutputsOrder, Plan,
    Question, RequestLook, RetryOrder, UpdateEntry, UpdateKey, UpdateOrder,
};
pub use retry::RETRY_TRIES;
pub use tidy::{DELETION_TRIES, MAX_DELETIONS};
pub(in crate::decide) use updates::place_of;

use super::summary::{Standing, summarize};
use crate::domain::digest::Compared;
use crate::domain::trace::Again;
use crate::domain::{Access, Cause, Digest, Phase, Reason, Run, RunTrace, Trigger, TriggerStatus};

/// An intent older than this is not sent any more: the process may have slept since its write won.
pub const INTENT_MAX_AGE: Duration = Duration::from_secs(10);
/// Whoever waits for GitLab's rate limit is called in its turn; should nobody call, it looks so long after the limit is
/// renewed.
const TURN_AT_LATEST: Duration = Duration::from_secs(120);
/// A refused run is tried again this often: a Secret or a project may have been mended meanwhile. One whose requests are
/// lost again and again comes to be tried as seldom: whoever answers in GitLab's place may do so for days.
pub const REJECTED_RETRY: Duration = Duration::from_secs(600);
/// Clocks of operators and of GitLab differ by less than this: an assumption, told in the documentation.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(600);
/// For so long after its end a pipeline is looked at now and then: somebody may run it again in GitLab.
pub const FOLLOWED_AFTER_END: Duration = Duration::from_secs(6 * 3600);
/// First and longest wait before something that was never sent is tried again.
pub const NOT_SENT_BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What to do about `observed.trigger` next.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Plan {
    let mut draft = Draft::new(*observed);
    draft.trim();
    draft.settle_digest();
    if let Some(deleted_at) = observed.trigger.deleted_at {
        // An object on its way out fires and repeats nothing; what becomes of its run is still told.
        draft.absorb();
        if draft.effect == Effect::Nothing {
            draft.leave(deleted_at);
        }
        draft.pursue_cancel();
    } else if draft.settle_finalizer() {
        // Before anything else: with it on, or off, everything is decided anew.
        let Draft { effect, .. } = draft;
        return Plan {
            status: None,
            effect,
            events: Vec::new(),
            follow: None,
            wake: None,
            expires: None,
            can_wait: false,
        };
    } else {
        draft.line_up_updates();
        draft.resolve();
        draft.absorb();
        draft.absorb_requests();
        draft.heed_cancel();
        draft.cancel_unsent();
        draft.asked_to_retry();
        // A run that had ended may be under way again.
        draft.line_up_updates();
        if draft.effect != Effect::Nothing {
            // Something must be looked at first.
        } else if draft.status.active_run().is_some() {
            draft.go_on();
        } else {
            draft.begin();
        }
        draft.leave_updates();
        draft.pursue_cancel();
        draft.watch_for_duplicates();
        draft.follow_requests();
        draft.tidy();
    }
    draft.finish()
}

/// A decision in the making.
struct Draft<'a> {
    seen: Observed<'a>,
    status: TriggerStatus,
    /// What to say instead of what the run says.
    standing: Option<Standing>,
    effect: Effect,
    events: Vec<Note>,
    wake: Option<Timestamp>,
    /// The cause of a run that just ended Superseded; the next run has it.
    passed: Option<Cause>,
    expires: Option<Timestamp>,
    /// Image updates that have not been sent are given up, as `pipekick.dev/cancel` asked.
    gives_up: bool,
}

impl<'a> Draft<'a> {
    fn new(seen: Observed<'a>) -> Self {
        Self {
            seen,
            status: seen.trigger.status.clone(),
            standing: None,
            effect: Effect::Nothing,
            events: Vec::new(),
            wake: None,
            passed: None,
            expires: None,
            gives_up: false,
        }
    }

    /// First of all, so that what is forgotten is forgotten for this decision and the next alike.
    fn trim(&mut self) {
        if let Ok(spec) = &self.seen.trigger.spec {
            let limit = spec.history_limit;
            self.trim_history(limit);
        }
    }

    /// Why nothing may be fired just now, if so.
    fn stopped(&self) -> Option<Standing> {
        let (reason, message) = if self.seen.policy.paused {
            (Reason::Paused, "the operator is paused (--pause): nothing is fired")
        } else if self.seen.trigger.suspend {
            (Reason::Suspended, "spec.suspend is true: nothing is fired")
        } else {
            return None;
        };
        Some(Standing { phase: Phase::Suspended, reason, message: message.into() })
    }

    /// A run under way: wait for it, or send its POST once more when that is due.
    fn go_on(&mut self) {
        if self.stopped().is_some() {
            self.drop_request();
        }
        let updating = self.status.run.as_deref().is_some_and(Run::is_updating);
        self.note_waiting();
        self.replace();
        // The clocks of every other phase under way were set while absorbing.
        match self.status.active_run().map(|run| run.phase) {
            Some(Phase::Pending) => self.repeat(),
            Some(Phase::Retrying) => self.go_on_retrying(),
            Some(_) | None => {}
        }
        self.go_on_updating();
        if updating && self.status.active_run().is_none() {
            // Who waits must not take the end of this run for that of their own.
            return self.begin();
        }
        let more = self.status.waiting.is_some()
            || self.stopped().is_some()
            || self.changed()
            || self.seen.trigger.spec.is_err();
        if self.status.active_run().is_none() && more {
            // Refused, given up, or seen to have ended. Once that is on record, what stands beside it is decided on.
            self.wake_at(self.seen.now);
        }
    }

    /// A digest that a newer operator recorded cannot be compared. An unedited object means the same as
    /// before; one that was edited since cannot be told from one whose firing fields changed. Either is put on
    /// record at once, for the edit shows in this one decision only.
    fn settle_digest(&mut self) {
        let firing = &self.seen.trigger.firing;
        let Some(decided) = &self.status.decided_digest else { return };
        if firing.compare(decided) == Compared::UnknownVersion {
            let settled = if self.edited() { Digest::unequal() } else { firing.digest() };
            self.status.decided_digest = Some(settled);
        }
    }

    /// Until when the budget is used up, unless that has passed.
    fn budget_until(&self) -> Option<Timestamp> {
        self.seen.facts.budget_until.filter(|until| *until > self.seen.now)
    }

    fn wait_for_budget(&mut self, until: Timestamp) {
        let message = format!(
            "GitLab's rate limit is used up until {}; those who wait then take turns",
            Timestamp::from_second(until.as_second().saturating_add(1)).unwrap_or(until)
        );
        if self.status.active_run().is_some() {
            self.say(Reason::RateLimited, message);
        } else {
            self.standing = Some(Standing { phase: Phase::Pending, reason: Reason::RateLimited, message });
        }
        self.wake_at(later(until, TURN_AT_LATEST));
    }

    /// A run that goes on after its end was told of already: what comes now is told as a span beside that one.
    fn note_going_on(&mut self) {
        let Observed { now, policy, trigger, facts: _ } = self.seen;
        let (Some(before), Some(run)) = (trigger.status.run.as_deref(), self.status.run.as_deref_mut())
        else {
            return;
        };
        let goes_on =
            before.fire_id == run.fire_id && before.finished_at.is_some() && run.finished_at.is_none();
        if !(policy.traced && goes_on) {
            return;
        }
        let unrecorded = || RunTrace { due_at: before.intended_at, parent: None, again: None };
        run.trace.get_or_insert_with(unrecorded).again = Some(Again { since: now, after: before.phase });
    }

    /// What the run says of itself from now on.
    fn say(&mut self, reason: Reason, message: String) {
        if let Some(run) = &mut self.status.run {
            run.reason = Some(reason);
            run.message = Some(message);
        }
    }

    fn tell(&mut self, warning: bool, reason: Reason, message: &str) {
        self.events.push(Note { warning, reason, message: message.to_owned() });
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |before| before.min(at)));
    }

    fn wake_after(&mut self, after: Duration) {
        self.wake_at(later(self.seen.now, after));
    }

    /// Sums up, and keeps the status only if it reads differently.
    fn finish(mut self) -> Plan {
        let Observed { now, policy: _, trigger, facts: _ } = self.seen;
        let lets_go = matches!(self.effect, Effect::SetFinalizers(_));
        if trigger.deleted_at.is_some() && self.status == trigger.status && !lets_go {
            // Nothing new to tell, and nobody to tell it to soon.
            let follow = self.status.run.as_deref().and_then(|run| follow_of(run, trigger, now));
            let (effect, wake) = (self.effect, self.wake);
            return Plan {
                status: None,
                effect,
                events: vec![],
                follow,
                wake,
                expires: None,
                can_wait: false,
            };
        }
        self.note_going_on();
        summarize(&mut self.status, self.standing.take(), trigger.generation, now);
        let follow = self.status.run.as_deref().and_then(|run| follow_of(run, trigger, now));
        // Before a look nothing is written: what it brings is decided on with everything else.
        let looks = match self.effect {
            Effect::ReadCredentials(_)
            | Effect::LookUp(_)
            | Effect::LookAt(_)
            | Effect::LookAtOwn(_)
            | Effect::LookInto(_)
            | Effect::LookAtRequests(_)
            | Effect::ReadOutputs(_) => true,
            Effect::Nothing
            | Effect::Fire(_)
            | Effect::Cancel(_)
            | Effect::Retry(_)
            | Effect::Name(_)
            | Effect::DeletePipeline(_)
            | Effect::DeleteObject
            | Effect::SetFinalizers(_)
            | Effect::Update(_)
            | Effect::GiveUp(_) => false,
        };
        let changed = self.status != trigger.status && !looks;
        let can_wait = self.effect == Effect::Nothing && was_just_created(&trigger.status, &self.status);
        Plan {
            status: changed.then_some(self.status),
            effect: self.effect,
            events: if changed || lets_go { self.events } else { Vec::new() },
            follow,
            wake: self.wake,
            expires: self.expires,
            can_wait,
        }
    }
}

/// `at` plus `after`, cut off at the end of time.
fn later(at: Timestamp, after: Duration) -> Timestamp {
    SignedDuration::try_from(after)
        .ok()
        .and_then(|after| at.checked_add(after).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Whether all that status does not tell yet is that the first POST of its run made a pipeline, which a token is at hand
/// to find should this process die. Where nobody can look, or it was sent again, it is written at once.
fn was_just_created(written: &TriggerStatus, now: &TriggerStatus) -> bool {
    let (Some(before), Some(run)) = (written.active_run(), now.active_run()) else { return false };
    let first = run.attempt.as_ref().is_some_and(|attempt| attempt.count == 1);
    (before.phase, run.phase) == (Phase::Firing, Phase::Running)
        && before.fire_id == run.fire_id
        && first
        && run.target.access.is_some()
}

/// Ends a run.
fn end(run: &mut Run, phase: Phase, reason: Reason, message: String, now: Timestamp) {
    run.phase = phase;
    run.reason = Some(reason);
    run.message = Some(message);
    run.finished_at = Some(now);
}

/// How to follow a run whose pipeline is under way, or ended not long ago.
fn follow_of(run: &Run, trigger: &Trigger, now: Timestamp) -> Option<Follow> {
    let pipeline = run.pipeline.as_ref()?;
    let since = if matches!(run.phase, Phase::Running | Phase::Retrying) {
        let retried = run.retry.as_ref().and_then(|retry| retry.at);
        // Who waits for its end by cancelling looks as often as at a young one.
        let cancelled = run.cancel_request().map(|(at, _)| at);
        run.fired_at.max(run.resumed_at).max(retried).max(cancelled).unwrap_or(run.intended_at)
    } else {
        let ended = run.finished_at.filter(|_| run.has_ended_pipeline() && !run.is_updating())?;
        Some(ended).filter(|ended| now < later(*ended, FOLLOWED_AFTER_END))?
    };
    Some(Follow {
        fire_id: run.fire_id.clone(),
        stretch: run.stretch()?,
        status: pipeline.status.clone(),
        url: run.target.url.clone(),
        project: pipeline.project_id.map_or_else(|| run.target.project.clone(), |id| id.to_string()),
        named_project: run.target.project.clone(),
        access: access_of(run, trigger)?,
        since,
    })
}

/// What to look at a run with: spec's, while spec still names the run's GitLab and project, so that a credential moved
/// to another Secret is found; else what the run was fired with.
fn access_of(run: &Run, trigger: &Trigger) -> Option<Access> {
    let target = &run.target;
    let (token, ca_bundle) = match &trigger.spec {
        Ok(spec) if spec.url.as_str() == target.url && spec.project.to_string() == target.project => {
            (spec.access_token.clone().or_else(|| target.access.clone()), &spec.ca_bundle)
        }
        Ok(_) | Err(_) => (target.access.clone(), &target.ca_bundle),
    };
    Some(Access { token: token?, ca_bundle: ca_bundle.clone() })
}
