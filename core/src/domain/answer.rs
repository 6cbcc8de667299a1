//! What became of something sent to GitLab, sorted by what it means for the run, not by how it was said.

use jiff::Timestamp;

use super::{FireId, Pipeline, Reason, Report};

/// What is known after a POST that creates a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gone at the next decision")]
pub enum Answer {
    /// A pipeline exists (201); it may already have failed.
    Accepted(Pipeline),
    /// A pipeline exists and failed before any job ran (422); GitLab does not tell its id.
    FailedAtBirth {
        /// GitLab's message.
        message: String,
    },
    /// Nothing exists, and nothing will unless something is changed (400, 401, 403, 404 with a GitLab body).
    Refused {
        /// Why.
        reason: Reason,
        /// What GitLab said and what it means.
        message: String,
    },
    /// Nothing exists, and GitLab asks to come back later.
    Throttled {
        /// Why.
        reason: Reason,
        /// What GitLab said.
        message: String,
        /// Not before this time.
        until: Timestamp,
    },
    /// Nothing left this process.
    NotSent {
        /// Why.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
    /// Anything else: a timeout, a reset, a 5xx, a body that is not GitLab's.
    Unknown {
        /// What was seen.
        message: String,
    },
}

impl Answer {
    /// Its word, as metrics and spans have it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::FailedAtBirth { .. } => "failed_at_birth",
            Self::Refused { .. } => "refused",
            Self::Throttled { .. } => "throttled",
            Self::NotSent { .. } => "not_sent",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// A look for the pipeline of a run whose POST has no known outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gone at the next decision")]
pub enum Lookup {
    /// It carries the run's name.
    Found {
        /// The pipeline.
        pipeline: Pipeline,
        /// What it shows, if it has ended already.
        report: Report,
        /// Others that carry the same name. There should never be one.
        duplicates: Vec<u64>,
    },
    /// No pipeline was made on the ref since the intent.
    NoCandidate,
    /// Some were made; each was read, and none is the run's.
    NoneOurs,
    /// Some were made, or may have been, and cannot be told apart.
    CannotTell {
        /// Why.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
    /// GitLab could not be asked; this passes.
    Trouble {
        /// Why.
        reason: Reason,
        /// In a sentence, without times.
        message: String,
    },
}

/// What a request to cancel a pipeline brought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gone with the run")]
pub enum Cancelled {
    /// GitLab took it; the pipeline as it stood right after. GitLab takes it too when nothing can be stopped.
    Taken(Pipeline),
    /// GitLab does not let this token cancel it.
    Refused {
        /// Why.
        reason: Reason,
        /// What GitLab said and what it means.
        message: String,
    },
    /// GitLab could not be asked; this passes.
    Trouble {
        /// Why.
        reason: Reason,
        /// In a sentence, without times.
        message: String,
    },
}

/// What a look brought that was taken to explain a refusal. It changes what is said, never what is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The access token sees the project.
    Project,
    /// The access token sees no such project.
    NoProject,
    /// The project was renamed or moved: GitLab tells where to, as a rule.
    Moved(Option<String>),
    /// Names of the project's branches, as many as one look reads.
    Branches(Vec<String>),
    /// The access token could not tell; why, in a sentence.
    Failed(String),
    /// There was no time, no place or no budget for a look.
    Nothing,
}

/// What became of a change of a pipeline that GitLab was asked for: to run failed jobs again, to name it, to
/// delete it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gone at the next decision")]
pub enum Changed {
    /// It was done; the pipeline as it stood then, where GitLab tells it.
    Done(Option<Pipeline>),
    /// The project has no such pipeline, or the token may not see it.
    Gone,
    /// It was not done, and will not be unless something is changed.
    Refused {
        /// Why.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
    /// It was not done, and may be later: nothing was sent, or GitLab asks to wait.
    NotNow {
        /// Why.
        reason: Reason,
        /// In a sentence.
        message: String,
        /// Not before this time.
        until: Timestamp,
    },
    /// It may have been done.
    Unknown {
        /// What was seen.
        message: String,
    },
}

/// A look at the one pipeline that a person named.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gone at the next decision")]
pub enum Named {
    /// It is there.
    Seen {
        /// The pipeline.
        pipeline: Pipeline,
        /// The run whose name it carries, as far as that could be read.
        carries: Option<FireId>,
    },
    /// The project has no such pipeline, or the token may not see it.
    Missing,
    /// GitLab could not be asked; this passes.
    Trouble {
        /// Why.
        reason: Reason,
        /// In a sentence, without times.
        message: String,
    },
}

/// A look at the pipeline of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gone at the next decision")]
pub enum Sighting {
    /// The pipeline as GitLab tells it, with what it shows when it has ended.
    Seen {
        /// The pipeline.
        pipeline: Pipeline,
        /// Empty unless the pipeline has ended, or waits for a person.
        report: Report,
    },
    /// The project can be read and has no such pipeline (any more).
    Gone,
    /// It cannot be read for now; following goes on.
    Trouble {
        /// Why.
        reason: Reason,
        /// In a sentence, without times, so that it does not change from look to look.
        message: String,
    },
}
