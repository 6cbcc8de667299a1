//! Looking at a repository: a branch, files, and the commits that touched them. Each of these may be asked again at
//! will.
//!
//! [`Client::snapshot`] is what a decision about image updates looks at: everything as of one commit, whatever is
//! pushed meanwhile. What files and messages say is never quoted.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pipekick_core::decide::image_update::{CommitSeen, FileSeen, Snapshot, Written, written};
use pipekick_core::domain::trailers::made_for;
use pipekick_core::domain::{GitRef, Reason, RepoPath};
use pipekick_core::yaml::MAX_FILE;
use secrecy::SecretString;
use serde::Deserialize;

use super::act::{Deed, gone_is_done};
use super::explain::{About, Call};
use super::http::{Reply, Unreadable, Want};
use super::read::{ReadError, ReadKind, accept_about, next_page, value};
use super::wire::{BranchWire, time};
use super::{Class, Client, Endpoint};

/// Commits of each file that are read at least, if there are as many.
pub const HISTORY: usize = 50;
/// Commits on a page: as a rule all that is wanted; where their messages are long, as few as fit.
const PAGES: [u8; 2] = [50, 5];
/// A commit of ours for 100 runs has a message of some 30 KiB, and one with 20 long paths each of 1.4 MB.
const MAX_COMMITS: usize = 8 << 20;
/// Pages that are read of one file's history, however far back it is wanted.
const MAX_PAGES: u32 = 40;
/// GitLab's clock, which dates commits, may differ from ours by this much.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(10);
/// Requests for one snapshot that are under way at a time.
const AT_ONCE: usize = 8;

/// A branch as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its short name.
    pub name: String,
    /// The commit it is at.
    pub head: String,
    /// Whether it is protected; unknown if GitLab does not tell.
    pub protected: Option<bool>,
    /// Whether the token's user may push to it; unknown if GitLab does not tell.
    pub can_push: Option<bool>,
    /// Its last commit was made to go by a merge request from this very branch.
    pub is_of_request: bool,
}

#[derive(Deserialize)]
struct CommitWire {
    id: String,
    message: String,
    #[serde(default, deserialize_with = "time")]
    committed_date: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ComparisonWire {
    commits: Vec<CommitWire>,
}

impl From<CommitWire> for CommitSeen {
    fn from(wire: CommitWire) -> Self {
        let CommitWire { id, message, committed_date } = wire;
        Self { id, at: committed_date, written: written(&message) }
    }
}

impl Client {
    /// A branch.
    ///
    /// # Errors
    /// See [`ReadKind`]; [`Reason::RefNotFound`] if the project has none of this name.
    pub async fn branch(
        &self,
        at: &Endpoint,
        name: &GitRef,
        token: &SecretString,
    ) -> Result<Branch, ReadError> {
        let path = path(Call::Branch, at, ":branch", name.short());
        let reply = self.look(Call::Branch, at, name, path, Vec::new(), token, Want::JSON).await?;
        let wire: BranchWire = value(&reply)?;
        wire.branch().ok_or_else(|| super::read::trouble("200 with a branch that has no head".into()))
    }

    /// Deletes a branch; one that is gone already is no error.
    ///
    /// # Errors
    /// See [`ReadKind`]. After `Trouble` it may be gone all the same.
    pub async fn delete_branch(
        &self,
        at: &Endpoint,
        name: &GitRef,
        token: &SecretString,
    ) -> Result<(), ReadError> {
        let call = Call::DeleteBranch;
        let path = path(call, at, ":branch", name.short());
        let deed = Deed { call, method: Method::DELETE, class: Class::Following, path, body: None };
        gone_is_done(self.act(deed, at, token).await)
    }

    /// A file at a commit, its first 2 MiB and one byte; `Source::read` refuses what is larger.
    ///
    /// # Errors
    /// See [`ReadKind`]. That there is no such file is none.
    pub async fn file(
        &self,
        at: &Endpoint,
        branch: &GitRef,
        commit: &str,
        file: &RepoPath,
        token: &SecretString,
    ) -> Result<FileSeen, ReadError> {
        let path = path(Call::File, at, ":file_path", file.as_str());
        let query = vec![("ref", commit.to_owned())];
        let want = Want::File(MAX_FILE + 1);
        match self.look(Call::File, at, branch, path, query, token, want).await {
            Ok(reply) => bytes(reply).map(FileSeen::Content),
            // Of all that a 404 can mean, the file's absence alone has this reason.
            Err(error) if error.kind == ReadKind::NotFound && error.reason == Reason::Refused => {
                Ok(FileSeen::Missing)
            }
            Err(error) => Err(error),
        }
    }

