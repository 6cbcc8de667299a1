//! Looking at pipelines, and stopping one. Each of these may be asked again at will.

use http::Method;
use jiff::Timestamp;
use pipekick_core::domain::{FailedJob, GitLabUrl, Pipeline, ProjectRef, Reason, Sighting};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use std::time::Duration;
use thiserror::Error;

use super::explain::{About, Call, Meaning, explain};
use super::http::{Redirect, Reply, Request, SendError, Token};
use super::wire::{JobWire, PipelineVariables, PipelineWire, User, Version};
use super::{Account, Class, Client, Endpoint, NoAnswer, ResponseMeta};

/// GitLab's largest page.
const MAX_PER_PAGE: u8 = 100;
/// A job comes with its commit, user and runner, several KiB each; a few more than wanted, since those that
/// may fail are left out.
const JOBS_PER_PAGE: u8 = 20;
/// As many failed jobs as status shows.
const MAX_FAILED_JOBS: usize = 5;

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
    /// The rate limit is used up, ours or GitLab's.
    Throttled {
        /// Not before this has passed.
        wait: Duration,
    },
    /// Nothing was sent.
    Unreachable,
    /// Anything else; as a rule it passes.
    Trouble,
}

/// Why something could not be read (or cancelled).
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
        let next =
            match reply.headers.get("x-next-page").map(|value| value.to_str().unwrap_or_default().trim()) {
                Some(page) => page.parse().ok(),
                // A proxy dropped the header: a full page may have a next one.
                None => (wires.len() >= usize::from(per_page)).then_some(filter.page + 1),
            };
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

    /// The failed jobs that made a pipeline fail: at most 5, newest first, without those that may fail.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn failed_jobs(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<Vec<FailedJob>, ReadError> {
        let mut jobs = self.jobs(at, id, "failed", token).await?;
        jobs.retain(|job| job.allow_failure != Some(true));
        Ok(jobs.into_iter().take(MAX_FAILED_JOBS).map(FailedJob::from).collect())
    }

    /// The names of the jobs that wait for a person, at most 20, newest first.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn manual_jobs(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<Vec<String>, ReadError> {
        let jobs = self.jobs(at, id, "manual", token).await?;
        Ok(jobs.into_iter().map(|job| FailedJob::from(job).name).collect())
    }

    async fn jobs(
        &self,
        at: &Endpoint,
        id: u64,
        scope: &str,
        token: &SecretString,
    ) -> Result<Vec<JobWire>, ReadError> {
        let query = vec![("scope[]", scope.to_owned()), ("per_page", JOBS_PER_PAGE.to_string())];
        let (mut jobs, _) = self.read::<Vec<JobWire>>(Call::Jobs, at, Some(id), query, token).await?;
        jobs.sort_unstable_by_key(|job| std::cmp::Reverse(job.id));
        Ok(jobs)
    }

    /// Which GitLab this is.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn version(&self, url: &GitLabUrl, token: &SecretString) -> Result<Version, ReadError> {
        let result = self.get(Call::Version, url, "/version".into(), Vec::new(), token).await;
        Ok(understand(Call::Version, url, "", result)?.0)
    }

    /// Whom the token acts for.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn user(&self, url: &GitLabUrl, token: &SecretString) -> Result<User, ReadError> {
        let result = self.get(Call::User, url, "/user".into(), Vec::new(), token).await;
        Ok(understand(Call::User, url, "", result)?.0)
    }

    /// Asks GitLab to stop a pipeline. It says yes even if nothing was left to stop; the pipeline then shows.
    ///
    /// # Errors
    /// See [`ReadKind`]. After `Trouble` it may have been stopped all the same.
    pub async fn cancel(&self, at: &Endpoint, id: u64, token: &SecretString) -> Result<Pipeline, ReadError> {
        let Endpoint { url, project } = at;
        let who = Account::access(url, self.fingerprint(token));
        let path = format!("/projects/{}/pipelines/{id}/cancel", project.path_segment());
        let request =
            Request { method: Method::POST, url, path, query: Vec::new(), token: Token::Header(token, None) };
        let result = self.call(Call::Cancel, &who, Class::Firing, request).await;
        let (wire, _) = understand::<PipelineWire>(Call::Cancel, url, &project.to_string(), result)?;
        Ok(wire.into())
    }

    async fn read<T: DeserializeOwned>(
        &self,
        call: Call,
        at: &Endpoint,
        id: Option<u64>,
        query: Vec<(&'static str, String)>,
        token: &SecretString,
    ) -> Result<(T, Reply), ReadError> {
        let id = id.map_or_else(String::new, |id| id.to_string());
        let path = call.route().replace(":pipeline_id", &id).replace(":id", &at.project.path_segment());
        let result = self.get(call, &at.url, path, query, token).await;
        understand(call, &at.url, &at.project.to_string(), result)
    }
}

fn understand<T: DeserializeOwned>(
    call: Call,
    url: &GitLabUrl,
    project: &str,
    result: Result<Reply, NoAnswer>,
) -> Result<(T, Reply), ReadError> {
    let reply = result.map_err(|no_answer| unanswered(no_answer, url.authority()))?;
    if (200..300).contains(&reply.status) {
        return match reply.value() {
            Ok(value) => Ok((value, reply)),
            Err(instead) => Err(trouble(format!("{} with {instead}", reply.status))),
        };
    }
    Err(failed(About { call, project, git_ref: "" }, &reply))
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
                _ => ReadKind::Trouble,
            };
            ReadError { kind, reason, message, moved_to: None }
        }
        Meaning::Throttled { reason, message, wait } => {
            ReadError { kind: ReadKind::Throttled { wait }, reason, message, moved_to: None }
        }
        Meaning::FailedAtBirth { message } | Meaning::Unclear { message } => trouble(message),
    }
}

fn unanswered(no_answer: NoAnswer, host: &str) -> ReadError {
    match no_answer {
        NoAnswer::HeldBack(wait) => ReadError {
            kind: ReadKind::Throttled { wait },
            reason: Reason::RateLimited,
            message: format!("the rate limit of {host} is used up, or what is left is kept for firing"),
            moved_to: None,
        },
        NoAnswer::Failed(SendError::NotSent { reason, message }) => {
            let unusable = reason == Reason::SecretUnusable;
            let kind = if unusable { ReadKind::Unauthorized } else { ReadKind::Unreachable };
            ReadError { kind, reason, message, moved_to: None }
        }
        NoAnswer::Failed(SendError::Lost { message }) => trouble(message),
    }
}

fn trouble(message: String) -> ReadError {
    ReadError { kind: ReadKind::Trouble, reason: Reason::CannotFollow, message, moved_to: None }
}
