//! Which children are deleted: per outcome those beyond the limit, the oldest first.

use std::time::Duration;

use super::{Draft, Effect, later};
use crate::domain::schedule::{Child, Course, ScheduleSpec};

/// No child younger than this is deleted: as long as it exists, its name keeps its tick from firing again, also from
/// an operator that is this far behind.
pub const TRIM_AGE: Duration = Duration::from_secs(60);

/// Most children that are held: each is a question to a person, which no history limit takes away.
pub const HELD_MAX: usize = 100;

impl Draft<'_> {
    pub(super) fn trim(&mut self, spec: &ScheduleSpec) {
        // What was written, not what is about to be.
        let written = &self.seen.schedule.status;
        let asked = self.unanswered(written).map(|value| self.child_of(&value));
        let (mark, waits) = (written.last_handled_tick, written.queued_tick);
        let on_record = |child: &&Child| match child.tick {
            Some(tick) => mark.is_some_and(|mark| tick <= mark) && waits != Some(tick),
            None => asked.as_ref() != Some(&child.name),
        };
        let mut beyond = Vec::new();
        for (course, limit) in [
            (Course::Succeeded, spec.successful_limit),
            (Course::Failed, spec.failed_limit),
            (Course::Held, HELD_MAX),
        ] {
            let ended: Vec<&Child> =
                self.ours.iter().filter(|child| child.course() == course && !child.being_deleted).collect();
            let excess = ended.len().saturating_sub(limit);
            // They stand in the order of their ticks.
            beyond.extend(ended.into_iter().take(excess).filter(on_record).cloned());
        }
        for child in beyond {
            let ripe = later(child.created, TRIM_AGE);
            if ripe > self.seen.now {
                self.wake_at(ripe);
            } else {
                self.deletes.push(Effect::Delete { name: child.name, uid: child.uid });
            }
        }
    }
}
