//! Before a batch is worked on: is any of it somebody else's to write as well?
//!
//! A trigger's own decision has looked already. What it may not have known: that a project which others name by its id
//! is the one that it names by its path. Each queue asks about its own project, with its own token, and only where that
//! could matter.

use std::collections::BTreeMap;

use pipekick_core::decide::image_update::{Change, ChangeKey, CredentialKey, Seen};
use pipekick_core::domain::ObjectKey;

use super::hands::not_read;
use super::{BranchKey, Images};
use crate::gitlab::{ReadError, ReadKind};

impl Images {
    /// What of the batch others write too; or why that cannot be known yet.
    pub(super) async fn contention(
        &self,
        branch: &BranchKey,
        changes: &[Change],
        credential: &CredentialKey,
    ) -> Option<Seen> {
        // What was sent, or may have been, is looked for first.
        let fresh = changes.iter().filter(|change| change.sent_at.is_none() && change.since.is_none());
        let (entries, is_unsure) = {
            let state = self.lock();
            let ticket =
                |change: &Change| Some((change.key.clone(), state.tickets.get(&change.key)?.object.clone()));
            let entries: Vec<(ChangeKey, ObjectKey)> = fresh.filter_map(ticket).collect();
            let claimed: Vec<(ObjectKey, usize)> =
                entries.iter().map(|(key, object)| (object.clone(), key.entry)).collect();
            let is_unsure = state.claims.is_unsure(&branch.url, &branch.project, &claimed);
            (entries, is_unsure)
        };
        if is_unsure && let Err(seen) = self.ask_which(branch, credential).await {
            return Some(seen);
        }
        let state = self.lock();
        let told = entries.into_iter().filter_map(|(key, object)| {
            let message = state.claims.contended(&object).remove(&key.entry)?;
            Some((key, message))
        });
        let told: BTreeMap<ChangeKey, String> = told.collect();
        (!told.is_empty()).then_some(Seen::Contended(told))
    }

    /// Asks GitLab for id and path of the branch's project.
    async fn ask_which(&self, branch: &BranchKey, credential: &CredentialKey) -> Result<(), Seen> {
        let (mut at, token) = self.reach(branch, credential).await?;
        let project = match self.gitlab.project(&at, &token).await {
            // Renamed or moved since: GitLab says where to, on the same host.
            Err(ReadError { moved_to: Some(project), .. }) => {
                at.project = project;
                self.gitlab.project(&at, &token).await
            }
            project => project,
        };
        match project {
            Ok(project) => {
                let path = project.path_with_namespace.as_deref();
                self.lock().claims.learn(&branch.url, &branch.project, project.id, path);
                Ok(())
            }
            Err(error) => match error.kind {
                // Reading the branch says so too, and what to do.
                ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden | ReadKind::Refused => {
                    Ok(())
                }
                ReadKind::Throttled { .. } | ReadKind::Unreachable | ReadKind::Trouble => {
                    Err(not_read(error))
                }
            },
        }
    }
}
