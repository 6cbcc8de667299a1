//! An object on its way out, and the finalizer that lets its pipeline be cancelled first.
//!
//! ```text
//! deletionPolicy: Cancel → finalizer, before anything is fired
//! deleted ─┬─ Firing, Unknown: looked up ──┐
//!          ├─ Running: POST cancel ─ taken ┴→ finalizer off
//!          ├─ nothing under way ───────────→ finalizer off
//!          └─ time is over, refused, nobody can tell → Event, finalizer off
//! ```
//!
//! A deletion never gets stuck on GitLab: it waits `--cancel-patience` at most, and half a minute for a Secret that
//! is gone, which in a namespace that is being deleted will not come back.

use std::time::Duration;

use jiff::Timestamp;

use super::{Draft, Effect, access_of, later};
use crate::decide::summary::names_something_missing;
use crate::domain::run::CancelCause;
use crate::domain::{Cancelled, DeletionPolicy, Phase, Reason};

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
        let over = later(deleted_at, self.seen.policy.cancel_patience);
        let Some(run) = self.status.run.as_ref() else { return self.let_go() };
        let seq = run.seq;
        match run.phase {
            Phase::Firing | Phase::Unknown if over > self.seen.now => self.wake_at(over),
            Phase::Firing | Phase::Unknown => {
                self.orphan(&format!("whether run {seq} made a pipeline was not known in time"));
            }
            Phase::Running | Phase::Retrying => self.cancel_before_leaving(over),
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

    fn cancel_before_leaving(&mut self, over: Timestamp) {
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
                let over = if names_something_missing(*reason) {
                    over.min(later(self.seen.trigger.deleted_at.unwrap_or(over), SECRET_PATIENCE))
                } else {
                    over
                };
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
