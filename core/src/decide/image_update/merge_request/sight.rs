//! What was seen of branches and merge requests, in the light of one change; and what follows.
//!
//! | what is seen, in this order | what follows |
//! | --- | --- |
//! | a merge request of the run that has ended | how it ended |
//! | the target branch has what is wanted, or a later pipeline's | an open one that is about nothing else is closed; `UpToDate`, `Superseded` |
//! | the change is on the branch, and an open one tells of it | `Proposed`: the run waits no longer |
//! | it is there, and an open one does not tell of it | it is described anew |
//! | it is there, and none is open | one is opened |
//! | one is open and outdated, and what it holds are earlier values of the same | it is closed, to begin anew from the target branch |
//! | one is open | a commit on its branch |
//! | the branch is there, left over from one that has ended | it is deleted, if the last commit on it is ours; with none that tells of that commit not before a request of whoever made it can no longer take effect |
//! | neither | a commit that begins the branch |
//!
//! A squash drops the trailers of commits, so those of the description count too. What is not known: a commit that is
//! squashed before the description tells of it; an earlier run that ends afterwards does not know that it is late.

use super::super::draft::{draft_one, on_branch_already, scalars};
use super::super::{Change, CommitOrder, CommitSeen, Draft, Onto, Snapshot, Verdict};
use super::{MergeRequestDeed, RequestSeen, SourceSeen, source_of};
use crate::domain::trailers::Written;
use crate::domain::{
    FireId, GitRef, MergeRequest, MergeRequestFields, MergeRequestState, Proposal, Username,
};

/// What a look leads to.
pub(super) enum Next {
    Settle(Verdict),
    Commit(Box<CommitOrder>, Onto),
    Ask(MergeRequestDeed),
    /// The branch goes, which another run's process has left, or is about to go on with: as long is waited as a request of
    /// it may take effect.
    DeleteOrphan,
}

/// What was seen, in the light of one change.
pub(super) struct Sight<'a> {
    change: &'a Change,
    proposal: &'a Proposal,
    seen: &'a RequestSeen,
    source: GitRef,
    /// From the branch to the target.
    requests: Vec<&'a MergeRequest>,
    /// The target branch, with what merged ones tell of themselves: a squash may have dropped the trailers.
    target: Snapshot,
}

impl<'a> Sight<'a> {
    pub(super) fn new(change: &'a Change, proposal: &'a Proposal, seen: &'a RequestSeen) -> Self {
        let source = source_of(change, proposal);
        let here = |request: &&MergeRequest| request.target.as_deref() == Some(proposal.target.short());
        let requests: Vec<&MergeRequest> = seen.requests.iter().filter(here).collect();
        let mut target = seen.target.clone();
        for request in requests.iter().filter(|request| request.state == MergeRequestState::Merged) {
            let id = request.merged_as.clone().or_else(|| request.sha.clone()).unwrap_or_default();
            for commits in target.history.values_mut() {
                commits.push(CommitSeen { id: id.clone(), at: None, written: request.written.clone() });
            }
        }
        Self { change, proposal, seen, source, requests, target }
    }

    pub(super) fn next(&self) -> Next {
        let Self { change, proposal: _, seen, source: _, requests, target } = self;
        let carried = seen.source.as_ref().and_then(|source| on_branch_already(change, &source.snapshot));
        let open = requests.iter().find(|request| request.is_open()).copied();
        let ended = self.ended(carried.is_some()).filter(|_| open.is_none_or(|open| !self.is_told_by(open)));
        if let Some(merged) = ended.filter(|ended| ended.state == MergeRequestState::Merged) {
            return Next::Settle(self.proposed(merged, carried));
        }
        let Draft { commit, mut verdicts } = draft_one(change, target);
        let order = match (verdicts.remove(&0), commit) {
            (Some(Verdict::Absent), _) => {
                let its_own = ended.or(open.filter(|open| self.is_told_by(open)));
                return Next::Settle(its_own.map_or(Verdict::Absent, |own| self.proposed(own, carried)));
            }
            (Some(verdict), _) => return self.moot(verdict, open),
            (None, Some(order)) => order,
            (None, None) => return Next::Settle(Verdict::UpToDate),
        };
        if let Some(closed) = ended {
            return Next::Settle(self.proposed(closed, carried));
        }
        match (carried, open) {
            (Some(commit), Some(open)) => self.tell(open, &order, commit),
            (Some(commit), None) => self.open(&order, commit),
            (None, Some(open)) if self.is_to_be_replaced(open) => self.replace(open),
            (None, Some(open)) => self.go_on_with(open, &order),
            (None, None) => self.afresh(order),
        }
    }

