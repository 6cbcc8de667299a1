//! Does what [`pipekick_core::decide::schedule::decide`] says about a `PipelineSchedule`.
//!
//! ```text
//! observe (record, children, creations) → decide (core) → apply (one guarded write, then effects) → decide again …
//! ```
//!
//! A turn of work ends when the decision asks for nothing more. A plan that creates children writes nothing: the
//! decision that learns of them writes once for all.

mod apply;
mod children;
mod observe;
mod postponed;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use pipekick_core::decide::schedule::{Observed, Plan, decide};
use pipekick_core::decide::summary::tell_bug;
use pipekick_core::domain::ObjectKey;
use pipekick_core::domain::schedule::Schedule;
use tokio::time::Instant;

pub use children::{Children, ScheduleRef, scheduled_time};
pub use observe::Record;

use crate::api::PipelineSchedule;
use crate::clock;
use crate::cluster::events::Events;
use crate::cluster::status::{self, Guard};
use crate::crash;
use crate::runtime::{Body, Entry, Handle, Lenient, Outcome, Rank, Worker};
use crate::server::Metrics;
use apply::Next;
use observe::{Creations, Template};
use postponed::Postponed;

/// A `PipelineSchedule` as the watch delivers it: metadata, and spec and status as far as they can be read.
pub type Object = Lenient<PipelineSchedule>;

/// Decisions in one turn, at most. A tick needs three; conflicts add some.
const STEPS: usize = 12;
/// Timers run by a clock that is never set; the time that schedules go by may be. So they look again this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The controller of `PipelineSchedule`s.
pub struct ScheduleController {
    cluster: Client,
    events: Events,
    handle: Handle<Record>,
    children: Arc<Children>,
    creations: Creations,
    postponed: Postponed,
    crowded: Box<dyn Fn() -> bool + Send + Sync>,
    paused: bool,
    metrics: Arc<Metrics>,
}

/// What a controller stands on.
pub struct Parts {
    /// The API server.
    pub cluster: Client,
    /// Where Events are handed in.
    pub events: Events,
    /// The runtime it works for.
    pub handle: Handle<Record>,
    /// The children of all schedules.
    pub children: Arc<Children>,
    /// Whether so much is to be fired that what can wait should.
    pub crowded: Box<dyn Fn() -> bool + Send + Sync>,
    /// `--pause`: no children are made.
    pub paused: bool,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// One turn of work on one object.
struct Turn {
    schedule: Schedule,
    resource_version: String,
    template: Option<Template>,
    /// When it was read from the API server itself, or written there, in this turn.
    read_at: Option<Instant>,
}

impl ScheduleController {
    /// A controller on these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { cluster, events, handle, children, crowded, paused, metrics } = parts;
        let (creations, postponed) = (Creations::default(), Postponed::default());
        Self { cluster, events, handle, children, creations, postponed, crowded, paused, metrics }
    }

    async fn steps(&self, key: &ObjectKey, turn: &mut Turn) -> Outcome {
        for _ in 0..STEPS {
            let plan = self.decide(key, turn);
            match self.apply(key, turn, plan).await {
                Next::Decide => {}
                Next::End(outcome) => return outcome,
            }
        }
        Outcome::again()
    }

    fn decide(&self, key: &ObjectKey, turn: &Turn) -> Plan {
        let children = self.children.of(key);
        let facts = self.facts(key, turn, &children);
        decide(&Observed {
            now: clock::now(),
            paused: self.paused,
            schedule: &turn.schedule,
            children: &children,
            facts: &facts,
        })
    }
}

/// The end of a turn: sleep until the decision asked to be woken.
fn sleep(wake: Option<jiff::Timestamp>, rank: Rank) -> Outcome {
    match wake {
        Some(at) => {
            let delay: Duration = at.duration_since(clock::now()).try_into().unwrap_or_default();
            Outcome::done().wake_in(delay.min(LONGEST_SLEEP), rank)
        }
        None => Outcome::done(),
    }
}

impl Worker for ScheduleController {
    type Record = Record;

    fn classify(&self, record: &Record) -> Rank {
        if record.schedule.is_ok() { Rank::Firing } else { Rank::Bookkeeping }
    }

    async fn work(&self, key: &ObjectKey, entry: Entry<Record>) -> Outcome {
        crash::panic_on(key);
        let record = match entry.body {
            Body::Whole(record) => record,
            // No schedule is ever settled: its clock runs.
            Body::Settled => return Outcome::done(),
        };
        let schedule = match &record.schedule {
            Ok(schedule) => schedule.clone(),
            Err(unreadable) => {
                tracing::warn!(object = %key, error = %unreadable, "object was left alone");
                return Outcome::done();
            }
        };
        let mut turn = Turn {
            schedule,
            resource_version: record.resource_version.clone(),
            template: record.template.clone(),
            read_at: None,
        };
        self.steps(key, &mut turn).await
    }

    fn panicked(&self, key: &ObjectKey, message: &str) {
        tracing::error!(object = %key, detail = message, "work on an object panicked; the others go on");
        let Some(entry) = self.handle.entry(key) else { return };
        let Body::Whole(record) = entry.body else { return };
        let Ok(schedule) = &record.schedule else { return };
        let guard = Guard {
            key: key.clone(),
            uid: schedule.uid.clone(),
            resource_version: record.resource_version.clone(),
        };
        let mut status = schedule.status.clone();
        tell_bug(&mut status.conditions, &mut status.message, message, schedule.generation, clock::now());
        if status.conditions != schedule.status.conditions {
            status::tell_bug::<PipelineSchedule, Object>(&self.cluster, guard, status);
        }
    }

    fn gone(&self, key: &ObjectKey, uid: &str) {
        self.creations.forget(key);
        self.postponed.done(key);
        tracing::debug!(object = %key, uid, "object was deleted");
    }
}
