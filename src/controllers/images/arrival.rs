//! From a trigger's order to what waits in queues: which branch each update is for, and whose it is.

use std::collections::HashSet;

use jiff::Timestamp;
use pipekick_core::decide::image_update::{Change, ChangeKey, CredentialKey, Owner};
use pipekick_core::decide::trigger::{UpdateEntry, UpdateKey};
use pipekick_core::domain::{Access, GitLabUrl, GitRef, ObjectKey, ProjectRef, Trigger};

use crate::clock;
use crate::controllers::schedule::ScheduleRef;

/// A branch that is written to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BranchKey {
    pub(super) url: GitLabUrl,
    pub(super) project: ProjectRef,
    pub(super) branch: GitRef,
    /// The branch that a merge request to it comes from.
    pub(super) source: Option<GitRef>,
}

impl BranchKey {
    /// The branch that is written to in the end.
    pub(super) fn target(&self) -> Self {
        Self { source: None, ..self.clone() }
    }

    /// Where the updates of a trigger that are still to be made will go, as far as spec can be read.
    pub(in crate::controllers) fn all_of(trigger: &Trigger) -> HashSet<Self> {
        let (Ok(spec), Some(run)) = (&trigger.spec, trigger.status.run.as_deref()) else {
            return HashSet::new();
        };
        let Ok(url) = run.target.url.parse::<GitLabUrl>() else { return HashSet::new() };
        // One that goes by a merge request waits for nobody.
        let commits = spec.image_updates.iter().filter(|update| update.merge_request.is_none());
        let each = commits.map(|update| Self {
            url: url.clone(),
            project: update.project.clone().unwrap_or_else(|| spec.project.clone()),
            branch: update.branch.clone(),
            source: None,
        });
        each.collect()
    }
}

/// Whose changes they are: all children of a schedule are one.
pub(super) fn owner_of(object: &ObjectKey, schedule: Option<&ScheduleRef>) -> Owner {
    match schedule {
        Some(ScheduleRef { name, uid: _ }) => {
            Owner::Schedule(ObjectKey { namespace: object.namespace.clone(), name: name.clone() })
        }
        None => Owner::Trigger(object.clone()),
    }
}

pub(super) fn change(
    object: &ObjectKey,
    owner: &Owner,
    (pipeline, begun): (u64, Option<Timestamp>),
    entry: UpdateEntry,
) -> (UpdateKey, Change) {
    let UpdateEntry {
        key,
        project: _,
        branch: _,
        access: Access { token, ca_bundle },
        edits,
        title,
        author,
        proposal,
        allow_shared,
        dry_run,
        since,
        give_up,
    } = entry;
    let now = clock::now();
    let change = Change {
        key: ChangeKey { fire_id: key.fire_id.clone(), entry: key.entry },
        owner: owner.clone(),
        credential: CredentialKey { namespace: object.namespace.clone(), secret: token, ca_bundle },
        pipeline,
        begun,
        edits,
        title,
        author,
        proposal,
        allow_shared,
        dry_run,
        arrived_at: now,
        // The process that left it may have sent it up to its very end.
        sent_at: since.map(|_| now),
        since,
        give_up,
        not_before: None,
    };
    (key, change)
}
