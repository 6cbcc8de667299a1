//! One change that goes by a merge request: what to do next for it.
//!
//! The merge request comes from a branch of the trigger's own, which begins at the target branch and to which nothing is
//! ever forced. A newer run commits on top of it and describes the open merge request anew.
//!
//! What follows from what is seen is said line by line in `sight.rs`. Each line is reached by looking, never by memory, so
//! a process that takes over goes on where the one before stopped.
//! GitLab keeps two open ones of the same branches from being there. Nothing is asked while a request that was
//! lost may still take effect.

mod sight;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Change, Effect, Flight, Observed, Owner, Plan, Snapshot, Stage, Verdict, again, go_on, later, look_again,
    not_sent, read_now, settle,
};
use crate::domain::trailers::Written;
use crate::domain::{GitRef, MergeRequest, MergeRequestFields, Proposal, RepoPath, Username};
use sight::{Next, Sight};

/// All that concerns one merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSeen {
    /// The branch it goes to.
    pub target: Snapshot,
    /// The branch it comes from, if that is there.
    pub source: Option<SourceSeen>,
    /// The merge requests from there, newest first.
    pub requests: Vec<MergeRequest>,
    /// The ids of users; none of those that are not there.
    pub people: BTreeMap<Username, Option<u64>>,
}

/// The branch that a merge request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSeen {
    /// As it was read.
    pub snapshot: Snapshot,
    /// The last commit on it was made to go by a merge request from this very branch.
    pub is_ours: bool,
    /// What the commits tell that it has and the target has not, if so was every one of them. Looked at where an open
    /// one is outdated.
    pub ahead: Option<Vec<Written>>,
}

/// What is asked of a merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeRequestDeed {
    /// To be opened.
    Open {
        /// The branch it comes from.
        source: GitRef,
        /// What it is to say.
        fields: MergeRequestFields,
        /// User ids.
        assignees: Vec<u64>,
        /// User ids.
        reviewers: Vec<u64>,
        /// The commit that it is about.
        commit: String,
    },
    /// To say something else.
    Describe {
        /// Its number.
        iid: u64,
        /// What it is to say.
        fields: MergeRequestFields,
        /// The commit that it is about.
        commit: String,
    },
    /// To be closed.
    Close {
        /// Its number.
        iid: u64,
    },
    /// That the branch it came from goes.
    DeleteSource {
        /// The branch.
        source: GitRef,
    },
}

/// What became of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestAnswer {
    /// It was opened, or says what it is to say.
    Shown {
        /// As GitLab shows it.
        request: Box<MergeRequest>,
        /// The commit that it is about.
        commit: String,
    },
    /// It was closed, or the branch is gone.
    Done,
    /// Nothing was done, and nothing will be unless something is changed.
    Refused {
        /// What GitLab said, and what to do.
        message: String,
    },
    /// Nothing was done, and it may be asked again.
    NotDone {
        /// Why.
        message: String,
        /// GitLab asked not to come back before.
        until: Option<jiff::Timestamp>,
    },
    /// It may have been done.
    Unknown {
        /// What was seen.
        message: String,
    },
}

/// Where changes of an owner's entry come from, if spec does not say.
///
/// # Panics
/// Never: what Kubernetes takes for a name, git takes for a part of a branch's.
#[must_use]
pub fn default_source(owner: &Owner, entry: usize) -> GitRef {
    let number = entry.saturating_add(1);
    let name = match owner {
        Owner::Trigger(key) => format!("pipekick/{}/{}-{number}", key.namespace, key.name),
        Owner::Schedule(key) => format!("pipekick/{}/schedule/{}-{number}", key.namespace, key.name),
    };
    name.parse().expect("names of objects have no character that git forbids, and end in no .lock here")
}

/// A batch of its own: of all that waits the latest pipeline's, when its time has come, so that what is earlier finds itself
/// superseded.
pub(super) fn begin(observed: &Observed<'_>) -> Plan {
    let Observed { now, waiting, .. } = *observed;
    let latest = waiting.iter().max_by_key(|change| change.pipeline);
    let resting = latest.and_then(|change| change.not_before).filter(|until| *until > now);
    if let Some(until) = resting {
        return Plan { wake: Some(until), ..settle(&[], |_| Verdict::Absent) };
    }
    let changes: Vec<Change> = latest.cloned().into_iter().collect();
    let taken = changes.iter().map(|change| change.key.clone()).collect();
    let flight = Flight { changes, tries: 0, stage: Stage::Read { not_before: now } };
    Plan { taken, ..go_on(observed, &flight) }
}

