//! What to do next for one branch that image updates are written to.
//!
//! There is one queue per (host, project, branch), and one commit at a time in the air for it. [`decide`] looks at
//! what waits, at the batch under way and at what was seen last, and answers with one [`Plan`].
//!
//! ```text
//! waiting ── collect (≤ 2 s while more are known to come; not at all when alone) ──▶ batch
//! batch   ── Read files and their history ──▶ draft ──▶ verdicts for some, one commit of the rest
//! commit  ── 201 ──────────────▶ Committed
//!         ── conflict ─────────▶ read again, same edits, with back-off
//!         ── no known outcome ─▶ read again: found by its trailers it is Committed; it is sent again only when
//!                                the lost request can no longer take effect
//!         ── refused ──────────▶ Refused
//! ```
//!
//! A change that goes by a merge request has a queue for the branch it comes from, and is a batch of its own; what is
//! done for it is decided on in `merge_request.rs`.
//!
//! What arrives meanwhile waits and joins the next batch. A batch is of one credential and one author: a trigger's token
//! never carries another's change, who might not be allowed to push.
//!
//! A commit that is sent twice writes the same bytes, so a wrong guess costs an empty commit and never a wrong
//! tag; still nothing is sent again on a guess. Each change's `Committing` is in its trigger's status before
//! the batch is sent, with the time, so that after a crash it comes back as `sent_at` and is looked for first.
//!
//! What this does not do: fill in templates (`domain/image_update.rs`), edit (`yaml/`), talk to GitLab.

pub mod contention;
mod draft;
mod merge_request;
mod message;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use draft::on_branch_already;
pub use draft::{Draft, draft};
pub use merge_request::{MergeRequestDeed, RequestAnswer, RequestSeen, SourceSeen, default_source};

use crate::domain::image_update::FileEdit;
pub use crate::domain::trailers::{Written, written};
use crate::domain::{
    Author, CaBundleRef, FireId, GitRef, MergeRequest, ObjectKey, Proposal, Reason, RepoPath, SecretKeyRef,
    Username,
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

/// A scalar that a commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    file: RepoPath,
    address: String,
    new: String,
}

/// The branch as it was seen, all at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit it was read at. Sent along with the commit, so that GitLab refuses to overwrite what came after.
    pub head: String,
    /// The files that were asked for.
    pub files: BTreeMap<RepoPath, FileSeen>,
    /// The last commits that touched each, newest first: 50, and more where [`Effect::Read`] asks for older ones. Who
    /// wrote a scalar before that is taken for nobody.
    pub history: BTreeMap<RepoPath, Vec<CommitSeen>>,
    /// What merge requests tell of themselves that were merged to it lately, where [`Effect::Read`] asks for it or one
    /// is about to be opened: a squash leaves the trailers of their commits behind.
    pub merged: Vec<Written>,
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
    /// What its trailers tell, by [`written`].
    pub written: Vec<Written>,
}

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
        /// The commits of each reach back at least to this time: one that was sent then may be among them.
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

/// What to do next for one branch.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Plan {
    let Observed { now, policy: _, waiting, coming: _, flight, seen } = *observed;
    let plan = match (flight, seen) {
        (None, _) => begin(observed),
        (Some(flight), None) => go_on(observed, flight),
        (Some(flight), Some(seen)) => absorb(observed, flight, seen),
    };
    let ended = plan.flight.is_none() && plan.wake.is_none();
    // A batch ended while others waited: theirs is the next, at once.
    Plan { wake: if ended && !waiting.is_empty() { Some(now) } else { plan.wake }, ..plan }
}

/// No batch is under way: is one to begin?
fn begin(observed: &Observed<'_>) -> Plan {
    let Observed { now, policy, waiting, coming, flight: _, seen: _ } = *observed;
    if waiting.iter().any(|change| change.proposal.is_some()) {
        return merge_request::begin(observed);
    }
    let is_due = |change: &&Change| change.not_before.is_none_or(|until| until <= now);
    let Some(first) = waiting.iter().find(is_due) else {
        let wake = waiting.iter().filter_map(|change| change.not_before).min();
        return Plan { taken: Vec::new(), settled: Vec::new(), flight: None, effect: Effect::Nothing, wake };
    };
    let fits = |change: &&Change| {
        is_due(change) && change.credential == first.credential && change.author == first.author
    };
    let changes: Vec<Change> = waiting.iter().filter(fits).take(policy.most).cloned().collect();
    let until = later(first.arrived_at, policy.collect);
    if coming > 0 && changes.len() < policy.most && now < until {
        let (taken, settled) = (Vec::new(), Vec::new());
        return Plan { taken, settled, flight: None, effect: Effect::Nothing, wake: Some(until) };
    }
    let taken = changes.iter().map(|change| change.key.clone()).collect();
    let flight = Flight { changes, tries: 0, stage: Stage::Read { not_before: now } };
    Plan { taken, ..go_on(observed, &flight) }
}

