//! `POST /projects/:id/trigger/pipeline`, with the ref in the path or in the parameters. The token is a
//! parameter; nobody is authenticated, and the pipeline runs as the token's owner or, for a job token, as the
//! job's user.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Request;
use crate::gitlab::{
    auth,
    call::SECRET_PARAMS,
    chain::{self, Made, Order},
    ledger::Credential,
    params::Params,
    pipeline::{Source, Variable, VariableType},
    row::{Answer, Body, Row},
    rows,
    seed::JobState,
    state::{JobToken, Named, TriggerToken, World},
};

pub(super) fn create(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let Request { call, params, .. } = request;
    let Asked { git_ref, token, variables, inputs } = validate(params, world.version.has_inputs())?;
    if call.header("x-gitlab-event") == Some("Pipeline Hook") {
        return Err(rows::TRIGGER_LOOP.answer());
    }
    let variables = variables
        .iter()
        .map(|(key, value)| match value {
            Value::String(value) => Ok(Variable::new(VariableType::EnvVar, key, value.clone())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(rows::TRIGGER_VARIABLES_NOT_STRINGS.answer())
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    // A former path still finds the project here; no redirect.
    let (Named::Current(id) | Named::Moved(id)) =
        world.named(request.arg("id")).ok_or_else(|| rows::TRIGGER_PROJECT_NOT_FOUND.answer())?;
    let (user, source, credential) = bearer(world, id, &token, call.at).map_err(Row::answer)?;
    let dropped = params.contains_key("inputs") && !world.version.has_inputs();
    let open = open(params);
    let payload = Value::Object(open.clone()).to_string();
    let order = Order {
        project: id,
        user,
        git_ref: &git_ref,
        source,
        variables,
        payload: Some(Variable::new(VariableType::File, "TRIGGER_PAYLOAD", payload)),
        inputs,
        keeps_failures: true,
        at: call.at,
        call: call.number,
        credential,
        params: open,
        upstream: None,
        schedule: None,
    };
    let (row, pipeline) = match chain::create(world, order) {
        Made::Created(pipeline) if dropped => (&rows::INPUTS_DROPPED, pipeline),
        Made::Created(pipeline) => (&rows::TRIGGER_CREATED, pipeline),
        Made::Failed(_, reason) if world.version.failed_trigger_is_422() => {
            return Err(rows::TRIGGER_STORED_FAILED.filled(&reason));
        }
        Made::Failed(pipeline, _) => (&rows::TRIGGER_STORED_FAILED_OLD, pipeline),
        Made::Refused(answer) => return Err(answer),
    };
    let project = &world.projects[&id];
    Ok(row.entity(&world.pipeline_entity(project, &project.pipelines[&pipeline])))
}

/// As whom the pipeline runs, and from what source: a trigger token of this project, else a job token.
fn bearer(
    world: &World,
    project: u64,
    token: &str,
    now: Timestamp,
) -> Result<(u64, Source, Credential), &'static Row> {
    let project = &world.projects[&project];
    if let Some(TriggerToken { credential, owner, expires_at }) = project.triggers.get(token) {
        return match expires_at {
            Some(end) if *end <= now => Err(&rows::TRIGGER_TOKEN_EXPIRED),
            Some(_) | None => Ok((*owner, Source::Trigger, credential.clone())),
        };
    }
    let JobToken { credential, user, state } =
        world.job_tokens.get(token).ok_or(&rows::TRIGGER_TOKEN_UNKNOWN)?;
    match state {
        JobState::Running if auth::visible(project, Some(*user)) => {
            Ok((*user, Source::Pipeline, credential.clone()))
        }
        JobState::Running => Err(&rows::TRIGGER_JOB_SEES_NOTHING),
        JobState::Finished => Err(&rows::TRIGGER_JOB_NOT_RUNNING),
        JobState::Erased => Err(&rows::TRIGGER_JOB_ERASED),
        JobState::ProjectDeleted => Err(&rows::TRIGGER_JOB_PROJECT_DELETED),
        JobState::Expired => Err(&rows::TRIGGER_JOB_TOKEN_EXPIRED),
    }
}

/// The token a call carries, by name, if it is anybody's.
pub(super) fn credential(world: &World, params: &Params) -> Option<Credential> {
    let token = params.get("token")?.as_str()?;
    let trigger = world.projects.values().find_map(|project| project.triggers.get(token));
    let trigger = trigger.map(|trigger| &trigger.credential);
    trigger.or_else(|| world.job_tokens.get(token).map(|job| &job.credential)).cloned()
}

struct Asked {
    git_ref: String,
    token: String,
    variables: Map<String, Value>,
    inputs: Map<String, Value>,
}

/// Grape's validation: all complaints at once, in the order the parameters are declared.
fn validate(params: &Params, has_inputs: bool) -> Result<Asked, Answer> {
    let mut wrong: Vec<&'static Row> = Vec::new();
    let text = |name: &str| match params.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let mut map = |name: &str, row: &'static Row| match params.get(name) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map.clone(),
        Some(_) => {
            wrong.push(row);
            Map::new()
        }
    };
    let variables = map("variables", &rows::TRIGGER_VARIABLES_INVALID);
    // What a version does not know it does not check either.
    let inputs = if has_inputs { map("inputs", &rows::TRIGGER_INPUTS_INVALID) } else { Map::new() };
    let (git_ref, token) = (text("ref"), text("token"));
    if token.is_none() {
        wrong.insert(0, &rows::TRIGGER_TOKEN_MISSING);
    }
    match &git_ref {
        None => wrong.insert(0, &rows::TRIGGER_REF_MISSING),
        Some(name) if name.trim().is_empty() => wrong.insert(0, &rows::TRIGGER_REF_EMPTY),
        Some(_) => {}
    }
    match (wrong.as_slice(), git_ref, token) {
        ([], Some(git_ref), Some(token)) => Ok(Asked { git_ref, token, variables, inputs }),
        ([one], ..) => Err(one.answer()),
        (several, ..) => {
            let words: Vec<&str> = several.iter().map(|row| words(row)).collect();
            Err(rows::TRIGGER_SEVERAL_INVALID.filled(&words.join(", ")))
        }
    }
}

fn words(row: &Row) -> &'static str {
    if let Body::Error(text) = row.body { text } else { row.name }
}

/// The parameters without credentials: what becomes `TRIGGER_PAYLOAD`.
fn open(params: &Params) -> Params {
    let mut open = params.clone();
    open.retain(|name, _| !SECRET_PARAMS.contains(&name.as_str()));
    open
}
