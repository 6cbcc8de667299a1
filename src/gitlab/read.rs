//! Looking at pipelines, branches and the instance. Each of these may be asked again at will.

use ::http::Method;
use jiff::Timestamp;
use pipekick_core::domain::{GitLabUrl, Pipeline, ProjectRef, Reason, Sighting};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use std::time::Duration;
use thiserror::Error;

use super::explain::{About, Call, Meaning, explain, unsent};
use super::http::{Redirect, Reply, Request, SendError, Token, Want};
use super::wire::{BranchWire, PipelineVariables, PipelineWire, Project, User, Version};
use super::{Account, Class, Client, Endpoint, Leave, NoAnswer, ResponseMeta, Trust};

/// GitLab's largest page.
pub(super) const MAX_PER_PAGE: u8 = 100;

/// What is asked of a list of pipelines; newest id first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineFilter {
    /// Of this branch or tag, by its short name, as GitLab stores it.
    pub git_ref: Option<String>,
    /// Made by this.
    pub source: Option<Source>,
    /// Changed after this time, on GitLab's clock.
    pub updated_after: Option<Timestamp>,
    /// From 1.
    pub page: u32,
    /// At most 100.
    pub per_page: u8,
}

impl Default for PipelineFilter {
    fn default() -> Self {
        Self { git_ref: None, source: None, updated_after: None, page: 1, per_page: MAX_PER_PAGE }
    }
}

/// What made a pipeline, as far as we make any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A trigger token.
    Trigger,
    /// An access token.
    Api,
}

impl Source {
    /// GitLab's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Api => "api",
        }
    }
}

/// A page of pipelines. A page with one entry that cannot be read is an error as a whole: absence is concluded
/// from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its entries.
    pub pipelines: Vec<Pipeline>,
    /// The number of the next page, if there is or may be one.
    pub next: Option<u32>,
    /// Among others, the time on GitLab's clock.
    pub meta: ResponseMeta,
}

/// What kept us from an answer, by what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    /// Not there, or not for this token to see (404, or the project was moved).
    NotFound,
    /// The token is not accepted (401), or cannot be one.
    Unauthorized,
    /// The token may not do this (403).
    Forbidden,
    /// GitLab says no for another reason (400 and the like) and did nothing; asked the same again, it says the same.
    Refused,
    /// The rate limit is used up, ours or GitLab's.
    Throttled {
        /// Not before this has passed.
        wait: Duration,
    },
    /// Nothing was sent.
    Unreachable,
    /// Anything else; as a rule it passes. What was asked for may have been done.
    Trouble,
}

/// Why something could not be read, or not be done to a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ReadError {
    /// What follows from it.
    pub kind: ReadKind,
    /// For the condition.
    pub reason: Reason,
    /// In a sentence, without times.
    pub message: String,
    /// Where the project went, if GitLab says that it was renamed or moved.
    pub moved_to: Option<ProjectRef>,
}

impl ReadError {
    /// What was asked for is not there, though its project is.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.kind == ReadKind::NotFound && self.reason != Reason::ProjectNotFound
    }
}

impl From<ReadError> for Sighting {
    fn from(ReadError { kind: _, reason, message, moved_to: _ }: ReadError) -> Self {
        Self::Trouble { reason, message }
    }
}

