//! A pipeline's jobs, and its bridges, which have a route of their own; one job: show, retry, play, cancel.

use serde_json::Value;

use super::{Request, pipeline};
use crate::gitlab::{
    auth,
    page::Page,
    pipeline::{Job, Pipeline, Status},
    row::Answer,
    rows,
    seed::Role,
    state::{Project, World},
};

pub(super) fn list(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let retried = request.text("include_retried") == Some("true");
    let fits = |pipeline: &Pipeline, job: &Job| !pipeline.is_bridge(job) && (retried || !job.retried);
    let (page, total, items) = listed(world, request, fits, World::job_entity)?;
    Ok(page.head(rows::JOBS.entity(&Value::Array(items)), world, request, total))
}

pub(super) fn bridges(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let fits = |pipeline: &Pipeline, job: &Job| pipeline.is_bridge(job) && !job.retried;
    let (page, total, items) = listed(world, request, fits, World::bridge_entity)?;
    Ok(page.head(rows::BRIDGES.entity(&Value::Array(items)), world, request, total))
}

/// A page of a pipeline's jobs that fit, newest first.
fn listed(
    world: &mut World,
    request: &Request<'_>,
    fits: impl Fn(&Pipeline, &Job) -> bool,
    entity: fn(&World, &Project, &Pipeline, &Job) -> Value,
) -> Result<(Page, usize, Vec<Value>), Answer> {
    let page = Page::of(&request.params)?;
    let scope = scope(request)?;
    let (world, project, pipeline) = pipeline::find(world, request)?;
    let in_scope = |job: &&Job| scope.as_ref().is_none_or(|scope| scope.contains(&job.status));
    let mut jobs: Vec<&Job> =
        pipeline.jobs.iter().filter(|job| fits(pipeline, job)).filter(in_scope).collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
    let (jobs, total) = page.cut(jobs.into_iter());
    Ok((page, total, jobs.into_iter().map(|job| entity(world, project, pipeline, job)).collect()))
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

/// Project, pipeline and job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) project: u64,
    pub(super) pipeline: u64,
    pub(super) job: u64,
}

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let ids = find(world, request)?;
    Ok(rows::JOB_SHOWN.entity(&entity(world, ids)))
}

pub(super) fn retry(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let ids = updatable(world, request)?;
    let again = world.retry_job(ids.pipeline, ids.job, request.call.at);
    let job = again.ok_or_else(|| rows::JOB_NOT_RETRYABLE.answer())?;
    Ok(rows::JOB_RETRIED.entity(&entity(world, Ids { job, ..ids })))
}

pub(super) fn play(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let ids = updatable(world, request)?;
    if !world.play_job(ids.pipeline, ids.job, request.call.at) {
        return Err(rows::JOB_UNPLAYABLE.answer());
    }
    Ok(rows::JOB_PLAYED.entity(&entity(world, ids)))
}

/// 201 even when nothing could be cancelled.
pub(super) fn cancel(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let ids = updatable(world, request)?;
    let force = match request.params.get("force") {
        Some(Value::Bool(force)) => *force,
        Some(value) => value.as_str() == Some("true"),
        None => false,
    };
    if force {
        auth::allow(auth::role(&world.projects[&ids.project], request) >= Some(Role::Maintainer))?;
    }
    world.cancel_job(ids.pipeline, ids.job, force, request.call.at);
    Ok(rows::JOB_CANCELED.entity(&entity(world, ids)))
}

/// Brings the project up to date and finds the job a request names, if the caller may read it.
pub(super) fn find(world: &mut World, request: &Request<'_>) -> Result<Ids, Answer> {
    let project = auth::project(world, request)?;
    auth::may_read_pipelines(project, request)?;
    let project = project.id;
    let job: Option<u64> = request.arg("job_id").parse().ok();
    let settled = world.settled(project, request.call.at);
    let pipelines = settled.into_iter().flat_map(|project| project.pipelines.values());
    let mut found = pipelines.filter_map(|p| p.jobs.iter().find(|found| Some(found.id) == job).map(|_| p.id));
    let found = found.next().zip(job);
    found.map(|(pipeline, job)| Ids { project, pipeline, job }).ok_or_else(|| rows::NOT_FOUND_BY_ID.answer())
}

fn updatable(world: &mut World, request: &Request<'_>) -> Result<Ids, Answer> {
    let ids = find(world, request)?;
    let project = &world.projects[&ids.project];
    auth::allow(auth::may_update(project, request, &project.pipelines[&ids.pipeline]))?;
    Ok(ids)
}

fn entity(world: &World, ids: Ids) -> Value {
    let project = &world.projects[&ids.project];
    let pipeline = &project.pipelines[&ids.pipeline];
    let job = pipeline.jobs.iter().find(|job| job.id == ids.job);
    job.map(|job| world.job_entity(project, pipeline, job)).unwrap_or_default()
}
