//! What a pipeline consists of: its jobs, the pipelines below it, its tests. Each of these may be asked again at
//! will.

use pipekick_core::domain::{FailedJob, Pipeline, PipelineStatus};
use secrecy::SecretString;

use super::explain::Call;
use super::read::{MAX_PER_PAGE, ReadError, next_page};
use super::wire::{BridgeWire, JobWire, TestSummary, TestSummaryWire};
use super::{Client, Endpoint};

/// A job comes with its commit, user and runner, several KiB each; a few more than wanted, since those that
/// may fail are left out.
const JOBS_PER_PAGE: u8 = 20;
/// A job that counts may stand behind many that may fail: in a pipeline of more failed jobs than these pages hold it is
/// not found.
const MAX_JOB_PAGES: usize = 25;
/// As many failed jobs as status shows.
const MAX_FAILED_JOBS: usize = 5;

/// What is asked of a pipeline's jobs; newest id first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFilter {
    /// In this status.
    pub status: Option<PipelineStatus>,
    /// With those that a later attempt has replaced.
    pub retried: bool,
    /// From 1.
    pub page: u32,
    /// At most 100; a job takes several KiB.
    pub per_page: u8,
}

impl Default for JobFilter {
    fn default() -> Self {
        Self { status: None, retried: false, page: 1, per_page: JOBS_PER_PAGE }
    }
}

impl JobFilter {
    /// The newest jobs in this status.
    #[must_use]
    pub fn of(status: PipelineStatus) -> Self {
        Self { status: Some(status), ..Self::default() }
    }
}

/// A job of a pipeline; bridges are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Each attempt has an id of its own.
    pub id: u64,
    /// In the words of pipelines, of which jobs use a part.
    pub status: PipelineStatus,
    /// Whether the pipeline may succeed without it; unknown if GitLab does not tell.
    pub allow_failure: Option<bool>,
    /// What people are told of it. Its reason is GitLab's, and only a failed job has one.
    pub shown: FailedJob,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPage {
    /// Its entries.
    pub jobs: Vec<Job>,
    /// The number of the next page, if there is or may be one.
    pub next: Option<u32>,
}

impl Client {
    /// A page of a pipeline's jobs, newest id first.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn jobs(
        &self,
        at: &Endpoint,
        id: u64,
        filter: &JobFilter,
        token: &SecretString,
    ) -> Result<JobPage, ReadError> {
        let JobFilter { status, retried, page, per_page } = filter;
        let per_page = (*per_page).clamp(1, MAX_PER_PAGE);
        let mut query = Vec::new();
        query.extend(status.as_ref().map(|status| ("scope[]", status.as_str().to_owned())));
        query.extend(retried.then(|| ("include_retried", "true".to_owned())));
        query.extend((*page > 1).then(|| ("page", page.to_string())));
        query.push(("per_page", per_page.to_string()));
        let (wires, reply) = self.read::<Vec<JobWire>>(Call::Jobs, at, Some(id), query, token).await?;
        let next = next_page(&reply, wires.len(), *page, per_page);
        let mut jobs: Vec<Job> = wires.into_iter().map(Job::from).collect();
        jobs.sort_unstable_by_key(|job| std::cmp::Reverse(job.id));
        Ok(JobPage { jobs, next })
    }

    /// The failed jobs that made a pipeline fail: at most 5, newest first, without those that may fail.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn failed_jobs(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<Vec<FailedJob>, ReadError> {
        let mut filter = JobFilter::of(PipelineStatus::Failed);
        let mut counted = Vec::new();
        for _ in 0..MAX_JOB_PAGES {
            let JobPage { jobs, next } = self.jobs(at, id, &filter, token).await?;
            counted
                .extend(jobs.into_iter().filter(|job| job.allow_failure != Some(true)).map(|job| job.shown));
            match next {
                Some(page) if counted.len() < MAX_FAILED_JOBS => filter.page = page,
                Some(_) | None => break,
            }
        }
        counted.truncate(MAX_FAILED_JOBS);
        Ok(counted)
    }

    /// The names of the jobs that wait for a person, at most 20, oldest first: those that block the pipeline, or all
    /// if none does.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn manual_jobs(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<Vec<String>, ReadError> {
        let page = self.jobs(at, id, &JobFilter::of(PipelineStatus::Manual), token).await?;
        let blocks = |job: &Job| job.allow_failure != Some(true);
        let any_blocks = page.jobs.iter().any(blocks);
        let named = page.jobs.into_iter().rev().filter(|job| blocks(job) || !any_blocks);
        Ok(named.map(|job| job.shown.name).collect())
    }

    /// The pipelines that a pipeline's bridges have made, in its project or in others; of its newest 20 bridges.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn downstream(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<Vec<Pipeline>, ReadError> {
        let query = vec![("per_page", JOBS_PER_PAGE.to_string())];
        let (bridges, _) = self.read::<Vec<BridgeWire>>(Call::Bridges, at, Some(id), query, token).await?;
        Ok(bridges.into_iter().filter_map(|bridge| bridge.downstream_pipeline).map(Pipeline::from).collect())
    }

    /// What the test reports of a pipeline say in sum; all 0 if there are none. It grows until the pipeline ends.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn test_summary(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<TestSummary, ReadError> {
        let read = self.read::<TestSummaryWire>(Call::TestSummary, at, Some(id), Vec::new(), token);
        Ok(read.await?.0.total)
    }
}
