//! Sums up the facts of a status: phase, message and conditions, as kstatus, `kubectl wait` and people read
//! them. Derived from facts alone, so the same facts always read the same, and a status that reads the same
//! is not written again.
//!
//! | phase | Ready | Reconciling | Stalled | Succeeded |
//! | --- | --- | --- | --- | --- |
//! | Pending, Firing, Unknown, Running, Retrying | Unknown (False while a named thing is missing) | True | – | Unknown |
//! | Succeeded | True | – | – | True |
//! | Succeeded, an image update refused | False | – | True | True |
//! | Fired, Idle, Suspended | True | – | – | Unknown |
//! | Skipped, Superseded | True | – | – | False |
//! | Failed, Canceled, TimedOut, Rejected, Held | False | – | True | False (Held: Unknown) |

use jiff::Timestamp;

use crate::domain::size::shorten;
use crate::domain::status::{Condition, Truth};
use crate::domain::{LastAttempt, Phase, Reason, Run, TriggerStatus};

mod updates;

/// What an object stands for when no run of it is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The object's phase.
    pub phase: Phase,
    /// Why.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
}

/// Writes phase, message and conditions. `standing` is what to say instead of what the run says.
pub fn summarize(status: &mut TriggerStatus, standing: Option<Standing>, generation: i64, now: Timestamp) {
    if let Some(message) = status.run.as_deref_mut().and_then(|run| run.message.as_mut()) {
        shorten(message);
    }
    let mut standing = standing.unwrap_or_else(|| from_run(status.run.as_deref()));
    if let (Phase::Firing | Phase::Unknown | Phase::Running | Phase::Retrying, Some(waiting)) =
        (standing.phase, &status.waiting)
        && !standing.message.starts_with("a newer cause waits")
    {
        standing.message.push_str("; a newer cause waits");
        if waiting.collapsed > 0 {
            standing.message.push_str(&format!(" ({} collapsed)", waiting.collapsed));
        }
    }
    shorten(&mut standing.message);
    let row = Row::of(standing.phase, standing.reason);
    let mut conditions = Conditions { before: &status.conditions, after: Vec::new(), generation, now };
    conditions.add("Ready", row.ready, standing.reason, &standing.message);
    if row.reconciling {
        conditions.add("Reconciling", Truth::True, standing.reason, &standing.message);
    }
    if row.stalled {
        conditions.add("Stalled", Truth::True, standing.reason, &standing.message);
    }
    if let Some(run) = &status.run {
        let (fired, reason, message) = fired(run);
        conditions.add("Fired", fired, reason, &message);
    }
    let succeeded = match standing.reason {
        Reason::UpdateRefused => Reason::PipelineSucceeded,
        reason => reason,
    };
    conditions.add("Succeeded", row.succeeded, succeeded, &standing.message);
    if let Some(updates) = status.run.as_deref().and_then(updates::told) {
        conditions.add("ImagesUpdated", updates.done, updates.reason, &updates.message);
    }
    let after = conditions.after;
    status.conditions = after;
    status.phase = Some(standing.phase);
    status.message = Some(standing.message);
    status.observed_generation = Some(generation);
}

/// Says in conditions and message, of a trigger or a schedule, that work on the object met a bug. Facts and phase stay
/// as they are; the next decision that succeeds takes this back.
pub fn tell_bug(
    conditions: &mut Vec<Condition>,
    message: &mut Option<String>,
    bug: &str,
    generation: i64,
    now: Timestamp,
) {
    let text = format!("the operator met a bug while working on this object: {bug}");
    let mut told = Conditions { before: conditions, after: Vec::new(), generation, now };
    told.add("Ready", Truth::False, Reason::InternalError, &text);
    told.add("Stalled", Truth::True, Reason::InternalError, &text);
    let told = told.after;
    conditions.retain(|c| !told.iter().any(|new| new.kind == c.kind) && c.kind != "Reconciling");
    conditions.splice(0..0, told);
    *message = Some(text);
}

