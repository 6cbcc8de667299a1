//! One file of a job's artifacts.
//!
//! GitLab may keep them in an object storage and redirect there. That one redirect is followed, once, without the token
//! and without telling anybody its address, which is signed. It leads where the GitLab says that the token's owner
//! named; what comes from there is a file like any other, bounded and never quoted.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pipekick_core::domain::output::MAX_OUTPUT_FILE;
use pipekick_core::domain::{Reason, RepoPath};
use secrecy::SecretString;

use super::explain::Call;
use super::http::{Reply, SendError, Want};
use super::jobs::{Job, JobFilter};
use super::read::{MAX_PER_PAGE, ReadError, ReadKind, accept, trouble};
use super::repository::bytes;
use super::{Client, Endpoint};
use crate::clock;

/// One byte more than is read of it, so that a larger file is told from one of just this size.
const MOST: usize = MAX_OUTPUT_FILE + 1;

impl Client {
    /// The newest job of this name in a pipeline, if there is one; bridges are none.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn job_named(
        &self,
        at: &Endpoint,
        pipeline: u64,
        name: &str,
        token: &SecretString,
    ) -> Result<Option<Job>, ReadError> {
        let mut filter = JobFilter { per_page: MAX_PER_PAGE, ..JobFilter::default() };
        loop {
            let page = self.jobs(at, pipeline, &filter, token).await?;
            if let Some(found) = page.jobs.into_iter().find(|job| job.shown.name == name) {
                return Ok(Some(found));
            }
            match page.next {
                Some(next) => filter.page = next,
                None => return Ok(None),
            }
        }
    }

    /// A file of a job's artifacts: its first 256 KiB and one byte; `Pick::read` refuses what is larger. None: there is
    /// no such file.
    ///
    /// # Errors
    /// See [`ReadKind`].
    pub async fn artifact(
        &self,
        at: &Endpoint,
        job: u64,
        file: &RepoPath,
        token: &SecretString,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let call = Call::Artifact;
        let encoded = |step| utf8_percent_encode(step, NON_ALPHANUMERIC).to_string();
        let steps: Vec<String> = file.as_str().split('/').map(encoded).collect();
        let path = call.route().replace(":id", &at.project.path_segment());
        let path = path.replace(":job_id", &job.to_string()).replace("*path", &steps.join("/"));
        let result = self.get(call, at, path, Vec::new(), token, Want::File(MOST)).await;
        let location = result.as_ref().ok().and_then(Reply::location);
        if let Some(location) = location {
            return self.stored(at, &location).await.map(Some);
        }
        match accept(call, &at.url, &at.project.to_string(), result) {
            Ok(reply) => bytes(reply).map(Some),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file at the address that GitLab signed.
    async fn stored(&self, at: &Endpoint, location: &reqwest::Url) -> Result<Vec<u8>, ReadError> {
        let began = clock::instant();
        let result = self.http.fetch(location, &at.trust, MOST).await;
        let outcome = match &result {
            Ok((status, _)) => super::Outcome::Status(*status),
            Err(SendError::NotSent { .. }) => super::Outcome::NotSent,
            Err(SendError::Lost { .. }) => super::Outcome::Lost,
        };
        if let Some(hook) = &self.hook {
            hook("object storage", outcome, clock::instant().saturating_duration_since(began));
        }
        match result {
            Ok((200, body)) => Ok(body),
            Ok((status, _)) => Err(trouble(format!(
                "{}, where GitLab keeps the artifacts, answered {status}",
                location.origin().ascii_serialization()
            ))),
            Err(SendError::NotSent { reason, message }) => {
                Err(ReadError { kind: ReadKind::Unreachable, reason, message, moved_to: None })
            }
            Err(SendError::Lost { message }) => Err(ReadError {
                kind: ReadKind::Trouble,
                reason: Reason::CannotFollow,
                message,
                moved_to: None,
            }),
        }
    }
}
