//! Merge requests: find, open, change, close, merge when the pipeline succeeds; and the users they name.
//!
//! GitLab refuses a second open one of the same branches: after a lost answer, list before opening again. Everything
//! else may be asked again at will.

use http::Method;
use pipekick_core::domain::{GitRef, Pipeline};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::act::Deed;
use super::explain::Call;
use super::fire::json;
use super::http::Reply;
use super::read::{MAX_PER_PAGE, ReadError, value};
use super::wire::{PipelineWire, bounded, lenient, page};
use super::{Class, Client, Endpoint, User};

/// A merge request as GitLab tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeRequest {
    /// Its number in the project.
    pub iid: u64,
    /// Where it stands.
    pub state: MergeRequestState,
    /// Its page.
    pub web_url: Option<String>,
    /// The head of its source branch.
    pub sha: Option<String>,
    /// What brought it to the target branch: the merge commit, or the squashed one.
    pub merged_as: Option<String>,
    /// It is merged by itself once nothing stands in the way.
    pub auto_merge: bool,
    /// GitLab's word for what stands in the way, such as `conflict`, `checking`, `mergeable`.
    pub detailed_status: Option<String>,
    /// Of its newest commit; not in lists.
    pub head_pipeline: Option<Pipeline>,
}

/// Where a merge request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeRequestState {
    /// It waits; `locked` is one that is being merged just now.
    #[serde(alias = "locked")]
    Opened,
    /// Its changes are on the target branch.
    Merged,
    /// Given up.
    Closed,
}

/// What a merge request is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequestFields {
    /// At most 255 characters.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// All of them; those that people added go.
    pub labels: Vec<String>,
    /// By id.
    pub assignees: Vec<u64>,
    /// By id.
    pub reviewers: Vec<u64>,
    /// When it is merged, by whomever.
    pub remove_source_branch: bool,
}

#[derive(Serialize)]
struct FieldsBody<'a> {
    title: &'a str,
    description: &'a str,
    labels: String,
    assignee_ids: &'a [u64],
    reviewer_ids: &'a [u64],
    remove_source_branch: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_branch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_branch: Option<&'a str>,
}

impl MergeRequestFields {
    fn body<'a>(&'a self, branches: Option<(&'a GitRef, &'a GitRef)>) -> FieldsBody<'a> {
        let Self { title, description, labels, assignees, reviewers, remove_source_branch } = self;
        FieldsBody {
            title,
            description,
            labels: labels.join(","),
            assignee_ids: assignees,
            reviewer_ids: reviewers,
            remove_source_branch: *remove_source_branch,
            source_branch: branches.map(|(source, _)| source.short()),
            target_branch: branches.map(|(_, target)| target.short()),
        }
    }
}

#[derive(Deserialize)]
struct MergeRequestWire {
    iid: u64,
    state: MergeRequestState,
    #[serde(default, deserialize_with = "lenient")]
    web_url: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    sha: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    merge_commit_sha: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    squash_commit_sha: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    merge_when_pipeline_succeeds: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    detailed_merge_status: Option<String>,
    #[serde(default)]
    head_pipeline: Option<PipelineWire>,
}

impl From<MergeRequestWire> for MergeRequest {
    fn from(wire: MergeRequestWire) -> Self {
        let word = |text: Option<String>| text.and_then(|text| bounded(text, 64));
        Self {
            iid: wire.iid,
            state: wire.state,
            web_url: wire.web_url.and_then(page),
            sha: word(wire.sha),
            merged_as: word(wire.merge_commit_sha).or_else(|| word(wire.squash_commit_sha)),
            auto_merge: wire.merge_when_pipeline_succeeds == Some(true),
            detailed_status: word(wire.detailed_merge_status),
            head_pipeline: wire.head_pipeline.map(Pipeline::from),
        }
    }
}

