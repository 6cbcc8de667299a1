//! Pipeline schedules: list, show, create, update, take, delete, play. Their variables have calls of their own.
//!
//! Everybody who reads pipelines reads them. A Developer creates them; only the owner changes one; the owner and
//! Maintainers delete it, take it, and see its variables.

use serde_json::{Map, Value};

use super::Request;
use crate::gitlab::{
    auth,
    cron::{self, Cron},
    page::Page,
    row::{Answer, Row},
    rows,
    schedules::Schedule,
    seed::Role,
    state::{Project, World},
};

pub(super) fn list(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let active = match request.text("scope") {
        None => None,
        Some("active") => Some(true),
        Some("inactive") => Some(false),
        Some(_) => return Err(rows::FILTER_INVALID.filled("scope")),
    };
    let project = auth::project(world, request)?;
    auth::may_read_pipelines(project, request)?;
    let fits = |schedule: &&Schedule| active.is_none_or(|active| schedule.active == active);
    let (found, total) = page.cut(world.schedules.of(project.id).filter(fits));
    let items = found.into_iter().map(|schedule| world.schedule_entity(schedule)).collect();
    Ok(page.head(rows::SCHEDULES.entity(&Value::Array(items)), world, request, total))
}

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, schedule) = find(world, request)?;
    Ok(details(world, request, &rows::SCHEDULE_SHOWN, project, &schedule))
}

pub(super) fn create(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let asked = Asked::of(world, request, true)?;
    let project = auth::project(world, request)?;
    auth::allow(auth::role(project, request) >= Some(Role::Developer))?;
    let owner = request.user.ok_or_else(|| rows::UNAUTHORIZED.answer())?;
    let (project, now) = (project.id, request.call.at);
    let mut schedule = Schedule {
        id: 0,
        project,
        description: String::new(),
        git_ref: String::new(),
        cron: String::new(),
        cron_timezone: "UTC".into(),
        active: true,
        owner,
        variables: Vec::new(),
        inputs: Map::new(),
        next_run_at: None,
        created_at: now,
        updated_at: now,
    };
    asked.write(&mut schedule);
    validate(world, &mut schedule)?;
    schedule.id = world.next_schedule();
    world.schedules.save(schedule.clone(), now);
    let saved = &world.schedules.all[&schedule.id];
    Ok(details(world, request, &rows::SCHEDULE_CREATED, project, saved))
}

pub(super) fn update(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let asked = Asked::of(world, request, false)?;
    let (project, mut schedule) = find(world, request)?;
    auth::allow(may_update(&world.projects[&project], request, &schedule))?;
    asked.write(&mut schedule);
    validate(world, &mut schedule)?;
    let id = schedule.id;
    world.schedules.save(schedule, request.call.at);
    Ok(details(world, request, &rows::SCHEDULE_UPDATED, project, &world.schedules.all[&id]))
}

/// 201, or 200 for who owns it already.
pub(super) fn take_ownership(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, mut schedule) = find(world, request)?;
    auth::allow(may_admin(&world.projects[&project], request, &schedule))?;
    if request.user == Some(schedule.owner) {
        return Ok(details(world, request, &rows::SCHEDULE_OWNED, project, &schedule));
    }
    let id = schedule.id;
    schedule.owner = request.user.unwrap_or(schedule.owner);
    world.schedules.save(schedule, request.call.at);
    Ok(details(world, request, &rows::SCHEDULE_TAKEN, project, &world.schedules.all[&id]))
}

/// Its pipelines stay.
pub(super) fn delete(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, schedule) = find(world, request)?;
    auth::allow(may_admin(&world.projects[&project], request, &schedule))?;
    world.schedules.all.remove(&schedule.id);
    let pipelines = world.projects.get_mut(&project).into_iter().flat_map(|p| p.pipelines.values_mut());
    for pipeline in pipelines.filter(|pipeline| pipeline.schedule == Some(schedule.id)) {
        pipeline.schedule = None;
    }
    Ok(rows::SCHEDULE_DELETED.answer())
}

