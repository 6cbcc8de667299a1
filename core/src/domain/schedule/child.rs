//! A child of a schedule, a `PipelineTrigger`, as far as the schedule cares.

use jiff::Timestamp;

use crate::domain::Phase;

/// Who controls a `PipelineTrigger`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildOwner {
    /// A `PipelineSchedule`.
    Schedule {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Something else, or nobody.
    Other,
}

/// A `PipelineTrigger` that this schedule owns, or that has the name of a child of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Who controls it.
    pub owner: ChildOwner,
    /// Whether a deletion timestamp is set.
    pub being_deleted: bool,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `pipekick.dev/scheduled-time`; none if a request made it.
    pub tick: Option<Timestamp>,
    /// Its phase; none before the trigger's controller has looked.
    pub phase: Option<Phase>,
    /// The sequence number of its current run: what `pipekick.dev/cancel` must name.
    pub run_seq: Option<u64>,
    /// The value of `pipekick.dev/cancel`.
    pub cancel: Option<String>,
    /// When its last run ended.
    pub finished_at: Option<Timestamp>,
}

/// How far a child's run has come, as its schedule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Under way, or not even looked at yet.
    Active,
    /// Ended well, or fired and not followed.
    Succeeded,
    /// Ended in another way.
    Failed,
    /// Ended for its schedule, and waits for a person to say what is to become of it.
    Held,
    /// Not under way and not ended: its own `suspend`, or a paused operator, keeps it from firing.
    Waiting,
}

impl Child {
    /// How far its run has come. A child that is fired and cannot be followed, for want of an access token, counts
    /// as ended well.
    #[must_use]
    pub const fn course(&self) -> Course {
        match self.phase {
            None
            | Some(Phase::Pending | Phase::Firing | Phase::Unknown | Phase::Running | Phase::Retrying) => {
                Course::Active
            }
            Some(Phase::Succeeded | Phase::Fired | Phase::Skipped) => Course::Succeeded,
            Some(Phase::Failed | Phase::Canceled | Phase::Rejected | Phase::TimedOut | Phase::Superseded) => {
                Course::Failed
            }
            Some(Phase::Held) => Course::Held,
            Some(Phase::Suspended | Phase::Idle) => Course::Waiting,
        }
    }
}
