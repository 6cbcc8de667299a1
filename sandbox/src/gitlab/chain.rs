//! The creation of a pipeline: GitLab's chain of steps, in its order, for both create routes.
//!
//! ```text
//! abilities → repository → variables → rate limit → config → workflow rules → size → jobs → stored
//! ```
//!
//! A step that fails refuses with a row. Some failures are kept as a failed pipeline, if the caller asked for it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Map;

use super::{
    inputs,
    ledger::{self, Credential, PipelineRecord},
    params::Params,
    pipeline::{Phase, Pipeline, Source, Status, Variable},
    plant::playable,
    row::Answer,
    rows,
    script::Play,
    seed::{Ci, Role},
    state::{Project, World},
};

/// What is to be created.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) project: u64,
    /// As whom it runs.
    pub(crate) user: u64,
    pub(crate) git_ref: &'a str,
    pub(crate) source: Source,
    pub(crate) variables: Vec<Variable>,
    /// Added by GitLab itself; counts as a variable, save where a project exempts it.
    pub(crate) payload: Option<Variable>,
    pub(crate) inputs: Map<String, serde_json::Value>,
    /// Failures become failed pipelines.
    pub(crate) keeps_failures: bool,
    pub(crate) at: Timestamp,
    pub(crate) call: u64,
    pub(crate) credential: Credential,
    /// The request, without credentials.
    pub(crate) params: Params,
    /// The bridge that makes it, if one does.
    pub(crate) upstream: Option<Upstream>,
    /// The schedule that makes it, if one does.
    pub(crate) schedule: Option<u64>,
}

/// The bridge that makes a pipeline.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) pipeline: u64,
    pub(crate) depth: u8,
    /// In place of the project's script.
    pub(crate) play: Option<Play>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Made {
    Created(u64),
    /// A failed pipeline is stored, for this reason.
    Failed(u64, String),
    /// Nothing is stored.
    Refused(Answer),
}

/// A step's refusal.
enum Stop {
    Refuse(Answer),
    /// Kept as a failed pipeline if the caller asked for it.
    Fail(String),
}

/// Where the pipeline will run.
struct Place {
    git_ref: String,
    sha: String,
    tag: bool,
}

pub(crate) fn create(world: &mut World, order: Order<'_>) -> Made {
    let place = match locate(world, &order) {
        Ok(place) => place,
        Err(answer) => return Made::Refused(answer),
    };
    match judge(world, &order, &place) {
        Ok(()) => Made::Created(store(world, order, place, None)),
        Err(Stop::Refuse(answer)) => Made::Refused(answer),
        Err(Stop::Fail(reason)) if order.keeps_failures => {
            Made::Failed(store(world, order, place, Some(reason.clone())), reason)
        }
        Err(Stop::Fail(reason)) => Made::Refused(rows::CREATE_CONFIG_ERROR.filled(&reason)),
    }
}

/// Abilities, then the repository: permission is judged before the ref exists.
fn locate(world: &World, order: &Order<'_>) -> Result<Place, Answer> {
    let project = &world.projects[&order.project];
    if !project.settings.pipelines_enabled {
        return Err(rows::CHAIN_PIPELINES_DISABLED.answer());
    }
    let blocked = world.users.get(&order.user).is_none_or(|user| user.blocked);
    if blocked || project.role(order.user) < Some(Role::Developer) {
        return Err(rows::CHAIN_NO_PERMISSION.answer());
    }
    let name = order.git_ref.strip_prefix("refs/heads/").or_else(|| order.git_ref.strip_prefix("refs/tags/"));
    let name = name.unwrap_or(order.git_ref);
    if !project.may_update(order.user, name) {
        return Err(rows::CHAIN_REF_PROTECTED.filled(&without_tags(name)));
    }
    let branch = project.settings.branches.get(name).filter(|_| !order.git_ref.starts_with("refs/tags/"));
    let tag = project.settings.tags.get(name).filter(|_| !order.git_ref.starts_with("refs/heads/"));
    let (sha, is_tag) = match (branch, tag) {
        (Some(_), Some(_)) => return Err(rows::CHAIN_REF_AMBIGUOUS.answer()),
        (Some(sha), None) => (sha, false),
        (None, Some(sha)) => (sha, true),
        (None, None) => return Err(rows::CHAIN_REF_NOT_FOUND.answer()),
    };
    Ok(Place { git_ref: name.to_owned(), sha: sha.clone(), tag: is_tag })
}

