//! Does what [`pipekick_core::decide::schedule::decide`] says about a `PipelineSchedule`.
//!
//! ```text
//! observe (record, children, creations) → decide (core) → apply (one guarded write, then effects) → decide again …
//! ```
//!
//! A turn of work ends when the decision asks for nothing more. A plan that creates children writes nothing: the
//! decision that learns of them writes once for all. A schedule that GitLab runs has a decision and hands of its own:
//! `keep.rs`.

mod apply;
mod children;
mod keep;
mod observe;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use pipekick_core::decide::schedule::{Observed, Plan, decide};
use pipekick_core::decide::summary::tell_bug;
use pipekick_core::domain::schedule::{Kept, Schedule};
use pipekick_core::domain::{GitLabUrl, ObjectKey};
use tokio::time::Instant;

pub use children::{Children, ScheduleRef, scheduled_time};
pub use observe::Record;

use crate::api::PipelineSchedule;
use crate::clock;
use crate::cluster::events::Events;
use crate::cluster::identity::Identity;
use crate::cluster::secrets::Secrets;
use crate::cluster::status::{self, Guard};
use crate::config::Config;
use crate::controllers::postponed::Postponed;
use crate::controllers::trigger::Follower;
use crate::crash;
use crate::gitlab;
use crate::runtime::{Body, Entry, Handle, Lenient, Outcome, Rank, Worker};
use crate::server::Metrics;
use apply::Next;
use keep::Keeper;
use observe::{Creations, Looking, Template};

/// A `PipelineSchedule` as the watch delivers it: metadata, and spec and status as far as they can be read.
pub type Object = Lenient<PipelineSchedule>;

/// Decisions in one turn, at most. A tick needs three; conflicts add some.
const STEPS: usize = 12;
/// Timers run by a clock that is never set; the time that schedules go by may be. So they look again this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A status gives way to a crowd for so long. Shorter than a created child is remembered or must live.
const LONGEST_POSTPONED: Duration = Duration::from_secs(30);

/// The controller of `PipelineSchedule`s.
pub struct ScheduleController {
    cluster: Client,
    events: Events,
    handle: Handle<Record>,
    children: Arc<Children>,
    creations: Creations,
    follower: Arc<Follower>,
    looking: Looking,
    postponed: Postponed,
    crowded: Box<dyn Fn() -> bool + Send + Sync>,
    paused: bool,
    metrics: Arc<Metrics>,
    default_url: GitLabUrl,
    keeper: Keeper,
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
    /// Who looks at their pipelines.
    pub follower: Arc<Follower>,
    /// Whether so much is to be fired that what can wait should.
    pub crowded: Box<dyn Fn() -> bool + Send + Sync>,
    /// GitLab, for the schedules that it runs itself.
    pub gitlab: Arc<gitlab::Client>,
    /// Credentials for them.
    pub secrets: Arc<Secrets>,
    /// What tells this cluster's schedules in GitLab from another one's.
    pub identity: Identity,
    /// The operator's settings.
    pub config: Arc<Config>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// One turn of work on one object.
struct Turn {
    schedule: Schedule,
    resource_version: String,
    template: Option<Template>,
    /// The same object, if GitLab runs it.
    kept: Option<Box<Kept>>,
    /// When it was read from the API server itself, or written there, in this turn.
    read_at: Option<Instant>,
}

impl ScheduleController {
    /// A controller on these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            cluster,
            events,
            handle,
            children,
            follower,
            crowded,
            gitlab,
            secrets,
            identity,
            config,
            metrics,
        } = parts;
        Self {
            keeper: Keeper::new(gitlab, secrets, identity, &config, handle.clone()),
            cluster,
            events,
            handle,
            children,
            creations: Creations::default(),
            follower,
            looking: Looking::default(),
            postponed: Postponed::new(LONGEST_POSTPONED),
            crowded,
            paused: config.policy.paused,
            metrics,
            default_url: config.gitlab_url.clone(),
        }
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
        Some(at) => Outcome::done().wake_in(clock::until(at).min(LONGEST_SLEEP), rank),
        None => Outcome::done(),
    }
}

impl Worker for ScheduleController {
    type Record = Record;

    fn classify(&self, record: &Record) -> Rank {
        match &record.schedule {
            Ok(_) if record.kept.is_some() => Rank::Following,
            Ok(_) => Rank::Firing,
            Err(_) => Rank::Bookkeeping,
        }
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
            kept: record.kept.clone(),
            read_at: None,
        };
        if turn.kept.is_none() {
            return self.steps(key, &mut turn).await;
        }
        let outcome = self.keep(key, &mut turn).await;
        self.keeper.leave(key);
        outcome
    }

    fn panicked(&self, key: &ObjectKey, message: &str) {
        self.keeper.leave(key);
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
        self.looking.stop(key);
        self.keeper.forget(key);
        tracing::debug!(object = %key, uid, "object was deleted");
    }
}
