//! The variables of a pipeline schedule, one call each. Who may set them is a matter of the project's least role
//! for pipeline variables, too.

use serde_json::{Value, json};

use super::{Request, schedules};
use crate::gitlab::{
    auth,
    pipeline::{Variable, VariableType},
    row::Answer,
    rows,
    schedules::Schedule,
    state::World,
};

/// In characters.
const LONGEST_KEY: usize = 255;

pub(super) fn create(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let asked = asked(request, true)?;
    let schedule = changeable(world, request, schedules::may_update)?;
    let key = request.text("key").unwrap_or_default().to_owned();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(rows::SCHEDULE_VARIABLE_KEY.answer());
    }
    if key.len() > LONGEST_KEY {
        return Err(rows::SCHEDULE_VARIABLE_KEY_LONG.answer());
    }
    if schedule.variables.iter().any(|variable| variable.key == key) {
        return Err(rows::SCHEDULE_VARIABLE_TAKEN.answer());
    }
    let value = asked.value.unwrap_or_default();
    let variable = Variable::new(asked.kind.unwrap_or_default(), &key, value);
    let answer = rows::SCHEDULE_VARIABLE_CREATED.entity(&json!(variable));
    schedule.variables.push(variable);
    Ok(answer)
}

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, schedule) = schedules::find(world, request)?;
    auth::allow(schedules::may_admin(&world.projects[&project], request, &schedule))?;
    let variable = schedule.variables.iter().find(|variable| variable.key == request.arg("key"));
    let variable = variable.ok_or_else(|| rows::SCHEDULE_VARIABLE_NOT_FOUND.answer())?;
    Ok(rows::SCHEDULE_VARIABLE_SHOWN.entity(&json!(variable)))
}

pub(super) fn update(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let Asked { value, kind } = asked(request, false)?;
    let schedule = changeable(world, request, schedules::may_update)?;
    let at = position(schedule, request)?;
    let variable = &mut schedule.variables[at];
    variable.value = value.unwrap_or_else(|| variable.value.clone());
    variable.variable_type = kind.unwrap_or(variable.variable_type);
    Ok(rows::SCHEDULE_VARIABLE_UPDATED.entity(&json!(variable)))
}

/// 202, with what it was.
pub(super) fn delete(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let schedule = changeable(world, request, schedules::may_admin)?;
    let at = position(schedule, request)?;
    Ok(rows::SCHEDULE_VARIABLE_DELETED.entity(&json!(schedule.variables.remove(at))))
}

type May = fn(&crate::gitlab::state::Project, &Request<'_>, &Schedule) -> bool;

/// The schedule, if the caller may set variables here and do this to it.
fn changeable<'w>(world: &'w mut World, request: &Request<'_>, may: May) -> Result<&'w mut Schedule, Answer> {
    let project = auth::project(world, request)?;
    let role = auth::role(project, request);
    auth::allow(role.is_some_and(|role| project.settings.variables_role.allows(role)))?;
    let (project, schedule) = schedules::find(world, request)?;
    auth::allow(may(&world.projects[&project], request, &schedule))?;
    world.schedules.all.get_mut(&schedule.id).ok_or_else(|| rows::SCHEDULE_NOT_FOUND.answer())
}

fn position(schedule: &Schedule, request: &Request<'_>) -> Result<usize, Answer> {
    let found = schedule.variables.iter().position(|variable| variable.key == request.arg("key"));
    found.ok_or_else(|| rows::SCHEDULE_VARIABLE_NOT_FOUND.answer())
}

struct Asked {
    value: Option<String>,
    kind: Option<VariableType>,
}

fn asked(request: &Request<'_>, creates: bool) -> Result<Asked, Answer> {
    let value = match request.params.get("value") {
        Some(Value::String(text)) => Some(text.clone()),
        None | Some(Value::Null) => None,
        Some(other) => Some(other.to_string()),
    };
    let mut wrong = Vec::new();
    wrong.extend((creates && request.text("key").is_none()).then_some("key is missing"));
    wrong.extend((creates && value.is_none()).then_some("value is missing"));
    let kind = match request.text("variable_type") {
        None => None,
        Some("env_var") => Some(VariableType::EnvVar),
        Some("file") => Some(VariableType::File),
        Some(_) => {
            wrong.push("variable_type does not have a valid value");
            None
        }
    };
    if wrong.is_empty() {
        Ok(Asked { value, kind })
    } else {
        Err(rows::SCHEDULE_PARAMETER.filled(&wrong.join(", ")))
    }
}
