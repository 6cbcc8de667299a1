//! An object on its way out, and the finalizer that lets its pipeline be cancelled first.
//!
//! ```text
//! deletionPolicy: Cancel → finalizer, before anything is fired
//! deleted ─┬─ Firing, Unknown: looked up ──────────────────────────┐
//!          ├─ Retrying, its request may be on its way: looked at ──┤
//!          ├─ Running ───────────────────────── POST cancel, taken ┴→ finalizer off
//!          ├─ nothing under way ────────────────────────────────────→ finalizer off
//!          └─ time is over, refused, nobody can tell ────────────────→ Event, finalizer off
//! ```
//!
//! A deletion never gets stuck on GitLab: it waits `--cancel-patience` at most, and half a minute for a Secret that
//! is gone, which in a namespace that is being deleted will not come back.

use std::time::Duration;

use jiff::Timestamp;

use super::{Draft, Effect, access_of, later};
use crate::decide::summary::names_something_missing;
use crate::domain::run::CancelCause;
use crate::domain::{Cancelled, DeletionPolicy, Lookup, Phase, Reason, RetryState, Run, Sighting};

/// The finalizer of `deletionPolicy: Cancel`.
pub const FINALIZER: &str = "pipekick.dev/cancel-pipeline";
/// How long a deletion waits for a Secret that is missing.
const SECRET_PATIENCE: Duration = Duration::from_secs(30);

impl Draft<'_> {
    /// Whether the finalizer is to be put on or taken off; a spec that cannot be read leaves it as it is.
    pub(super) fn settle_finalizer(&mut self) -> bool {
        let Ok(spec) = &self.seen.trigger.spec else { return false };
        let wanted = spec.deletion_policy == DeletionPolicy::Cancel;
        if wanted == self.is_kept() {
            return false;
        }
        let mut finalizers = self.seen.trigger.finalizers.clone();
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        } else {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        self.effect = Effect::SetFinalizers(finalizers);
        true
    }

    fn is_kept(&self) -> bool {
        self.seen.trigger.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    }

    /// The object is being deleted. Its run has been brought up to date; what is left is to cancel its pipeline.
    pub(super) fn leave(&mut self, deleted_at: Timestamp) {
        if !self.is_kept() {
            return;
        }
        if self.status.run.as_deref().is_some_and(may_be_started_again) {
            self.resolve_retry();
            if self.effect != Effect::Nothing {
                return;
            }
        }
        let Some(run) = self.status.run.as_deref() else { return self.let_go() };
        let seq = run.seq;
        match run.phase {
            Phase::Firing | Phase::Unknown => self.wait_before_leaving(
                deleted_at,
                self.trouble_looking_up(),
                &format!("whether run {seq} made a pipeline"),
            ),
            Phase::Retrying if may_be_started_again(run) && access_of(run, self.seen.trigger).is_some() => {
                self.wait_before_leaving(
                    deleted_at,
                    self.trouble_looking_at(),
                    &format!("whether failed jobs of run {seq} were started again"),
                );
            }
            Phase::Running | Phase::Retrying => self.cancel_before_leaving(deleted_at),
            Phase::Held if run.reason == Some(Reason::Undecided) => {
                self.orphan(&format!("nobody can tell whether run {seq} made a pipeline"));
            }
            Phase::Pending
            | Phase::Succeeded
            | Phase::Fired
            | Phase::Failed
            | Phase::Canceled
            | Phase::Skipped
            | Phase::Rejected
            | Phase::Held
            | Phase::TimedOut
            | Phase::Superseded
            | Phase::Suspended
            | Phase::Idle => self.let_go(),
        }
    }

    /// Waits until `what` is known, or until its time is over.
    fn wait_before_leaving(&mut self, deleted_at: Timestamp, trouble: Option<(Reason, String)>, what: &str) {
        let over = self.patience_ends(deleted_at, trouble.as_ref().map(|(reason, _)| *reason));
        if over > self.seen.now {
            self.wake_at(over);
            return;
        }
        match trouble {
            Some((reason, message)) => {
                self.orphan(&format!("{what} could not be looked up ({reason}): {message}"));
            }
            None => self.orphan(&format!("{what} was not known in time")),
        }
    }

    /// When the object goes in any case.
    fn patience_ends(&self, deleted_at: Timestamp, trouble: Option<Reason>) -> Timestamp {
        let patience = self.seen.policy.cancel_patience;
        let missing = trouble.is_some_and(names_something_missing);
        later(deleted_at, if missing { patience.min(SECRET_PATIENCE) } else { patience })
    }

    /// What kept the look for the run's pipeline, just now, from being taken.
    fn trouble_looking_up(&self) -> Option<(Reason, String)> {
        let key = self.status.run.as_deref()?.attempt_key()?;
        match self.seen.facts.lookup.as_ref().filter(|(of, _)| *of == key)? {
            (_, Lookup::Trouble { reason, message }) => Some((*reason, message.clone())),
            (
                _,
                Lookup::Found { .. } | Lookup::NoCandidate | Lookup::NoneOurs | Lookup::CannotTell { .. },
            ) => None,
        }
    }

    /// What kept the look at the run's pipeline, just now, from being taken.
    fn trouble_looking_at(&self) -> Option<(Reason, String)> {
        let id = self.status.run.as_deref()?.pipeline.as_ref()?.id;
        match self.seen.facts.looked_at.as_ref().filter(|(of, _)| *of == id)? {
            (_, Sighting::Trouble { reason, message }) => Some((*reason, message.clone())),
            (_, Sighting::Seen { .. } | Sighting::Gone) => None,
        }
    }

    fn cancel_before_leaving(&mut self, deleted_at: Timestamp) {
        let now = self.seen.now;
        let Some(run) = &self.status.run else { return };
        let id = run.pipeline.as_ref().map(|pipeline| pipeline.id).unwrap_or_default();
        if access_of(run, self.seen.trigger).is_none() {
            return self.orphan(&format!("there is no access token to cancel pipeline {id} with"));
        }
        if run.cancel_request().is_none() {
            self.request_cancel(CancelCause::Deletion);
        }
        match self.cancel_brought().map(|(brought, _)| brought) {
            Some(Cancelled::Taken(_)) => self.let_go(),
            // There is nothing left to cancel.
            Some(Cancelled::Refused { reason: Reason::PipelineGone, message: _ }) => self.let_go(),
            Some(Cancelled::Refused { reason, message }) => {
                let why = format!("pipeline {id} cannot be cancelled ({reason}): {message}");
                self.orphan(&why);
            }
            Some(Cancelled::Trouble { reason, message }) => {
                let over = self.patience_ends(deleted_at, Some(*reason));
                if over > now {
                    self.wake_at(over);
                } else {
                    let why = format!("pipeline {id} could not be cancelled in time ({reason}): {message}");
                    self.orphan(&why);
                }
            }
            // This process asks at least once, however late it comes.
            None => {}
        }
    }

    /// The pipeline, if there is one, is left to itself.
    fn orphan(&mut self, why: &str) {
        let message = format!("the object is deleted, and its pipeline may go on in GitLab: {why}");
        self.tell(true, Reason::LeftRunning, &message);
        self.let_go();
    }

    fn let_go(&mut self) {
        let mut finalizers = self.seen.trigger.finalizers.clone();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        self.effect = Effect::SetFinalizers(finalizers);
    }
}

/// Whether a request to start its failed jobs again may yet take effect.
fn may_be_started_again(run: &Run) -> bool {
    run.phase == Phase::Retrying && run.retry.as_ref().is_some_and(|retry| retry.state == RetryState::Unknown)
}
