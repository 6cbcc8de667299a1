//! Merge requests: find, open, change, close, merge when the pipeline succeeds; and the users they name.
//!
//! GitLab refuses a second open one of the same branches: after a lost answer, list before opening again. Everything
//! else may be asked again at will.

use http::Method;
use pipekick_core::domain::trailers::written;
use pipekick_core::domain::{GitRef, Label, MergeRequest, MergeRequestFields, MergeRequestState, Username};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::act::Deed;
use super::explain::Call;
use super::fire::json;
use super::http::{Reply, Unreadable, Want};
use super::read::{ReadError, accept, value};
use super::wire::{bounded, lenient, page};
use super::{Class, Client, Endpoint, User};

/// Of all that ever came from a branch, the newest tell how the last change of it ended; of all that went to one, what
/// was written while a pipeline ran.
const NEWEST: u8 = 20;
/// Where descriptions are long, as few as fit.
const FEWER: u8 = 4;
/// GitLab bounds a description to 1 MiB.
const MAX_LIST: usize = 8 << 20;

/// `POST /projects/:id/merge_requests`, and the same by `PUT`, where what is left out stays.
#[derive(Serialize)]
struct FieldsBody<'a> {
    title: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_labels: Option<String>,
    remove_source_branch: bool,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    opened: Option<OpenedBody<'a>>,
}

/// What is said only when it is opened: afterwards it is for people to change.
#[derive(Serialize)]
struct OpenedBody<'a> {
    source_branch: &'a str,
    target_branch: &'a str,
    assignee_ids: &'a [u64],
    reviewer_ids: &'a [u64],
}

fn body(fields: &MergeRequestFields, opened: Option<OpenedBody<'_>>) -> Vec<u8> {
    let MergeRequestFields { title, description, labels, remove_source_branch } = fields;
    let labels: Vec<String> = labels.iter().map(Label::to_string).collect();
    let labels = Some(labels.join(",")).filter(|labels| !labels.is_empty());
    let (labels, add_labels) = if opened.is_some() { (labels, None) } else { (None, labels) };
    json(&FieldsBody {
        title,
        description,
        labels,
        add_labels,
        remove_source_branch: *remove_source_branch,
        opened,
    })
}

#[derive(Deserialize)]
struct MergeRequestWire {
    iid: u64,
    state: MergeRequestState,
    #[serde(default, deserialize_with = "lenient")]
    title: Option<String>,
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
    #[serde(default, deserialize_with = "lenient")]
    target_branch: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    description: Option<String>,
}

impl From<MergeRequestWire> for MergeRequest {
    fn from(wire: MergeRequestWire) -> Self {
        let word = |text: Option<String>| text.and_then(|text| bounded(text, 64));
        Self {
            iid: wire.iid,
            state: wire.state,
            title: wire.title.and_then(|title| bounded(title, 255)).unwrap_or_default(),
            web_url: wire.web_url.and_then(page),
            sha: word(wire.sha),
            merged_as: word(wire.merge_commit_sha).or_else(|| word(wire.squash_commit_sha)),
            auto_merge: wire.merge_when_pipeline_succeeds == Some(true),
            detailed_status: word(wire.detailed_merge_status),
            target: wire.target_branch.and_then(|name| bounded(name, 255)),
            written: wire.description.as_deref().map(written).unwrap_or_default(),
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

    /// The merge requests from a branch, newest first, whatever became of them; 20 at most.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn merge_requests_from(
        &self,
        at: &Endpoint,
        source: &GitRef,
        token: &SecretString,
    ) -> Result<Vec<MergeRequest>, ReadError> {
        let query = vec![("source_branch", source.short().to_owned()), ("order_by", "created_at".to_owned())];
        self.newest(at, query, token).await
    }

    /// The merge requests that were merged to a branch, the last that were changed first; 20 at most.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn merged_to(
        &self,
        at: &Endpoint,
        target: &GitRef,
        token: &SecretString,
    ) -> Result<Vec<MergeRequest>, ReadError> {
        let query = vec![
            ("state", "merged".to_owned()),
            ("target_branch", target.short().to_owned()),
            // Of searching, GitLab has a limit of its own: what is ours is told by the trailers.
            ("order_by", "updated_at".to_owned()),
        ];
        self.newest(at, query, token).await
    }

    async fn newest(
        &self,
        at: &Endpoint,
        query: Vec<(&'static str, String)>,
        token: &SecretString,
    ) -> Result<Vec<MergeRequest>, ReadError> {
        let call = Call::MergeRequests;
        let list = async |per_page: u8| {
            let mut query = query.clone();
            query.extend([("sort", "desc".to_owned()), ("per_page", per_page.to_string())]);
            let result = self.get(call, at, path(call, at, None), query, token, Want::Json(MAX_LIST)).await;
            accept(call, &at.url, &at.project.to_string(), result)
        };
        let mut reply = list(NEWEST).await?;
        if reply.body == Err(Unreadable::TooLarge) {
            reply = list(FEWER).await?;
        }
        let wires: Vec<MergeRequestWire> = value(&reply)?;
        Ok(wires.into_iter().map(MergeRequest::from).collect())
    }

    /// Opens a merge request, with these users by their ids.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). `Refused`, among others, if one of these branches is open. After `Trouble` it
    /// may be open all the same.
    pub async fn open_merge_request(
        &self,
        at: &Endpoint,
        (source, target): (&GitRef, &GitRef),
        fields: &MergeRequestFields,
        (assignees, reviewers): (&[u64], &[u64]),
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        let opened = OpenedBody {
            source_branch: source.short(),
            target_branch: target.short(),
            assignee_ids: assignees,
            reviewer_ids: reviewers,
        };
        let deed = deed(Call::OpenMergeRequest, Method::POST, at, None, body(fields, Some(opened)));
        shown(&self.act(deed, at, token).await?)
    }

    /// Has a merge request say this. Labels are added to those that it has.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may say so all the same.
    pub async fn describe_merge_request(
        &self,
        at: &Endpoint,
        iid: u64,
        fields: &MergeRequestFields,
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        let deed = deed(Call::ChangeMergeRequest, Method::PUT, at, Some(iid), body(fields, None));
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

    /// Has a merge request merged when its pipeline succeeds, if it is still at this commit; where its commits are
    /// squashed, with this message. It may be merged at once, or still be open and say [`MergeRequest::auto_merge`].
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). `Refused`, among others, as long as GitLab has made no pipeline for the commit,
    /// and for good where none is ever made. After `Trouble` it may be merged, or will be.
    pub async fn auto_merge(
        &self,
        at: &Endpoint,
        iid: u64,
        (sha, squash_message): (&str, &str),
        token: &SecretString,
    ) -> Result<MergeRequest, ReadError> {
        // Each version drops the parameter it does not know.
        let body = json!({
            "auto_merge": true, "merge_when_pipeline_succeeds": true, "sha": sha,
            "squash_commit_message": squash_message,
        });
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
        username: &Username,
        token: &SecretString,
    ) -> Result<Option<User>, ReadError> {
        let username = username.to_string();
        let query = vec![("username", username.clone())];
        let read = self.read_at::<Vec<User>>(Call::Users, at, "/users".into(), query, token);
        let found = read.await?.0.into_iter().find(|user| user.username.eq_ignore_ascii_case(&username));
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
