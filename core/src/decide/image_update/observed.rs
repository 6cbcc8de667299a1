//! Everything that a decision about one branch looks at.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::contention::Claimed;
use super::{RequestAnswer, RequestSeen, Written};
use crate::domain::image_update::FileEdit;
use crate::domain::{
    Author, CaBundleRef, FireId, ObjectKey, Proposal, Reason, RepoPath, SecretKeyRef, SharedTitle,
};

/// Bounds of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Longest a change waits for others that are known to come.
    pub collect: Duration,
    /// Most changes in one commit: its message names each.
    pub most: usize,
    /// First and longest wait after a conflict or trouble; doubled each time.
    pub backoff: (Duration, Duration),
    /// Tries of one batch before its changes are put back, and others get their turn.
    pub tries: u32,
    /// How long put-back changes rest.
    pub rest: Duration,
    /// A request takes effect within this time or never.
    pub resolution_delay: Duration,
    /// The first line of a commit of several runs.
    pub shared_title: SharedTitle,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            collect: Duration::from_secs(2),
            most: 100,
            backoff: (Duration::from_millis(100), Duration::from_secs(10)),
            // With those waits, some 40 s against rivals that never pause.
            tries: 12,
            rest: Duration::from_secs(60),
            resolution_delay: Duration::from_secs(90),
            shared_title: SharedTitle::default(),
        }
    }
}

/// Who writes a scalar again and again: a trigger, or the schedule whose children follow one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A trigger that stands for itself.
    Trigger(ObjectKey),
    /// The schedule that a trigger is a child of.
    Schedule(ObjectKey),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trigger(key) => write!(f, "{key}"),
            Self::Schedule(key) => write!(f, "{key} (schedule)"),
        }
    }
}

/// Names one change: an entry of `imageUpdates`, in one run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeKey {
    /// The run.
    pub fire_id: FireId,
    /// The entry's place in `spec.imageUpdates`, from 0.
    pub entry: usize,
}

/// A token in a namespace. Changes of different ones never share a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialKey {
    /// The namespace of the trigger, and so of its Secret.
    pub namespace: String,
    /// The Secret and key.
    pub secret: SecretKeyRef,
    /// Whom to believe that it is this GitLab; the system's CAs without one.
    pub ca_bundle: Option<CaBundleRef>,
}

/// One image update of one run, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub key: ChangeKey,
    /// Whose it is.
    pub owner: Owner,
    /// The token that writes it.
    pub credential: CredentialKey,
    /// The run's pipeline. Ids grow within a GitLab instance: the later one wins.
    pub pipeline: u64,
    /// When that was made, if it is known. A later pipeline has written nothing before: history is read back to then.
    pub begun: Option<Timestamp>,
    /// What is written: all of it or nothing.
    pub edits: Vec<FileEdit>,
    /// Its first line in the commit's message, if the trigger says so.
    pub title: Option<String>,
    /// Whom the commit is said to be by; none: the token's user.
    pub author: Option<Box<Author>>,
    /// The merge request that it goes by; none: a commit on the branch.
    pub proposal: Option<Box<Proposal>>,
    /// Others may write the same scalars.
    pub allow_shared: bool,
    /// Only tell what would be written.
    pub dry_run: bool,
    /// When it came into the queue.
    pub arrived_at: Timestamp,
    /// When a commit with it was last sent, or may have been, without a known outcome.
    pub sent_at: Option<Timestamp>,
    /// Since when a commit of a process that is gone may be on the branch: history is read back to then.
    pub since: Option<Timestamp>,
    /// Nothing of it is sent any more; what may have been sent is still looked for.
    pub give_up: bool,
    /// It was put back, and rests until then.
    pub not_before: Option<Timestamp>,
}

