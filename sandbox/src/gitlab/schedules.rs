//! Pipeline schedules: what is stored of them, and the worker that runs them.
//!
//! The worker comes by at times of its own, so a schedule runs at the worker's next time after the one its cron
//! names; `next_run_at` tells that time. A schedule that comes too often for the instance is slowed, not refused.
//!
//! ```text
//! saved → next_run_at … worker → the next next_run_at, then a pipeline as the owner, or nothing, or inactive
//!                       play   → soon, a pipeline as the player
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    chain::{self, Made, Order},
    cron::{self, Cron},
    ledger::{Credential, CredentialKind, ScheduleRun},
    pipeline::{Source, Variable},
    seed::Role,
    state::World,
};

/// Between a call to play and its pipeline; two calls within it by one user make one pipeline.
const QUEUED: SignedDuration = SignedDuration::from_secs(1);
const MINUTES_A_DAY: u64 = 1440;

/// What an instance decides about pipeline schedules; the defaults are a self-managed GitLab's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSettings {
    /// When the worker comes by, as a cron expression in UTC.
    pub worker: String,
    /// Schedules of one project.
    pub per_project: u64,
    /// Pipelines of one schedule and day, 24 to 1440; unset: no limit.
    pub per_day: Option<u64>,
    /// Whether a schedule is switched off when its owner can no longer run pipelines.
    pub deactivates: bool,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self { worker: "3-59/10 * * * *".into(), per_project: 10, per_day: None, deactivates: true }
    }
}

/// A pipeline schedule as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schedule {
    pub id: u64,
    #[serde(skip)]
    pub(crate) project: u64,
    pub description: String,
    /// In full: `refs/heads/…` or `refs/tags/…`.
    #[serde(rename = "ref")]
    pub git_ref: String,
    pub cron: String,
    pub cron_timezone: String,
    pub active: bool,
    #[serde(skip)]
    pub(crate) owner: u64,
    pub variables: Vec<Variable>,
    pub inputs: Map<String, Value>,
    /// When the worker will run it, if it is active then.
    pub next_run_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Schedules {
    pub(crate) all: BTreeMap<u64, Schedule>,
    settings: ScheduleSettings,
    worker: Cron,
    /// To be run by hand: when, which, and as whom.
    played: BTreeSet<(Timestamp, u64, u64)>,
}

impl Default for Schedules {
    fn default() -> Self {
        let settings = ScheduleSettings::default();
        let worker = Cron::parse(&settings.worker, TimeZone::UTC).expect("GitLab's own expression is valid");
        Self { all: BTreeMap::new(), settings, worker, played: BTreeSet::new() }
    }
}

impl Schedules {
    /// `false`: the worker's expression is none.
    pub(crate) fn set(&mut self, settings: ScheduleSettings) -> bool {
        let Some(worker) = Cron::parse(&settings.worker, TimeZone::UTC) else { return false };
        (self.worker, self.settings) = (worker, settings);
        true
    }

    pub(crate) fn of(&self, project: u64) -> impl Iterator<Item = &Schedule> {
        self.all.values().filter(move |schedule| schedule.project == project)
    }

    /// The limit, if the project has reached it.
    pub(crate) fn full(&self, project: u64) -> Option<u64> {
        let most = self.settings.per_project;
        (self.of(project).count() as u64 >= most).then_some(most)
    }

    /// Stores a schedule, new or changed; saving sets when it runs next.
    pub(crate) fn save(&mut self, mut schedule: Schedule, now: Timestamp) {
        schedule.updated_at = now;
        schedule.next_run_at = self.next_run(&schedule, now);
        self.all.insert(schedule.id, schedule);
    }

    pub(crate) fn play(&mut self, schedule: u64, user: u64, now: Timestamp) {
        if !self.played.iter().any(|(_, known, by)| (*known, *by) == (schedule, user)) {
            self.played.insert((now + QUEUED, schedule, user));
        }
    }

