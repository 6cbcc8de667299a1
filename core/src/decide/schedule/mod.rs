//! What to do about one `PipelineSchedule` next: each tick makes one child `PipelineTrigger`, once.
//!
//! ```text
//! clock     edited, suspended or resumed?  → nothing that lies before fires
//! absorb    children that exist            → their ticks are dealt with: the high-water mark moves
//! queued    the tick that waits            → fire it, wait on, or drop it
//! due       ticks that have come           → fire, queue, or drop and count, by missedRuns and concurrencyPolicy
//! ask       pipekick.dev/fire              → the same; under Queue and Replace before the ticks
//! trim      children beyond the history limits
//! sum up    active, next, message, conditions; write only what reads differently
//! ```
//!
//! # What stands before a POST
//!
//! One request: the create of the child. Its name is the lock: it is made of the schedule's name and the tick, so
//! whoever creates it a second time is told that it exists, whether that is a second operator, one that died before
//! it could write, or one whose watch is behind. The high-water mark `lastHandledTick` is written *after* the
//! creates; so is everything else of that turn. Should the process die in between, the next one finds the child (or
//! is told `AlreadyExists`), and moves the mark then.
//!
//! A name locks only while the child exists. Three rules keep it there for long enough:
//!
//! * no child is trimmed before the mark that was *written* has passed it, nor within [`TRIM_AGE`] of its creation;
//! * a tick that is older than [`FRESH_FOR`], and every request, is fired only by somebody who has just read the
//!   schedule from the API server ([`Effect::Confirm`]): an operator that slept, or that catches up, might not know of
//!   a mark that was written, and of a child that was trimmed, long ago. A tick on time needs no such read: it is
//!   younger than any child that could have been trimmed;
//! * what waits ([`ScheduleStatus::queued_tick`]) is written before anything is done about it.
//!
//! What is left: a child that a person deletes after it was created and before the mark is written, *and* an operator
//! that dies in between, make a tick fire twice. That is milliseconds; while there is a crowd, in which such writes give
//! way to POSTs ([`Plan::can_wait`]), seconds, and never as long as [`TRIM_AGE`].
//!
//! A plan with a create therefore carries no status. The caller applies it, adds what became of the create to
//! [`Facts::creations`], and decides again; that decision absorbs it and writes once.

mod absorb;
mod ask;
mod due;
mod history;
mod names;
mod observed;
mod plan;
mod queued;
mod summary;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use history::{HELD_MAX, TRIM_AGE};
pub use names::{child_name, request_name};
pub use observed::{Created, Creation, Facts, Observed};
pub use plan::{ChildCause, ChildOrder, Effect, Plan, Told};
pub use summary::NEVER_FIRES;

use crate::decide::trigger::Note;
use crate::domain::schedule::{
    Child, ChildOwner, ConcurrencyPolicy, Course, Schedule, ScheduleSpec, ScheduleStatus,
};
use crate::domain::{Phase, Reason};
use names::release;
pub(in crate::decide) use summary::Standing;

/// A tick older than this, counted from when it should have fired, is fired only on a schedule that was just read.
pub const FRESH_FOR: Duration = Duration::from_secs(10);
/// `missedRuns: Skip` calls a tick late beyond this.
pub const ON_TIME: Duration = Duration::from_secs(60);
/// How long a tick waits for a run that was cancelled in its favour.
pub const REPLACE_WAIT: Duration = Duration::from_secs(300);
/// How long a tick waits to hear whether the run in its way is under way still. A run is looked at now and then, and after a
/// restart not at once.
pub const LOOK_WAIT: Duration = Duration::from_secs(30);
/// Meanwhile this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a tick waits for a child of an earlier schedule of the same name to go.
pub const EARLIER_WAIT: Duration = Duration::from_secs(300);
/// First and longest wait before a child that could not be created is tried again.
pub const CREATE_BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Most ticks that are counted one by one when they were missed in one stretch.
pub const COUNT_MAX: u64 = 1_000;

/// What to do about `observed.schedule` next.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Plan {
    if observed.schedule.being_deleted {
        // Its children go with it, by their owner reference.
        return Plan::default();
    }
    let mut draft = Draft::new(*observed);
    let spec = match &observed.schedule.spec {
        Ok(spec) => spec,
        Err(problem) => {
            draft.forget_clock();
            return draft.finish(Standing::invalid(&problem.0));
        }
    };
    draft.read_clock(spec);
    draft.absorb(spec);
    if let Some(stopped) = draft.stopped() {
        draft.look_ahead(spec);
        draft.answer_stopped();
        draft.trim(spec);
        return draft.finish(stopped);
    }
    match spec.concurrency {
        // Whoever asks for a run would otherwise wait for as long as ticks do.
        ConcurrencyPolicy::Queue | ConcurrencyPolicy::Replace => {
            draft.ask(spec);
            draft.queued(spec);
            draft.due(spec);
        }
        // The clock keeps its promise, and a request learns at once that it was dropped.
        ConcurrencyPolicy::Allow | ConcurrencyPolicy::Forbid => {
            draft.queued(spec);
            draft.due(spec);
            draft.ask(spec);
        }
    }
    draft.trim(spec);
    let standing = draft.standing.take().unwrap_or_else(|| draft.scheduled(spec));
    draft.finish(standing)
}