/// Every later step up to the jobs.
fn judge(world: &mut World, order: &Order<'_>, place: &Place) -> Result<(), Stop> {
    let refuse = |answer| Err(Stop::Refuse(answer));
    let Order { project, user, variables, payload, .. } = order;
    let settings = &world.projects[project].settings;
    let role = world.projects[project].role(*user).unwrap_or(Role::Guest);
    // A schedule's variables stay the schedule's: the pipeline has none of its own.
    let given = !variables.is_empty() && order.schedule.is_none();
    let counted = given || (payload.is_some() && !settings.payload_exempt);
    if counted && !settings.variables_role.allows(role) {
        return refuse(rows::CHAIN_VARIABLES_RESTRICTED.answer());
    }
    if let Some(reason) = duplicates(variables.iter().chain(payload)) {
        return Err(Stop::Fail(reason));
    }
    // Child pipelines are exempt.
    let limited = order.source != Source::ParentPipeline;
    if limited && !world.limiter.may_create(*project, *user, &place.sha, order.at) {
        return refuse(rows::CHAIN_RATE_LIMITED.answer());
    }
    let settings = &world.projects[project].settings;
    if settings.ci == Ci::Missing {
        return refuse(rows::CHAIN_CI_MISSING.answer());
    }
    if let Ci::Invalid(text) = &settings.ci {
        return Err(Stop::Fail(without_tags(text)));
    }
    inputs::check(&settings.inputs, &order.inputs).map_err(Stop::Fail)?;
    match &settings.ci {
        Ci::Filtered if world.version.failed_trigger_is_422() => {
            return refuse(rows::CHAIN_FILTERED.answer());
        }
        Ci::Filtered => return refuse(rows::CHAIN_FILTERED_OLD.answer()),
        Ci::TooLarge => return Err(Stop::Fail("The number of jobs has exceeded the limit of 500.".into())),
        Ci::Empty => return refuse(rows::CHAIN_EMPTY.answer()),
        Ci::Valid | Ci::Missing | Ci::Invalid(_) => {}
    }
    match variables.iter().find(|variable| !is_word(&variable.key)) {
        Some(_) => refuse(rows::CHAIN_BAD_KEY.filled("Validation failed: Variables key is invalid")),
        None => Ok(()),
    }
}

fn store(world: &mut World, order: Order<'_>, place: Place, failure: Option<String>) -> u64 {
    let Order {
        project, user, source, mut variables, payload, at, call, credential, params, schedule, ..
    } = order;
    variables.extend(payload);
    let (above, depth, play) = match order.upstream {
        Some(Upstream { pipeline, depth, play }) => (Some(pipeline), depth + 1, play),
        None => (None, 0, None),
    };
    let id = world.next_pipeline();
    let username = world.users.get(&user).map(|user| user.username.clone()).unwrap_or_default();
    let Some((project, new_job_id)) = world.with_job_ids(project) else { return id };
    project.created += 1;
    let Place { git_ref, sha, tag } = place;
    let born = if failure.is_some() { Status::Failed } else { Status::Created };
    let mut pipeline = Pipeline {
        id,
        iid: project.created,
        sha,
        git_ref,
        tag,
        source,
        user,
        name: name(project, &variables),
        yaml_errors: failure,
        play: play.map_or_else(|| choose(project, &variables), |play| Arc::new(playable(play))),
        depth,
        schedule,
        variables: if schedule.is_some() { Vec::new() } else { variables.clone() },
        status: born,
        created_at: at,
        updated_at: at,
        started_at: None,
        finished_at: (born == Status::Failed).then_some(at),
        phase: Phase::Still,
        jobs: Vec::new(),
    };
    if born == Status::Failed {
        drop(new_job_id);
    } else {
        pipeline.begin(new_job_id);
    }
    project.watch(id);
    let record = PipelineRecord {
        id,
        iid: pipeline.iid,
        project_id: project.id,
        project: project.path.clone(),
        git_ref: pipeline.git_ref.clone(),
        sha: pipeline.sha.clone(),
        source,
        at,
        user: username,
        credential,
        call,
        fire_id: ledger::fire_id(&params, &variables),
        params,
        variables,
        born,
        upstream: above,
        schedule,
    };
    let bridges = pipeline.jobs.iter().any(|job| pipeline.is_bridge(job));
    project.pipelines.insert(id, pipeline);
    if bridges {
        world.bridging.insert((record.project_id, id));
    }
    world.ledger.created(record);
    id
}

fn choose(project: &Project, variables: &[Variable]) -> Arc<Play> {
    let fits = project.settings.script.iter().find(|play| play.fits(project.created, variables));
    fits.cloned().unwrap_or_else(|| Arc::new(playable(Play::default())))
}

/// `workflow:name` with its `$NAME`s replaced.
fn name(project: &Project, variables: &[Variable]) -> Option<String> {
    let mut name = project.settings.workflow_name.clone()?;
    for variable in variables {
        name = name.replace(&format!("${}", variable.key), &variable.value);
    }
    Some(name)
}

fn duplicates<'a>(variables: impl Iterator<Item = &'a Variable>) -> Option<String> {
    let mut keys: Vec<&str> = variables.map(|variable| variable.key.as_str()).collect();
    keys.sort_unstable();
    let mut twice: Vec<&str> =
        keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    twice.dedup();
    match twice.as_slice() {
        [] => None,
        [one] => Some(format!("Duplicate variable name: {one}")),
        several => Some(format!("Duplicate variable names: {}", several.join(", "))),
    }
}

fn is_word(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Chain messages pass a sanitizer: tags vanish, what is left is escaped.
fn without_tags(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        kept.push_str(before);
        match tag.split_once('>') {
            Some((_, after)) => rest = after,
            None => return (kept + "<" + tag).replace('&', "&amp;").replace('<', "&lt;"),
        }
    }
    (kept + rest).replace('&', "&amp;")
}
