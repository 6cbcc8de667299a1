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
mod resolve;
mod retry;
#[cfg(test)]
mod tests;
mod tidy;
mod waiting;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use cancel::cancel_again;
pub use leaving::FINALIZER;
pub use look::LOOK_INTERVAL;
pub use retry::RETRY_TRIES;
pub use tidy::{DELETION_TRIES, MAX_DELETIONS};

use super::summary::{Standing, summarize};
use crate::domain::digest::Compared;
use crate::domain::run::CauseKind;
use crate::domain::{
    Access, Answer, AttemptKey, Cancelled, Cause, Changed, Deletion, Digest, Finding, FireId, LastAttempt,
    Lookup, Named, Phase, PipelineStatus, Reason, RetryKey, Run, Sighting, Spec, Stretch, Target, Trigger,
    TriggerStatus,
};

/// An intent older than this is not sent any more: the process may have slept since its write won.
pub const INTENT_MAX_AGE: Duration = Duration::from_secs(10);
/// A refused run is tried again this often: a Secret or a project may have been mended meanwhile.
pub const REJECTED_RETRY: Duration = Duration::from_secs(600);
/// Clocks of operators and of GitLab differ by less than this: an assumption, told in the documentation.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(600);
/// For so long after its end a pipeline is looked at now and then: somebody may run it again in GitLab.
pub const FOLLOWED_AFTER_END: Duration = Duration::from_secs(6 * 3600);
/// First and longest wait before something that was never sent is tried again.
pub const NOT_SENT_BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What to do with an object seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSight {
    /// As its `fireOn` says.
    Fire,
    /// Hold it until asked: after a cluster was restored, every object is new.
    Hold,
}

/// How this operator was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `--first-sight`.
    pub first_sight: FirstSight,
    /// `--pause`: fire nothing, go on following.
    pub paused: bool,
    /// This process, as it signs its intents.
    pub writer: String,
    /// Longest a request to GitLab may take.
    pub request_deadline: Duration,
    /// A request takes effect within this time or never: its deadline, and GitLab's own limit.
    pub resolution_delay: Duration,
    /// A pipeline that was asked to be cancelled ends within this time, or it is told that it does not.
    pub cancel_patience: Duration,
}

/// What became of the last request to cancel a run's pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelSent {
    /// The pipeline.
    pub pipeline_id: u64,
    /// The run's `cancelRequestedAt` that it was sent for.
    pub requested_at: Timestamp,
    /// What it brought.
    pub brought: Cancelled,
    /// The next one is not sent before then.
    pub again_at: Timestamp,
}

/// Whether what the next POST needs is at hand: credentials, values of variables, the CA bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nobody has looked yet.
    #[default]
    Unread,
    /// Read just now.
    Ready,
    /// One is missing or may not be used so.
    Missing {
        /// Why.
        reason: Reason,
        /// Names object and key.
        message: String,
        /// When to look again.
        look_again: Timestamp,
    },
    /// This GitLab could not do what is asked, so it is not asked.
    Refused {
        /// Why.
        reason: Reason,
        /// What it would take.
        message: String,
    },
}

/// What this process knows and status does not say yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What became of POSTs whose outcome is not in status yet.
    pub answers: Vec<(AttemptKey, Answer)>,
    /// How long ago this process first saw the object's current intent (to create a pipeline, or to start its failed
    /// jobs again), by its monotonic clock.
    pub intent_age: Option<Duration>,
    /// The credentials for the next POST.
    pub credentials: Credentials,
    /// The budget of the GitLab host is used up until then.
    pub budget_until: Option<Timestamp>,
    /// What the follower saw last of the run's pipeline.
    pub sighting: Option<(Stretch, Sighting)>,
    /// What a look for the run's pipeline brought, just now.
    pub lookup: Option<(AttemptKey, Lookup)>,
    /// How long ago that look began: what it saw is as old as that.
    pub look_took: Duration,
    /// GitLab's clock when it answered that look.
    pub look_date: Option<Timestamp>,
    /// GitLab's clock as it stands now by what its last answer told, whatever ours says.
    pub gitlab_now: Option<Timestamp>,
    /// The last look was so short ago that the next one waits until then.
    pub look_again: Option<Timestamp>,
    /// What a look at the pipeline that a person named brought, just now.
    pub named: Option<(u64, Named)>,
    /// What a look at the run's own pipeline brought, just now.
    pub looked_at: Option<(u64, Sighting)>,
    /// What became of the last request to start failed jobs again.
    pub retried: Option<(RetryKey, Changed)>,
    /// What became of the last request to name this pipeline so.
    pub naming: Option<(u64, String, Changed)>,
    /// What became of requests to delete pipelines, by id and number of the try.
    pub deleted: Vec<(u64, u32, Changed)>,
    /// What became of the last request to cancel the run's pipeline.
    pub cancel: Option<CancelSent>,
    /// What a look into the refusal of a POST brought, just now.
    pub finding: Option<(AttemptKey, Finding)>,
}