/// The branch as it was seen, all at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit it was read at. Sent along with the commit, so that GitLab refuses to overwrite what came after.
    pub head: String,
    /// The files that were asked for.
    pub files: BTreeMap<RepoPath, FileSeen>,
    /// The last commits that touched each, newest first: 50, and more where [`Effect::Read`] asks for older ones, which
    /// it does for all that a later pipeline may have made. Who wrote a scalar before that is taken for nobody.
    pub history: BTreeMap<RepoPath, Vec<CommitSeen>>,
    /// What merge requests tell of themselves that were merged to it lately, where [`Effect::Read`] asks for it or one
    /// is about to be opened: a squash leaves the trailers of their commits behind.
    pub merged: Vec<Written>,
    /// What triggers mean to write into these files, as their specs say.
    pub claimed: Vec<Claimed>,
    /// Scalars that a pipeline found saying what it wanted, and the latest such pipeline: no commit tells of that.
    pub affirmed: BTreeMap<String, u64>,
}

/// A file as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSeen {
    /// Its bytes.
    Content(Vec<u8>),
    /// There is none of that name.
    Missing,
}

/// A commit as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSeen {
    /// Its id.
    pub id: String,
    /// When it was committed, by the committer's clock; unknown if GitLab does not tell.
    pub at: Option<Timestamp>,
    /// What its trailers tell, by [`written`].
    pub written: Vec<Written>,
}

/// What became of a commit that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitAnswer {
    /// It is on the branch.
    Committed {
        /// Its id.
        commit: String,
    },
    /// A file, or the branch, changed since it was read. Nothing was written.
    Conflict {
        /// What GitLab said.
        message: String,
    },
    /// Nothing was written, and nothing will be unless something is changed: a protected branch, a token that may
    /// not push, a hook.
    Refused {
        /// What GitLab said, and what to do.
        message: String,
    },
    /// Nothing was written, and GitLab asks to come back later.
    Throttled {
        /// What GitLab said.
        message: String,
        /// Not before this time.
        until: Timestamp,
    },
    /// Nothing left this process.
    NotSent {
        /// Why.
        message: String,
    },
    /// Anything else: it may be on the branch.
    Unknown {
        /// What was seen.
        message: String,
    },
}

/// What was seen last, for the batch under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The branch was read.
    Branch(Snapshot),
    /// All that concerns a merge request was read.
    Request(Box<RequestSeen>),
    /// Others mean to write what these write, as specs say: who, and what to do. None of them was ever sent.
    Contended(BTreeMap<ChangeKey, String>),
    /// The branch can never be read so: no such branch or project, or a token that may not.
    Unreadable {
        /// Why, and what to do.
        message: String,
    },
    /// The branch could not be read just now.
    Trouble {
        /// Why.
        message: String,
        /// GitLab asked not to come back before.
        until: Option<Timestamp>,
    },
    /// A person must provide something first: nobody was asked.
    Missing {
        /// Why.
        reason: Reason,
        /// What.
        message: String,
        /// When to look again.
        until: Timestamp,
    },
    /// The commit was sent.
    Answer(CommitAnswer),
    /// Something was asked of a merge request.
    Asked(RequestAnswer),
}

/// The batch under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flight {
    /// Its changes.
    pub changes: Vec<Change>,
    /// How often it met a conflict or trouble.
    pub tries: u32,
    /// Where it is.
    pub stage: Stage,
}

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The branch is to be read, not before this time.
    Read {
        /// Not before.
        not_before: Timestamp,
    },
    /// A commit was ordered; its answer is waited for.
    Sent,
}

/// Everything one decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The time.
    pub now: Timestamp,
    /// The bounds.
    pub policy: &'a Policy,
    /// What waits, in the order it came.
    pub waiting: &'a [Change],
    /// How many changes for this branch are known to come within moments: their runs have ended, and their outputs
    /// are being read or their intents written.
    pub coming: usize,
    /// The batch under way.
    pub flight: Option<&'a Flight>,
    /// What was seen for it since the last decision.
    pub seen: Option<&'a Seen>,
}