    /// When the next of them has something to do.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let planned =
            self.all.values().filter(|schedule| schedule.active).filter_map(|s| s.next_run_at).min();
        let played = self.played.first().map(|(at, ..)| *at);
        planned.into_iter().chain(played).min()
    }

    /// The time at which the worker will pick a schedule up.
    fn next_run(&self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        let cron = Cron::parse(&schedule.cron, cron::zone(&schedule.cron_timezone)?)?;
        let wanted = cron.next(now)?;
        let Some(plan) = self.plan() else {
            return if self.worker.matches(wanted) { Some(wanted) } else { self.worker.next(wanted) };
        };
        let allowed = plan.next(now)?;
        if self.worker.matches(wanted) && allowed <= wanted {
            return Some(wanted);
        }
        let slowed = plan.next(wanted)?;
        if self.worker.matches(slowed) {
            return Some(slowed);
        }
        let picked_up = self.worker.next(wanted)?;
        if allowed <= picked_up { Some(picked_up) } else { self.worker.next(slowed) }
    }

    /// The instance's own rhythm, if it has a limit.
    fn plan(&self) -> Option<Cron> {
        let minutes = MINUTES_A_DAY.checked_div(self.settings.per_day?)?;
        let expression = match minutes {
            0 => return None,
            1..60 => format!("*/{minutes} * * * *"),
            _ => "0 * * * *".to_owned(),
        };
        Cron::parse(&expression, TimeZone::UTC)
    }
}

impl World {
    /// Runs what is due at this time and not earlier.
    pub(crate) fn run_schedules(&mut self, at: Timestamp) {
        while let Some((due, schedule, user)) = self.schedules.played.first().copied().filter(|p| p.0 <= at) {
            self.schedules.played.remove(&(due, schedule, user));
            self.run_schedule(schedule, Some(user), at);
        }
        let due =
            |schedule: &&Schedule| schedule.active && schedule.next_run_at.is_some_and(|next| next <= at);
        let due: Vec<u64> = self.schedules.all.values().filter(due).map(|schedule| schedule.id).collect();
        for id in due {
            // First the next time, so that no second worker finds it due.
            let next = self.schedules.all.get(&id).and_then(|schedule| self.schedules.next_run(schedule, at));
            if let Some(schedule) = self.schedules.all.get_mut(&id) {
                schedule.next_run_at = next;
            }
            self.run_schedule(id, None, at);
        }
    }

    /// As its owner, or as somebody who played it.
    fn run_schedule(&mut self, id: u64, player: Option<u64>, at: Timestamp) {
        let Some(schedule) = self.schedules.all.get(&id).cloned() else { return };
        if let Err(error) = self.refresh(schedule.project) {
            tracing::error!(%error, "a repository of the simulator is broken");
        }
        let Schedule { project, owner, description, git_ref, variables, inputs, .. } = schedule;
        let mut run = ScheduleRun { schedule: id, at, pipeline: None, refused: None };
        if self.schedules.settings.deactivates && !self.may_run(project, owner) {
            if let Some(schedule) = self.schedules.all.get_mut(&id) {
                schedule.active = false;
            }
            run.refused = Some("the owner may not run pipelines: deactivated");
            return self.ledger.schedule_runs.push(run);
        }
        let order = Order {
            project,
            user: player.unwrap_or(owner),
            git_ref: &git_ref,
            source: Source::Schedule,
            variables,
            payload: None,
            inputs,
            keeps_failures: self.version.keeps_failed_schedules(),
            at,
            call: 0,
            credential: Credential { kind: CredentialKind::Schedule, id, name: description },
            params: Map::new(),
            upstream: None,
            schedule: Some(id),
        };
        match chain::create(self, order) {
            Made::Created(pipeline) | Made::Failed(pipeline, _) => run.pipeline = Some(pipeline),
            // Only GitLab's log tells.
            Made::Refused(answer) => run.refused = Some(answer.row.name),
        }
        self.ledger.schedule_runs.push(run);
    }

    fn may_run(&self, project: u64, user: u64) -> bool {
        let role = self.projects.get(&project).and_then(|project| project.role(user));
        role >= Some(Role::Developer) && self.users.get(&user).is_some_and(|user| !user.blocked)
    }

    /// The newest pipeline of a schedule.
    pub(crate) fn last_pipeline(&self, schedule: &Schedule) -> Option<u64> {
        let pipelines = &self.projects.get(&schedule.project)?.pipelines;
        pipelines.values().rev().find(|p| p.schedule == Some(schedule.id)).map(|p| p.id)
    }
}
