//! One look at the pipelines of a group: a list for many, a question for each that is left.

use std::collections::HashMap;
use std::time::Duration;

use pipekick_core::domain::{
    Access, CredentialUse, GitLabUrl, Pipeline, PipelineStatus, ProjectRef, Reason, Sighting,
};
use secrecy::SecretString;

use super::Follower;
use super::groups::GroupKey;
use crate::cluster::secrets::Unavailable;
use crate::gitlab::{self, Endpoint, PipelineFilter, ReadKind};

/// Pages of 100 read in one look; what is older is asked one by one.
const PAGES: u32 = 20;
/// Pipelines asked one by one in one look, in turns.
const ALONE: usize = 20;
/// Waits of the budget that are shorter than this are not worth a word in a condition.
const WAIT_WORTH_TELLING: Duration = Duration::from_secs(60);

/// What a look at a group brought.
#[derive(Default)]
pub(super) struct Look {
    pub(super) found: Vec<(u64, Sighting)>,
    /// Which of them were asked one by one.
    pub(super) alone: Vec<u64>,
    pub(super) trouble: bool,
    /// GitLab, or our budget, asks to wait so long.
    pub(super) wait: Duration,
}

impl Follower {
    pub(super) async fn look(&self, key: &GroupKey, ids: Vec<u64>) -> Look {
        let (at, token) = match self.reach(key).await {
            Ok(reached) => reached,
            Err((reason, message)) => return Look::trouble(&ids, reason, &message, Duration::ZERO),
        };
        let mut look = Look::default();
        let mut left = ids;
        if left.len() > 1 {
            let listed = match self.list(&at, &left, &token).await {
                Ok(listed) => listed,
                Err(error) => return Look::failed(&left, &error),
            };
            left.retain(|id| !listed.contains_key(id));
            for (id, pipeline) in listed {
                look.found.push((id, self.complete(&at, pipeline, &token).await));
            }
        }
        left.truncate(ALONE);
        for id in left {
            look.alone.push(id);
            match self.gitlab.pipeline(&at, id, &token).await {
                Ok(pipeline) => look.found.push((id, self.with_jobs(&at, pipeline, &token).await)),
                Err(error) if error.kind == ReadKind::NotFound && error.moved_to.is_none() => {
                    // A project that still lists its pipelines has lost this one; else it is the project.
                    let probe = PipelineFilter { per_page: 1, ..PipelineFilter::default() };
                    let sighting = match self.gitlab.pipelines(&at, &probe, &token).await {
                        Ok(_) => Sighting::Gone,
                        Err(error) => error.into(),
                    };
                    look.found.push((id, sighting));
                }
                Err(error) => {
                    let failed = Look::failed(&[id], &error);
                    look.found.extend(failed.found);
                    look.trouble = true;
                    look.wait = look.wait.max(failed.wait);
                    break;
                }
            }
        }
        look
    }

    async fn reach(&self, key: &GroupKey) -> Result<(Endpoint, SecretString), (Reason, String)> {
        let parsed = |e: &dyn std::fmt::Display| (Reason::CannotFollow, e.to_string());
        let url: GitLabUrl = key.url.parse().map_err(|e| parsed(&e))?;
        let project: ProjectRef = key.project.parse().map_err(|e| parsed(&e))?;
        let named: ProjectRef = key.named_project.parse().map_err(|e| parsed(&e))?;
        let to = CredentialUse { url: &url, default_url: &self.default_url, project: &named };
        let Access { token: access, ca_bundle } = &key.access;
        let unavailable = |e: Unavailable| (e.reason, e.message);
        let token = self.secrets.token(&key.namespace, access, to).await.map_err(unavailable)?;
        self.remember_fingerprint(&key.namespace, access, self.gitlab.fingerprint(&token));
        let trust = self.secrets.trust(&key.namespace, ca_bundle.as_ref()).await.map_err(unavailable)?;
        Ok((Endpoint { url, project, trust }, token))
    }