/// A batch is under way, and nothing new was seen.
fn go_on(observed: &Observed<'_>, flight: &Flight) -> Plan {
    let (effect, wake) = match flight.stage {
        Stage::Read { not_before } if not_before > observed.now => (Effect::Nothing, Some(not_before)),
        Stage::Read { not_before: _ } => (read(&flight.changes), None),
        // Its answer comes, by a deadline of the request.
        Stage::Sent => (Effect::Nothing, None),
    };
    Plan { taken: Vec::new(), settled: Vec::new(), flight: Some(flight.clone()), effect, wake }
}

fn read(changes: &[Change]) -> Effect {
    let files = changes.iter().flat_map(|change| &change.edits).map(|edit| edit.file.clone()).collect();
    let since = changes.iter().flat_map(|change| [change.sent_at, change.since]).flatten().min();
    let Some(first) = changes.first() else { return Effect::Nothing };
    let credential = first.credential.clone();
    let merged = changes.iter().any(|change| change.allow_shared);
    match first.proposal.as_deref() {
        None => Effect::Read { files, since, merged, credential },
        Some(proposal) => merge_request::read(first, proposal, files, since),
    }
}

fn absorb(observed: &Observed<'_>, flight: &Flight, seen: &Seen) -> Plan {
    let now = observed.now;
    let mut changes = flight.changes.clone();
    match seen {
        Seen::Branch(snapshot) => on_branch(observed, flight, snapshot),
        Seen::Request(seen) => merge_request::on_seen(observed, flight, seen),
        Seen::Asked(answer) => merge_request::on_answer(observed, flight, answer),
        Seen::Contended(told) => {
            let (refused, rest): (Vec<Change>, Vec<Change>) =
                changes.into_iter().partition(|change| told.contains_key(&change.key));
            let message = |change: &Change| told.get(&change.key).cloned().unwrap_or_default();
            let plan = settle(&refused, |change| Verdict::Refused { message: message(change) });
            if rest.is_empty() {
                plan
            } else {
                Plan { settled: plan.settled, ..read_now(observed, flight, rest) }
            }
        }
        Seen::Unreadable { message } => settle(&changes, |_| Verdict::Refused { message: message.clone() }),
        Seen::Missing { reason, message, until } => settle(&changes, |change| Verdict::PutBack {
            reason: *reason,
            message: message.clone(),
            until: *until,
            sent_at: change.sent_at,
        }),
        Seen::Trouble { message, until } => again(observed, flight.tries, changes, message, *until),
        Seen::Answer(answer) => match answer {
            // It is on the branch that a merge request comes from, or is to.
            CommitAnswer::Committed { commit: _ } if changes.iter().any(|c| c.proposal.is_some()) => {
                not_sent(&mut changes);
                read_now(observed, flight, changes)
            }
            CommitAnswer::Committed { commit } => {
                settle(&changes, |_| Verdict::Committed { commit: commit.clone() })
            }
            CommitAnswer::Refused { message } => {
                settle(&changes, |_| Verdict::Refused { message: message.clone() })
            }
            CommitAnswer::Conflict { message } | CommitAnswer::NotSent { message } => {
                not_sent(&mut changes);
                again(observed, flight.tries, changes, message, None)
            }
            CommitAnswer::Throttled { message, until } => {
                not_sent(&mut changes);
                again(observed, flight.tries, changes, message, Some(*until))
            }
            CommitAnswer::Unknown { message } => {
                for change in &mut changes {
                    change.sent_at = Some(now);
                }
                again(observed, flight.tries, changes, message, None)
            }
        },
    }
}

/// What is there now is looked at, at once.
fn read_now(observed: &Observed<'_>, flight: &Flight, changes: Vec<Change>) -> Plan {
    let stage = Stage::Read { not_before: observed.now };
    go_on(observed, &Flight { changes, tries: flight.tries, stage })
}

/// An answer that says for certain that nothing was written.
fn not_sent(changes: &mut [Change]) {
    for change in changes {
        change.sent_at = None;
    }
}

