//! Branches: list, show, create, delete. Those of a project without a repository can only be looked at.

use serde_json::Value;

use super::Request;
use crate::gitlab::{
    auth,
    page::Page,
    row::Answer,
    rows,
    state::{Project, World},
};

pub(super) fn list(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let project = auth::project(world, request)?;
    auth::allow(auth::may_read_code(project, request))?;
    let search = request.text("search").unwrap_or_default();
    let fitting = project.settings.branches.iter().filter(|(name, _)| found(search, name));
    let (branches, total) = page.cut(fitting);
    let items = branches.into_iter().map(|(name, sha)| entity(world, project, request, name, sha));
    let items = items.collect::<Result<_, _>>()?;
    Ok(page.head(rows::BRANCHES.entity(&Value::Array(items)), world, request, total))
}

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let project = auth::project(world, request)?;
    auth::allow(auth::may_read_code(project, request))?;
    let name = request.arg("branch");
    let sha = project.settings.branches.get(name).ok_or_else(|| rows::BRANCH_NOT_FOUND.answer())?;
    Ok(rows::BRANCH_SHOWN.entity(&entity(world, project, request, name, sha)?))
}

pub(super) fn create(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let missing = ["branch", "ref"].into_iter().filter(|name| request.text(name).is_none_or(str::is_empty));
    let missing: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    if !missing.is_empty() {
        return Err(rows::BRANCH_PARAMETER.filled(&missing.join(", ")));
    }
    let project = auth::project(world, request)?;
    auth::allow(auth::may_push_code(project, request))?;
    let repository = project.repository()?;
    let [name, start] = ["branch", "ref"].map(|name| request.text(name).unwrap_or_default());
    let may = request.user.is_some_and(|user| project.may_push(user, name));
    if project.settings.branches.contains_key(name) {
        return Err(rows::BRANCH_EXISTS.answer());
    }
    if !repository.valid_branch_name(name)? {
        return Err(rows::BRANCH_NAME_INVALID.answer());
    }
    let Some(head) = repository.resolve(start)? else {
        return Err(rows::BRANCH_START_INVALID.filled(start));
    };
    if !may {
        return Err(rows::BRANCH_PROTECTED_CREATE.answer());
    }
    if !repository.point(name, &head, "")? {
        return Err(rows::COMMIT_LOST_RACE.filled(name));
    }
    let (id, name) = (project.id, name.to_owned());
    world.refresh(id)?;
    let project = &world.projects[&id];
    Ok(rows::BRANCH_CREATED.entity(&entity(world, project, request, &name, &head)?))
}

pub(super) fn delete(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let project = auth::project(world, request)?;
    auth::allow(auth::may_push_code(project, request))?;
    let (id, name) = (project.id, request.arg("branch"));
    let repository = project.repository()?;
    if !project.settings.branches.contains_key(name) {
        return Err(rows::BRANCH_NOT_FOUND.answer());
    }
    if name == project.settings.default_branch {
        return Err(rows::BRANCH_IS_DEFAULT.answer());
    }
    if project.protects(name) {
        return Err(rows::BRANCH_IS_PROTECTED.answer());
    }
    repository.delete_branch(name)?;
    world.refresh(id)?;
    Ok(rows::BRANCH_DELETED.answer())
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

fn entity(
    world: &World,
    project: &Project,
    request: &Request<'_>,
    name: &str,
    sha: &str,
) -> Result<Value, Answer> {
    let can_push = request.user.is_some_and(|user| project.may_push(user, name));
    let mut entity = world.branch_entity(project, name, sha, can_push);
    let commit = project.repository.as_ref().map(|repository| repository.show(sha)).transpose()?;
    if let Some(commit) = commit.flatten() {
        entity["commit"] = super::commits::entity(world, project, &commit, false);
    }
    Ok(entity)
}
