//! What a decision says is to be done.

use jiff::Timestamp;

use crate::domain::image_update::FileEdit;
use crate::domain::{
    Access, AttemptKey, Author, Deletion, FireId, GitRef, Output, PipelineStatus, ProjectRef, Proposal,
    Reason, RetryKey, Spec, Stretch, Target, TriggerStatus,
};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Written first, guarded by the resourceVersion that was looked at; if that fails nothing else is done.
    pub status: Option<TriggerStatus>,
    /// Done after the write has won.
    pub effect: Effect,
    /// Told after the write has won.
    pub events: Vec<Note>,
    /// The pipeline to follow from now on.
    pub follow: Option<Follow>,
    /// Decide again then, whatever happens meanwhile.
    pub wake: Option<Timestamp>,
    /// The object deletes itself then: nothing of it need be kept in mind until that time.
    pub expires: Option<Timestamp>,
    /// What is to be written is known and could be found out again: while others wait to be fired, it may wait for
    /// them, seconds.
    pub can_wait: bool,
}

impl Plan {
    /// Whether nothing but a change of the object, or of a pipeline after its end, can lead to another decision
    /// before it expires.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let Self { status: _, effect, events: _, follow, wake, expires: _, can_wait: _ } = self;
        let at_rest = follow.as_ref().is_none_or(|follow| follow.stretch.finished_at.is_some());
        *effect == Effect::Nothing && at_rest && wake.is_none()
    }
}

/// The one thing to do beside writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Read the credentials that the order of the next POST needs, then decide again.
    ReadCredentials(Box<Target>),
    /// Look for the pipeline of a POST whose outcome is not known, then decide again.
    LookUp(Box<LookUp>),
    /// Look at the pipeline that a person named, then decide again.
    LookAt(Box<LookAt>),
    /// Look at the run's own pipeline, now, then decide again.
    LookAtOwn(Box<LookAt>),
    /// Look into what GitLab did not say with a refusal, then decide again.
    LookInto(Box<LookInto>),
    /// Send the POST that the written intent names, once.
    Fire(Box<FireOrder>),
    /// Ask GitLab to cancel a pipeline, then decide again. It may be asked any number of times.
    Cancel(Box<CancelOrder>),
    /// Make these the object's finalizers, then decide again.
    SetFinalizers(Vec<String>),
    /// Ask, once, for the failed jobs to be started again that the written intent names.
    Retry(Box<RetryOrder>),
    /// Name the pipeline; asking again does no harm.
    Name(Box<NameOrder>),
    /// Delete the pipeline of a run that left the history; asking again does no harm.
    DeletePipeline(Box<Deletion>),
    /// Delete the object itself, if it still is what was looked at.
    DeleteObject,
    /// Read what the templates of image updates name, then decide again.
    ReadOutputs(Box<OutputsOrder>),
    /// Hand image updates to the queues of their branches, each recorded as `Committing`.
    Update(Box<UpdateOrder>),
    /// Look at merge requests of image updates, have those merged that are to be, then decide again.
    LookAtRequests(Vec<RequestLook>),
    /// Have the queues send no commit of these any more. What one has sent already is still looked for.
    GiveUp(Vec<UpdateKey>),
}

/// A look into the artifacts of a pipeline's jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputsOrder {
    /// Which pipeline, where, and with which access token.
    pub at: LookAt,
    /// What is read.
    pub outputs: Vec<Output>,
}

/// Names one image update of one run by the write of its intent, as [`AttemptKey`] does for a POST.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpdateKey {
    /// The run.
    pub fire_id: FireId,
    /// The entry's place in `spec.imageUpdates`, from 0.
    pub entry: usize,
    /// When the intent was written.
    pub at: Timestamp,
}

/// Image updates of one run, for the queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateOrder {
    /// The GitLab instance.
    pub url: String,
    /// The run's pipeline.
    pub pipeline: u64,
    /// When that was made; else, when the run was fired.
    pub begun: Option<Timestamp>,
    /// At least one.
    pub entries: Vec<UpdateEntry>,
}