/// Everything one decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The time.
    pub now: Timestamp,
    /// How the operator was started.
    pub policy: &'a Policy,
    /// The object.
    pub trigger: &'a Trigger,
    /// What this process knows beside it.
    pub facts: &'a Facts,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Written first, guarded by the resourceVersion that was looked at; if that fails nothing else is done.
    pub status: Option<TriggerStatus>,
    /// Done after the write has won.
    pub effect: Effect,
    /// Told after the write has won.
    pub events: Vec<Note>,
    /// The pipeline to follow from now on.
    pub follow: Option<Follow>,
    /// Decide again then, whatever happens meanwhile.
    pub wake: Option<Timestamp>,
    /// The object deletes itself then: nothing of it need be kept in mind until that time.
    pub expires: Option<Timestamp>,
}

impl Plan {
    /// Whether nothing but a change of the object, or of a pipeline after its end, can lead to another decision
    /// before it expires.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let Self { status: _, effect, events: _, follow, wake, expires: _ } = self;
        let at_rest = follow.as_ref().is_none_or(|follow| follow.stretch.finished_at.is_some());
        *effect == Effect::Nothing && at_rest && wake.is_none()
    }
}

/// The one thing to do beside writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Read the credentials that the order of the next POST needs, then decide again.
    ReadCredentials(Box<Target>),
    /// Look for the pipeline of a POST whose outcome is not known, then decide again.
    LookUp(Box<LookUp>),
    /// Look at the pipeline that a person named, then decide again.
    LookAt(Box<LookAt>),
    /// Look at the run's own pipeline, now, then decide again.
    LookAtOwn(Box<LookAt>),
    /// Look into what GitLab did not say with a refusal, then decide again.
    LookInto(Box<LookInto>),
    /// Send the POST that the written intent names, once.
    Fire(Box<FireOrder>),
    /// Ask GitLab to cancel a pipeline, then decide again. It may be asked any number of times.
    Cancel(Box<CancelOrder>),
    /// Make these the object's finalizers, then decide again.
    SetFinalizers(Vec<String>),
    /// Ask, once, for the failed jobs to be started again that the written intent names.
    Retry(Box<RetryOrder>),
    /// Name the pipeline; asking again does no harm.
    Name(Box<NameOrder>),
    /// Delete the pipeline of a run that left the history; asking again does no harm.
    DeletePipeline(Box<Deletion>),
    /// Delete the object itself, if it still is what was looked at.
    DeleteObject,
}

/// A request to cancel a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelOrder {
    /// GitLab's id of it.
    pub pipeline_id: u64,
    /// The run's `cancelRequestedAt`: a new one is a new request.
    pub requested_at: Timestamp,
    /// The GitLab instance.
    pub url: String,
    /// The project's numeric id where it is known: it survives renames.
    pub project: String,
    /// The project as the user named it: what a Secret's binding lists.
    pub named_project: String,
    /// What to ask with.
    pub access: Access,
}

impl CancelOrder {
    /// Cancels what is followed.
    fn new(followed: Follow, requested_at: Timestamp) -> Self {
        let Follow { fire_id: _, stretch, status: _, url, project, named_project, access, since: _ } =
            followed;
        Self { pipeline_id: stretch.pipeline_id, requested_at, url, project, named_project, access }
    }
}

/// A look for the pipeline of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// The POST.
    pub key: AttemptKey,
    /// Where it went.
    pub target: Target,
    /// What to look with.
    pub access: Access,
    /// When its run was first intended: no pipeline of it is older, but for the clocks.
    pub intended_at: Timestamp,
    /// The same by GitLab's clock, where it was known.
    pub intended_at_gitlab: Option<Timestamp>,
    /// Whether it carried the run's name.
    pub marked: bool,
}

/// A look at one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAt {
    /// GitLab's id of it.
    pub pipeline_id: u64,
    /// Where the run went.
    pub target: Target,
    /// What to look with.
    pub access: Access,
}

/// A look into a refusal, before its outcome is written. It is short, and may as well not be taken: then less is
/// said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookInto {
    /// The POST that was refused.
    pub key: AttemptKey,
    /// Where it went.
    pub target: Target,
    /// What to look with.
    pub access: Access,
    /// What is asked.
    pub question: Question,
}

/// What a refusal leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// Whether the project is there.
    Project,
    /// Which branches there are.
    Branches,
}

/// One POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FireOrder {
    /// What its outcome is filed under.
    pub key: AttemptKey,
    /// Where it goes, and with which credentials.
    pub target: Target,
    /// The parsed form of the same.
    pub spec: Spec,
    /// Whether credentials and values are read beside the write of the intent (a first POST) or were read before.
    pub read_beside: bool,
}