    /// The last commits that touched a file as of a commit, newest first: at least [`HISTORY`], if there are as many,
    /// and at least back to `since`, where that is given and no more than 2,000 commits away (200, where messages are long).
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn history(
        &self,
        at: &Endpoint,
        branch: &GitRef,
        commit: &str,
        file: &RepoPath,
        since: Option<Timestamp>,
        token: &SecretString,
    ) -> Result<Vec<CommitSeen>, ReadError> {
        let since = since.and_then(|since| since.checked_sub(CLOCKS_DIFFER).ok());
        let path = Call::Commits.route().replace(":id", &at.project.path_segment());
        let mut sizes = PAGES.into_iter();
        let mut per_page = sizes.next().unwrap_or(1);
        let mut commits: Vec<CommitSeen> = Vec::new();
        let mut page = 1;
        loop {
            let query = vec![
                ("ref_name", commit.to_owned()),
                ("path", file.as_str().to_owned()),
                ("page", page.to_string()),
                ("per_page", per_page.to_string()),
            ];
            let want = Want::Json(MAX_COMMITS);
            let reply = self.look(Call::Commits, at, branch, path.clone(), query, token, want).await?;
            if reply.body == Err(Unreadable::TooLarge)
                && let Some(fewer) = sizes.next()
            {
                (per_page, page) = (fewer, 1);
                commits.clear();
                continue;
            }
            let wires: Vec<CommitWire> = value(&reply)?;
            let next = next_page(&reply, wires.len(), page, per_page).filter(|_| !wires.is_empty());
            commits.extend(wires.into_iter().map(CommitSeen::from));
            let is_back = |commit: &CommitSeen| commit.at.zip(since).is_some_and(|(at, since)| at < since);
            let reaches_back = since.is_none() || commits.last().is_some_and(is_back);
            match next {
                Some(next) if page < MAX_PAGES && !(commits.len() >= HISTORY && reaches_back) => page = next,
                Some(_) | None => return Ok(commits),
            }
        }
    }

    /// Files and their histories, all at the commit that the branch is at now. A file that is not there is seen as
    /// missing.
    ///
    /// # Errors
    /// See [`ReadKind`]; the first that was met.
    pub async fn snapshot(
        &self,
        at: &Endpoint,
        branch: &GitRef,
        files: &BTreeSet<RepoPath>,
        since: Option<Timestamp>,
        token: &SecretString,
    ) -> Result<Snapshot, ReadError> {
        let Branch { head, .. } = self.branch(at, branch, token).await?;
        self.snapshot_at(at, branch, head, files, since, token).await
    }

    /// The same at a commit of the branch.
    ///
    /// # Errors
    /// See [`ReadKind`]; the first that was met.
    pub async fn snapshot_at(
        &self,
        at: &Endpoint,
        branch: &GitRef,
        head: String,
        files: &BTreeSet<RepoPath>,
        since: Option<Timestamp>,
        token: &SecretString,
    ) -> Result<Snapshot, ReadError> {
        let read = |file: RepoPath| {
            let head = &head;
            async move {
                let seen = self.file(at, branch, head, &file, token).await?;
                let history = self.history(at, branch, head, &file, since, token).await?;
                Ok::<_, ReadError>((file, seen, history))
            }
        };
        let each = stream::iter(files.iter().cloned().map(read)).buffer_unordered(AT_ONCE);
        let read: Vec<(RepoPath, FileSeen, Vec<CommitSeen>)> = each.try_collect().await?;
        let mut snapshot = Snapshot {
            head: head.clone(),
            files: BTreeMap::new(),
            history: BTreeMap::new(),
            merged: Vec::new(),
            claimed: Vec::new(),
            affirmed: BTreeMap::new(),
        };
        for (file, seen, history) in read {
            snapshot.files.insert(file.clone(), seen);
            snapshot.history.insert(file, history);
        }
        Ok(snapshot)
    }

    /// What the commits tell that `source` has at `head`, and the commit `target` has not; nothing, unless every one of
    /// them was made to go by a merge request from `source`.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn ours_ahead(
        &self,
        at: &Endpoint,
        source: &GitRef,
        (target, head): (&str, &str),
        token: &SecretString,
    ) -> Result<Option<Vec<Written>>, ReadError> {
        let call = Call::Compare;
        let path = call.route().replace(":id", &at.project.path_segment());
        let query = vec![("from", target.to_owned()), ("to", head.to_owned())];
        let reply = self.look(call, at, source, path, query, token, Want::Json(MAX_COMMITS)).await?;
        if reply.body == Err(Unreadable::TooLarge) {
            // So much is on no branch that one of ours has begun.
            return Ok(None);
        }
        let messages: Vec<String> =
            value::<ComparisonWire>(&reply)?.commits.into_iter().map(|commit| commit.message).collect();
        let is_ours = |message: &String| made_for(message) == Some(source.short());
        let all_ours = messages.iter().all(is_ours);
        Ok(all_ours.then(|| messages.iter().flat_map(|message| written(message)).collect()))
    }

    /// Asks about a branch, which errors name.
    #[allow(clippy::too_many_arguments, reason = "each is said by every caller, and by name")]
    async fn look(
        &self,
        call: Call,
        at: &Endpoint,
        branch: &GitRef,
        path: String,
        query: Vec<(&'static str, String)>,
        token: &SecretString,
        want: Want,
    ) -> Result<Reply, ReadError> {
        let result = self.get(call, at, path, query, token, want).await;
        let project = at.project.to_string();
        accept_about(About { call, project: &project, git_ref: branch.short() }, &at.url, result)
    }
}

fn path(call: Call, at: &Endpoint, part: &str, name: &str) -> String {
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    call.route().replace(":id", &at.project.path_segment()).replace(part, &name)
}

/// A file's bytes.
pub(super) fn bytes(reply: Reply) -> Result<Vec<u8>, ReadError> {
    reply.body.map_err(|error| super::read::trouble(format!("{} with {error}", reply.status)))
}
