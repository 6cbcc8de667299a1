//! What the pipelines of a project will do: plays, chosen when a pipeline is created.
//!
//! ```text
//! opening statuses, each for a while  →  stages in order of appearance, jobs of a stage side by side  →  end
//! ```

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;

use super::pipeline::{Status, Variable};

/// One way a pipeline can go.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Play {
    /// Which pipelines take this play; the first play that fits is taken.
    pub when: When,
    /// Statuses before the first job runs; empty plays a moment of `created`.
    pub opening: Vec<Opening>,
    /// Never empty in effect: an empty list plays [`JobPlay::default`].
    pub jobs: Vec<JobPlay>,
    /// How long a cancelled running job stays `canceling`; [`Play::NEVER`]: until it is forced.
    pub canceling: SignedDuration,
    /// What the test reports say, once the pipeline has ended.
    pub tests: Tests,
    /// In percent, once the pipeline has ended.
    pub coverage: Option<f64>,
}

impl Default for Play {
    fn default() -> Self {
        let opening = |status, secs| Opening { status, lasts: SignedDuration::from_secs(secs) };
        Self {
            when: When::Always,
            opening: vec![opening(Status::Created, 1), opening(Status::Pending, 1)],
            jobs: vec![JobPlay::default()],
            canceling: SignedDuration::ZERO,
            tests: Tests::default(),
            coverage: None,
        }
    }
}

impl Play {
    /// Longer than there will be time.
    pub const NEVER: SignedDuration = SignedDuration::MAX;

    /// These jobs, which begin right after the answer to the call that created the pipeline.
    pub fn jobs(jobs: impl IntoIterator<Item = JobPlay>) -> Self {
        Self { opening: vec![Opening::AT_ONCE], jobs: jobs.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn fits(&self, nth: u64, variables: &[Variable]) -> bool {
        match &self.when {
            When::Always => true,
            When::Nth(n) => *n == nth,
            When::Variable { key, value } => variables.iter().any(|v| v.key == *key && v.value == *value),
        }
    }
}

/// The choice of a play.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    Always,
    /// The n-th pipeline of the project, counted from 1.
    Nth(u64),
    /// A pipeline with this variable at this value.
    Variable {
        key: String,
        value: String,
    },
}

/// A status held before jobs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    pub status: Status,
    pub lasts: SignedDuration,
}

impl Opening {
    /// The answer says `created`, as processing is asynchronous; the next look finds jobs running.
    pub(crate) const AT_ONCE: Self = Self { status: Status::Created, lasts: SignedDuration::ZERO };
}

/// One job of a play.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobPlay {
    pub name: String,
    pub stage: String,
    pub lasts: SignedDuration,
    /// By attempt; the last one repeats.
    pub outcomes: Vec<Outcome>,
    pub failure_reason: String,
    pub allow_failure: bool,
    /// Waits to be played. Blocks the pipeline unless `allow_failure`.
    pub manual: bool,
    /// A bridge: when it starts, it makes a pipeline of its own.
    pub triggers: Option<Triggers>,
    /// Path → content of what a successful attempt leaves behind.
    pub artifacts: BTreeMap<String, String>,
}

impl Default for JobPlay {
    fn default() -> Self {
        Self {
            name: "build".into(),
            stage: "build".into(),
            lasts: SignedDuration::from_secs(5),
            outcomes: vec![Outcome::Success],
            failure_reason: "script_failure".into(),
            allow_failure: false,
            manual: false,
            triggers: None,
            artifacts: BTreeMap::new(),
        }
    }
}

impl JobPlay {
    /// A job named `name` in a stage of the same name that ends well after `secs` seconds.
    pub fn new(name: &str, secs: i64) -> Self {
        Self { lasts: SignedDuration::from_secs(secs), ..Self::named(name) }
    }

    /// As [`JobPlay::new`], with these outcomes by attempt.
    pub fn ending(name: &str, secs: i64, outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        Self { outcomes: outcomes.into_iter().collect(), ..Self::new(name, secs) }
    }

    fn named(name: &str) -> Self {
        Self { name: name.into(), stage: name.into(), ..Self::default() }
    }

    /// With these artifacts, by path.
    #[must_use]
    pub fn leaving<'a>(self, artifacts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = |(path, content): (&str, &str)| (path.to_owned(), content.to_owned());
        Self { artifacts: artifacts.into_iter().map(owned).collect(), ..self }
    }

    /// A bridge named `name` that ends at once.
    pub fn bridge(name: &str, triggers: Triggers) -> Self {
        Self { triggers: Some(triggers), ..Self::new(name, 0) }
    }

    pub(crate) fn outcome(&self, attempt: usize) -> Outcome {
        self.outcomes.get(attempt).or(self.outcomes.last()).copied().unwrap_or(Outcome::Success)
    }
}

/// The pipeline that a bridge makes. How the bridge itself ends is scripted apart from it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Triggers {
    /// By full path; unset: a child pipeline in the bridge's own project.
    pub project: Option<String>,
    /// Unset: the bridge's own ref for a child, the project's default branch for another.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// Unset: what the other project's script says, and for a child the default play.
    pub play: Option<Box<Play>>,
}

/// How an attempt at a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Success,
    Failed,
    /// Runs until it is cancelled.
    Stuck,
}

/// Totals of the test reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tests {
    pub success: u64,
    pub failed: u64,
    pub skipped: u64,
    pub error: u64,
}
