//! What a decision about one branch asks for.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{ChangeKey, CredentialKey, Flight, MergeRequestDeed};
use crate::domain::{Author, GitRef, MergeRequest, Reason, RepoPath, Username};

/// A commit to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOrder {
    /// The commit that the contents were made from: `last_commit_id` of every action.
    pub head: String,
    /// The message, with a group of trailers for each change.
    pub message: String,
    /// Whom it is said to be by; none: the token's user.
    pub author: Option<Box<Author>>,
    /// The files that change, each with its whole new content.
    pub files: Vec<FileChange>,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The file, which exists.
    pub file: RepoPath,
    /// What it is to hold.
    pub content: String,
}

/// Where a commit goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onto {
    /// On top of the branch of the queue.
    Branch,
    /// On top of the branch that a merge request comes from.
    Source(GitRef),
    /// The same branch, which is not there yet and begins at the commit that was read.
    NewSource(GitRef),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// These leave the waiting list: they are in [`Plan::flight`] now.
    pub taken: Vec<ChangeKey>,
    /// What has become of changes of the batch; each has left it.
    pub settled: Vec<(ChangeKey, Verdict)>,
    /// The batch as it is now.
    pub flight: Option<Flight>,
    /// The one thing to do.
    pub effect: Effect,
    /// Decide again then, whatever happens meanwhile; and whenever what waits has changed, by what was put back too.
    pub wake: Option<Timestamp>,
}

/// The one thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Read these files and their last commits, at one commit of the branch, with this token.
    Read {
        /// The files.
        files: BTreeSet<RepoPath>,
        /// The commits of each reach back at least to this time: one that was sent then may be among them, or one of a
        /// pipeline that is later than another's that was made then.
        since: Option<Timestamp>,
        /// And what was merged to it lately: others may write the same, by merge requests.
        merged: bool,
        /// The token.
        credential: CredentialKey,
    },
    /// Read the same and what was merged lately, at the branch that a merge request comes from as well, and which merge
    /// requests do.
    ReadRequest {
        /// The files.
        files: BTreeSet<RepoPath>,
        /// As of [`Effect::Read`].
        since: Option<Timestamp>,
        /// The branch it comes from.
        source: GitRef,
        /// Users whose ids are needed.
        people: BTreeSet<Username>,
        /// The token.
        credential: CredentialKey,
    },
    /// Ask this of a merge request, with this token.
    Request {
        /// What to ask.
        deed: Box<MergeRequestDeed>,
        /// The token.
        credential: CredentialKey,
    },
    /// Send the commit, once, with this token.
    Commit {
        /// What to send.
        order: Box<CommitOrder>,
        /// Where to.
        onto: Onto,
        /// The token.
        credential: CredentialKey,
    },
}

impl Effect {
    /// The token that a branch is to be read with.
    #[must_use]
    pub const fn reads_with(&self) -> Option<&CredentialKey> {
        match self {
            Self::Read { files: _, since: _, merged: _, credential }
            | Self::ReadRequest { files: _, since: _, source: _, people: _, credential } => Some(credential),
            Self::Nothing | Self::Request { .. } | Self::Commit { .. } => None,
        }
    }
}

/// What has become of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is on the branch.
    Committed {
        /// The commit's id.
        commit: String,
    },
    /// It is in a merge request.
    Proposed {
        /// As that was seen.
        request: Box<MergeRequest>,
        /// The branch it comes from.
        source: GitRef,
        /// The commit with it, on that branch; unknown if that is gone.
        commit: Option<String>,
        /// It is to be merged when its pipeline succeeds.
        auto_merge: bool,
    },
    /// The files said so already.
    UpToDate,
    /// A later pipeline wrote one of its scalars.
    Superseded {
        /// That pipeline.
        by: u64,
    },
    /// It cannot be done.
    Refused {
        /// File, line, and what to do.
        message: String,
    },
    /// What would be written.
    DryRun {
        /// A line for each scalar; at most 2 KiB.
        diff: String,
    },
    /// It was given up, and is not on the branch.
    Absent,
    /// Not now: it goes back to the end of the queue, with this as its `not_before`, and with `sent_at`.
    PutBack {
        /// Why, for programs.
        reason: Reason,
        /// Why.
        message: String,
        /// When it is tried again.
        until: Timestamp,
        /// When a commit with it was sent whose outcome is still not known.
        sent_at: Option<Timestamp>,
    },
}
