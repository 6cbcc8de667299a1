//! One pipeline: show, variables, test summary, cancel, retry, rename, delete.

use serde_json::{Value, json};

use super::Request;
use crate::gitlab::{
    auth,
    pipeline::Pipeline,
    reports,
    row::Answer,
    rows,
    seed::Role,
    state::{Project, World},
};

/// In characters.
const LONGEST_NAME: usize = 255;

/// Brings the project up to date and finds the pipeline a request names, if the caller may read it.
pub(super) fn find<'w>(
    world: &'w mut World,
    request: &Request<'_>,
) -> Result<(&'w World, &'w Project, &'w Pipeline), Answer> {
    let project = auth::project(world, request)?;
    auth::may_read_pipelines(project, request)?;
    let id = project.id;
    world.settled(id, request.call.at);
    let project = &world.projects[&id];
    let pipeline = request.arg("pipeline_id").parse().ok().and_then(|id: u64| project.pipelines.get(&id));
    let pipeline = pipeline.ok_or_else(|| rows::NOT_FOUND_BY_ID.answer())?;
    Ok((world, project, pipeline))
}

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (world, project, pipeline) = find(world, request)?;
    let row = if world.version.tells_names() { &rows::PIPELINE_SHOWN } else { &rows::PIPELINE_SHOWN_OLD };
    Ok(row.entity(&world.pipeline_single(project, pipeline)))
}

pub(super) fn variables(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (_, project, pipeline) = find(world, request)?;
    auth::allow(auth::may_read_variables(project, request, pipeline))?;
    Ok(rows::VARIABLES_SHOWN.entity(&json!(pipeline.variables)))
}

pub(super) fn test_report_summary(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (_, _, pipeline) = find(world, request)?;
    Ok(rows::TEST_SUMMARY_SHOWN.entity(&reports::test_summary(pipeline)))
}

pub(super) fn test_report(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (_, _, pipeline) = find(world, request)?;
    Ok(rows::TEST_REPORT_SHOWN.entity(&reports::test_report(pipeline)))
}

/// 200 even when nothing could be cancelled.
pub(super) fn cancel(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, id) = updatable(world, request)?;
    world.cancel_pipeline(id, request.call.at);
    let project = &world.projects[&project];
    Ok(rows::CANCELED.entity(&world.pipeline_entity(project, &project.pipelines[&id])))
}

/// 201 even when nothing could be retried.
pub(super) fn retry(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, id) = updatable(world, request)?;
    world.retry_pipeline(id, request.call.at);
    let project = &world.projects[&project];
    Ok(rows::RETRIED.entity(&world.pipeline_entity(project, &project.pipelines[&id])))
}

pub(super) fn rename(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let name = match request.params.get("name") {
        Some(Value::String(name)) => name.clone(),
        Some(_) | None => return Err(rows::METADATA_NAME_MISSING.answer()),
    };
    let (project, id) = updatable(world, request)?;
    if name.chars().count() > LONGEST_NAME {
        return Err(rows::METADATA_NAME_TOO_LONG.answer());
    }
    let pipeline = world.projects.get_mut(&project).and_then(|project| project.pipelines.get_mut(&id));
    if let Some(pipeline) = pipeline {
        pipeline.name = Some(name);
    }
    let project = &world.projects[&project];
    Ok(rows::METADATA_SET.entity(&world.pipeline_single(project, &project.pipelines[&id])))
}

pub(super) fn delete(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (_, project, pipeline) = find(world, request)?;
    auth::allow(auth::role(project, request) >= Some(Role::Owner))?;
    let (project, id) = (project.id, pipeline.id);
    if let Some(project) = world.projects.get_mut(&project) {
        project.pipelines.remove(&id);
    }
    Ok(rows::DELETED.answer())
}

/// The ids of project and pipeline, if the caller may update the pipeline.
fn updatable(world: &mut World, request: &Request<'_>) -> Result<(u64, u64), Answer> {
    let (_, project, pipeline) = find(world, request)?;
    auth::allow(auth::may_update(project, request, pipeline))?;
    Ok((project.id, pipeline.id))
}
