//! Rules by example, and random walks against a branch that behaves as GitLab's does.

mod contention;
mod merge_requests;
mod rules;
mod walks;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::image_update::FileEdit;
use crate::domain::{Author, FireId, ObjectKey, RepoPath, SecretKeyRef, SharedTitle};
use crate::yaml::{Edit, Replacement};

/// Of a walk: what `plan` took leaves those that wait, and what it settled is a verdict, once, or waits anew. Whether it
/// settled anything.
fn settle(
    plan: &mut Plan,
    waiting: &mut Vec<Change>,
    flown: Option<Flight>,
    verdicts: &mut BTreeMap<ChangeKey, Verdict>,
) -> Result<bool, TestCaseError> {
    let mut batch = flown.map(|flight| flight.changes).unwrap_or_default();
    batch.extend(waiting.extract_if(.., |change| plan.taken.contains(&change.key)));
    let settled = !plan.settled.is_empty();
    for (key, verdict) in plan.settled.drain(..) {
        if let Verdict::PutBack { reason: _, message: _, until, sent_at } = verdict {
            let change = batch.iter().find(|change| change.key == key).unwrap().clone();
            waiting.push(Change { sent_at, not_before: Some(until), ..change });
        } else {
            prop_assert!(verdicts.insert(key, verdict).is_none(), "settled twice");
        }
    }
    Ok(settled)
}

fn draft(changes: &[Change], snapshot: &Snapshot) -> Draft {
    super::draft(changes, snapshot, &SharedTitle::default())
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_millisecond((seconds * 1000.0) as i64).unwrap()
}

fn path(text: &str) -> RepoPath {
    text.parse().unwrap()
}

fn owner(name: &str) -> Owner {
    Owner::Trigger(ObjectKey { namespace: "shop".into(), name: name.into() })
}

fn edit(file: &str, at: &str, value: &str) -> FileEdit {
    let new = Replacement::Whole(value.parse().unwrap());
    FileEdit { file: path(file), edit: Edit::Path { document: None, path: at.parse().unwrap(), new } }
}

/// The change of run `id` of trigger `name`, by this pipeline.
fn change(name: &str, id: &str, pipeline: u64, edits: Vec<FileEdit>) -> Change {
    Change {
        key: ChangeKey { fire_id: FireId::from(id), entry: 0 },
        owner: owner(name),
        credential: CredentialKey {
            namespace: "shop".into(),
            secret: SecretKeyRef { name: "gitops".into(), key: "token".into() },
            ca_bundle: None,
        },
        pipeline,
        begun: None,
        edits,
        title: None,
        author: None,
        proposal: None,
        allow_shared: false,
        dry_run: false,
        arrived_at: at(0.0),
        sent_at: None,
        since: None,
        give_up: false,
        not_before: None,
    }
}

fn snapshot(files: &[(&str, &str)], history: &[(&str, &str, &str)]) -> Snapshot {
    let mut by_file: BTreeMap<RepoPath, Vec<CommitSeen>> = BTreeMap::new();
    for (file, id, message) in history {
        let seen = CommitSeen { id: (*id).into(), at: None, written: written(message) };
        by_file.entry(path(file)).or_default().push(seen);
    }
    Snapshot {
        head: "head".into(),
        files: files
            .iter()
            .map(|(file, text)| (path(file), FileSeen::Content(text.as_bytes().to_vec())))
            .collect(),
        history: by_file,
        merged: Vec::new(),
        claimed: Vec::new(),
        affirmed: BTreeMap::new(),
    }
}
