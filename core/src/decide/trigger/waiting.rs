//! Causes that come while a run is under way: they wait for its end, or (`concurrencyPolicy: Replace`) hasten it.
//!
//! At most two things wait: the newest content of the firing fields, and the newest request. Both are fired by one
//! run. What stood there before and was seen to wait has collapsed into it: `status.waiting` counts that, and the
//! run that fires takes the count over. Nothing else depends on that record but requests: one that is on record is
//! fired even if its annotation is taken away, for the one that collapsed into it was told that a run comes.

use super::{Draft, access_of};
use crate::domain::digest::Compared;
use crate::domain::run::CancelCause;
use crate::domain::status::{Answered, Waiting};
use crate::domain::{ConcurrencyPolicy, FireOn, Phase};

impl Draft<'_> {
    /// Takes down what waits now, and what has collapsed into it.
    pub(super) fn note_waiting(&mut self) {
        let (now, trigger) = (self.seen.now, self.seen.trigger);
        let digest = (trigger.fire_on != FireOn::Request && self.changed()).then(|| trigger.firing.digest());
        let request = self.asked();
        let before = self.status.waiting.take();
        if digest.is_none() && request.is_none() {
            return;
        }
        let Waiting { since, digest: old_digest, request: old_request, mut collapsed } =
            before.unwrap_or(Waiting { since: now, digest: None, request: None, collapsed: 0 });
        let edited = |old: &_| digest.is_some() && trigger.firing.compare(old) == Compared::Changed;
        collapsed = collapsed.saturating_add(old_digest.as_ref().is_some_and(edited).into());
        if let (Some(old), Some(new)) = (old_request, &request)
            && old != *new
        {
            collapsed = collapsed.saturating_add(1);
            self.answer(old, Answered::Collapsed);
        }
        self.status.waiting = Some(Waiting { since, digest, request, collapsed });
    }

    /// Nothing is fired just now: who asked is told so, and nothing of it waits.
    pub(super) fn drop_request(&mut self) {
        // Twice where the annotation has gone back to a value that had collapsed into the one that waits.
        while let Some(value) = self.asked() {
            self.answer(value, Answered::Suspended);
            if let Some(waiting) = &mut self.status.waiting {
                waiting.request = None;
            }
        }
    }

    /// Whether a cause waits that would rather replace the run than wait.
    pub(super) fn wants_to_replace(&self) -> bool {
        let replaces = |policy| policy == ConcurrencyPolicy::Replace;
        self.status.waiting.is_some()
            && self.stopped().is_none()
            && self.seen.trigger.spec.as_ref().is_ok_and(|spec| replaces(spec.concurrency_policy))
    }

    /// Has the pipeline of the run cancelled for the cause that waits. What is on its way or unknown is waited for.
    pub(super) fn replace(&mut self) {
        self.replace_updates();
        let Some(run) = &self.status.run else { return };
        let cancels = matches!(run.phase, Phase::Running | Phase::Retrying)
            && run.cancel_request().is_none()
            && access_of(run, self.seen.trigger).is_some();
        if cancels && self.wants_to_replace() {
            self.request_cancel(CancelCause::Replace);
        }
    }
}
