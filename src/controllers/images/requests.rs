//! The hands of a queue whose changes go by merge requests: one look at all that concerns one, or one deed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use pipekick_core::decide::image_update::{
    CredentialKey, MergeRequestDeed, RequestAnswer, RequestSeen, Seen, SourceSeen,
};
use pipekick_core::domain::{GitRef, MergeRequest, Reason, RepoPath, Username};
use secrecy::SecretString;

use super::hands::not_read;
use super::{BranchKey, Images};
use crate::clock;
use crate::gitlab::{Branch, Endpoint, ReadError, ReadKind};

/// What is looked at.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) files: &'a BTreeSet<RepoPath>,
    pub(super) since: Option<Timestamp>,
    pub(super) source: &'a GitRef,
    pub(super) people: &'a BTreeSet<Username>,
}

impl Images {
    /// Both branches, and the merge requests from one to the other.
    pub(super) async fn read_request(
        &self,
        branch: &BranchKey,
        look: Look<'_>,
        credential: &CredentialKey,
    ) -> Seen {
        let (mut at, token) = match self.reach(branch, credential).await {
            Ok(reached) => reached,
            Err(missing) => return missing,
        };
        let seen = match self.request_seen(&at, &branch.branch, look, &token).await {
            // Renamed or moved since: GitLab says where to, on the same host.
            Err(ReadError { moved_to: Some(project), .. }) => {
                at.project = project;
                self.request_seen(&at, &branch.branch, look, &token).await
            }
            seen => seen,
        };
        seen.map_or_else(not_read, |RequestSeen { target, source, requests, people }| {
            let target = self.with_known(branch, target);
            Seen::Request(Box::new(RequestSeen { target, source, requests, people }))
        })
    }

    async fn request_seen(
        &self,
        at: &Endpoint,
        target: &GitRef,
        look: Look<'_>,
        token: &SecretString,
    ) -> Result<RequestSeen, ReadError> {
        let Look { files, since, source, people } = look;
        let seen = self.gitlab.snapshot(at, target, files, since, token).await?;
        let target = self.with_merged(at, target, seen, token).await?;
        // Before the merge requests: one that tells of a commit is not older than it.
        let mut source = match self.gitlab.branch(at, source, token).await {
            Ok(Branch { name: _, head, protected: _, can_push: _, is_of_request: is_ours }) => {
                let snapshot = self.gitlab.snapshot_at(at, source, head, files, since, token).await?;
                Some(SourceSeen { snapshot, is_ours, ahead: None })
            }
            Err(error) if error.reason == Reason::RefNotFound => None,
            Err(error) => return Err(error),
        };
        let requests = self.gitlab.merge_requests_from(at, look.source, token).await?;
        let outdated = requests.iter().any(MergeRequest::is_outdated);
        if let Some(SourceSeen { snapshot, is_ours: _, ahead }) = source.as_mut().filter(|_| outdated) {
            let heads = (&*target.head, &*snapshot.head);
            *ahead = self.gitlab.ours_ahead(at, look.source, heads, token).await?;
        }
        let opens = outdated || !requests.iter().any(MergeRequest::is_open);
        let mut ids = BTreeMap::new();
        for name in people.iter().filter(|_| opens) {
            let user = self.gitlab.user_named(at, name, token).await?;
            ids.insert(name.clone(), user.map(|user| user.id));
        }
        Ok(RequestSeen { target, source, requests, people: ids })
    }

    /// Asks it, once.
    pub(super) async fn ask(
        &self,
        branch: &BranchKey,
        deed: &MergeRequestDeed,
        credential: &CredentialKey,
    ) -> Seen {
        let (at, token) = match self.reach(branch, credential).await {
            Ok(reached) => reached,
            Err(missing) => return missing,
        };
        let shown = |commit: &String| {
            let commit = commit.clone();
            |request| RequestAnswer::Shown { request: Box::new(request), commit }
        };
        let answer = match deed {
            MergeRequestDeed::Open { source, fields, assignees, reviewers, commit } => {
                let (between, people) = ((source, &branch.branch), (&assignees[..], &reviewers[..]));
                let opened = self.gitlab.open_merge_request(&at, between, fields, people, &token).await;
                opened.map(shown(commit))
            }
            MergeRequestDeed::Describe { iid, fields, commit } => {
                let described = self.gitlab.describe_merge_request(&at, *iid, fields, &token).await;
                described.map(shown(commit))
            }
            MergeRequestDeed::Close { iid } => {
                self.gitlab.close_merge_request(&at, *iid, &token).await.map(|_| RequestAnswer::Done)
            }
            MergeRequestDeed::DeleteSource { source } => {
                self.gitlab.delete_branch(&at, source, &token).await.map(|()| RequestAnswer::Done)
            }
        };
        let answer = answer.unwrap_or_else(not_done);
        log(branch, deed, &answer);
        Seen::Asked(answer)
    }
}

fn not_done(ReadError { kind, reason: _, message, moved_to }: ReadError) -> RequestAnswer {
    match kind {
        // It is asked where the project is now.
        _ if moved_to.is_some() => RequestAnswer::NotDone { message, until: None },
        ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden | ReadKind::Refused => {
            RequestAnswer::Refused { message }
        }
        ReadKind::Throttled { wait } => RequestAnswer::NotDone { message, until: Some(clock::after(wait)) },
        ReadKind::Unreachable => RequestAnswer::NotDone { message, until: None },
        ReadKind::Trouble => RequestAnswer::Unknown { message },
    }
}

fn log(branch: &BranchKey, deed: &MergeRequestDeed, answer: &RequestAnswer) {
    let BranchKey { url: _, project, branch, source: _ } = branch;
    let asked = match deed {
        MergeRequestDeed::Open { .. } => "open",
        MergeRequestDeed::Describe { .. } => "describe",
        MergeRequestDeed::Close { .. } => "close",
        MergeRequestDeed::DeleteSource { .. } => "delete its old branch",
    };
    match answer {
        RequestAnswer::Shown { request, commit: _ } => {
            let iid = request.iid;
            tracing::info!(%project, %branch, iid, asked, "merge request was written");
        }
        RequestAnswer::Done => tracing::info!(%project, %branch, asked, "merge request was dealt with"),
        RequestAnswer::Refused { message } | RequestAnswer::NotDone { message, until: _ } => {
            tracing::info!(%project, %branch, asked, detail = message, "merge request was left as it is");
        }
        RequestAnswer::Unknown { message } => {
            tracing::warn!(%project, %branch, asked, detail = message, "outcome at a merge request is unknown");
        }
    }
}