    /// The merge request that the change was in, if that has ended.
    fn ended(&self, carried: bool) -> Option<&MergeRequest> {
        let head = self.seen.source.as_ref().map(|source| source.snapshot.head.as_str());
        let was_in = |request: &&&MergeRequest| {
            let at_head = carried && head.is_some() && request.sha.as_deref() == head;
            !request.is_open() && (self.is_told_by(request) || at_head)
        };
        self.requests.iter().find(was_in).copied()
    }

    /// Its change need not be made: whatever waits to make it goes.
    fn moot(&self, verdict: Verdict, open: Option<&MergeRequest>) -> Next {
        let closes = match &verdict {
            Verdict::UpToDate | Verdict::Superseded { .. } => !self.change.dry_run,
            Verdict::Committed { .. }
            | Verdict::Proposed { .. }
            | Verdict::Refused { .. }
            | Verdict::DryRun { .. }
            | Verdict::Absent
            | Verdict::PutBack { .. } => false,
        };
        match open.filter(|open| closes && self.is_about_nothing_else(open)) {
            Some(open) => Next::Ask(MergeRequestDeed::Close { iid: open.iid }),
            None => Next::Settle(verdict),
        }
    }

    /// The change is on the branch of an open one.
    fn tell(&self, open: &MergeRequest, order: &CommitOrder, commit: String) -> Next {
        if self.is_told_by(open) {
            return Next::Settle(self.proposed(open, Some(commit)));
        }
        if let Some(by) = self.told_later(open) {
            return Next::Settle(Verdict::Superseded { by });
        }
        Next::Ask(MergeRequestDeed::Describe { iid: open.iid, fields: self.fields(order), commit })
    }

    /// The change is on the branch, and none is open.
    fn open(&self, order: &CommitOrder, commit: String) -> Next {
        if let Some(refusal) = self.in_the_way() {
            return refusal;
        }
        let ids = |names: &[Username]| {
            names.iter().filter_map(|name| self.seen.people.get(name).copied().flatten()).collect()
        };
        let Proposal { assignees, reviewers, .. } = self.proposal;
        Next::Ask(MergeRequestDeed::Open {
            source: self.source.clone(),
            fields: self.fields(order),
            assignees: ids(assignees),
            reviewers: ids(reviewers),
            commit,
        })
    }

    /// One is open, of an earlier run as a rule: on top of what it holds.
    fn go_on_with(&self, open: &MergeRequest, order: &CommitOrder) -> Next {
        // Without its branch it is told of what begins that again.
        let Some(source) = &self.seen.source else { return self.begin(order.clone()) };
        let Draft { commit, mut verdicts } = draft_one(self.change, &source.snapshot);
        match (verdicts.remove(&0), commit) {
            (Some(Verdict::UpToDate), _) => self.tell(open, order, source.snapshot.head.clone()),
            (Some(Verdict::Refused { message }), _) => {
                let message = format!("on {}, the branch of !{}: {message}", self.source, open.iid);
                Next::Settle(Verdict::Refused { message })
            }
            (Some(verdict), _) => Next::Settle(verdict),
            (None, Some(order)) => {
                Next::Commit(Box::new(self.signed(order)), Onto::Source(self.source.clone()))
            }
            (None, None) => Next::Settle(Verdict::UpToDate),
        }
    }

    /// Whether a commit on its branch could not be merged either, and nothing is lost if it is begun anew: all that it
    /// holds are values that this change has later ones for.
    fn is_to_be_replaced(&self, open: &MergeRequest) -> bool {
        let renewed = |written: &Written| {
            written.pipeline <= self.change.pipeline && written.wrote.iter().all(|wrote| self.writes(wrote))
        };
        let ahead = self.seen.source.as_ref().and_then(|source| source.ahead.as_ref());
        open.is_outdated() && ahead.is_some_and(|ahead| ahead.iter().all(renewed))
    }

    /// Without force there is no other way: its branch cannot take in what the target has.
    fn replace(&self, open: &MergeRequest) -> Next {
        self.in_the_way().unwrap_or(Next::Ask(MergeRequestDeed::Close { iid: open.iid }))
    }

    /// None is open, and the change is nowhere.
    fn afresh(&self, order: CommitOrder) -> Next {
        if let Some(refusal) = self.in_the_way() {
            return refusal;
        }
        match &self.seen.source {
            None => self.begin(order),
            Some(SourceSeen { snapshot, is_ours: true, ahead: _ }) if !self.has_ended(snapshot) => {
                Next::DeleteOrphan
            }
            Some(SourceSeen { snapshot: _, is_ours: true, ahead: _ }) => {
                Next::Ask(MergeRequestDeed::DeleteSource { source: self.source.clone() })
            }
            Some(SourceSeen { snapshot: _, is_ours: false, ahead: _ }) => Next::Settle(Verdict::Refused {
                message: format!(
                    "the branch {} is there already, and its last commit is somebody else's: delete it, or name another in mergeRequest.branch",
                    self.source
                ),
            }),
        }
    }