    /// The wanted pipelines that are found in the project's list, from the newest back to the oldest wanted.
    async fn list(
        &self,
        at: &Endpoint,
        wanted: &[u64],
        token: &SecretString,
    ) -> Result<HashMap<u64, Pipeline>, gitlab::ReadError> {
        let oldest = wanted.iter().min().copied().unwrap_or_default();
        let mut found = HashMap::new();
        let mut page = 1;
        // More pages than single questions would be no saving.
        let pages = PAGES.min(u32::try_from(wanted.len()).unwrap_or(PAGES));
        for _ in 0..pages {
            let filter = PipelineFilter { page, ..PipelineFilter::default() };
            let listed = self.gitlab.pipelines(at, &filter, token).await?;
            let reached = listed.pipelines.iter().map(|pipeline| pipeline.id).min().unwrap_or_default();
            found.extend(listed.pipelines.into_iter().filter(|p| wanted.contains(&p.id)).map(|p| (p.id, p)));
            match listed.next {
                Some(next) if reached > oldest => page = next,
                _ => break,
            }
        }
        Ok(found)
    }

    /// A pipeline from a list lacks its times: one that has ended is asked for them.
    async fn complete(&self, at: &Endpoint, listed: Pipeline, token: &SecretString) -> Sighting {
        if !listed.status.is_complete() {
            return self.with_jobs(at, listed, token).await;
        }
        match self.gitlab.pipeline(at, listed.id, token).await {
            Ok(whole) => self.with_jobs(at, whole, token).await,
            Err(error) => error.into(),
        }
    }

    /// A failed pipeline is told with its failed jobs, a blocked one with those that block it. Where they may not be
    /// read it is still told.
    async fn with_jobs(&self, at: &Endpoint, pipeline: Pipeline, token: &SecretString) -> Sighting {
        let (failed, manual) =
            (pipeline.status == PipelineStatus::Failed, pipeline.status == PipelineStatus::Manual);
        let jobs = if failed {
            self.gitlab.failed_jobs(at, pipeline.id, token).await.map(|jobs| (jobs, Vec::new()))
        } else if manual {
            self.gitlab.manual_jobs(at, pipeline.id, token).await.map(|jobs| (Vec::new(), jobs))
        } else {
            Ok((Vec::new(), Vec::new()))
        };
        match jobs {
            Ok((failed_jobs, manual_jobs)) => Sighting::Seen { pipeline, failed_jobs, manual_jobs },
            // Nobody has to know the names of what is to be played, and the next look tells them.
            Err(error) if manual || matches!(error.kind, ReadKind::Forbidden | ReadKind::NotFound) => {
                Sighting::Seen { pipeline, failed_jobs: Vec::new(), manual_jobs: Vec::new() }
            }
            Err(error) => error.into(),
        }
    }
}

impl Look {
    fn trouble(ids: &[u64], reason: Reason, message: &str, wait: Duration) -> Self {
        let sighting = Sighting::Trouble { reason, message: message.to_owned() };
        Self {
            found: ids.iter().map(|id| (*id, sighting.clone())).collect(),
            alone: Vec::new(),
            trouble: true,
            wait,
        }
    }

    fn failed(ids: &[u64], error: &gitlab::ReadError) -> Self {
        match error.kind {
            ReadKind::Throttled { wait } if wait < WAIT_WORTH_TELLING => {
                Self { trouble: true, wait, ..Self::default() }
            }
            ReadKind::Throttled { wait } => Self::trouble(ids, error.reason, &error.message, wait),
            ReadKind::NotFound
            | ReadKind::Unauthorized
            | ReadKind::Forbidden
            | ReadKind::Refused
            | ReadKind::Unreachable
            | ReadKind::Trouble => Self::trouble(ids, error.reason, &error.message, Duration::ZERO),
        }
    }
}