/// A decision in the making.
struct Draft<'a> {
    seen: Observed<'a>,
    status: ScheduleStatus,
    /// The children that this schedule's uid controls, those included that the watch has not shown yet.
    ours: Vec<Child>,
    /// What to say instead of when the next tick is.
    standing: Option<Standing>,
    deletes: Vec<Effect>,
    cancels: Vec<Effect>,
    looks: Vec<Effect>,
    creates: Vec<ChildOrder>,
    /// A create needs a schedule that was just read.
    confirm: bool,
    events: Vec<Told>,
    wake: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    fn new(seen: Observed<'a>) -> Self {
        let uid = &seen.schedule.uid;
        let controls = |child: &&Child| matches!(&child.owner, ChildOwner::Schedule { name: _, uid: theirs } if theirs == uid);
        let mut ours: Vec<Child> = seen.children.iter().filter(controls).cloned().collect();
        for created in &seen.facts.creations {
            let uid = match &created.outcome {
                Creation::Made { uid } | Creation::Ours { uid } => uid,
                Creation::Earlier | Creation::Stranger | Creation::Refused { message: _ } => continue,
            };
            if !ours.iter().any(|child| child.name == created.name) {
                ours.push(unseen(seen.schedule, created, uid));
            }
        }
        // In the order of their ticks, however the watch has them.
        ours.sort_by(|a, b| {
            (a.tick.unwrap_or(a.created), &a.name).cmp(&(b.tick.unwrap_or(b.created), &b.name))
        });
        Self {
            seen,
            status: seen.schedule.status.clone(),
            ours,
            standing: None,
            deletes: Vec::new(),
            cancels: Vec::new(),
            looks: Vec::new(),
            creates: Vec::new(),
            confirm: false,
            events: Vec::new(),
            wake: None,
        }
    }

    /// An edit of schedule, zone or dst, a suspension and a resume: whatever lies before fires no more.
    fn read_clock(&mut self, spec: &ScheduleSpec) {
        let digest = spec.clock_digest(self.seen.schedule.suspend);
        if self.status.decided_clock.as_ref() != Some(&digest) {
            if self.status.decided_clock.is_none() {
                self.record_request();
            } else {
                self.not_before_now();
            }
            self.status.decided_clock = Some(digest);
        }
        self.status.resolved_schedules =
            spec.clock.patterns.iter().map(|pattern| pattern.resolved().to_owned()).collect();
    }

    /// A spec that cannot be followed: mending it is an edit.
    fn forget_clock(&mut self) {
        const INVALID: &str = "v1:invalid";
        if self.status.decided_clock.as_deref() != Some(INVALID) {
            if self.status.decided_clock.is_none() {
                self.record_request();
            }
            self.not_before_now();
            self.status.decided_clock = Some(INVALID.to_owned());
        }
        self.status.resolved_schedules = Vec::new();
        self.status.next_schedule_time = None;
    }

    fn not_before_now(&mut self) {
        self.status.not_before = Some(self.seen.now);
        if let Some(tick) = self.drop_queued() {
            let message = format!(
                "the tick of {tick}, which waited, was dropped: the schedule was edited, suspended or resumed"
            );
            self.tell(true, Reason::TicksMissed, Some(tick), message);
        }
    }

    /// Why nothing may be fired just now, if so.
    fn stopped(&self) -> Option<Standing> {
        if self.seen.paused {
            Some(Standing::resting(Reason::Paused, "the operator is paused (--pause): nothing is fired"))
        } else if self.seen.schedule.suspend {
            Some(Standing::resting(Reason::Suspended, "spec.suspend is true: nothing is fired"))
        } else {
            None
        }
    }

    /// No tick up to here fires.
    fn low(&self) -> Timestamp {
        let handled = self.status.last_handled_tick.unwrap_or(self.seen.schedule.created);
        self.status.not_before.map_or(handled, |not_before| not_before.max(handled))
    }

    /// Whether a child other than `name` is under way.
    fn is_busy(&self, name: &str) -> bool {
        self.active().any(|child| child.name != name)
    }

    fn active(&self) -> impl Iterator<Item = &Child> {
        self.ours.iter().filter(|child| child.course() == Course::Active)
    }

    /// Whether nothing is to be dropped for the active runs yet: each of them may have ended since they were looked at, which
    /// was before `since`. They are looked at, and it is decided again.
    fn must_look(&mut self, name: &str, since: Timestamp) -> bool {
        let Facts { seen_running, looking_since, .. } = self.seen.facts;
        let until = later(looking_since.unwrap_or(self.seen.now), LOOK_WAIT);
        if self.seen.now >= until {
            return false;
        }
        // Of any other phase it is known without a look.
        let may_have_ended = |child: &&Child| {
            child.phase == Some(Phase::Running)
                && seen_running.get(&child.name).is_none_or(|seen| *seen < since)
        };
        let others: Vec<&Child> = self.active().filter(|child| child.name != name).collect();
        if others.is_empty() || !others.iter().all(may_have_ended) {
            return false;
        }
        let looks = others.iter().map(|child| Effect::Look { name: child.name.clone() }).collect();
        self.looks = looks;
        self.wake_at(later(self.seen.now, LOOK_AGAIN).min(until));
        true
    }

    fn has(&self, name: &str) -> bool {
        self.ours.iter().any(|child| child.name == name)
    }

    /// Asks every active child other than `name` to cancel its run.
    fn cancel_active(&mut self, name: &str) {
        let asked: Vec<Effect> = self
            .active()
            .filter(|child| child.name != name && !child.being_deleted)
            .filter_map(|child| {
                // Before its controller has looked there is no run to name; its first one will be number 1.
                let value = child.run_seq.unwrap_or(1).to_string();
                let known = child.cancel.as_ref().is_some_and(|seen| *seen == value);
                (!known).then(|| Effect::Cancel { name: child.name.clone(), value })
            })
            .collect();
        for cancel in asked {
            if !self.cancels.contains(&cancel) {
                self.cancels.push(cancel);
            }
        }
    }

    fn tell(&mut self, warning: bool, reason: Reason, tick: Option<Timestamp>, message: String) {
        self.events.push(Told { tick, note: Note { warning, reason, message } });
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn finish(mut self, standing: Standing) -> Plan {
        self.sum_up(standing);
        let can_wait = self.cancels.is_empty()
            && self.looks.is_empty()
            && self.creates.is_empty()
            && self.is_seen_again();
        let mut effects = self.deletes;
        effects.append(&mut self.cancels);
        effects.append(&mut self.looks);
        if self.creates.is_empty() {
            let changed = self.status != self.seen.schedule.status;
            let (status, events) =
                if changed { (Some(self.status), self.events) } else { (None, Vec::new()) };
            return Plan { status, effects, events, wake: self.wake, can_wait };
        }
        // Written after the creates, by the decision that absorbs them.
        if self.confirm && !self.seen.facts.fresh {
            effects.push(Effect::Confirm);
        } else {
            effects.extend(self.creates.into_iter().map(Effect::Create));
        }
        Plan { status: None, effects, events: Vec::new(), wake: self.wake, can_wait }
    }

    /// Whether status tells nothing new but what the children will show again: they exist, how far they have come,
    /// and that their ticks are dealt with.
    fn is_seen_again(&self) -> bool {
        let ScheduleStatus {
            observed_generation,
            message: _,
            resolved_schedules: _,
            decided_clock,
            // Without a child it does not move unless ticks are counted as missed.
            last_handled_tick: _,
            not_before,
            queued_tick,
            queued_since,
            active: _,
            active_count: _,
            last_schedule_time: _,
            last_successful_time: _,
            next_schedule_time: _,
            missed,
            last_handled,
            // GitLab's own.
            gitlab: _,
            conditions: _,
        } = &self.seen.schedule.status;
        *observed_generation == self.status.observed_generation
            && *decided_clock == self.status.decided_clock
            && *not_before == self.status.not_before
            && *queued_tick == self.status.queued_tick
            && *queued_since == self.status.queued_since
            && *missed == self.status.missed
            && *last_handled == self.status.last_handled
    }
}

/// A child that this process knows to exist and the watch has not shown.
fn unseen(schedule: &Schedule, created: &Created, uid: &str) -> Child {
    Child {
        name: created.name.clone(),
        uid: uid.to_owned(),
        owner: ChildOwner::Schedule { name: schedule.key.name.clone(), uid: schedule.uid.clone() },
        being_deleted: false,
        created: created.at,
        tick: created.tick,
        phase: None,
        run_seq: None,
        cancel: None,
        finished_at: None,
    }
}

/// `at` and `wait` later, or the end of time.
fn later(at: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| at.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}