/// One image update, its templates filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateEntry {
    /// What its outcome is filed under.
    pub key: UpdateKey,
    /// The project that is written to.
    pub project: ProjectRef,
    /// The branch that is written to.
    pub branch: GitRef,
    /// What to write with.
    pub access: Access,
    /// What is written.
    pub edits: Vec<FileEdit>,
    /// Its first line in the commit's message, if spec says so.
    pub title: Option<String>,
    /// Whom the commit is said to be by.
    pub author: Option<Box<Author>>,
    /// The merge request that it goes by; none: a commit on the branch.
    pub proposal: Option<Box<Proposal>>,
    /// Others may write the same scalars.
    pub allow_shared: bool,
    /// Only tell what would be written.
    pub dry_run: bool,
    /// Since when a commit of a process that is gone may be on its way.
    pub since: Option<Timestamp>,
    /// Nothing is sent: it is only looked for.
    pub give_up: bool,
}

/// A look at a merge request that an image update is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLook {
    /// The entry's place in `spec.imageUpdates`, from 0.
    pub entry: usize,
    /// Its number.
    pub iid: u64,
    /// The GitLab instance.
    pub url: String,
    /// The project that it is in.
    pub project: String,
    /// What to look with.
    pub access: Access,
    /// It is to be merged when its pipeline succeeds, as long as its branch is at this commit.
    pub arm: Option<String>,
}

/// A request to cancel a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelOrder {
    /// GitLab's id of it.
    pub pipeline_id: u64,
    /// The run's `cancelRequestedAt`: a new one is a new request.
    pub requested_at: Timestamp,
    /// The GitLab instance.
    pub url: String,
    /// The project's numeric id where it is known: it survives renames.
    pub project: String,
    /// The project as the user named it: what a Secret's binding lists.
    pub named_project: String,
    /// What to ask with.
    pub access: Access,
}

impl CancelOrder {
    /// Cancels what is followed.
    pub(super) fn new(followed: Follow, requested_at: Timestamp) -> Self {
        let Follow { fire_id: _, stretch, status: _, url, project, named_project, access, since: _ } =
            followed;
        Self { pipeline_id: stretch.pipeline_id, requested_at, url, project, named_project, access }
    }
}

/// A look for the pipeline of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// The POST.
    pub key: AttemptKey,
    /// Where it went.
    pub target: Target,
    /// What to look with.
    pub access: Access,
    /// When its run was first intended: no pipeline of it is older, but for the clocks.
    pub intended_at: Timestamp,
    /// The same by GitLab's clock, where it was known.
    pub intended_at_gitlab: Option<Timestamp>,
    /// Whether it carried the run's name.
    pub marked: bool,
}

/// A look at one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAt {
    /// GitLab's id of it.
    pub pipeline_id: u64,
    /// Where the run went.
    pub target: Target,
    /// What to look with.
    pub access: Access,
}

/// A look into a refusal, before its outcome is written. It is short, and may as well not be taken: then less is
/// said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookInto {
    /// The POST that was refused.
    pub key: AttemptKey,
    /// Where it went.
    pub target: Target,
    /// What to look with.
    pub access: Access,
    /// What is asked.
    pub question: Question,
}

/// What a refusal leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// Whether the project is there.
    Project,
    /// Which branches there are.
    Branches,
}

/// One POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FireOrder {
    /// What its outcome is filed under.
    pub key: AttemptKey,
    /// Where it goes, and with which credentials.
    pub target: Target,
    /// The parsed form of the same.
    pub spec: Spec,
    /// Whether credentials and values are read beside the write of the intent (a first POST) or were read before.
    pub read_beside: bool,
}

/// A request to start the failed jobs of a pipeline again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOrder {
    /// What its outcome is filed under.
    pub key: RetryKey,
    /// Which pipeline, where, and with which access token.
    pub at: LookAt,
}

/// A request to name a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameOrder {
    /// Which pipeline, where, and with which access token.
    pub at: LookAt,
    /// The name.
    pub name: String,
}

/// A pipeline to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// The run it belongs to.
    pub fire_id: FireId,
    /// What of its life is told; a finished one is looked at rarely.
    pub stretch: Stretch,
    /// As it was told last.
    pub status: PipelineStatus,
    /// The GitLab instance.
    pub url: String,
    /// The project's numeric id where it is known: it survives renames.
    pub project: String,
    /// The project as the user named it: what a Secret's binding lists.
    pub named_project: String,
    /// What to look with.
    pub access: Access,
    /// When this stretch began, or it was last asked to be cancelled: young ones are looked at more often.
    pub since: Timestamp,
}

/// An Event to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it is a Warning.
    pub warning: bool,
    /// The Event's reason.
    pub reason: Reason,
    /// The Event's message.
    pub message: String,
}
