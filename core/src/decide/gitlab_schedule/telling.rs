//! The schedule is there: what is changed about it, and what its status tells.

use std::time::Duration;

use jiff::Timestamp;

use super::compare::compare;
use super::{AGAIN, Applied, ChangeOrder, Draft, Effect, SOON, Seen, later, web_url};
use crate::decide::schedule::Standing;
use crate::domain::schedule::in_gitlab::{Held, Marker, Wanted};
use crate::domain::schedule::status::{Drift, InGitLab, LastPipeline};
use crate::domain::{PipelineStatus, Reason};

/// After the worker was to come by, a pipeline has shown.
const RUN_SHOWS: Duration = Duration::from_secs(60);

impl Draft<'_> {
    /// Sets right what differs; tells when nothing does.
    pub(super) fn keep(&mut self, wanted: &Wanted, marker: &Marker, seen: &Seen, held: &Held) {
        self.find(wanted, held);
        let due = self.went_by(seen, held);
        let off = self.is_switched_off(held, due);
        let ours = held.owner.as_ref().is_none_or(|owner| owner.id == seen.user.id);
        if held.variables.is_none() && ours {
            return self.blind(wanted, held, off);
        }
        let (changes, differences) = compare(wanted, marker, !self.seen.schedule.suspend && !off, seen, held);
        if changes.is_empty() {
            return self.equal(wanted, seen, held, off, due);
        }
        if self.seen.policy.paused {
            self.show(wanted, held);
            let which = differences.join("; ");
            return self.rest_paused(&format!("what differs in GitLab stays as it is ({which})"));
        }
        let applied = &self.seen.facts.applied;
        if let Some(failure) = applied.last().and_then(|last| last.failure.as_ref()) {
            return self.trouble(failure);
        }
        if applied.iter().any(|applied| applied.order.changes == changes) {
            let which = differences.join("; ");
            let message = format!("GitLab took what was sent and shows something else: {which}");
            self.standing = Some(Standing::stalled(Reason::NotAsWritten, message));
            return self.look_in(AGAIN);
        }
        let equal_at = self.status.gitlab.as_ref().and_then(|known| known.equal_at);
        self.effect = Some(Effect::Change(ChangeOrder {
            schedule_id: held.id,
            changes,
            differences,
            drifted: equal_at == Some(self.seen.schedule.generation),
        }));
    }

    /// What was looked for is there.
    fn find(&mut self, wanted: &Wanted, held: &Held) {
        let made = self.seen.facts.created.is_some();
        let known = self.known(wanted);
        let before = known.schedule_id.replace(held.id);
        known.creating = None;
        if before != Some(held.id) && !made {
            let message = format!(
                "pipeline schedule {} of project {} carries this object's mark and was taken on",
                held.id, wanted.project
            );
            self.tell(false, Reason::AdoptedInGitLab, message);
        }
    }

    /// Whether GitLab switched it off, and nobody has changed anything about it since.
    ///
    /// GitLab does that when the schedule is due and its owner may not run it. A person who does it is told by the rest:
    /// then the time of the next run has not passed, or a pipeline was made at it.
    fn is_switched_off(&mut self, held: &Held, due: Option<Timestamp>) -> bool {
        let (now, generation) = (self.seen.now, self.seen.schedule.generation);
        let wanted = !self.seen.schedule.suspend;
        let Some(known) = &mut self.status.gitlab else { return false };
        if held.fields.active || !wanted || known.equal_at != Some(generation) {
            known.deactivated_at = None;
            return false;
        }
        if known.deactivated_at.is_some() {
            return true;
        }
        let Some(due) = due.filter(|_| known.active == Some(true)) else { return false };
        known.deactivated_at = Some(now);
        self.tell(true, Reason::DeactivatedByGitLab, switched_off(held));
        self.miss(due);
        true
    }

    /// The time at which GitLab's worker came by, if it did since the last look and no pipeline shows.
    fn went_by(&self, seen: &Seen, held: &Held) -> Option<Timestamp> {
        let known = self.status.gitlab.as_ref()?;
        let due = self.status.next_schedule_time?;
        let passed = due <= seen.date && held.next_run_at.is_none_or(|next| next > due);
        let made = held.last_pipeline.as_ref().map(|pipeline| pipeline.id);
        let before = known.last_pipeline.as_ref().map(|pipeline| pipeline.id);
        (passed && made == before && known.schedule_id == Some(held.id)).then_some(due)
    }

    fn miss(&mut self, due: Timestamp) {
        self.status.missed.count += 1;
        self.status.missed.last = Some(due);
    }

    /// Both sides are equal.
    fn equal(&mut self, wanted: &Wanted, seen: &Seen, held: &Held, off: bool, due: Option<Timestamp>) {
        let generation = self.seen.schedule.generation;
        self.tell_changes();
        self.show(wanted, held);
        let shows_by = |due| later(due, RUN_SHOWS);
        let awaited = due.filter(|due| held.fields.active && seen.date < shows_by(*due));
        if awaited.is_some() {
            // Its pipeline may be in the making.
            self.status.next_schedule_time = awaited;
        } else if let Some(due) = due.filter(|_| held.fields.active) {
            let message = format!(
                "GitLab's worker came by at {due} and made no pipeline; GitLab says why in its log alone. As a rule ref {} is gone, its rules leave no job, or {} may not run pipelines on it",
                wanted.git_ref, seen.user.username
            );
            self.tell(true, Reason::NoPipelineMade, message);
            self.miss(due);
        }
        if let Some(known) = &mut self.status.gitlab {
            known.equal_at = Some(generation);
        }
        self.standing = Some(if off {
            Standing::stalled(Reason::DeactivatedByGitLab, switched_off(held))
        } else if self.seen.schedule.suspend {
            let message = "spec.suspend is true: the schedule is inactive in GitLab";
            Standing::resting(Reason::Suspended, message)
        } else {
            let message = self.status.next_schedule_time.map_or_else(
                || "GitLab names no next run".to_owned(),
                |next| format!("GitLab runs it next at {next}"),
            );
            Standing::resting(Reason::Scheduled, &message)
        });
        let mut wait = self.seen.policy.interval;
        let in_time = |at: Timestamp| Duration::try_from(at.duration_since(seen.date)).unwrap_or_default();
        if let Some(next) = awaited.or(held.next_run_at.filter(|_| held.fields.active)) {
            wait = wait.min(in_time(shows_by(next)).max(SOON));
        }
        if held.last_pipeline.as_ref().is_some_and(|pipeline| !pipeline.status.is_complete()) {
            wait = wait.min(RUN_SHOWS);
        }
        self.look_in(wait);
    }

    /// Tells what was changed in this turn.
    fn tell_changes(&mut self) {
        let applied = &self.seen.facts.applied;
        let said = |drifted: bool| {
            let of = applied.iter().filter(|Applied { order, .. }| order.drifted == drifted);
            of.flat_map(|Applied { order, .. }| order.differences.clone()).collect::<Vec<_>>().join("; ")
        };
        let (drifted, edited) = (said(true), said(false));
        if !drifted.is_empty() {
            let message = format!("it differed in GitLab and was set right: {drifted}");
            self.tell(true, Reason::DriftRepaired, message);
            // Not the time of this decision: the next one of the turn says the same, and writes nothing.
            let time = applied.iter().filter(|applied| applied.order.drifted).map(|applied| applied.at).max();
            if let (Some(known), Some(time)) = (&mut self.status.gitlab, time) {
                known.last_drift = Some(Drift { time, message: drifted });
            }
        }
        // What a create was followed by is part of it.
        if !edited.is_empty() && self.seen.facts.created.is_none() {
            self.tell(false, Reason::UpdatedInGitLab, format!("brought up to date in GitLab: {edited}"));
        }
    }

    /// The owner of a schedule sees its variables, unless the owner may not run pipelines any more.
    fn blind(&mut self, wanted: &Wanted, held: &Held, off: bool) {
        self.show(wanted, held);
        self.standing = Some(if off {
            Standing::stalled(Reason::DeactivatedByGitLab, switched_off(held))
        } else {
            let message = format!(
                "GitLab does not show the variables of the schedule to the access token, though its user owns it: give that user the role Developer in project {} again",
                wanted.project
            );
            Standing::stalled(Reason::Forbidden, message)
        });
        self.look_in(self.seen.policy.interval);
    }

    /// What GitLab says of it, as far as status has a place for it.
    fn show(&mut self, wanted: &Wanted, held: &Held) {
        let web_url = web_url(wanted, held.id);
        let last = held.last_pipeline.as_ref().map(|pipeline| LastPipeline {
            id: pipeline.id,
            status: pipeline.status.clone(),
            web_url: pipeline.web_url.clone(),
            created_at: pipeline.created_at,
        });
        let made_at = last.as_ref().and_then(|pipeline| pipeline.created_at);
        let succeeded =
            held.last_pipeline.as_ref().filter(|pipeline| pipeline.status == PipelineStatus::Success);
        let succeeded_at = succeeded.and_then(|pipeline| pipeline.finished_at.or(pipeline.updated_at));
        if let Some(known) = &mut self.status.gitlab {
            let InGitLab { web_url: page, owner, active, last_pipeline, .. } = known;
            *page = web_url;
            *owner = held.owner.as_ref().map(|owner| owner.username.clone());
            *active = Some(held.fields.active);
            *last_pipeline = last;
        }
        self.status.next_schedule_time = held.next_run_at.filter(|_| held.fields.active);
        self.status.last_schedule_time = self.status.last_schedule_time.max(made_at);
        self.status.last_successful_time = self.status.last_successful_time.max(succeeded_at);
    }
}

fn switched_off(held: &Held) -> String {
    let owner = held.owner.as_ref().map_or("its owner", |owner| owner.username.as_str());
    format!(
        "GitLab switched the schedule off when it was due: {owner}, as whom it runs, may not run pipelines on {} any more. Give that user the role Developer and the right to the ref, then activate the schedule in GitLab, or edit spec",
        held.fields.git_ref
    )
}
