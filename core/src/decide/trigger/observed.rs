//! What a decision looks at.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::plan::{OutputsOrder, UpdateKey};
use crate::decide::image_update::Verdict;
use crate::domain::{
    Answer, AttemptKey, Cancelled, Changed, Finding, Lookup, MergeRequest, Named, Reason, RetryKey, Sighting,
    Stretch, Trigger,
};

/// What to do with an object seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSight {
    /// As its `fireOn` says.
    Fire,
    /// Hold it until asked: after a cluster was restored, every object is new.
    Hold,
}

/// How this operator was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `--first-sight`.
    pub first_sight: FirstSight,
    /// `--pause`: fire nothing, go on following.
    pub paused: bool,
    /// This process, as it signs its intents.
    pub writer: String,
    /// Longest a request to GitLab may take.
    pub request_deadline: Duration,
    /// A request takes effect within this time or never: its deadline, and GitLab's own limit.
    pub resolution_delay: Duration,
    /// A pipeline that was asked to be cancelled ends within this time, or it is told that it does not.
    pub cancel_patience: Duration,
    /// `--otlp-endpoint`: what the spans of a run need is recorded.
    pub traced: bool,
}

/// What became of the last request to cancel a run's pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelSent {
    /// The pipeline.
    pub pipeline_id: u64,
    /// The run's `cancelRequestedAt` that it was sent for.
    pub requested_at: Timestamp,
    /// What it brought.
    pub brought: Cancelled,
    /// The next one is not sent before then.
    pub again_at: Timestamp,
}

/// What was read from the artifacts of a pipeline's jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputsRead {
    /// Each by name: its value, or why there is none.
    Read(BTreeMap<String, Result<String, String>>),
    /// Not just now.
    Trouble {
        /// Why.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
}

/// How far a queue is with an image update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateSeen {
    /// It waits there, or its commit is in the air.
    Held {
        /// No commit of it is sent any more.
        given_up: bool,
        /// What keeps it waiting, where it was put back.
        trouble: Option<(Reason, String)>,
    },
    /// It has left the queue.
    Settled(Verdict),
}

/// What a look at a merge request brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestSight {
    /// It was seen.
    Seen {
        /// As it is.
        request: Box<MergeRequest>,
        /// Why GitLab does not merge it by itself although it is to.
        unarmed: Option<String>,
    },
    /// It could not be seen.
    Trouble {
        /// Why.
        message: String,
    },
}

/// Whether what the next POST needs is at hand: credentials, values of variables, the CA bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nobody has looked yet.
    #[default]
    Unread,
    /// Read just now.
    Ready,
    /// One is missing or may not be used so.
    Missing {
        /// Why.
        reason: Reason,
        /// Names object and key.
        message: String,
        /// When to look again.
        look_again: Timestamp,
    },
    /// This GitLab could not do what is asked, so it is not asked.
    Refused {
        /// Why.
        reason: Reason,
        /// What it would take.
        message: String,
    },
}

/// What this process knows and status does not say yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What became of POSTs whose outcome is not in status yet.
    pub answers: Vec<(AttemptKey, Answer)>,
    /// How long ago this process first saw the object's current intent (to create a pipeline, or to start its failed
    /// jobs again), by its monotonic clock.
    pub intent_age: Option<Duration>,
    /// The credentials for the next POST.
    pub credentials: Credentials,
    /// There is no leave for the next POST, for GitLab's rate limit is used up, until then. Whoever waits is called in its
    /// turn.
    pub budget_until: Option<Timestamp>,
    /// What the follower saw last of the run's pipeline.
    pub sighting: Option<(Stretch, Sighting)>,
    /// What a look for the run's pipeline brought, just now.
    pub lookup: Option<(AttemptKey, Lookup)>,
    /// How long ago that look began: what it saw is as old as that.
    pub look_took: Duration,
    /// GitLab's clock when it answered that look.
    pub look_date: Option<Timestamp>,
    /// GitLab's clock as it stands now by what its last answer told, whatever ours says.
    pub gitlab_now: Option<Timestamp>,
    /// The last look was so short ago that the next one waits until then.
    pub look_again: Option<Timestamp>,
    /// What a look at the pipeline that a person named brought, just now.
    pub named: Option<(u64, Named)>,
    /// What a look at the run's own pipeline brought, just now.
    pub looked_at: Option<(u64, Sighting)>,
    /// What was read of these outputs, just now, of this pipeline.
    pub outputs: Option<(OutputsOrder, OutputsRead)>,
    /// How far the queues are with the image updates of the run that were handed to them.
    pub updates: Vec<(UpdateKey, UpdateSeen)>,
    /// What a look at the merge requests of the run's image updates brought, just now, by the number of the entry and of
    /// the merge request.
    pub requests: Vec<(usize, u64, RequestSight)>,
    /// How long ago this process last looked at them, by its monotonic clock.
    pub requests_look_age: Option<Duration>,
    /// For entries of `spec.imageUpdates`: who else means to write one of the same scalars, in a sentence.
    pub contended: BTreeMap<usize, String>,
    /// What became of the last request to start failed jobs again.
    pub retried: Option<(RetryKey, Changed)>,
    /// What became of the last request to name this pipeline so.
    pub naming: Option<(u64, String, Changed)>,
    /// What became of requests to delete pipelines, by id and number of the try.
    pub deleted: Vec<(u64, u32, Changed)>,
    /// What became of the last request to cancel the run's pipeline.
    pub cancel: Option<CancelSent>,
    /// What a look into the refusal of a POST brought, just now.
    pub finding: Option<(AttemptKey, Finding)>,
}

/// Everything one decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The time.
    pub now: Timestamp,
    /// How the operator was started.
    pub policy: &'a Policy,
    /// The object.
    pub trigger: &'a Trigger,
    /// What this process knows beside it.
    pub facts: &'a Facts,
}