impl Client {
    /// One pipeline.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn pipeline(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<Pipeline, ReadError> {
        let (wire, _) = self.read::<PipelineWire>(Call::Pipeline, at, Some(id), Vec::new(), token).await?;
        Ok(wire.into())
    }

    /// A page of a project's pipelines, newest id first. Child pipelines are not in it.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn pipelines(
        &self,
        at: &Endpoint,
        filter: &PipelineFilter,
        token: &SecretString,
    ) -> Result<Page, ReadError> {
        let per_page = filter.per_page.clamp(1, MAX_PER_PAGE);
        let mut query = vec![
            ("order_by", "id".to_owned()),
            ("sort", "desc".to_owned()),
            ("page", filter.page.to_string()),
            ("per_page", per_page.to_string()),
        ];
        query.extend(filter.git_ref.clone().map(|name| ("ref", name)));
        query.extend(filter.source.map(|source| ("source", source.as_str().to_owned())));
        query.extend(filter.updated_after.map(|time| ("updated_after", time.to_string())));
        let (wires, reply) = self.read::<Vec<PipelineWire>>(Call::Pipelines, at, None, query, token).await?;
        let next = next_page(&reply, wires.len(), filter.page, per_page);
        Ok(Page { pipelines: wires.into_iter().map(Pipeline::from).collect(), next, meta: reply.meta })
    }

    /// The variables a pipeline was made with. Maintainers may read them, and the user who started it.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn pipeline_variables(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<PipelineVariables, ReadError> {
        Ok(self.read(Call::Variables, at, Some(id), Vec::new(), token).await?.0)
    }

    /// Which GitLab this is.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn version(&self, at: &Endpoint, token: &SecretString) -> Result<Version, ReadError> {
        let result = self.get(Call::Version, at, "/version".into(), Vec::new(), token, Want::JSON).await;
        Ok(understand(Call::Version, &at.url, "", result)?.0)
    }

    /// Whether a GitLab answers there. Nothing is sent that would tell who asks: it says 401, in its own words.
    ///
    /// # Errors
    /// Nothing answers, or something that is no GitLab.
    pub async fn reach(&self, url: &GitLabUrl, trust: &Trust) -> Result<(), ReadError> {
        let path = "/version".to_owned();
        let (token, want) = (Token::None, Want::JSON);
        let request = Request {
            method: Method::GET,
            url,
            trust,
            path,
            query: Vec::new(),
            token,
            hide: Vec::new(),
            want,
        };
        let who = Account::address(url);
        let result = self.call(Call::Version, Leave::Ask(&who, Class::Following), request).await;
        match understand::<Version>(Call::Version, url, "", result) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind, ReadKind::Unauthorized | ReadKind::Forbidden) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whom the token acts for.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn user(&self, at: &Endpoint, token: &SecretString) -> Result<User, ReadError> {
        let result = self.get(Call::User, at, "/user".into(), Vec::new(), token, Want::JSON).await;
        Ok(understand(Call::User, &at.url, "", result)?.0)
    }

    /// A project, if the token sees it.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn project(&self, at: &Endpoint, token: &SecretString) -> Result<Project, ReadError> {
        Ok(self.read(Call::Project, at, None, Vec::new(), token).await?.0)
    }

    /// Names of branches that contain `search`, in any case; at most 100, in the order of the alphabet.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn branches(
        &self,
        at: &Endpoint,
        search: &str,
        token: &SecretString,
    ) -> Result<Vec<String>, ReadError> {
        let query = vec![("search", search.to_owned()), ("per_page", MAX_PER_PAGE.to_string())];
        let (branches, _) = self.read::<Vec<BranchWire>>(Call::Branches, at, None, query, token).await?;
        Ok(branches.into_iter().filter_map(BranchWire::name).collect())
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        call: Call,
        at: &Endpoint,
        id: Option<u64>,
        query: Vec<(&'static str, String)>,
        token: &SecretString,
    ) -> Result<(T, Reply), ReadError> {
        self.read_at(call, at, path(call, at, id), query, token).await
    }

    pub(super) async fn read_at<T: DeserializeOwned>(
        &self,
        call: Call,
        at: &Endpoint,
        path: String,
        query: Vec<(&'static str, String)>,
        token: &SecretString,
    ) -> Result<(T, Reply), ReadError> {
        let result = self.get(call, at, path, query, token, Want::JSON).await;
        understand(call, &at.url, &at.project.to_string(), result)
    }
}

/// The path of a call about a project, and a pipeline of it where the route names one.
pub(super) fn path(call: Call, at: &Endpoint, pipeline: Option<u64>) -> String {
    let id = pipeline.map_or_else(String::new, |id| id.to_string());
    call.route().replace(":pipeline_id", &id).replace(":id", &at.project.path_segment())
}

fn understand<T: DeserializeOwned>(
    call: Call,
    url: &GitLabUrl,
    project: &str,
    result: Result<Reply, NoAnswer>,
) -> Result<(T, Reply), ReadError> {
    let reply = accept(call, url, project, result)?;
    Ok((value(&reply)?, reply))
}

/// What an answer that is a success carries.
pub(super) fn value<T: DeserializeOwned>(reply: &Reply) -> Result<T, ReadError> {
    reply.value().map_err(|instead| trouble(format!("{} with {instead}", reply.status)))
}

/// An answer that GitLab did what was asked, whatever its body says.
pub(super) fn accept(
    call: Call,
    url: &GitLabUrl,
    project: &str,
    result: Result<Reply, NoAnswer>,
) -> Result<Reply, ReadError> {
    accept_about(About { call, project, git_ref: "" }, url, result)
}

/// The same, for what concerns a branch.
pub(super) fn accept_about(
    about: About<'_>,
    url: &GitLabUrl,
    result: Result<Reply, NoAnswer>,
) -> Result<Reply, ReadError> {
    let reply = result.map_err(|no_answer| unanswered(about.call, no_answer, url.authority()))?;
    if (200..300).contains(&reply.status) { Ok(reply) } else { Err(failed(about, &reply)) }
}

/// The number of the page after this one, if there is or may be one.
pub(super) fn next_page(reply: &Reply, entries: usize, page: u32, per_page: u8) -> Option<u32> {
    match reply.headers.get("x-next-page").map(|value| value.to_str().unwrap_or_default().trim()) {
        Some(next) => next.parse().ok(),
        // A proxy dropped the header: a full page may have a next one.
        None => (entries >= usize::from(per_page)).then_some(page + 1),
    }
}

fn failed(about: About<'_>, reply: &Reply) -> ReadError {
    match reply.redirect() {
        Some(redirect @ Redirect::Moved { .. }) => {
            let message = format!("project {} is not there any more: {redirect}", about.project);
            let Redirect::Moved { status: _, to } = redirect else { return trouble(message) };
            let (kind, reason) = (ReadKind::NotFound, Reason::ProjectNotFound);
            return ReadError { kind, reason, message, moved_to: to };
        }
        Some(redirect @ Redirect::Elsewhere { .. }) => return trouble(redirect.to_string()),
        None => {}
    }
    let said = reply.said();
    match explain(about, reply.status, &reply.meta, said.as_ref().map_err(String::as_str)) {
        Meaning::Refused { reason, message } => {
            let kind = match reply.status {
                401 => ReadKind::Unauthorized,
                403 => ReadKind::Forbidden,
                404 => ReadKind::NotFound,
                _ => ReadKind::Refused,
            };
            ReadError { kind, reason, message, moved_to: None }
        }
        Meaning::Throttled { reason, message, wait } => {
            ReadError { kind: ReadKind::Throttled { wait }, reason, message, moved_to: None }
        }
        Meaning::FailedAtBirth { message }
        | Meaning::Overtaken { message }
        | Meaning::Unclear { message } => trouble(message),
    }
}

pub(super) fn unanswered(call: Call, no_answer: NoAnswer, host: &str) -> ReadError {
    match no_answer {
        NoAnswer::HeldBack(wait) => ReadError {
            kind: ReadKind::Throttled { wait },
            reason: Reason::RateLimited,
            message: format!("the rate limit of {host} is used up, or what is left is kept for firing"),
            moved_to: None,
        },
        NoAnswer::Failed(error) => match unsent(call, host, error) {
            SendError::NotSent { reason, message } => {
                let unusable = reason == Reason::SecretUnusable;
                let kind = if unusable { ReadKind::Unauthorized } else { ReadKind::Unreachable };
                ReadError { kind, reason, message, moved_to: None }
            }
            SendError::Lost { message } => trouble(message),
        },
    }
}

pub(super) fn trouble(message: String) -> ReadError {
    ReadError { kind: ReadKind::Trouble, reason: Reason::CannotFollow, message, moved_to: None }
}
