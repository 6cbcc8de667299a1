//! A project and its branches.

use serde_json::Value;

use super::Request;
use crate::gitlab::{
    auth,
    page::Page,
    row::Answer,
    rows,
    seed::Role,
    state::{Project, World},
};

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let project = auth::project(world, request)?;
    Ok(rows::PROJECT_SHOWN.entity(&world.project_entity(project)))
}

pub(super) fn branches(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let project = auth::project(world, request)?;
    auth::allow(may_read_code(project, request))?;
    let search = request.text("search").unwrap_or_default();
    let fitting = project.settings.branches.iter().filter(|(name, _)| found(search, name));
    let (branches, total) = page.cut(fitting);
    let items = branches.into_iter().map(|(name, sha)| entity(world, project, request, name, sha)).collect();
    Ok(page.head(rows::BRANCHES.entity(&Value::Array(items)), world, request, total))
}

pub(super) fn branch(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let project = auth::project(world, request)?;
    auth::allow(may_read_code(project, request))?;
    let name = request.arg("branch");
    let sha = project.settings.branches.get(name).ok_or_else(|| rows::BRANCH_NOT_FOUND.answer())?;
    Ok(rows::BRANCH_SHOWN.entity(&entity(world, project, request, name, sha)))
}

/// A part of the name, its beginning by `^term`, its end by `term$`; in any case.
fn found(search: &str, name: &str) -> bool {
    let (search, name) = (search.to_lowercase(), name.to_lowercase());
    match (search.strip_prefix('^'), search.strip_suffix('$')) {
        (Some(start), _) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name.contains(&search),
    }
}

fn entity(world: &World, project: &Project, request: &Request<'_>, name: &str, sha: &str) -> Value {
    let developer = auth::role(project, request) >= Some(Role::Developer);
    let can_push = developer && request.user.is_some_and(|user| project.may_update(user, name));
    world.branch_entity(project, name, sha, can_push)
}

/// A private project's code is for Reporters.
fn may_read_code(project: &Project, request: &Request<'_>) -> bool {
    let open = project.settings.visibility != crate::gitlab::seed::Visibility::Private;
    open || auth::role(project, request) >= Some(Role::Reporter)
}
