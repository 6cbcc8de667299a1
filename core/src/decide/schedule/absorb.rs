//! Ticks whose fate is known: their children exist, or something else has the name.

use jiff::Timestamp;

use super::{Creation, Draft, child_name};
use crate::domain::Reason;
use crate::domain::schedule::ScheduleSpec;

impl Draft<'_> {
    /// Children that exist have dealt with their ticks. A name that something else has may never be free: its tick waits
    /// no longer than until the next one has come.
    pub(super) fn absorb(&mut self, spec: &ScheduleSpec) {
        let now = self.seen.now;
        let made = self
            .ours
            .iter()
            .filter_map(|child| Some((child.tick?, child.name.clone())))
            .filter(|(tick, name)| *tick <= now && *name == child_name(&self.seen.schedule.key.name, *tick))
            .map(|(tick, name)| (tick, name, true));
        let newest = self.horizon(spec).newest;
        let taken = self.seen.facts.creations.iter().filter_map(|created| match &created.outcome {
            Creation::Stranger => {
                let tick = created.tick.filter(|tick| newest.is_some_and(|newest| *tick < newest))?;
                Some((tick, created.name.clone(), false))
            }
            Creation::Made { .. } | Creation::Ours { .. } | Creation::Earlier | Creation::Refused { .. } => {
                None
            }
        });
        let mut dealt: Vec<(Timestamp, String, bool)> = made.chain(taken).collect();
        dealt.sort();
        for (tick, name, is_made) in dealt {
            let waited = self.status.queued_tick == Some(tick);
            if !waited && tick <= self.low() {
                continue;
            }
            let shown = spec.clock.zone.rfc3339(tick);
            if !is_made {
                self.drop_tick(spec, tick);
                let message = format!(
                    "the tick of {shown} was dropped: there is a PipelineTrigger {name} that no schedule of this name controls"
                );
                self.tell(true, Reason::NameTaken, Some(tick), message);
                continue;
            }
            if waited {
                self.status.queued_tick = None;
                self.status.queued_since = None;
            } else {
                self.pass(spec, tick, true);
            }
            self.status.last_schedule_time = self.status.last_schedule_time.max(Some(tick));
            self.tell(
                false,
                Reason::ChildCreated,
                Some(tick),
                format!("{name} was created for the tick of {shown}"),
            );
        }
    }
}
