//! A `PipelineSchedule` as the decision sees it: parsed once, at the border.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::clock::{Clock, Fold, Gap};
use super::status::ScheduleStatus;
use crate::domain::{ObjectKey, Span, SpecProblem};

/// Ticks made up for by `missedRuns: All` where `maxCatchUp` is unset.
pub const DEFAULT_CATCH_UP: usize = 10;

/// What becomes of a tick while an earlier run of the schedule is active. Forbid (when unset): the tick is dropped and
/// counted. Allow: it fires beside the active run. Queue: it waits until the active run has ended; at most one
/// waits, the newest. Replace: the active run is cancelled, and the tick fires when it has ended; if it does not end
/// within five minutes the tick is dropped. A run that cannot be followed, for want of an access token, counts as ended once
/// it is fired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// It fires beside the active run.
    Allow,
    /// It is dropped and counted.
    #[default]
    Forbid,
    /// It waits until the active run has ended.
    Queue,
    /// The active run is cancelled first.
    Replace,
}

/// Which of the ticks that passed unseen are made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissedRuns {
    /// The newest.
    Latest,
    /// None: what is later than a minute is dropped.
    Skip,
    /// Each, in order, but no more than these newest.
    All {
        /// How many at most.
        max_catch_up: usize,
    },
}

/// A spec with nothing left to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleSpec {
    /// When it ticks.
    pub clock: Clock,
    /// A tick fires up to this much later, always the same for one tick, and never later than the next one.
    pub jitter: Span,
    /// A tick later than this is missed.
    pub starting_deadline: Option<Span>,
    /// Which of several due ticks fire.
    pub missed_runs: MissedRuns,
    /// What becomes of a tick while a run is active.
    pub concurrency: ConcurrencyPolicy,
    /// Children kept that succeeded, or were fired and not followed.
    pub successful_limit: usize,
    /// Children kept that ended in any other way.
    pub failed_limit: usize,
}

impl ScheduleSpec {
    /// Stands for what the schedule says of time, and whether it is suspended: where it differs from what was
    /// decided on last, the schedule was edited, suspended or resumed, and nothing that lies before fires.
    #[must_use]
    pub fn clock_digest(&self, suspend: bool) -> String {
        let Clock { patterns, zone, dst, anchor: _ } = &self.clock;
        let mut text = format!("{zone}\n{}\n", if suspend { "suspended" } else { "running" });
        text += match dst.gap {
            Gap::RunAfter => "gap after\n",
            Gap::Skip => "gap skip\n",
        };
        text += match dst.fold {
            Fold::First => "fold first\n",
            Fold::Second => "fold second\n",
            Fold::Both => "fold both\n",
        };
        for pattern in patterns {
            text += pattern.resolved();
            text.push('\n');
        }
        let hashed = Sha256::digest(text);
        format!("v1:{}", data_encoding::BASE32HEX_NOPAD.encode(&hashed[..10]).to_ascii_lowercase())
    }
}

/// Everything of one object that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The object's uid: a re-created object is another one.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// Whether a deletion timestamp is set.
    pub being_deleted: bool,
    /// The value of `pipekick.dev/fire`.
    pub fire: Option<String>,
    /// Whether it is suspended.
    pub suspend: bool,
    /// The parsed spec, or what is wrong with it.
    pub spec: Result<ScheduleSpec, SpecProblem>,
    /// The status that was read with the object.
    pub status: ScheduleStatus,
}
