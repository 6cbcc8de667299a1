//! Does what [`pipekick_core::decide::trigger::decide`] says about a `PipelineTrigger`.
//!
//! ```text
//! observe (record, memory) → decide (core) → apply (one guarded write, then one effect) → decide again …
//! ```
//!
//! A turn of work ends when the decision asks for nothing more. Every rule is in the core; here stand only
//! its hands and its memory. See `ARCHITECTURE.md` for the way from an object to its POST.

mod apply;
mod cancel;
mod change;
mod ends;
mod fire;
mod follow;
mod freight;
mod look_into;
mod lookup;
mod memory;
mod observe;
mod outputs;
mod rank;
mod report;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use pipekick_core::decide::summary::tell_bug;
use pipekick_core::decide::trigger::{
    Credentials, FirstSight, OutputsOrder, OutputsRead, Plan, Policy, RequestSight, decide,
};
use pipekick_core::domain::{AttemptKey, Finding, Lookup, Named, ObjectKey, Phase, Sighting, Trigger};

pub use follow::Follower;
pub use observe::Record;

use crate::api::{PipelineSchedule, PipelineTrigger};
use crate::clock;
use crate::cluster::events::Events;
use crate::cluster::secrets::Secrets;
use crate::cluster::status::{self, Guard};
use crate::config::Config;
use crate::controllers::gate::Gate;
use crate::controllers::images::Images;
use crate::controllers::postponed::Postponed;
use crate::controllers::ration::Ration;
use crate::controllers::schedule::{self, Children, ScheduleRef};
use crate::crash;
use crate::gitlab;
use crate::otlp::Tracer;
use crate::runtime::{Body, Entry, Handle, Lenient, Outcome, Rank, Version, Worker};
use crate::server::Metrics;
use apply::Next;
use freight::Freight;
use lookup::Looker;
use memory::Memories;

/// A `PipelineTrigger` as the watch delivers it: metadata, and spec and status as far as they can be read.
pub type Object = Lenient<PipelineTrigger>;

/// Decisions in one turn, at most. A run needs three, a refused one a look more; conflicts add some.
const STEPS: usize = 8;

/// The outcome of a POST gives way to a crowd for so long. Should the process die meanwhile, the pipelines of that time are
/// looked for.
const LONGEST_POSTPONED: Duration = Duration::from_secs(10);

/// The controller of `PipelineTrigger`s.
pub struct TriggerController {
    cluster: Client,
    gitlab: Arc<gitlab::Client>,
    secrets: Arc<Secrets>,
    events: Events,
    handle: Handle<Record>,
    config: Arc<Config>,
    follower: Arc<Follower>,
    memories: Memories,
    metrics: Arc<Metrics>,
    looker: Looker,
    gate: Gate,
    ration: Ration,
    children: Arc<Children>,
    images: Arc<Images>,
    tracer: Option<Tracer>,
    postponed: Postponed,
    crowded: Box<dyn Fn() -> bool + Send + Sync>,
    /// The policy for what a schedule has just made: its first sight is fired.
    policy_of_newborn: Policy,
}

/// What a controller stands on.
pub struct Parts {
    /// The API server.
    pub cluster: Client,
    /// GitLab.
    pub gitlab: Arc<gitlab::Client>,
    /// Credentials.
    pub secrets: Arc<Secrets>,
    /// Where Events are handed in.
    pub events: Events,
    /// The runtime it works for.
    pub handle: Handle<Record>,
    /// The operator's settings.
    pub config: Arc<Config>,
    /// Who looks at pipelines.
    pub follower: Arc<Follower>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which of the triggers are children of schedules.
    pub children: Arc<Children>,
    /// Where image updates are handed in.
    pub images: Arc<Images>,
    /// Where spans are handed in, if anybody wants them.
    pub tracer: Option<Tracer>,
    /// Whether so much is to be fired that what can wait should.
    pub crowded: Box<dyn Fn() -> bool + Send + Sync>,
}

