//! What a pipeline has to show at its end: failed jobs, tests, the pipelines it started; and what blocks one.

use pipekick_core::domain::{Pipeline, PipelineStatus, Report, Sighting, Tests};
use secrecy::SecretString;

use crate::gitlab::{self, Endpoint, ReadError, ReadKind, TestSummary};

/// A whole pipeline, with its report if it has ended or waits for a person. Jobs, tests and downstream pipelines that may not be read are
/// left out.
///
/// # Errors
/// The failed jobs cannot be read for now: the end is told when they can be, for they say why it failed.
pub(super) async fn sighting(
    gitlab: &gitlab::Client,
    at: &Endpoint,
    pipeline: Pipeline,
    token: &SecretString,
) -> Result<Sighting, ReadError> {
    let report = match &pipeline.status {
        PipelineStatus::Failed => {
            let failed_jobs = match gitlab.failed_jobs(at, pipeline.id, token).await {
                Ok(failed_jobs) => failed_jobs,
                Err(error) if matches!(error.kind, ReadKind::Forbidden | ReadKind::NotFound) => Vec::new(),
                Err(error) => return Err(error),
            };
            // Without jobs there are no tests either: it failed at birth.
            let beside = if pipeline.yaml_errors.is_none() {
                beside(gitlab, at, pipeline.id, token).await
            } else {
                Report::default()
            };
            Report { failed_jobs, ..beside }
        }
        // Nobody has to know the names of what is to be played, and the next look tells them.
        PipelineStatus::Manual => {
            let manual_jobs = gitlab.manual_jobs(at, pipeline.id, token).await.unwrap_or_default();
            Report { manual_jobs, ..Report::default() }
        }
        PipelineStatus::Success | PipelineStatus::Canceled => beside(gitlab, at, pipeline.id, token).await,
        // Nothing ran, or nothing has ended.
        PipelineStatus::Skipped
        | PipelineStatus::Created
        | PipelineStatus::WaitingForResource
        | PipelineStatus::Preparing
        | PipelineStatus::WaitingForCallback
        | PipelineStatus::Pending
        | PipelineStatus::Running
        | PipelineStatus::Canceling
        | PipelineStatus::Scheduled
        | PipelineStatus::Other(_) => Report::default(),
    };
    Ok(Sighting::Seen { pipeline, report })
}

/// Tests and downstream pipelines. They are worth one request each, and no delay.
async fn beside(gitlab: &gitlab::Client, at: &Endpoint, id: u64, token: &SecretString) -> Report {
    let (tests, downstream) =
        tokio::join!(gitlab.test_summary(at, id, token), gitlab.downstream(at, id, token));
    let mut downstream: Vec<u64> =
        downstream.unwrap_or_default().iter().map(|pipeline| pipeline.id).collect();
    downstream.sort_unstable();
    let tests = tests.ok().filter(|summary| summary.total > 0).map(
        |TestSummary { total, success, failed, skipped, error }| Tests {
            total,
            success,
            failed,
            skipped,
            error,
        },
    );
    Report { tests, downstream, ..Report::default() }
}
