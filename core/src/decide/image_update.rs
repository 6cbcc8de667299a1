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

mod affirmed;
pub mod contention;
mod draft;
mod merge_request;
mod message;
mod observed;
mod plan;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use affirmed::Affirmed;
use draft::on_branch_already;
pub use draft::{Draft, draft, scalars};
pub use merge_request::{MergeRequestDeed, RequestAnswer, RequestSeen, SourceSeen, default_source};

pub use crate::domain::trailers::{Written, written};
pub use observed::{
    Change, ChangeKey, CommitAnswer, CommitSeen, CredentialKey, FileSeen, Flight, Observed, Owner, Policy,
    Seen, Snapshot, Stage,
};
pub use plan::{CommitOrder, Effect, FileChange, Onto, Plan, Verdict};

use crate::domain::Reason;

/// Shorter waits are not told: most are over before anybody looks.
const TOLD: Duration = Duration::from_secs(5);
/// What is told of a request without a known outcome.
const LOST: &str = "something was sent, its outcome is not known, and it is not there yet: it is looked for, and sent again when it can no longer arrive";

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

/// Why the whole batch waits, after this decision, where it is long enough to be told.
#[must_use]
pub fn waits_for(observed: &Observed<'_>, plan: &Plan) -> Option<String> {
    let Plan { taken: _, settled: _, flight, effect, wake } = plan;
    let is_long = wake.is_some_and(|wake| wake >= later(observed.now, TOLD));
    if flight.is_none() || *effect != Effect::Nothing || !is_long {
        return None;
    }
    let message = match observed.seen? {
        Seen::Trouble { message, until: _ }
        | Seen::Answer(
            CommitAnswer::Conflict { message }
            | CommitAnswer::NotSent { message }
            | CommitAnswer::Throttled { message, until: _ },
        )
        | Seen::Asked(RequestAnswer::NotDone { message, until: _ }) => message,
        Seen::Branch(_)
        | Seen::Request(_)
        | Seen::Answer(CommitAnswer::Unknown { .. })
        | Seen::Asked(RequestAnswer::Unknown { .. }) => LOST,
        // After these nothing is waited for.
        Seen::Contended(_)
        | Seen::Unreadable { .. }
        | Seen::Missing { .. }
        | Seen::Answer(CommitAnswer::Committed { .. } | CommitAnswer::Refused { .. })
        | Seen::Asked(RequestAnswer::Shown { .. } | RequestAnswer::Done | RequestAnswer::Refused { .. }) => {
            return None;
        }
    };
    Some(message.to_owned())
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
    let back_to = |change: &Change| [change.sent_at, change.since, change.begun];
    let since = changes.iter().flat_map(back_to).flatten().min();
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
    let Draft { commit, verdicts } = draft(&changes, snapshot, &policy.shared_title);
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
                message: LOST.into(),
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