/// One turn of work on one object.
struct Turn {
    trigger: Trigger,
    resource_version: String,
    /// When the version that is worked on was seen.
    seen_at: tokio::time::Instant,
    /// The tick it was made for, if a schedule made it.
    scheduled_time: Option<String>,
    /// Nobody has decided on it yet, and a schedule that lives has made it: this first sight is no restore from a
    /// backup.
    newborn: bool,
    credentials: Credentials,
    freight: Option<Freight>,
    /// There is no leave for its POST until then.
    held_back: Option<jiff::Timestamp>,
    /// What a look brought; decided on in this turn or not at all.
    lookup: Option<(AttemptKey, Lookup)>,
    look_began: Option<tokio::time::Instant>,
    look_date: Option<jiff::Timestamp>,
    named: Option<(u64, Named)>,
    looked_at: Option<(u64, Sighting)>,
    finding: Option<(AttemptKey, Finding)>,
    outputs: Option<(OutputsOrder, OutputsRead)>,
    /// What looks at merge requests brought, by entry and number.
    requests: Vec<(usize, u64, RequestSight)>,
    /// The schedule that made it, if one did.
    schedule: Option<ScheduleRef>,
}

impl TriggerController {
    /// A controller on these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            cluster,
            gitlab,
            secrets,
            events,
            handle,
            config,
            follower,
            metrics,
            children,
            images,
            tracer,
            crowded,
        } = parts;
        let memories = Memories::default();
        let looker = Looker::new(Arc::clone(&gitlab), Arc::clone(&secrets), config.gitlab_url.clone());
        let poke = || {
            let handle = handle.clone();
            move |key: &ObjectKey| {
                handle.poke(key, Rank::Firing);
            }
        };
        let gate = Gate::new(poke());
        let ration = Ration::new(Arc::clone(&gitlab), poke());
        let policy_of_newborn = Policy { first_sight: FirstSight::Fire, ..config.policy.clone() };
        Self {
            cluster,
            gitlab,
            secrets,
            events,
            handle,
            config,
            follower,
            memories,
            metrics,
            looker,
            gate,
            ration,
            children,
            images,
            tracer,
            postponed: Postponed::new(LONGEST_POSTPONED),
            crowded,
            policy_of_newborn,
        }
    }

    /// Whether its first sight, which this is, may be held.
    fn holds(&self, trigger: &Trigger) -> bool {
        self.config.policy.first_sight == FirstSight::Hold && trigger.status.decided_digest.is_none()
    }

    /// Whether this very schedule is there. Soon after the start, or when its watch is behind, it may not be known yet.
    async fn is_of(&self, namespace: &str, schedule: &ScheduleRef) -> Result<bool, String> {
        let key = ObjectKey { namespace: namespace.to_owned(), name: schedule.name.clone() };
        if self.children.knows(&key, &schedule.uid) {
            return Ok(true);
        }
        let found = status::read::<PipelineSchedule, schedule::Object>(&self.cluster, &key).await?;
        Ok(found.is_some_and(|object| object.metadata.uid.as_deref() == Some(&schedule.uid)))
    }

    async fn steps(&self, key: &ObjectKey, turn: &mut Turn) -> Outcome {
        for _ in 0..STEPS {
            let facts = self.facts(key, turn);
            let plan = decide(&self.observed(turn, &facts));
            match self.apply(key, turn, plan).await {
                Next::Decide => {}
                Next::End(outcome) => return outcome,
            }
        }
        Outcome::again()
    }

    fn note_unknown(&self, key: &ObjectKey, since: Option<jiff::Timestamp>) {
        let (runs, oldest) = self.memories.unknown(key, since);
        self.metrics.unknown_runs(runs, oldest);
    }

    /// The end of a turn: follow what is to be followed, and wake when the decision asked for it.
    fn rest(&self, key: &ObjectKey, turn: &Turn, plan: &Plan) -> Outcome {
        self.follower.follow(key, plan.follow.clone());
        let unknown = turn.trigger.status.run.as_deref().filter(|run| run.phase == Phase::Unknown);
        let since = unknown.map(|run| run.attempt.as_ref().map_or(run.intended_at, |attempt| attempt.at));
        self.note_unknown(key, since);
        self.images.taken_in(key, &turn.trigger.status);
        let settled = plan.is_settled();
        let outcome = if settled {
            self.memories.forget(key);
            Outcome::done().settled(Version::parse(&turn.resource_version))
        } else {
            Outcome::done()
        };
        match plan.wake.into_iter().chain(plan.expires).min() {
            Some(at) => outcome
                .wake_in(clock::until(at), if settled { Rank::Bookkeeping } else { rank::of(&turn.trigger) }),
            None => outcome,
        }
    }
}