/// The branch was read: settle what can be, send the rest, unless a lost commit may still arrive.
fn on_branch(observed: &Observed<'_>, flight: &Flight, snapshot: &Snapshot) -> Plan {
    let Observed { now, policy, .. } = *observed;
    let mut settled = Vec::new();
    let changes = part_doubtful(observed, flight, snapshot, &mut settled);
    let Draft { commit, verdicts } = draft(&changes, snapshot);
    let mut rest = Vec::new();
    for (number, change) in changes.iter().enumerate() {
        match verdicts.get(&number) {
            Some(verdict) => settled.push((change.key.clone(), verdict.clone())),
            None => rest.push(change.clone()),
        }
    }
    let (Some(order), Some(first)) = (commit, rest.first()) else {
        return Plan { taken: Vec::new(), settled, flight: None, effect: Effect::Nothing, wake: None };
    };
    let doubt =
        rest.iter().filter_map(|change| change.sent_at).map(|at| later(at, policy.resolution_delay)).max();
    if let Some(until) = doubt.filter(|until| *until > now) {
        return Plan { settled, ..look_again(observed, flight.tries, rest, until) };
    }
    let credential = first.credential.clone();
    for change in &mut rest {
        // Should the process lose track of it, somebody looks first.
        change.sent_at = Some(now);
    }
    let effect = Effect::Commit { order: Box::new(order), onto: Onto::Branch, credential };
    let flight = Flight { changes: rest, tries: flight.tries, stage: Stage::Sent };
    Plan { taken: Vec::new(), settled, flight: Some(flight), effect, wake: None }
}

/// Not found yet, and it may still arrive, up to `until`: looked for again, often at first.
fn look_again(observed: &Observed<'_>, tries: u32, changes: Vec<Change>, until: Timestamp) -> Plan {
    let not_before = later(observed.now, backoff(observed.policy, tries)).min(until);
    let flight = Flight { changes, tries: tries.saturating_add(1), stage: Stage::Read { not_before } };
    let (effect, wake) = (Effect::Nothing, Some(not_before));
    Plan { taken: Vec::new(), settled: Vec::new(), flight: Some(flight), effect, wake }
}

/// What a lost commit may still write goes back to be looked for, where others need not wait for that, or it is given
/// up anyway.
fn part_doubtful(
    observed: &Observed<'_>,
    flight: &Flight,
    snapshot: &Snapshot,
    settled: &mut Vec<(ChangeKey, Verdict)>,
) -> Vec<Change> {
    let Observed { now, policy, .. } = *observed;
    let in_doubt = |change: &Change| {
        change.sent_at.is_some_and(|at| later(at, policy.resolution_delay) > now)
            && on_branch_already(change, snapshot).is_none()
    };
    let (doubtful, changes): (Vec<Change>, Vec<Change>) = flight.changes.iter().cloned().partition(in_doubt);
    if changes.is_empty() && !doubtful.iter().any(|change| change.give_up) {
        return doubtful;
    }
    for change in doubtful {
        // As long again as it was waited for: often at first.
        let waited = change
            .sent_at
            .map_or(Duration::ZERO, |at| Duration::try_from(now.duration_since(at)).unwrap_or_default());
        settled.push((
            change.key,
            Verdict::PutBack {
                reason: Reason::UpdateDelayed,
                message: "a commit was sent, its outcome is not known, and it is not on the branch yet"
                    .into(),
                until: later(now, waited.clamp(policy.backoff.0, policy.backoff.1)),
                sent_at: change.sent_at,
            },
        ));
    }
    changes
}

/// Once more, on fresh content, after a wait; too often, and others get their turn.
fn again(
    observed: &Observed<'_>,
    tries: u32,
    changes: Vec<Change>,
    message: &str,
    until: Option<Timestamp>,
) -> Plan {
    let Observed { now, policy, .. } = *observed;
    let tries = tries.saturating_add(1);
    let rest = later(now, policy.rest);
    if tries >= policy.tries {
        let until = until.map_or(rest, |until| until.max(rest));
        return settle(&changes, |change| Verdict::PutBack {
            reason: Reason::UpdateDelayed,
            message: message.to_owned(),
            until,
            sent_at: change.sent_at,
        });
    }
    let wait = later(now, backoff(policy, tries - 1));
    let not_before = until.map_or(wait, |until| until.max(wait));
    let flight = Flight { changes, tries, stage: Stage::Read { not_before } };
    Plan {
        taken: Vec::new(),
        settled: Vec::new(),
        flight: Some(flight),
        effect: Effect::Nothing,
        wake: Some(not_before),
    }
}

fn settle(changes: &[Change], verdict: impl Fn(&Change) -> Verdict) -> Plan {
    let settled = changes.iter().map(|change| (change.key.clone(), verdict(change))).collect();
    Plan { taken: Vec::new(), settled, flight: None, effect: Effect::Nothing, wake: None }
}

/// Doubled with every try. Without chance: there is one queue per branch, so no two of ours collide.
fn backoff(policy: &Policy, tries: u32) -> Duration {
    let (first, longest) = policy.backoff;
    first.saturating_mul(1 << tries.min(16)).min(longest)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
