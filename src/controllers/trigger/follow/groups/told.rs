//! What of a look at a pipeline is worth a decision.

use jiff::Timestamp;
use pipekick_core::domain::{PipelineStatus, Reason, Sighting};

/// What of a sighting a decision could care about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Moving,
    /// What a person must play.
    Manual(Vec<String>),
    /// A quick retry may end again between two looks: then in another way, at another time, by other jobs.
    Ended(PipelineStatus, Option<Timestamp>, Vec<Option<u64>>),
    Gone,
    Trouble(Reason, String),
}

impl Told {
    /// Whether it is trouble in which nobody has to do anything.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Trouble(Reason::CannotFollow | Reason::Unreachable | Reason::RateLimited, _))
    }

    /// Whether `newer` is no news after this. Names that could not be read take none back.
    pub(super) fn covers(&self, newer: &Self) -> bool {
        self == newer || matches!((self, newer), (Self::Manual(_), Self::Manual(unread)) if unread.is_empty())
    }
}

/// What of `sighting` that is.
pub(super) fn told(sighting: &Sighting) -> Told {
    match sighting {
        Sighting::Seen { pipeline, report } if pipeline.status.is_complete() => {
            let jobs = report.failed_jobs.iter().map(|job| job.id).collect();
            Told::Ended(pipeline.status.clone(), pipeline.finished_at, jobs)
        }
        Sighting::Seen { pipeline, report } if pipeline.status == PipelineStatus::Manual => {
            Told::Manual(report.manual_jobs.clone())
        }
        Sighting::Seen { .. } => Told::Moving,
        Sighting::Gone => Told::Gone,
        Sighting::Trouble { reason, message } => Told::Trouble(*reason, message.clone()),
    }
}
