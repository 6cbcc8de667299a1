//! A pipeline's jobs, without the bridges, which have a route of their own.

use serde_json::Value;

use super::{Request, pipeline};
use crate::gitlab::{
    page::Page,
    pipeline::{Job, Status},
    row::Answer,
    rows,
    state::World,
};

pub(super) fn list(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let scope = scope(request)?;
    let retried = request.text("include_retried") == Some("true");
    let (world, project, pipeline) = pipeline::find(world, request)?;
    let fits =
        |job: &&Job| (retried || !job.retried) && scope.as_ref().is_none_or(|s| s.contains(&job.status));
    let mut jobs: Vec<&Job> = pipeline.jobs.iter().filter(fits).collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
    let (jobs, total) = page.cut(jobs.into_iter());
    let items = jobs.into_iter().map(|job| world.job_entity(project, pipeline, job)).collect();
    Ok(page.head(rows::JOBS.entity(&Value::Array(items)), world, request, total))
}

/// The simulator's pipelines trigger no others.
pub(super) fn bridges(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let (world, ..) = pipeline::find(world, request)?;
    Ok(page.head(rows::BRIDGES.entity(&Value::Array(Vec::new())), world, request, 0))
}

/// `scope=failed`, or `scope[]=failed&scope[]=success`.
fn scope(request: &Request<'_>) -> Result<Option<Vec<Status>>, Answer> {
    let status = |value: &Value| {
        let status = value.as_str().and_then(Status::parse);
        status.ok_or_else(|| rows::JOBS_SCOPE_INVALID.answer())
    };
    match request.params.get("scope") {
        None => Ok(None),
        Some(Value::Array(values)) => values.iter().map(status).collect::<Result<_, _>>().map(Some),
        Some(value) => Ok(Some(vec![status(value)?])),
    }
}