/// A request to start the failed jobs of a pipeline again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOrder {
    /// What its outcome is filed under.
    pub key: RetryKey,
    /// Which pipeline, where, and with which access token.
    pub at: LookAt,
}

/// A request to name a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameOrder {
    /// Which pipeline, where, and with which access token.
    pub at: LookAt,
    /// The name.
    pub name: String,
}

/// A pipeline to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// The run it belongs to.
    pub fire_id: FireId,
    /// What of its life is told; a finished one is looked at rarely.
    pub stretch: Stretch,
    /// As it was told last.
    pub status: PipelineStatus,
    /// The GitLab instance.
    pub url: String,
    /// The project's numeric id where it is known: it survives renames.
    pub project: String,
    /// The project as the user named it: what a Secret's binding lists.
    pub named_project: String,
    /// What to look with.
    pub access: Access,
    /// When this stretch began, or it was last asked to be cancelled: young ones are looked at more often.
    pub since: Timestamp,
}

/// An Event to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it is a Warning.
    pub warning: bool,
    /// The Event's reason.
    pub reason: Reason,
    /// The Event's message.
    pub message: String,
}

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
        return Plan { status: None, effect, events: Vec::new(), follow: None, wake: None, expires: None };
    } else {
        draft.resolve();
        draft.absorb();
        draft.heed_cancel();
        draft.cancel_unsent();
        draft.asked_to_retry();
        if draft.effect != Effect::Nothing {
            // Something must be looked at first.
        } else if draft.status.active_run().is_some() {
            draft.go_on();
        } else {
            draft.begin();
        }
        draft.pursue_cancel();
        draft.watch_for_duplicates();
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
        self.note_waiting();
        self.replace();
        // The clocks of every other phase under way were set while absorbing.
        match self.status.active_run().map(|run| run.phase) {
            Some(Phase::Pending) => self.repeat(),
            Some(Phase::Retrying) => {
                self.go_on_retrying();
                if self.status.active_run().is_none() {
                    // Given up, or seen to have ended. Once that is on record, what waited for it is decided on.
                    self.wake_at(self.seen.now);
                }
            }
            Some(_) | None => {}
        }
    }

    /// The POST of a run that is known to have made nothing: once more, under the same fire id, if it is due
    /// and still means the same.
    fn repeat(&mut self) {
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
        if run.phase == Phase::Rejected && same && self.edited() {
            // Now, and on record: the next decision does not see the edit any more.
            self.wait_again(Reason::Waiting, "the object was edited: the refused run is tried again");
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
    fn fire(&mut self, spec: Spec, read_beside: bool) {
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
    fn edited(&self) -> bool {
        self.seen.trigger.status.observed_generation != Some(self.seen.trigger.generation)
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

    /// Makes the run wait to be sent once more, from now on.
    fn wait_again(&mut self, reason: Reason, message: &str) {
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

    fn wait_for_budget(&mut self, until: Timestamp) {
        let message = format!(
            "GitLab's rate limit is used up; goes on at {}",
            Timestamp::from_second(until.as_second().saturating_add(1)).unwrap_or(until)
        );
        if self.status.active_run().is_some() {
            self.say(Reason::RateLimited, message);
        } else {
            self.standing = Some(Standing { phase: Phase::Pending, reason: Reason::RateLimited, message });
        }
        self.wake_at(until);
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
            let follow = self.status.run.as_ref().and_then(|run| follow_of(run, trigger, now));
            let (effect, wake) = (self.effect, self.wake);
            return Plan { status: None, effect, events: vec![], follow, wake, expires: None };
        }
        summarize(&mut self.status, self.standing.take(), trigger.generation, now);
        let follow = self.status.run.as_ref().and_then(|run| follow_of(run, trigger, now));
        // Before a look nothing is written: what it brings is decided on with everything else.
        let looks = match self.effect {
            Effect::ReadCredentials(_)
            | Effect::LookUp(_)
            | Effect::LookAt(_)
            | Effect::LookAtOwn(_)
            | Effect::LookInto(_) => true,
            Effect::Nothing
            | Effect::Fire(_)
            | Effect::Cancel(_)
            | Effect::Retry(_)
            | Effect::Name(_)
            | Effect::DeletePipeline(_)
            | Effect::DeleteObject
            | Effect::SetFinalizers(_) => false,
        };
        let changed = self.status != trigger.status && !looks;
        Plan {
            status: changed.then_some(self.status),
            effect: self.effect,
            events: if changed || lets_go { self.events } else { Vec::new() },
            follow,
            wake: self.wake,
            expires: self.expires,
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
        let ended = run.finished_at.filter(|_| absorb::may_run_again(run))?;
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