pub(super) fn read(
    change: &Change,
    proposal: &Proposal,
    files: BTreeSet<RepoPath>,
    since: Option<jiff::Timestamp>,
) -> Effect {
    Effect::ReadRequest {
        files,
        since,
        source: source_of(change, proposal),
        people: proposal.assignees.iter().chain(&proposal.reviewers).cloned().collect(),
        credential: change.credential.clone(),
    }
}

fn source_of(change: &Change, proposal: &Proposal) -> GitRef {
    proposal.source.clone().unwrap_or_else(|| default_source(&change.owner, change.key.entry))
}

pub(super) fn on_seen(observed: &Observed<'_>, flight: &Flight, seen: &RequestSeen) -> Plan {
    let Observed { now, policy, .. } = *observed;
    let Some((change, proposal)) = of(flight) else { return settle(&flight.changes, |_| Verdict::Absent) };
    let next = Sight::new(change, proposal, seen).next();
    let since = match &next {
        Next::DeleteOrphan => change.sent_at.or(Some(now)),
        Next::Settle(_) | Next::Commit(..) | Next::Ask(_) => change.sent_at,
    };
    let doubt = since.map(|at| later(at, policy.resolution_delay)).filter(|until| *until > now);
    let credential = change.credential.clone();
    let effect = match (next, doubt) {
        // Not there; but it may still arrive.
        (
            Next::Settle(Verdict::Absent) | Next::Commit(..) | Next::Ask(_) | Next::DeleteOrphan,
            Some(until),
        ) => {
            let changes = vec![Change { sent_at: since, ..change.clone() }];
            return look_again(observed, flight.tries, changes, until);
        }
        (Next::Settle(verdict), Some(_) | None) => return settle(&flight.changes, |_| verdict.clone()),
        (Next::Commit(order, onto), None) => Effect::Commit { order, onto, credential },
        (Next::Ask(deed), None) => Effect::Request { deed: Box::new(deed), credential },
        (Next::DeleteOrphan, None) => {
            let deed = MergeRequestDeed::DeleteSource { source: source_of(change, proposal) };
            Effect::Request { deed: Box::new(deed), credential }
        }
    };
    // Should the process lose track of it, somebody looks first.
    let changes = vec![Change { sent_at: Some(now), ..change.clone() }];
    let flight = Flight { changes, tries: flight.tries, stage: Stage::Sent };
    Plan { taken: Vec::new(), settled: Vec::new(), flight: Some(flight), effect, wake: None }
}

pub(super) fn on_answer(observed: &Observed<'_>, flight: &Flight, answer: &RequestAnswer) -> Plan {
    let Some((change, proposal)) = of(flight) else { return settle(&flight.changes, |_| Verdict::Absent) };
    let mut changes = flight.changes.clone();
    match answer {
        RequestAnswer::Shown { request, commit } => settle(&changes, |_| Verdict::Proposed {
            request: request.clone(),
            source: source_of(change, proposal),
            commit: Some(commit.clone()),
            auto_merge: proposal.auto_merge,
        }),
        RequestAnswer::Done => {
            not_sent(&mut changes);
            read_now(observed, flight, changes)
        }
        RequestAnswer::Refused { message } => {
            settle(&changes, |_| Verdict::Refused { message: message.clone() })
        }
        RequestAnswer::NotDone { message, until } => {
            not_sent(&mut changes);
            again(observed, flight.tries, changes, message, *until)
        }
        RequestAnswer::Unknown { message } => {
            for change in &mut changes {
                change.sent_at = Some(observed.now);
            }
            again(observed, flight.tries, changes, message, None)
        }
    }
}

fn of(flight: &Flight) -> Option<(&Change, &Proposal)> {
    let change = flight.changes.first()?;
    Some((change, change.proposal.as_deref()?))
}
