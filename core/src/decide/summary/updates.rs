//! What is said of a run's image updates, once its pipeline has ended.

use super::{Standing, names_something_missing};
use crate::decide::trigger::place_of;
use crate::domain::UpdateRecord;
use crate::domain::status::Truth;
use crate::domain::{Phase, Reason, Run, UpdateState};

/// How far they are.
pub(super) struct Updates {
    /// Whether all are done.
    pub(super) done: Truth,
    /// The run waits for them.
    pub(super) under_way: bool,
    /// Why.
    pub(super) reason: Reason,
    /// In a sentence.
    pub(super) message: String,
}

/// How far the updates of a run are; `None` without any for the way its pipeline ended.
pub(super) fn told(run: &Run) -> Option<Updates> {
    if !run.has_ended_pipeline() {
        return None;
    }
    let due: Vec<(usize, &UpdateRecord)> =
        run.image_updates.iter().enumerate().filter(|(_, record)| record.is_due(run.phase)).collect();
    let (open, ended): (Vec<_>, Vec<_>) = due.iter().copied().partition(|(_, r)| r.state.is_active());
    if due.is_empty() {
        return None;
    }
    let all = |records: &[(usize, &UpdateRecord)]| {
        let each: Vec<String> = records.iter().map(|(number, record)| one(run, *number, record)).collect();
        each.join("; ")
    };
    if !open.is_empty() {
        let waits = open.iter().find_map(|(_, record)| record.reason);
        let message = if waits.is_some() {
            all(&open)
        } else {
            format!("{} of {} image updates done", ended.len(), due.len())
        };
        return Some(Updates {
            done: Truth::Unknown,
            under_way: true,
            reason: waits.unwrap_or(Reason::UpdatingImages),
            message,
        });
    }
    let is = |state| move |(_, record): &(usize, &UpdateRecord)| record.state == state;
    let (done, reason) = if due.iter().any(is(UpdateState::Refused)) {
        (Truth::False, Reason::UpdateRefused)
    } else if due.iter().any(is(UpdateState::Canceled)) {
        (Truth::False, Reason::UpdateCanceled)
    } else if due.iter().any(is(UpdateState::Closed)) {
        (Truth::False, Reason::MergeRequestClosed)
    } else if due.iter().any(is(UpdateState::Open)) {
        // For a person, perhaps for days: the run is over.
        (Truth::Unknown, Reason::MergeRequestOpen)
    } else {
        (Truth::True, Reason::ImagesUpdated)
    };
    Some(Updates { done, under_way: false, reason, message: all(&due) })
}

/// What an object stands for, with what is said of its updates beside it.
pub(super) fn beside(own: Standing, updates: Updates) -> Standing {
    let Standing { phase, reason, message } = own;
    let Updates { done, under_way, reason: why, message: told } = updates;
    let message = format!("{message}; {told}");
    if under_way {
        let reason = if names_something_missing(why) { why } else { Reason::UpdatingImages };
        return Standing { phase: Phase::Running, reason, message };
    }
    match done {
        Truth::False if phase == Phase::Succeeded && why == Reason::UpdateRefused => {
            Standing { phase, reason: why, message }
        }
        Truth::True | Truth::False | Truth::Unknown => Standing { phase, reason, message },
    }
}

fn one(run: &Run, number: usize, record: &UpdateRecord) -> String {
    let place = place_of(run, number);
    let why = record.message.as_deref().unwrap_or_default();
    match record.state {
        UpdateState::Pending | UpdateState::Committing => format!("the update of {place} waits: {why}"),
        UpdateState::Committed => {
            let commit = record.commit.as_deref().unwrap_or_default();
            format!("commit {} on {place}", commit.get(..8).unwrap_or(commit))
        }
        UpdateState::Open => format!("merge request {} to {place} waits: {why}", number_of(record)),
        UpdateState::Merged => format!("merge request {} to {place} was merged", number_of(record)),
        UpdateState::Closed => format!("merge request {} to {place} was closed", number_of(record)),
        UpdateState::UpToDate => format!("{place} said so already"),
        UpdateState::Superseded => format!("{place} was left alone: {why}"),
        UpdateState::Refused => format!("{place} was not written: {why}"),
        UpdateState::DryRun => format!("dry run: nothing was written to {place}"),
        UpdateState::Canceled => format!("{place} was not written: {why}"),
    }
}

fn number_of(record: &UpdateRecord) -> String {
    record.merge_request.as_ref().map_or_else(String::new, |request| format!("!{}", request.iid))
}
