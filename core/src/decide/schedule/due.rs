//! Which ticks have come, which of them fire, and what becomes of the others.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    COUNT_MAX, CREATE_BACKOFF, ChildCause, ChildOrder, Created, Creation, Draft, EARLIER_WAIT, FRESH_FOR,
    ON_TIME, Standing, child_name, later, release,
};
use crate::domain::Reason;
use crate::domain::schedule::{Clock, ConcurrencyPolicy, MissedRuns, ScheduleSpec};

/// The newest tick that has come, and the one that comes next.
pub(super) struct Horizon {
    /// Later than whatever was dealt with, its jitter over.
    pub(super) newest: Option<Timestamp>,
    /// The tick after it, which may have come already with its jitter still running.
    pub(super) next: Option<Timestamp>,
}

impl Draft<'_> {
    pub(super) fn horizon(&self, spec: &ScheduleSpec) -> Horizon {
        let (clock, now, low) = (&spec.clock, self.seen.now, self.low());
        let Some(come) = clock.last_upto(now).filter(|tick| *tick > low) else {
            return Horizon { newest: None, next: clock.next_after(now.max(low)) };
        };
        if release(self.seen.schedule, spec, come) <= now {
            return Horizon { newest: Some(come), next: clock.next_after(now) };
        }
        let newest = clock.last_upto(just_before(come)).filter(|tick| *tick > low);
        Horizon { newest, next: Some(come) }
    }

    /// Writes when the next tick fires, and wakes then.
    pub(super) fn look_ahead(&mut self, spec: &ScheduleSpec) {
        let next = self.horizon(spec).next.map(|tick| release(self.seen.schedule, spec, tick));
        let stopped = self.seen.schedule.suspend;
        self.status.next_schedule_time = next.filter(|_| !stopped);
        if let Some(next) = next.filter(|_| !stopped && !self.seen.paused) {
            self.wake_at(next);
        }
    }

    /// Whether the newest tick finds a run in its way of which it must be heard first whether it is under way still.
    fn waits_for_a_look(&mut self, spec: &ScheduleSpec) -> bool {
        if spec.concurrency == ConcurrencyPolicy::Allow || !self.creates.is_empty() {
            return false;
        }
        let wanted = self.horizon(spec).newest.and_then(|newest| self.wanted(spec, newest).pop());
        wanted.is_some_and(|tick| {
            let name = child_name(&self.seen.schedule.key.name, tick);
            self.must_look(&name, release(self.seen.schedule, spec, tick))
        })
    }

    pub(super) fn due(&mut self, spec: &ScheduleSpec) {
        if self.waits_for_a_look(spec) {
            // Until then status says what it said.
            return;
        }
        self.look_ahead(spec);
        if !self.creates.is_empty() {
            // The tick that waited, or the request, goes first; the decision after it sees what is due then.
            return;
        }
        let Some(newest) = self.horizon(spec).newest else { return };
        let wanted = self.wanted(spec, newest);
        let Some(last) = wanted.last().copied() else {
            self.pass(spec, newest, false);
            return;
        };
        let busy = self.is_busy(&child_name(&self.seen.schedule.key.name, last));
        match spec.concurrency {
            ConcurrencyPolicy::Allow => {
                for tick in wanted {
                    if !self.order(spec, tick) {
                        break;
                    }
                }
            }
            ConcurrencyPolicy::Forbid if busy => self.forbid(spec, last),
            ConcurrencyPolicy::Queue | ConcurrencyPolicy::Replace
                if busy || self.status.queued_tick.is_some() =>
            {
                self.queue(spec, last);
            }
            ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Queue | ConcurrencyPolicy::Replace => {
                self.order(spec, last);
            }
        }
    }

    /// Those of the ticks up to `newest` that missedRuns and startingDeadline let fire, in order.
    fn wanted(&self, spec: &ScheduleSpec, newest: Timestamp) -> Vec<Timestamp> {
        let most = match spec.missed_runs {
            MissedRuns::Latest | MissedRuns::Skip => 1,
            MissedRuns::All { max_catch_up } => max_catch_up,
        };
        let mut wanted: Vec<Timestamp> = back_from(&spec.clock, newest, self.low())
            .take(most)
            .take_while(|tick| !self.is_too_late(spec, *tick))
            .collect();
        if spec.missed_runs == MissedRuns::Skip {
            wanted.retain(|tick| self.lateness(spec, *tick) <= signed(ON_TIME));
        }
        wanted.reverse();
        wanted
    }

    pub(super) fn is_too_late(&self, spec: &ScheduleSpec, tick: Timestamp) -> bool {
        spec.starting_deadline.is_some_and(|deadline| self.lateness(spec, tick) >= signed(deadline.into()))
    }

    fn lateness(&self, spec: &ScheduleSpec, tick: Timestamp) -> SignedDuration {
        self.seen.now.duration_since(release(self.seen.schedule, spec, tick))
    }

    /// Orders the child of `tick`, unless it must wait for its name. Whether it was ordered, or needs no more.
    pub(super) fn order(&mut self, spec: &ScheduleSpec, tick: Timestamp) -> bool {
        let name = child_name(&self.seen.schedule.key.name, tick);
        if self.has(&name) {
            // Of another tick in the same minute, or its annotation was taken away: there is no second one.
            self.pass(spec, tick, true);
            return true;
        }
        if let Some(tried) = self.tried(&name) {
            let over =
                tried.outcome == Creation::Earlier && self.seen.now >= later(tried.first_at, EARLIER_WAIT);
            if over {
                let message = format!(
                    "the tick of {} was dropped: {name} of an earlier schedule of this name is still there",
                    spec.clock.zone.rfc3339(tick)
                );
                self.drop_tick(spec, tick);
                self.tell(true, Reason::NameTaken, Some(tick), message);
                return true;
            }
            if self.must_wait(&tried) {
                return false;
            }
        }
        let release = release(self.seen.schedule, spec, tick);
        self.confirm |= self.lateness(spec, tick) > signed(FRESH_FOR);
        let scheduled_time = spec.clock.zone.rfc3339(tick);
        self.creates.push(ChildOrder { name, cause: ChildCause::Tick { tick, release, scheduled_time } });
        true
    }

    pub(super) fn tried(&self, name: &str) -> Option<Created> {
        self.seen.facts.creations.iter().find(|created| created.name == name).cloned()
    }

    /// Whether a create that did not succeed is not to be tried again yet; says why, and when it is.
    pub(super) fn must_wait(&mut self, tried: &Created) -> bool {
        let Created { name, tick, generation, first_at, at, times, outcome } = tried;
        let (standing, again) = match outcome {
            Creation::Made { .. } | Creation::Ours { .. } => return false,
            Creation::Earlier => {
                let message = format!(
                    "waits for {name} of an earlier schedule of this name to go, until {}",
                    later(*first_at, EARLIER_WAIT)
                );
                (Standing::waiting(Reason::NameNotFree, message), CREATE_BACKOFF.0)
            }
            Creation::Stranger => {
                let message = format!(
                    "there is a PipelineTrigger {name} that no schedule of this name controls: it is left alone; delete or rename it"
                );
                (Standing::stalled(Reason::NameTaken, message), CREATE_BACKOFF.1)
            }
            // An edit of spec may have mended it.
            Creation::Refused { message: _ } if *generation != self.seen.schedule.generation => return false,
            Creation::Refused { message } => {
                let doubled = CREATE_BACKOFF.0.saturating_mul(1 << times.saturating_sub(1).min(8));
                let message = format!("the API server refused to create {name}: {message}");
                if !self.stood(Reason::ChildRefused) {
                    self.tell(true, Reason::ChildRefused, *tick, message.clone());
                }
                (Standing::waiting(Reason::ChildRefused, message), doubled.min(CREATE_BACKOFF.1))
            }
        };
        self.standing = Some(standing);
        let again = later(*at, again);
        if again > self.seen.now {
            self.wake_at(again);
            return true;
        }
        false
    }

    /// Whether the written status gives this reason already: what it says was told then.
    fn stood(&self, reason: Reason) -> bool {
        let conditions = &self.seen.schedule.status.conditions;
        conditions.iter().any(|condition| condition.kind == "Ready" && condition.reason == reason.as_str())
    }

    /// The newest tick in (`low`, `newest`] whose child was refused: its name, and what the API server said.
    fn refused(&self, low: Timestamp, newest: Timestamp) -> Option<(&str, &str)> {
        let refused = self.seen.facts.creations.iter().filter_map(|created| match &created.outcome {
            Creation::Refused { message } => Some((created.tick?, created.name.as_str(), message.as_str())),
            Creation::Made { .. } | Creation::Ours { .. } | Creation::Earlier | Creation::Stranger => None,
        });
        let of_these = refused.filter(|(tick, _, _)| *tick > low && *tick <= newest);
        of_these.max_by_key(|(tick, _, _)| *tick).map(|(_, name, message)| (name, message))
    }

    fn forbid(&mut self, spec: &ScheduleSpec, tick: Timestamp) {
        let active = self.active().next().map_or_else(String::new, |child| child.name.clone());
        let message = format!(
            "the tick of {} was dropped: {active} is still active and concurrencyPolicy is Forbid",
            spec.clock.zone.rfc3339(tick)
        );
        self.pass(spec, tick, true);
        self.count(1, tick);
        self.tell(true, Reason::StillActive, Some(tick), message);
    }

    /// A tick that neither fires nor waits any more, whether it is due or was queued.
    pub(super) fn drop_tick(&mut self, spec: &ScheduleSpec, tick: Timestamp) {
        if self.status.queued_tick == Some(tick) {
            self.drop_queued();
        } else if tick > self.low() {
            self.pass(spec, tick, true);
            self.count(1, tick);
        }
    }

    /// Moves the high-water mark to `tick`. The ticks before it have not fired and are counted; it, too, unless
    /// `dealt_with` says that its own fate is told elsewhere.
    pub(super) fn pass(&mut self, spec: &ScheduleSpec, tick: Timestamp, dealt_with: bool) {
        let low = self.low();
        let from = if dealt_with {
            spec.clock.last_upto(just_before(tick)).filter(|tick| *tick > low)
        } else {
            Some(tick)
        };
        self.status.last_handled_tick = self.status.last_handled_tick.max(Some(tick));
        let Some(newest) = from else { return };
        let most = usize::try_from(COUNT_MAX).unwrap_or(usize::MAX);
        let missed = back_from(&spec.clock, newest, low).take(most + 1).count();
        let (missed, at_least) = (missed.min(most), if missed > most { "at least " } else { "" });
        self.count(u64::try_from(missed).unwrap_or(COUNT_MAX), newest);
        let (ticks, were) = if missed == 1 { ("tick", "was") } else { ("ticks", "were") };
        let shown = spec.clock.zone.rfc3339(newest);
        let why = match spec.missed_runs {
            MissedRuns::Latest => "missedRuns is Latest".to_owned(),
            MissedRuns::Skip => "missedRuns is Skip".to_owned(),
            MissedRuns::All { max_catch_up } => format!("missedRuns is All with maxCatchUp {max_catch_up}"),
        };
        let why = match self.refused(low, newest) {
            Some((name, message)) => format!("the API server refused to create {name}: {message}; {why}"),
            None => why,
        };
        let why = spec
            .starting_deadline
            .map_or(why.clone(), |deadline| format!("{why}, startingDeadline {deadline}"));
        self.tell(
            true,
            Reason::TicksMissed,
            Some(newest),
            format!("{at_least}{missed} {ticks} {were} missed, the last at {shown}: {why}"),
        );
    }

    pub(super) fn count(&mut self, ticks: u64, last: Timestamp) {
        let missed = &mut self.status.missed;
        missed.count = missed.count.saturating_add(ticks);
        missed.last = missed.last.max(Some(last));
    }
}

/// The ticks from `newest`, which is one, back to `low`, which is not among them.
fn back_from(clock: &Clock, newest: Timestamp, low: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
    std::iter::successors(Some(newest), |tick| clock.last_upto(just_before(*tick)))
        .take_while(move |tick| *tick > low)
}

fn just_before(tick: Timestamp) -> Timestamp {
    tick.checked_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