impl Client {
    /// One merge request.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn merge_request(
        &self,
        at: &Endpoint,
        iid: u64,
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        let call = Call::MergeRequest;
        let path = path(call, at, Some(iid));
        Ok(self.read_at::<MergeRequestWire>(call, at, path, Vec::new(), token).await?.0.into())
    }

    /// The open merge requests from a branch to another; there is one at most, as GitLab keeps it.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn open_merge_requests(
        &self,
        at: &Endpoint,
        source: &GitRef,
        target: &GitRef,
        token: &SecretString,
    ) -> Result<Vec<MergeRequest>, ReadError> {
        let call = Call::MergeRequests;
        let query = vec![
            ("state", "opened".to_owned()),
            ("source_branch", source.short().to_owned()),
            ("target_branch", target.short().to_owned()),
            ("per_page", MAX_PER_PAGE.to_string()),
        ];
        let path = path(call, at, None);
        let (wires, _) = self.read_at::<Vec<MergeRequestWire>>(call, at, path, query, token).await?;
        Ok(wires.into_iter().map(MergeRequest::from).collect())
    }

    /// The merge requests of these numbers, 100 at most; one call for all whose end is waited for. Without their
    /// pipelines.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn merge_requests(
        &self,
        at: &Endpoint,
        iids: &[u64],
        token: &SecretString,
    ) -> Result<Vec<MergeRequest>, ReadError> {
        let call = Call::MergeRequests;
        let wanted = iids.iter().take(usize::from(MAX_PER_PAGE));
        let mut query: Vec<(&'static str, String)> = wanted.map(|iid| ("iids[]", iid.to_string())).collect();
        query.push(("per_page", MAX_PER_PAGE.to_string()));
        let path = path(call, at, None);
        let (wires, _) = self.read_at::<Vec<MergeRequestWire>>(call, at, path, query, token).await?;
        Ok(wires.into_iter().map(MergeRequest::from).collect())
    }

    /// Opens a merge request.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). `Refused`, among others, if one of these branches is open. After `Trouble` it
    /// may be open all the same.
    pub async fn open_merge_request(
        &self,
        at: &Endpoint,
        source: &GitRef,
        target: &GitRef,
        fields: &MergeRequestFields,
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        let body = json(&fields.body(Some((source, target))));
        let deed = deed(Call::OpenMergeRequest, Method::POST, at, None, body);
        shown(&self.act(deed, at, token).await?)
    }

    /// Sets what a merge request is.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be set all the same.
    pub async fn change_merge_request(
        &self,
        at: &Endpoint,
        iid: u64,
        fields: &MergeRequestFields,
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        let body = json(&fields.body(None));
        let deed = deed(Call::ChangeMergeRequest, Method::PUT, at, Some(iid), body);
        shown(&self.act(deed, at, token).await?)
    }

    /// Closes a merge request; one that has ended stays as it is.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be closed all the same.
    pub async fn close_merge_request(
        &self,
        at: &Endpoint,
        iid: u64,
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        let body = json!({ "state_event": "close" }).to_string().into_bytes();
        let deed = deed(Call::ChangeMergeRequest, Method::PUT, at, Some(iid), body);
        shown(&self.act(deed, at, token).await?)
    }

    /// Has a merge request merged when its pipeline succeeds, if it is still at this commit. It may be merged at once,
    /// or still be open and say [`MergeRequest::auto_merge`].
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). `Refused`, among others, as long as GitLab has made no pipeline for the commit,
    /// and for good where none is ever made. After `Trouble` it may be merged, or will be.
    pub async fn auto_merge(
        &self,
        at: &Endpoint,
        iid: u64,
        sha: &str,
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        // Each version drops the parameter it does not know.
        let body = json!({ "auto_merge": true, "merge_when_pipeline_succeeds": true, "sha": sha });
        self.merge_as(at, iid, &body, token).await
    }

    /// Merges a merge request now, if it is still at this commit.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). `Refused`, among others, for a draft, a conflict, approvals that are missing.
    /// After `Trouble` it may be merged all the same.
    pub async fn merge(
        &self,
        at: &Endpoint,
        iid: u64,
        sha: &str,
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        self.merge_as(at, iid, &json!({ "sha": sha }), token).await
    }

    async fn merge_as(
        &self,
        at: &Endpoint,
        iid: u64,
        body: &serde_json::Value,
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        let deed = deed(Call::Merge, Method::PUT, at, Some(iid), body.to_string().into_bytes());
        shown(&self.act(deed, at, token).await?)
    }

    /// The user of this name, if there is one whom the token sees.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn user_named(
        &self,
        at: &Endpoint,
        username: &str,
        token: &SecretString,
    ) -> Result<Option<User>, ReadError> {
        let query = vec![("username", username.to_owned())];
        let read = self.read_at::<Vec<User>>(Call::Users, at, "/users".into(), query, token);
        let found = read.await?.0.into_iter().find(|user| user.username.eq_ignore_ascii_case(username));
        Ok(found)
    }
}

fn shown(reply: &Reply) -> Result<MergeRequest, ReadError> {
    value::<MergeRequestWire>(reply).map(MergeRequest::from)
}

fn deed(call: Call, method: Method, at: &Endpoint, iid: Option<u64>, body: Vec<u8>) -> Deed {
    Deed { call, method, class: Class::Following, path: path(call, at, iid), body: Some(body) }
}

fn path(call: Call, at: &Endpoint, iid: Option<u64>) -> String {
    let iid = iid.map_or_else(String::new, |iid| iid.to_string());
    call.route().replace(":merge_request_iid", &iid).replace(":id", &at.project.path_segment())
}