impl Worker for TriggerController {
    type Record = Record;

    fn classify(&self, record: &Record) -> Rank {
        match &record.trigger {
            Ok(trigger) => rank::of_seen(trigger),
            Err(_) => Rank::Bookkeeping,
        }
    }

    async fn work(&self, key: &ObjectKey, entry: Entry<Record>) -> Outcome {
        crash::panic_on(key);
        let record = match entry.body {
            Body::Whole(record) => record,
            // Its time has come, or its pipeline runs again after its end.
            Body::Settled => match status::read::<PipelineTrigger, Object>(&self.cluster, key).await {
                Ok(Some(object)) if object.metadata.uid.as_deref() == Some(&*entry.uid) => {
                    Arc::new(Record::new(&object, &self.config.gitlab_url))
                }
                Ok(_) => return Outcome::done(),
                Err(message) => {
                    tracing::warn!(object = %key, detail = message, "object could not be read again");
                    return Outcome::done().wake_in(self.memories.unconfirmed(key), Rank::Bookkeeping);
                }
            },
        };
        let trigger = match &record.trigger {
            Ok(trigger) => trigger.clone(),
            Err(unreadable) => {
                tracing::warn!(object = %key, error = %unreadable, "object was left alone");
                return Outcome::done();
            }
        };
        let newborn = match &record.schedule {
            Some(schedule) if self.holds(&trigger) => match self.is_of(&key.namespace, schedule).await {
                Ok(is_of) => is_of,
                Err(message) => {
                    tracing::warn!(object = %key, detail = message, "its schedule could not be read");
                    return Outcome::done().wake_in(self.memories.unconfirmed(key), Rank::Firing);
                }
            },
            Some(_) | None => false,
        };
        let mut turn = Turn {
            trigger,
            resource_version: record.resource_version.clone(),
            seen_at: record.seen_at,
            scheduled_time: record.scheduled_time.clone(),
            newborn,
            credentials: Credentials::Unread,
            freight: None,
            held_back: None,
            lookup: None,
            look_began: None,
            look_date: None,
            named: None,
            looked_at: None,
            finding: None,
            outputs: None,
            requests: Vec::new(),
            schedule: record.schedule.clone(),
        };
        let outcome = self.steps(key, &mut turn).await;
        self.gate.leave(key);
        self.ration.leave(key);
        outcome
    }

    fn panicked(&self, key: &ObjectKey, message: &str) {
        // The decision is pure: it would panic again on the same facts, so those of the follower go.
        self.follower.drop_sighting(key);
        self.gate.leave(key);
        self.ration.leave(key);
        tracing::error!(object = %key, detail = message, "work on an object panicked; the others go on");
        let Some(entry) = self.handle.entry(key) else { return };
        let Body::Whole(record) = entry.body else { return };
        let Ok(trigger) = &record.trigger else { return };
        let guard = Guard {
            key: key.clone(),
            uid: trigger.uid.clone(),
            resource_version: record.resource_version.clone(),
        };
        let mut status = trigger.status.clone();
        tell_bug(&mut status.conditions, &mut status.message, message, trigger.generation, clock::now());
        if status.conditions != trigger.status.conditions {
            status::tell_bug::<PipelineTrigger, Object>(&self.cluster, guard, status);
        }
    }

    fn closing(&self) -> Vec<ObjectKey> {
        self.postponed.close()
    }

    fn gone(&self, key: &ObjectKey, uid: &str) {
        self.postponed.done(key);
        self.children.gone(key, uid);
        self.images.gone(key);
        self.gate.forget(key);
        self.ration.forget(key);
        self.follower.follow(key, None);
        self.memories.forget(key);
        self.note_unknown(key, None);
        tracing::debug!(object = %key, uid, "object was deleted");
    }
}
