//! A project's pipelines: create by access token, list, latest.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Request, schedules};
use crate::gitlab::{
    auth,
    call::SECRET_PARAMS,
    chain::{self, Made, Order},
    page::Page,
    pipeline::{Pipeline, Source, Status, Variable, VariableType},
    row::Answer,
    rows,
    seed::Role,
    state::{Project, World},
};

/// `POST /projects/:id/pipeline`: variables are an array, and a failure stores nothing.
pub(super) fn create(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (git_ref, variables) = asked(request)?;
    // What a version does not know it drops, and does not check.
    let dropped = request.params.contains_key("inputs") && !world.version.has_inputs();
    let inputs = match request.params.get("inputs").filter(|_| !dropped) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(inputs)) => inputs.clone(),
        Some(_) => return Err(rows::CREATE_INPUTS_INVALID.answer()),
    };
    let project = auth::project(world, request)?;
    auth::allow(auth::role(project, request) >= Some(Role::Developer))?;
    let (Some(user), Some(credential)) = (request.user, request.credential.clone()) else {
        return Err(rows::UNAUTHORIZED.answer());
    };
    let id = project.id;
    let mut params = request.params.clone();
    params.retain(|name, _| !SECRET_PARAMS.contains(&name.as_str()));
    let order = Order {
        project: id,
        user,
        git_ref,
        source: Source::Api,
        variables,
        payload: None,
        inputs,
        keeps_failures: false,
        at: request.call.at,
        call: request.call.number,
        credential,
        params,
        upstream: None,
        schedule: None,
    };
    match chain::create(world, order) {
        Made::Created(pipeline) => {
            let project = &world.projects[&id];
            let row = if dropped { &rows::INPUTS_DROPPED } else { &rows::CREATED };
            Ok(row.entity(&world.pipeline_entity(project, &project.pipelines[&pipeline])))
        }
        Made::Failed(_, reason) => Err(rows::CREATE_CONFIG_ERROR.filled(&reason)),
        Made::Refused(answer) => Err(answer),
    }
}

fn asked<'r>(request: &'r Request<'_>) -> Result<(&'r str, Vec<Variable>), Answer> {
    let git_ref = request.text("ref").ok_or_else(|| rows::CREATE_REF_MISSING.answer())?;
    let invalid = || rows::CREATE_VARIABLES_INVALID.answer();
    let variables = match request.params.get("variables") {
        None | Some(Value::Null) => &Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(invalid()),
    };
    let variable = |item: &Value| {
        let item: &Map<String, Value> = item.as_object().ok_or_else(invalid)?;
        let text = |name: &str| match item.get(name) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        let kind = match item.get("variable_type").map(|kind| kind.as_str().unwrap_or_default()) {
            None | Some("env_var") => VariableType::EnvVar,
            Some("file") => VariableType::File,
            Some(_) => return Err(rows::CREATE_TYPE_INVALID.answer()),
        };
        Ok(Variable::new(kind, &text("key"), text("value")))
    };
    Ok((git_ref, variables.iter().map(variable).collect::<Result<_, _>>()?))
}

/// `GET /projects/:id/pipelines`.
pub(super) fn list(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let filter = Filter::of(world, request)?;
    let project = auth::project(world, request)?;
    auth::may_read_pipelines(project, request)?;
    let id = project.id;
    world.settled(id, request.call.at);
    let project = &world.projects[&id];
    let newest_of_refs = filter.newest_of_refs(project);
    let fits =
        |p: &&Pipeline| filter.fits(p) && newest_of_refs.as_ref().is_none_or(|newest| newest.contains(&p.id));
    let (found, total) = match filter.order {
        SortBy::Id if filter.ascending => page.cut(project.pipelines.values().filter(fits)),
        SortBy::Id => page.cut(project.pipelines.values().rev().filter(fits)),
        order => {
            let mut sorted: Vec<&Pipeline> = project.pipelines.values().filter(fits).collect();
            sorted.sort_by(|a, b| order.compare(a, b));
            if !filter.ascending {
                sorted.reverse();
            }
            page.cut(sorted.into_iter())
        }
    };
    let items = found.into_iter().map(|p| world.pipeline_item(project, p)).collect();
    let row = if world.version.tells_names() { &rows::PIPELINES } else { &rows::PIPELINES_OLD };
    Ok(page.head(row.entity(&Value::Array(items)), world, request, total))
}