    /// Whether the branch, as it is, was in a merge request that has ended.
    fn has_ended(&self, source: &Snapshot) -> bool {
        let told = |id: &FireId| self.requests.iter().any(|r| r.written.iter().any(|w| w.fire_id == *id));
        let commits = source.history.values().flatten();
        let mut at_head =
            commits.filter(|commit| commit.id == source.head).flat_map(|commit| &commit.written);
        self.requests.iter().any(|request| request.sha.as_deref() == Some(&*source.head))
            || at_head.any(|written| told(&written.fire_id))
    }

    fn begin(&self, order: CommitOrder) -> Next {
        Next::Commit(Box::new(self.signed(order)), Onto::NewSource(self.source.clone()))
    }

    /// What must be mended before anything is begun.
    fn in_the_way(&self) -> Option<Next> {
        let elsewhere = self.seen.requests.iter().find(|request| {
            request.is_open() && request.target.as_deref() != Some(self.proposal.target.short())
        });
        let missing = self.seen.people.iter().find(|(_, id)| id.is_none()).map(|(name, _)| name);
        let message = match (elsewhere, missing) {
            (Some(other), _) => format!(
                "!{} goes from the branch {} to {}: merge or close it, or name another in mergeRequest.branch",
                other.iid,
                self.source,
                other.target.as_deref().unwrap_or("another")
            ),
            (None, Some(name)) => format!(
                "mergeRequest: GitLab shows the token no user `{name}`: correct the name among assignees or reviewers"
            ),
            (None, None) => return None,
        };
        Some(Next::Settle(Verdict::Refused { message }))
    }

    fn proposed(&self, request: &MergeRequest, commit: Option<String>) -> Verdict {
        Verdict::Proposed {
            request: Box::new(request.clone()),
            source: self.source.clone(),
            commit,
            auto_merge: self.proposal.auto_merge,
        }
    }

    /// Whether its description tells of this change.
    fn is_told_by(&self, request: &MergeRequest) -> bool {
        let mine = |written: &Written| {
            written.fire_id == self.change.key.fire_id && written.wrote.iter().any(|wrote| self.writes(wrote))
        };
        request.written.iter().any(mine)
    }

    /// A later pipeline whose change of the same it tells of.
    fn told_later(&self, request: &MergeRequest) -> Option<u64> {
        let later = |written: &&Written| {
            written.pipeline > self.change.pipeline && written.wrote.iter().any(|wrote| self.writes(wrote))
        };
        request.written.iter().find(later).map(|written| written.pipeline)
    }

    fn is_about_nothing_else(&self, request: &MergeRequest) -> bool {
        let mut wrote = request.written.iter().flat_map(|written| &written.wrote).peekable();
        wrote.peek().is_some() && wrote.all(|wrote| self.writes(wrote))
    }

    fn writes(&self, wrote: &str) -> bool {
        scalars(self.change, &self.seen.target).contains(wrote)
    }

    /// The commit, with the name of the branch it is made for: nobody else's branch is ever deleted.
    fn signed(&self, order: CommitOrder) -> CommitOrder {
        let message = format!("{}Pipekick-Branch: {}\n", order.message, self.source.short());
        CommitOrder { message, ..order }
    }

    /// `order` is the commit that would make the change on the target branch.
    fn fields(&self, order: &CommitOrder) -> MergeRequestFields {
        let proposal = self.proposal;
        let (title, trailers) = order.message.split_once("\n\n").unwrap_or((&order.message, ""));
        let text = proposal.description.clone().unwrap_or_else(|| self.description());
        // A blank line in it would hide the trailers; in a fence they are shown as they stand.
        let description = format!("{}\n\n```text\n{}\n```\n", text.trim_end(), trailers.trim_end());
        MergeRequestFields {
            title: proposal.title.clone().unwrap_or_else(|| title.trim_end().to_owned()),
            description,
            labels: proposal.labels.clone(),
            remove_source_branch: proposal.remove_source_branch,
        }
    }

    /// Who made it, after which pipeline, and what changes on the target branch.
    fn description(&self) -> String {
        let Self { change, proposal, target, .. } = self;
        let as_told = Change { dry_run: true, ..(*change).clone() };
        let diff = match draft_one(&as_told, target).verdicts.remove(&0) {
            Some(Verdict::DryRun { diff }) => diff.replace("```", "'''"),
            Some(_) | None => String::new(),
        };
        let pipeline = match &proposal.pipeline_url {
            Some(url) => format!("[{}]({url})", change.pipeline),
            None => change.pipeline.to_string(),
        };
        format!("Made by {} after pipeline {pipeline}.\n\n```text\n{}\n```", change.owner, diff.trim_end())
    }
}
