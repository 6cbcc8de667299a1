//! One look at the pipelines of a group: a list for many, a question for each that is left.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use pipekick_core::domain::{Access, CredentialUse, GitLabUrl, Pipeline, ProjectRef, Reason, Sighting};
use secrecy::SecretString;

use super::super::report;
use super::Follower;
use super::groups::{GroupKey, Wanted};
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
    /// Those that ended before and still look so, with the time of their last change.
    pub(super) unchanged: Vec<(u64, Option<Timestamp>)>,
    /// Those that were to be looked at, whatever came of it.
    pub(super) due: Vec<u64>,
    /// Which of them were asked one by one.
    pub(super) alone: Vec<u64>,
    pub(super) trouble: bool,
    /// GitLab, or our budget, asks to wait so long.
    pub(super) wait: Duration,
}

impl Follower {
    pub(super) async fn look(&self, key: &GroupKey, wanted: Vec<Wanted>) -> Look {
        let due: Vec<u64> = wanted.iter().filter(|wanted| wanted.due).map(|wanted| wanted.id).collect();
        let look = self.look_at(key, &due, wanted).await;
        Look { due, ..look }
    }

    async fn look_at(&self, key: &GroupKey, due: &[u64], mut left: Vec<Wanted>) -> Look {
        let (at, token) = match self.reach(key).await {
            Ok(reached) => reached,
            Err((reason, message)) => return Look::trouble(due, reason, &message, Duration::ZERO),
        };
        let mut look = Look::default();
        if due.len() > 1 {
            let mut listed = match self.list(&at, due, &left, &token).await {
                Ok(listed) => listed,
                Err(error) => return Look::failed(due, &error),
            };
            let mut others = Vec::new();
            for wanted in left {
                match listed.remove(&wanted.id) {
                    None => others.push(wanted),
                    Some(pipeline) if wanted.is_unchanged(&pipeline) => {
                        look.unchanged.push((wanted.id, pipeline.updated_at));
                    }
                    Some(pipeline) => {
                        look.found.push((wanted.id, self.complete(&at, pipeline, &token).await));
                    }
                }
            }
            left = others;
        }
        left.retain(|wanted| wanted.due);
        left.truncate(ALONE);
        for wanted in left {
            let id = wanted.id;
            look.alone.push(id);
            match self.gitlab.pipeline(&at, id, &token).await {
                Ok(pipeline) if wanted.is_unchanged(&pipeline) => {
                    look.unchanged.push((id, pipeline.updated_at));
                }
                // What became of it since its end was told is nobody's business.
                Err(error) if wanted.has_ended() && error.kind == ReadKind::NotFound => {}
                Ok(pipeline) => look.found.push((id, self.end(&at, pipeline, &token).await)),
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

    /// The wanted pipelines that are found in the project's list, from the newest back to the oldest one due.
    async fn list(
        &self,
        at: &Endpoint,
        due: &[u64],
        wanted: &[Wanted],
        token: &SecretString,
    ) -> Result<HashMap<u64, Pipeline>, gitlab::ReadError> {
        let oldest = due.iter().min().copied().unwrap_or_default();
        let wanted: HashSet<u64> = wanted.iter().map(|wanted| wanted.id).collect();
        let mut found = HashMap::new();
        let mut page = 1;
        // More pages than single questions would be no saving.
        let pages = PAGES.min(u32::try_from(due.len()).unwrap_or(PAGES));
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
            return self.end(at, listed, token).await;
        }
        match self.gitlab.pipeline(at, listed.id, token).await {
            Ok(whole) => self.end(at, whole, token).await,
            Err(error) => error.into(),
        }
    }

    /// A pipeline that has ended, or waits for a person, is told with its report.
    async fn end(&self, at: &Endpoint, pipeline: Pipeline, token: &SecretString) -> Sighting {
        report::sighting(&self.gitlab, at, pipeline, token).await.unwrap_or_else(Sighting::from)
    }
}

impl Look {
    fn trouble(ids: &[u64], reason: Reason, message: &str, wait: Duration) -> Self {
        let sighting = Sighting::Trouble { reason, message: message.to_owned() };
        Self {
            found: ids.iter().map(|id| (*id, sighting.clone())).collect(),
            trouble: true,
            wait,
            ..Self::default()
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