/// The answer names no pipeline: there is none yet.
pub(super) fn play(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, schedule) = find(world, request)?;
    let project = &world.projects[&project];
    let may_push = request.user.is_some_and(|user| project.may_update(user, short(&schedule.git_ref)));
    auth::allow(may_push && auth::role(project, request) >= Some(Role::Developer))?;
    if let Some(user) = request.user {
        world.schedules.play(schedule.id, user, request.call.at);
    }
    Ok(rows::SCHEDULE_PLAYED.answer())
}

/// The project's id and the schedule a request names, if the caller may read it; its pipelines are up to date.
pub(super) fn find(world: &mut World, request: &Request<'_>) -> Result<(u64, Schedule), Answer> {
    let project = auth::project(world, request)?.id;
    world.settled(project, request.call.at);
    let project = &world.projects[&project];
    let id: Option<u64> = request.arg("schedule_id").parse().ok();
    let schedule = id.and_then(|id| world.schedules.all.get(&id)).filter(|s| s.project == project.id);
    let readable = schedule.filter(|_| auth::may_read_pipelines(project, request).is_ok());
    readable.map(|found| (project.id, found.clone())).ok_or_else(|| rows::SCHEDULE_NOT_FOUND.answer())
}

pub(super) fn may_update(project: &Project, request: &Request<'_>, schedule: &Schedule) -> bool {
    request.user == Some(schedule.owner) && auth::role(project, request) >= Some(Role::Developer)
}

/// To delete or take it, and to see its variables.
pub(super) fn may_admin(project: &Project, request: &Request<'_>, schedule: &Schedule) -> bool {
    auth::role(project, request) >= Some(Role::Maintainer) || may_update(project, request, schedule)
}

fn details(
    world: &World,
    request: &Request<'_>,
    row: &'static Row,
    project: u64,
    schedule: &Schedule,
) -> Answer {
    let shows_variables = may_admin(&world.projects[&project], request, schedule);
    row.entity(&world.schedule_details(schedule, shows_variables))
}

fn short(git_ref: &str) -> &str {
    git_ref.strip_prefix("refs/heads/").or_else(|| git_ref.strip_prefix("refs/tags/")).unwrap_or(git_ref)
}

/// What a request says of a schedule.
struct Asked {
    description: Option<String>,
    git_ref: Option<String>,
    cron: Option<String>,
    cron_timezone: Option<String>,
    active: Option<bool>,
    /// A value, or none to take the input away.
    inputs: Vec<(String, Option<Value>)>,
}

impl Asked {
    /// Grape's check: all complaints at once.
    fn of(world: &World, request: &Request<'_>, creates: bool) -> Result<Self, Answer> {
        let mut wrong = Vec::new();
        let mut text = |name: &str, required: bool| match request.params.get(name) {
            None | Some(Value::Null) => {
                wrong.extend((required && creates).then(|| format!("{name} is missing")));
                None
            }
            Some(Value::String(text)) => Some(text.clone()),
            Some(scalar @ (Value::Bool(_) | Value::Number(_))) => Some(scalar.to_string()),
            Some(Value::Array(_) | Value::Object(_)) => {
                wrong.push(format!("{name} is invalid"));
                None
            }
        };
        let description = text("description", true);
        let git_ref = text("ref", true);
        let cron = text("cron", true);
        let cron_timezone = text("cron_timezone", false);
        let active = text("active", false);
        let blank = creates && git_ref.as_ref().is_some_and(|name| name.trim().is_empty());
        wrong.extend(blank.then(|| "ref is empty".to_owned()));
        let active = active.and_then(|text| match text.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => {
                wrong.push("active is invalid".into());
                None
            }
        });
        let given = request.params.get("inputs").filter(|_| world.version.has_inputs());
        let inputs = inputs(given, creates, &mut wrong);
        if !wrong.is_empty() {
            return Err(rows::SCHEDULE_PARAMETER.filled(&wrong.join(", ")));
        }
        Ok(Self { description, git_ref, cron, cron_timezone, active, inputs })
    }

    fn write(self, schedule: &mut Schedule) {
        let Self { description, git_ref, cron, cron_timezone, active, inputs } = self;
        let set = |field: &mut String, value: Option<String>| {
            if let Some(value) = value {
                *field = value;
            }
        };
        set(&mut schedule.description, description);
        set(&mut schedule.git_ref, git_ref);
        set(&mut schedule.cron, cron.map(|cron| cron.trim().to_owned()));
        set(&mut schedule.cron_timezone, cron_timezone);
        schedule.active = active.unwrap_or(schedule.active);
        for (name, value) in inputs {
            match value {
                Some(value) => schedule.inputs.insert(name, value),
                None => schedule.inputs.remove(&name),
            };
        }
    }
}