/// `GET /projects/:id/pipeline_schedules/:schedule_id/pipelines`: the oldest first, unless asked otherwise.
pub(super) fn of_schedule(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let filter = Filter::of(world, request)?;
    let (project, schedule) = schedules::find(world, request)?;
    world.settled(project, request.call.at);
    let project = &world.projects[&project];
    let fits = |p: &&Pipeline| p.schedule == Some(schedule.id) && filter.fits(p);
    let descending = request.text("sort") == Some("desc");
    let (found, total) = match descending {
        true => page.cut(project.pipelines.values().rev().filter(fits)),
        false => page.cut(project.pipelines.values().filter(fits)),
    };
    let items = found.into_iter().map(|p| world.pipeline_basic(project, p)).collect();
    Ok(page.head(rows::SCHEDULE_PIPELINES.entity(&Value::Array(items)), world, request, total))
}

/// `GET /projects/:id/pipelines/latest`: of the ref's head commit, and 403 when there is none.
pub(super) fn latest(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let project = auth::project(world, request)?;
    auth::may_read_pipelines(project, request)?;
    let git_ref = request.text("ref").unwrap_or(&project.settings.default_branch).to_owned();
    let id = project.id;
    world.settled(id, request.call.at);
    let project = &world.projects[&id];
    let head = project.head(&git_ref);
    let newest = project
        .pipelines
        .values()
        .rev()
        .find(|p| p.git_ref == git_ref && Some(&p.sha) == head && p.source != Source::ParentPipeline);
    let newest = newest.ok_or_else(|| rows::LATEST_NONE.answer())?;
    let row = if world.version.tells_names() { &rows::PIPELINE_LATEST } else { &rows::PIPELINE_LATEST_OLD };
    Ok(row.entity(&world.pipeline_single(project, newest)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SortBy {
    Id,
    Status,
    Ref,
    UpdatedAt,
    UserId,
}

impl SortBy {
    fn compare(self, a: &Pipeline, b: &Pipeline) -> std::cmp::Ordering {
        match self {
            Self::Id => a.id.cmp(&b.id),
            Self::Status => a.status.as_str().cmp(b.status.as_str()),
            Self::Ref => a.git_ref.cmp(&b.git_ref),
            Self::UpdatedAt => a.updated_at.cmp(&b.updated_at),
            Self::UserId => a.user.cmp(&b.user),
        }
        .then(a.id.cmp(&b.id))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Statuses(&'static [Status]),
    Branches,
    Tags,
}

#[derive(Debug)]
struct Filter {
    scope: Option<Scope>,
    status: Option<Status>,
    source: Option<Source>,
    git_ref: Option<String>,
    sha: Option<String>,
    name: Option<String>,
    yaml_errors: Option<bool>,
    /// The inner none: no such user, so nothing fits.
    user: Option<Option<u64>>,
    updated: Span,
    created: Span,
    order: SortBy,
    ascending: bool,
}

#[derive(Debug, Default)]
struct Span {
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Span {
    fn of(request: &Request<'_>, after: &'static str, before: &'static str) -> Result<Self, Answer> {
        let read = |name: &'static str| parsed(request, name, |text| text.parse().ok());
        Ok(Self { after: read(after)?, before: read(before)? })
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.after.is_none_or(|after| at > after) && self.before.is_none_or(|before| at < before)
    }
}

/// A parameter that is absent, or has a value of its set.
fn parsed<T>(
    request: &Request<'_>,
    name: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Answer> {
    let Some(text) = request.text(name) else { return Ok(None) };
    read(text).map(Some).ok_or_else(|| rows::FILTER_INVALID.filled(name))
}

impl Filter {
    fn of(world: &World, request: &Request<'_>) -> Result<Self, Answer> {
        let text = |name: &str| request.text(name).map(str::to_owned);
        let scope = |text: &str| match text {
            "running" => Some(Scope::Statuses(&[Status::Running])),
            "pending" => Some(Scope::Statuses(&[Status::Pending])),
            "finished" => Some(Scope::Statuses(&[Status::Success, Status::Failed, Status::Canceled])),
            "branches" => Some(Scope::Branches),
            "tags" => Some(Scope::Tags),
            _ => None,
        };
        let order = |text: &str| match text {
            "id" => Some(SortBy::Id),
            "status" => Some(SortBy::Status),
            "ref" => Some(SortBy::Ref),
            "updated_at" => Some(SortBy::UpdatedAt),
            "user_id" => Some(SortBy::UserId),
            _ => None,
        };
        let ascending = |text: &str| match text {
            "asc" => Some(true),
            "desc" => Some(false),
            _ => None,
        };
        let mut created = match world.version.filters_by_creation() {
            true => Span::of(request, "created_after", "created_before")?,
            false => Span::default(),
        };
        if let Some(lag) = request.list_lag {
            let visible = request.call.at - lag;
            created.before = Some(created.before.map_or(visible, |before| before.min(visible)));
        }
        Ok(Self {
            scope: parsed(request, "scope", scope)?,
            status: parsed(request, "status", Status::parse)?,
            source: parsed(request, "source", Source::parse)?,
            git_ref: text("ref"),
            sha: text("sha"),
            name: text("name").filter(|_| world.version.filters_by_name()),
            yaml_errors: parsed(request, "yaml_errors", |text| text.parse().ok())?,
            user: request.text("username").map(|name| world.user_by_name(name).map(|user| user.id)),
            updated: Span::of(request, "updated_after", "updated_before")?,
            created,
            order: parsed(request, "order_by", order)?.unwrap_or(SortBy::Id),
            ascending: parsed(request, "sort", ascending)?.unwrap_or(false),
        })
    }

    fn fits(&self, p: &Pipeline) -> bool {
        let Self { scope, status, source, git_ref, sha, name, yaml_errors, user, updated, created, .. } =
            self;
        let child = p.source == Source::ParentPipeline;
        let in_scope = match scope {
            None => true,
            Some(Scope::Statuses(statuses)) => statuses.contains(&p.status),
            Some(Scope::Branches) => !p.tag,
            Some(Scope::Tags) => p.tag,
        };
        in_scope
            && (!child || *source == Some(Source::ParentPipeline))
            && status.is_none_or(|status| status == p.status)
            && source.is_none_or(|source| source == p.source)
            && git_ref.as_ref().is_none_or(|name| *name == p.git_ref)
            && sha.as_ref().is_none_or(|sha| *sha == p.sha)
            && name.as_ref().is_none_or(|name| Some(name) == p.name.as_ref())
            && yaml_errors.is_none_or(|wanted| wanted == p.yaml_errors.is_some())
            && user.is_none_or(|user| user == Some(p.user))
            && updated.holds(p.updated_at)
            && created.holds(p.created_at)
    }

    /// With `scope=branches` or `tags`, only the newest pipeline of each ref that fits.
    fn newest_of_refs(&self, project: &Project) -> Option<HashSet<u64>> {
        if !matches!(self.scope, Some(Scope::Branches | Scope::Tags)) {
            return None;
        }
        let mut seen = HashSet::new();
        let newest = project.pipelines.values().rev().filter(|p| self.fits(p) && seen.insert(&p.git_ref));
        Some(newest.map(|p| p.id).collect())
    }
}
