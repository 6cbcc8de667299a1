//! The hands of a branch's queue: one look at the branch, or one commit.

use std::collections::BTreeSet;

use jiff::Timestamp;
use pipekick_core::decide::image_update::{CommitAnswer, CommitOrder, CredentialKey, Onto, Seen, Snapshot};
use pipekick_core::domain::{CredentialUse, GitRef, RepoPath};
use secrecy::SecretString;

use super::{BranchKey, Images};
use crate::clock;
use crate::cluster::secrets::Unavailable;
use crate::gitlab::{Endpoint, Place, ReadError, ReadKind};

impl Images {
    /// The files, and who wrote them, all at one commit of the branch; and what was merged to it lately, if that is
    /// asked for.
    pub(super) async fn read(
        &self,
        branch: &BranchKey,
        files: &BTreeSet<RepoPath>,
        (since, merged): (Option<Timestamp>, bool),
        credential: &CredentialKey,
    ) -> Seen {
        let (mut at, token) = match self.reach(branch, credential).await {
            Ok(reached) => reached,
            Err(missing) => return missing,
        };
        let read = match self.gitlab.snapshot(&at, &branch.branch, files, since, &token).await {
            // Renamed or moved since: GitLab says where to, on the same host.
            Err(ReadError { moved_to: Some(project), .. }) => {
                at.project = project;
                self.gitlab.snapshot(&at, &branch.branch, files, since, &token).await
            }
            read => read,
        };
        let read = match read {
            Ok(snapshot) if merged => self.with_merged(&at, &branch.branch, snapshot, &token).await,
            read => read,
        };
        match read {
            Ok(snapshot) => Seen::Branch(self.with_known(branch, snapshot)),
            Err(error) => not_read(error),
        }
    }

    /// A branch with what merge requests tell that were merged to it lately. Where there are none to be had, nothing
    /// was squashed.
    pub(super) async fn with_merged(
        &self,
        at: &Endpoint,
        branch: &GitRef,
        snapshot: Snapshot,
        token: &SecretString,
    ) -> Result<Snapshot, ReadError> {
        match self.gitlab.merged_to(at, branch, token).await {
            Ok(requests) => {
                let merged = requests.into_iter().flat_map(|request| request.written).collect();
                Ok(Snapshot { merged, ..snapshot })
            }
            Err(error) if matches!(error.kind, ReadKind::NotFound | ReadKind::Forbidden) => Ok(snapshot),
            Err(error) => Err(error),
        }
    }

    /// A branch with what is known of it here: what others mean to write into these files, and what pipelines found as
    /// they wanted it.
    pub(super) fn with_known(&self, branch: &BranchKey, snapshot: Snapshot) -> Snapshot {
        let state = self.lock();
        let files = snapshot.files.keys().cloned().collect();
        let BranchKey { url, project, branch: name, source: _ } = branch;
        let claimed = state.claims.elsewhere((url, project, name), &files);
        Snapshot { claimed, affirmed: state.affirmed.on(&branch.target()), ..snapshot }
    }

    /// Sends the commit, once.
    pub(super) async fn commit(
        &self,
        branch: &BranchKey,
        order: &CommitOrder,
        onto: Onto,
        credential: &CredentialKey,
        changes: usize,
    ) -> Seen {
        let (at, token) = match self.reach(branch, credential).await {
            Ok(reached) => reached,
            Err(missing) => return missing,
        };
        let place = match onto {
            Onto::Branch => Place::Branch(branch.branch.clone()),
            Onto::Source(source) => Place::Branch(source),
            Onto::NewSource(source) => Place::NewBranch(source),
        };
        let answer = self.gitlab.commit(&at, &place, order, &token).await;
        self.metrics.committed(&answer, changes);
        let (project, branch) = (&branch.project, branch.source.as_ref().unwrap_or(&branch.branch));
        match &answer {
            CommitAnswer::Committed { commit } => {
                tracing::info!(%project, %branch, commit, changes, "commit was made");
            }
            CommitAnswer::Conflict { message } => {
                tracing::debug!(%project, %branch, detail = message, "somebody else's commit came first");
            }
            CommitAnswer::Refused { message }
            | CommitAnswer::Throttled { message, until: _ }
            | CommitAnswer::NotSent { message } => {
                tracing::info!(%project, %branch, detail = message, "commit was not made");
            }
            CommitAnswer::Unknown { message } => {
                tracing::warn!(%project, %branch, detail = message, "outcome of a commit is unknown");
            }
        }
        Seen::Answer(answer)
    }

    /// The project and the token for it; or what is missing.
    pub(super) async fn reach(
        &self,
        branch: &BranchKey,
        credential: &CredentialKey,
    ) -> Result<(Endpoint, SecretString), Seen> {
        let BranchKey { url, project, branch: _, source: _ } = branch;
        let CredentialKey { namespace, secret, ca_bundle } = credential;
        let to = CredentialUse { url, default_url: &self.default_url, project };
        let token = self.secrets.token(namespace, secret, to).await.map_err(missing)?;
        let trust = self.secrets.trust(namespace, ca_bundle.as_ref()).await.map_err(missing)?;
        Ok((Endpoint { url: url.clone(), project: project.clone(), trust }, token))
    }
}

pub(super) fn not_read(ReadError { kind, reason: _, message, moved_to: _ }: ReadError) -> Seen {
    match kind {
        ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden | ReadKind::Refused => {
            Seen::Unreadable { message }
        }
        ReadKind::Throttled { wait } => Seen::Trouble { message, until: Some(clock::after(wait)) },
        ReadKind::Unreachable | ReadKind::Trouble => Seen::Trouble { message, until: None },
    }
}

fn missing(Unavailable { reason, message, look_again }: Unavailable) -> Seen {
    Seen::Missing { reason, message, until: clock::after(look_again) }
}
