//! Single files of jobs' artifacts, by job or by ref, and the object storage they may lie in.
//!
//! The storage is another host to the caller: who brings a token along is refused there, and the ledger shows it.

use super::{
    Request,
    jobs::{self, Ids},
};
use crate::gitlab::{
    auth,
    pipeline::{Job, Pipeline, Status},
    row::Answer,
    rows,
    state::World,
};

/// `GET /projects/:id/jobs/:job_id/artifacts/*path`.
pub(super) fn of_job(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let ids = jobs::find(world, request)?;
    deliver(world, request, ids)
}

/// `GET /projects/:id/jobs/artifacts/:ref/raw/*path?job=…`: of the ref's newest successful pipeline with that job.
pub(super) fn of_ref(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let name = request.text("job").ok_or_else(|| rows::ARTIFACT_JOB_MISSING.answer())?.to_owned();
    let project = auth::project(world, request)?;
    auth::may_read_pipelines(project, request)?;
    let id = project.id;
    world.settled(id, request.call.at);
    let project = &world.projects[&id];
    let successful = |p: &&Pipeline| p.git_ref == request.arg("ref") && p.status == Status::Success;
    let named = |p: &Pipeline, job: &&Job| !job.retried && !p.is_bridge(job) && p.part(job).name == name;
    let mut found = project.pipelines.values().rev().filter(successful).filter_map(|p| {
        let job = p.jobs.iter().find(|job| named(p, job) && job.status == Status::Success)?;
        Some(Ids { project: id, pipeline: p.id, job: job.id })
    });
    let ids = found.next().ok_or_else(|| rows::NOT_FOUND_BY_ID.answer())?;
    deliver(world, request, ids)
}

fn deliver(world: &World, request: &Request<'_>, ids: Ids) -> Result<Answer, Answer> {
    let path = request.arg("path");
    if path.split('/').any(|step| step == "..") {
        return Err(rows::ARTIFACT_PATH_INVALID.answer());
    }
    let content = content(world, ids, path)?;
    if !world.object_storage {
        return Ok(rows::ARTIFACT_SHOWN.filled(content));
    }
    let host = world.base_url.replace("//127.0.0.1:", "//localhost:");
    let Ids { project, pipeline, job } = ids;
    let encoded = path.split('/').map(|step| {
        percent_encoding::utf8_percent_encode(step, percent_encoding::NON_ALPHANUMERIC).to_string()
    });
    let encoded = encoded.collect::<Vec<_>>().join("/");
    let location =
        format!("{host}/-/object-storage/{project}/{pipeline}/{job}/{encoded}?signature=simulated");
    Ok(rows::ARTIFACT_REDIRECTED.filled(&location).header("Location", location))
}

fn content<'w>(world: &'w World, ids: Ids, path: &str) -> Result<&'w str, Answer> {
    let pipeline = world.projects.get(&ids.project).and_then(|project| project.pipelines.get(&ids.pipeline));
    let left = pipeline.and_then(|p| p.artifacts(p.jobs.iter().find(|job| job.id == ids.job)?));
    let left = left.ok_or_else(|| rows::ARTIFACTS_NONE.answer())?;
    left.get(path).map(String::as_str).ok_or_else(|| rows::ARTIFACT_ENTRY_MISSING.answer())
}

/// The storage's own answer. The address is the permission.
pub(super) fn stored(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let tokens = ["private-token", "authorization", "job-token"];
    if tokens.iter().any(|name| request.call.header(name).is_some()) {
        return Err(rows::STORAGE_REFUSES_TOKEN.answer());
    }
    let number = |name: &str| request.arg(name).parse().unwrap_or_default();
    let ids = Ids { project: number("project"), pipeline: number("pipeline"), job: number("job") };
    let signed = request.text("signature") == Some("simulated");
    let content = content(world, ids, request.arg("path")).ok().filter(|_| signed);
    Ok(rows::STORAGE_SERVED.filled(content.ok_or_else(|| rows::STORAGE_FORBIDDEN.answer())?))
}
