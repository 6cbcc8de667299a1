//! What is done at leisure, when nothing else is to be done: name a pipeline, delete the pipelines of runs that
//! left the history, delete the object itself after its time. None of it fails a run, and each may be asked again at
//! will.

use std::time::Duration;

use super::{Draft, Effect, NameOrder, later};
use crate::domain::run::{HistoryEntry, Place};
use crate::domain::{Changed, Deletion, Phase, Reason, Spec, Trigger};

/// Pipelines that wait to be deleted, at most; beyond that the oldest is given up.
pub const MAX_DELETIONS: usize = 16;
/// Requests to delete one pipeline that GitLab neither follows nor refuses, at most: some nine hours.
pub const DELETION_TRIES: u32 = 12;
/// A pipeline that ended before it could be named is still named for so long.
const NAMED_AFTER_END: Duration = Duration::from_secs(600);

impl Draft<'_> {
    pub(super) fn tidy(&mut self) {
        if self.effect == Effect::Nothing {
            self.name();
        }
        if self.effect == Effect::Nothing {
            self.delete_pipelines();
        }
        if self.effect == Effect::Nothing {
            self.expire();
        }
    }

    // ---- spec.name ---------------------------------------------------------------------------------------------

    fn name(&mut self) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref_mut().filter(|run| run.name_refused.is_none()) else {
            return;
        };
        let (Some(name), Some(pipeline)) = (run.name.clone(), &run.pipeline) else { return };
        let id = pipeline.id;
        let under_way = matches!(run.phase, Phase::Running | Phase::Retrying);
        let just_ended = run.has_ended_pipeline()
            && run.finished_at.is_some_and(|ended| seen.now < later(ended, NAMED_AFTER_END));
        if pipeline.name.as_ref() == Some(&name) || !(under_way || just_ended) {
            return;
        }
        let told = seen.facts.naming.as_ref().filter(|(of, so, _)| *of == id && *so == name);
        match told.map(|(_, _, changed)| changed) {
            Some(Changed::Done(_) | Changed::Gone | Changed::Unknown { .. }) => {}
            Some(Changed::Refused { reason, message }) => {
                run.name_refused = Some(*reason);
                let message = format!("pipeline {id} was not named {name:?} ({reason}): {message}");
                self.tell(true, Reason::NameRefused, &message);
            }
            Some(Changed::NotNow { until, .. }) if *until > seen.now => self.wake_at(*until),
            Some(Changed::NotNow { .. }) | None => {
                let Some(at) = self.own_pipeline() else { return };
                self.effect = Effect::Name(Box::new(NameOrder { at, name }));
            }
        }
    }

    // ---- spec.historyDeletesPipelines --------------------------------------------------------------------------

    /// Forgets runs beyond the limit; their pipelines are noted down to be deleted, if spec wants that.
    pub(super) fn trim_history(&mut self, limit: usize) {
        if self.status.history.len() <= limit {
            return;
        }
        let gone = self.status.history.split_off(limit);
        if !deletes(self.seen.trigger) {
            return;
        }
        for HistoryEntry { pipeline_id, place, .. } in gone.into_iter().rev() {
            if let (Some(pipeline_id), Some(place)) = (pipeline_id, place)
                && place.access.is_some()
                && !self.names(pipeline_id)
            {
                self.status.deletions.push(Deletion { pipeline_id, place, tries: 0, next_at: None });
            }
        }
        while self.status.deletions.len() > MAX_DELETIONS {
            let Deletion { pipeline_id, .. } = self.status.deletions.remove(0);
            self.tell_kept(pipeline_id, "too many others wait to be deleted");
        }
    }

    /// Whether the pipeline belongs to another run too (a person gave it to both), or is noted down already.
    fn names(&self, id: u64) -> bool {
        let run =
            self.status.run.as_deref().and_then(|run| run.pipeline.as_ref()).map(|pipeline| pipeline.id);
        run == Some(id)
            || self.status.history.iter().any(|entry| entry.pipeline_id == Some(id))
            || self.status.deletions.iter().any(|deletion| deletion.pipeline_id == id)
    }

    fn delete_pipelines(&mut self) {
        let seen = self.seen;
        if self.status.deletions.is_empty() {
            return;
        }
        if !deletes(seen.trigger) {
            self.status.deletions.clear();
            return;
        }
        let answer = |deletion: &Deletion| {
            let of = (deletion.pipeline_id, deletion.tries);
            seen.facts
                .deleted
                .iter()
                .find(|(id, tries, _)| (*id, *tries) == of)
                .map(|(_, _, changed)| changed)
        };
        let troubled = self.status.deletions.iter().filter_map(answer).find_map(|changed| match changed {
            Changed::NotNow { until, .. } => Some(*until),
            Changed::Unknown { .. } => Some(seen.now),
            Changed::Done(_) | Changed::Gone | Changed::Refused { .. } => None,
        });
        let due = |deletion: &&Deletion| deletion.next_at.is_none_or(|at| at <= seen.now);
        let next = self.status.deletions.iter().filter(due).find(|deletion| answer(deletion).is_none());
        // All are asked for before one write takes them off, unless GitLab has other troubles.
        if let (None, Some(next)) = (troubled, next) {
            let place = as_of_now(&next.place, seen.trigger);
            self.effect = Effect::DeletePipeline(Box::new(Deletion { place, ..next.clone() }));
            return;
        }
        let mut kept = Vec::new();
        for mut deletion in std::mem::take(&mut self.status.deletions) {
            let (id, unanswered) = (deletion.pipeline_id, deletion.next_at.is_none_or(|at| at <= seen.now));
            let message = match answer(&deletion) {
                Some(Changed::Done(_) | Changed::Gone) => continue,
                Some(Changed::Refused { reason, message }) => {
                    self.tell_kept(id, &format!("{message} ({reason})"));
                    continue;
                }
                Some(Changed::NotNow { message, .. } | Changed::Unknown { message }) => {
                    deletion.tries = deletion.tries.saturating_add(1);
                    Some(message)
                }
                None => None,
            };
            if let Some(message) = message.filter(|_| deletion.tries >= DELETION_TRIES) {
                self.tell_kept(id, message);
                continue;
            }
            if let Some(until) = troubled.filter(|_| unanswered) {
                deletion.next_at = Some(until.max(later(seen.now, wait_after(deletion.tries))));
            }
            if let Some(at) = deletion.next_at {
                self.wake_at(at);
            }
            kept.push(deletion);
        }
        self.status.deletions = kept;
    }

    fn tell_kept(&mut self, id: u64, why: &str) {
        let message = format!("pipeline {id} left the history and was not deleted in GitLab: {why}");
        self.tell(true, Reason::PipelineNotDeleted, &message);
    }

    // ---- spec.ttlAfterFinished ---------------------------------------------------------------------------------

    /// The object's own end. Only of one whose name was generated: any other would be applied, and so fired, again.
    fn expire(&mut self) {
        let seen = self.seen;
        let ttl = seen.trigger.spec.as_ref().ok().and_then(|spec| spec.ttl_after_finished);
        let (Some(ttl), Some(run)) = (ttl.filter(|_| seen.trigger.generated), &self.status.run) else {
            return;
        };
        let waits = run.is_active() || run.phase == Phase::Held || !self.status.deletions.is_empty();
        if waits || self.standing.is_some() {
            return;
        }
        // A refused run is tried again every now and then, and each time ends anew.
        let ended = run.finished_at.filter(|_| run.phase != Phase::Rejected).unwrap_or(run.intended_at);
        let due = later(ended, ttl.into());
        if due > seen.now {
            self.expires = Some(due);
        } else if self.status.run == seen.trigger.status.run {
            self.effect = Effect::DeleteObject;
        } else {
            // What is new is told before it goes.
            self.wake_at(seen.now);
        }
    }
}

fn deletes(trigger: &Trigger) -> bool {
    trigger.spec.as_ref().is_ok_and(|spec| spec.history_deletes_pipelines)
}

/// With spec's access token and CA bundle, while spec still names this GitLab and project; else those of the run.
fn as_of_now(place: &Place, trigger: &Trigger) -> Place {
    let spec = trigger.spec.as_ref().ok();
    let same = |spec: &&Spec| spec.url.as_str() == place.url && spec.project.to_string() == place.project;
    match spec.filter(same) {
        Some(spec) => Place {
            access: spec.access_token.clone().or_else(|| place.access.clone()),
            ca_bundle: spec.ca_bundle.clone(),
            ..place.clone()
        },
        None => place.clone(),
    }
}

/// One minute, doubling to an hour.
fn wait_after(tries: u32) -> Duration {
    Duration::from_secs(60).saturating_mul(1 << tries.saturating_sub(1).min(6)).min(Duration::from_secs(3600))
}
