//! The duplicate watch: nobody believes in a second pipeline under one name, so somebody looks.
//!
//! A repeat is sent only when the request before it is proven to have made nothing. Should the proof have been
//! wrong, for GitLab acted later than it is assumed to, the pipeline that came too late shows in one more look, a
//! resolution delay after GitLab took the repeat; or after a lost pipeline was found, for a proxy may have
//! sent its request twice. The look holds nothing up: whatever else is due for the object comes first, and a
//! newer run takes the place of the old one and of its look.

use std::time::Duration;

use super::{Draft, Effect, access_of, later};
use crate::domain::{Lookup, Reason, Run};

/// As long as GitLab cannot be asked, the look is tried again for so long.
const CHECK_PATIENCE: Duration = Duration::from_secs(3600);
/// Duplicates that a run tells of, at most.
const DUPLICATES_MAX: usize = 10;

impl Draft<'_> {
    /// Has somebody look once more at the run whose pipeline is known by now, if its name can be read back.
    pub(super) fn check_later(&mut self) {
        let seen = self.seen;
        let Some(run) = &mut self.status.run else { return };
        let can_look = access_of(run, seen.trigger).is_some();
        if let Some(attempt) = &mut run.attempt
            && attempt.marked
            && can_look
        {
            attempt.check_at = Some(later(seen.now, seen.policy.resolution_delay));
        }
    }

    /// Takes the look that is due, or takes in what it brought.
    pub(super) fn watch_for_duplicates(&mut self) {
        let seen = self.seen;
        if self.effect != Effect::Nothing {
            return;
        }
        let Some(run) = &self.status.run else { return };
        let (Some(key), Some(due)) = (run.attempt_key(), check_at(run)) else { return };
        if seen.now < due {
            self.wake_at(due);
            return;
        }
        // What a look saw is as old as its beginning.
        let brought = seen
            .facts
            .lookup
            .as_ref()
            .filter(|(of, _)| *of == key && later(due, seen.facts.look_took) <= seen.now);
        match brought.map(|(_, lookup)| lookup) {
            _ if access_of(run, seen.trigger).is_none() => {}
            None => {
                self.look();
                return;
            }
            Some(Lookup::Trouble { .. }) if seen.now < later(due, CHECK_PATIENCE) => {
                self.wake_for_look();
                return;
            }
            Some(Lookup::Found { pipeline, report: _, duplicates }) => {
                let found: Vec<u64> =
                    std::iter::once(pipeline.id).chain(duplicates.iter().copied()).collect();
                self.note_duplicates(&found);
            }
            Some(
                Lookup::NoCandidate | Lookup::NoneOurs | Lookup::CannotTell { .. } | Lookup::Trouble { .. },
            ) => {}
        }
        if let Some(attempt) = self.status.run.as_deref_mut().and_then(|run| run.attempt.as_mut()) {
            attempt.check_at = None;
        }
    }

    /// `found` carry the run's name: all but its own are put on record, and told once.
    pub(super) fn note_duplicates(&mut self, found: &[u64]) {
        let Some(run) = &mut self.status.run else { return };
        // One that failed at birth is known to exist, without its id: it is among those found.
        let own = run.pipeline.as_ref().map(|pipeline| pipeline.id).or_else(|| found.iter().copied().min());
        let known = run.duplicates.len();
        for id in found {
            if Some(*id) != own && !run.duplicates.contains(id) && run.duplicates.len() < DUPLICATES_MAX {
                run.duplicates.push(*id);
            }
        }
        let new = &run.duplicates[known..];
        if new.is_empty() {
            return;
        }
        let (seq, which) = (run.seq, new.iter().map(u64::to_string).collect::<Vec<_>>().join(", "));
        if run.attempt.as_ref().is_some_and(|attempt| attempt.unproven) {
            let message = format!("run {seq}, sent again as it was asked to be, made pipeline {which} too");
            self.tell(true, Reason::SentTwice, &message);
        } else {
            let message = format!("pipeline {which} carries the name of run {seq} too");
            self.tell(true, Reason::DuplicatePipeline, &message);
        }
    }
}

fn check_at(run: &Run) -> Option<jiff::Timestamp> {
    run.attempt.as_ref().and_then(|attempt| attempt.check_at)
}