/// `[{"name": …, "value": …}]`; an update may say `destroy` in place of a value.
fn inputs(given: Option<&Value>, creates: bool, wrong: &mut Vec<String>) -> Vec<(String, Option<Value>)> {
    let items = match given {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => {
            wrong.push("inputs is invalid".into());
            return Vec::new();
        }
    };
    let mut inputs = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let name = item.get("name").and_then(Value::as_str);
        let destroy = !creates && item.get("destroy") == Some(&Value::Bool(true));
        let value = item.get("value").filter(|value| !value.is_null() && !value.is_object());
        match (name, value) {
            (None, _) => wrong.push(format!("inputs[{at}][name] is missing")),
            (Some(name), _) if destroy => inputs.push((name.to_owned(), None)),
            (Some(_), None) => wrong.push(format!("inputs[{at}][value] is missing")),
            (Some(name), Some(value)) => inputs.push((name.to_owned(), Some(value.clone()))),
        }
    }
    inputs
}

/// The service's checks and the model's. A short ref is expanded.
fn validate(world: &World, schedule: &mut Schedule) -> Result<(), Answer> {
    let project = &world.projects[&schedule.project];
    let creates = schedule.id == 0;
    if !project.may_update(schedule.owner, short(&schedule.git_ref)) {
        return Err(rows::SCHEDULE_NOT_AUTHORIZED.filled(if creates { "create" } else { "update" }));
    }
    schedule.git_ref =
        project.full_ref(&schedule.git_ref).ok_or_else(|| rows::SCHEDULE_REF_AMBIGUOUS.answer())?;
    let mut wrong: Vec<&'static Row> = Vec::new();
    if Cron::parse(&schedule.cron, jiff::tz::TimeZone::UTC).is_none() {
        wrong.push(&rows::SCHEDULE_CRON_INVALID);
    }
    if cron::zone(&schedule.cron_timezone).is_none() {
        wrong.push(&rows::SCHEDULE_ZONE_INVALID);
    }
    if schedule.description.trim().is_empty() {
        wrong.push(&rows::SCHEDULE_DESCRIPTION_BLANK);
    }
    let full = world.schedules.full(schedule.project).filter(|_| creates);
    let full = full.map(|most| rows::SCHEDULE_LIMIT.filled(&most.to_string()));
    all_of(wrong.into_iter().map(Row::answer).chain(full))
}

/// A model tells of all its faults at once, by attribute.
fn all_of(faults: impl Iterator<Item = Answer>) -> Result<(), Answer> {
    let joined = faults.reduce(|mut first, other| {
        let mut body: Value = serde_json::from_slice(&first.body).unwrap_or_default();
        let other: Value = serde_json::from_slice(&other.body).unwrap_or_default();
        if let (Some(body), Some(other)) = (body["message"].as_object_mut(), other["message"].as_object()) {
            body.extend(other.clone());
        }
        first.body = body.to_string().into_bytes();
        first
    });
    joined.map_or(Ok(()), Err)
}