/// What a run says of itself; without one, nothing was asked yet.
fn from_run(run: Option<&Run>) -> Standing {
    match run {
        None => Standing {
            phase: Phase::Idle,
            reason: Reason::NothingAsked,
            message: "nothing has asked for a pipeline yet".into(),
        },
        Some(run) => {
            let own = Standing {
                phase: run.phase,
                reason: run.reason.unwrap_or(Reason::Waiting),
                message: run.message.clone().unwrap_or_default(),
            };
            updates::told(run).map_or(own.clone(), |told| updates::beside(own, told))
        }
    }
}

struct Row {
    ready: Truth,
    reconciling: bool,
    stalled: bool,
    succeeded: Truth,
}

impl Row {
    fn of(phase: Phase, reason: Reason) -> Self {
        let (ready, reconciling, stalled, succeeded) = match phase {
            Phase::Pending | Phase::Firing | Phase::Unknown | Phase::Running | Phase::Retrying => {
                let ready = if names_something_missing(reason) { Truth::False } else { Truth::Unknown };
                (ready, true, false, Truth::Unknown)
            }
            Phase::Succeeded if reason == Reason::UpdateRefused => (Truth::False, false, true, Truth::True),
            Phase::Succeeded => (Truth::True, false, false, Truth::True),
            Phase::Fired | Phase::Idle | Phase::Suspended => (Truth::True, false, false, Truth::Unknown),
            Phase::Skipped | Phase::Superseded => (Truth::True, false, false, Truth::False),
            Phase::Failed | Phase::Canceled | Phase::TimedOut | Phase::Rejected => {
                (Truth::False, false, true, Truth::False)
            }
            Phase::Held => (Truth::False, false, true, Truth::Unknown),
        };
        Self { ready, reconciling, stalled, succeeded }
    }
}

/// Whether a person must provide something before this can go on.
pub(super) const fn names_something_missing(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SecretMissing
            | Reason::SecretNotLabelled
            | Reason::SecretNotForThisUrl
            | Reason::SecretNotForThisProject
            | Reason::SecretUnusable
            | Reason::ValueMissing
            | Reason::ValueUnusable
            | Reason::CaBundleMissing
            | Reason::CaBundleUnusable
            | Reason::InvalidSpec
            | Reason::PlainHttpRefused
    )
}

/// Whether a pipeline exists for the run.
fn fired(run: &Run) -> (Truth, Reason, String) {
    let reason = run.reason.unwrap_or(Reason::Waiting);
    let message = run.message.clone().unwrap_or_default();
    match run.attempt.as_ref().map(|attempt| attempt.last) {
        Some(LastAttempt::Accepted) => {
            let which = match &run.pipeline {
                Some(pipeline) => format!("pipeline {} was created", pipeline.id),
                None => "GitLab created a pipeline and did not tell its id".into(),
            };
            (Truth::True, Reason::PipelineCreated, which)
        }
        Some(LastAttempt::Unknown) => (Truth::Unknown, reason, message),
        Some(LastAttempt::NotSent | LastAttempt::Refused) | None => (Truth::False, reason, message),
    }
}

pub(super) struct Conditions<'a> {
    pub(super) before: &'a [Condition],
    pub(super) after: Vec<Condition>,
    pub(super) generation: i64,
    pub(super) now: Timestamp,
}

impl Conditions<'_> {
    pub(super) fn add(&mut self, kind: &str, status: Truth, reason: Reason, message: &str) {
        let unchanged = self.before.iter().find(|c| c.kind == kind && c.status == status);
        // Kubernetes writes condition times in whole seconds.
        let now = Timestamp::from_second(self.now.as_second()).unwrap_or(self.now);
        self.after.push(Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.as_str().to_owned(),
            message: message.to_owned(),
            last_transition_time: unchanged.map_or(now, |c| c.last_transition_time),
            observed_generation: Some(self.generation),
        });
    }
}

#[cfg(test)]
mod tests;
