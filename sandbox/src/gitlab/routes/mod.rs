//! The routes, in one table: name, method, template, what the caller needs, and who answers.
//! Fault rules, limits and the ledger speak of routes by these names.

mod artifacts;
mod branches;
mod commits;
mod files;
mod instance;
mod jobs;
mod merge_requests;
mod pipeline;
mod pipelines;
mod projects;
mod schedule_variables;
mod schedules;
mod trigger;

use jiff::SignedDuration;

use super::{
    auth::{self, Access, Identity},
    call::Call,
    ledger::Credential,
    params::{self, Params},
    row::{Answer, Row},
    rows,
    state::{Named, World},
    version::Version,
};

pub(crate) struct Route {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    /// Below `/api/v4`; `:x` is one segment, `*x` one or more.
    pub(crate) template: &'static str,
    access: Access,
    handler: Handler,
    since: Version,
}

type Handler = fn(&mut World, &Request<'_>) -> Result<Answer, Answer>;

const fn route(
    name: &'static str,
    method: &'static str,
    template: &'static str,
    access: Access,
    handler: Handler,
) -> Route {
    Route { name, method, template, access, handler, since: Version::new(15, 0) }
}

impl Route {
    /// Before this version there is no such route.
    const fn since(self, major: u8, minor: u8) -> Self {
        Self { since: Version::new(major, minor), ..self }
    }
}

/// A template that is another's special case stands before it.
#[rustfmt::skip]
pub(crate) static ALL: &[Route] = &[
    route("trigger", "POST", "/projects/:id/trigger/pipeline", Access::Open, trigger::create),
    route("trigger", "POST", "/projects/:id/ref/*ref/trigger/pipeline", Access::Open, trigger::create),
    route("create", "POST", "/projects/:id/pipeline", Access::Write, pipelines::create),
    route("pipelines", "GET", "/projects/:id/pipelines", Access::Public, pipelines::list),
    route("latest", "GET", "/projects/:id/pipelines/latest", Access::Public, pipelines::latest),
    route("pipeline", "GET", "/projects/:id/pipelines/:pipeline_id", Access::Public, pipeline::show),
    route("delete", "DELETE", "/projects/:id/pipelines/:pipeline_id", Access::Write, pipeline::delete),
    route("variables", "GET", "/projects/:id/pipelines/:pipeline_id/variables", Access::Public, pipeline::variables),
    route("test_report_summary", "GET", "/projects/:id/pipelines/:pipeline_id/test_report_summary", Access::Public, pipeline::test_report_summary),
    route("test_report", "GET", "/projects/:id/pipelines/:pipeline_id/test_report", Access::Public, pipeline::test_report),
    route("cancel", "POST", "/projects/:id/pipelines/:pipeline_id/cancel", Access::Write, pipeline::cancel),
    route("retry", "POST", "/projects/:id/pipelines/:pipeline_id/retry", Access::Write, pipeline::retry),
    route("rename", "PUT", "/projects/:id/pipelines/:pipeline_id/metadata", Access::Write, pipeline::rename).since(16, 6),
    route("jobs", "GET", "/projects/:id/pipelines/:pipeline_id/jobs", Access::SignedIn, jobs::list),
    route("bridges", "GET", "/projects/:id/pipelines/:pipeline_id/bridges", Access::SignedIn, jobs::bridges),
    route("job", "GET", "/projects/:id/jobs/:job_id", Access::SignedIn, jobs::show),
    route("job_retry", "POST", "/projects/:id/jobs/:job_id/retry", Access::Write, jobs::retry),
    route("job_play", "POST", "/projects/:id/jobs/:job_id/play", Access::Write, jobs::play),
    route("job_cancel", "POST", "/projects/:id/jobs/:job_id/cancel", Access::Write, jobs::cancel),
    route("artifact_of_ref", "GET", "/projects/:id/jobs/artifacts/:ref/raw/*path", Access::Public, artifacts::of_ref),
    route("artifact", "GET", "/projects/:id/jobs/:job_id/artifacts/*path", Access::Public, artifacts::of_job),
    route("schedules", "GET", "/projects/:id/pipeline_schedules", Access::SignedIn, schedules::list),
    route("schedule_create", "POST", "/projects/:id/pipeline_schedules", Access::Write, schedules::create),
    route("schedule", "GET", "/projects/:id/pipeline_schedules/:schedule_id", Access::SignedIn, schedules::show),
    route("schedule_update", "PUT", "/projects/:id/pipeline_schedules/:schedule_id", Access::Write, schedules::update),
    route("schedule_delete", "DELETE", "/projects/:id/pipeline_schedules/:schedule_id", Access::Write, schedules::delete),
    route("schedule_take", "POST", "/projects/:id/pipeline_schedules/:schedule_id/take_ownership", Access::Write, schedules::take_ownership),
    route("schedule_play", "POST", "/projects/:id/pipeline_schedules/:schedule_id/play", Access::Write, schedules::play),
    route("schedule_pipelines", "GET", "/projects/:id/pipeline_schedules/:schedule_id/pipelines", Access::SignedIn, pipelines::of_schedule),
    route("schedule_variable_create", "POST", "/projects/:id/pipeline_schedules/:schedule_id/variables", Access::Write, schedule_variables::create),
    route("schedule_variable", "GET", "/projects/:id/pipeline_schedules/:schedule_id/variables/:key", Access::SignedIn, schedule_variables::show),
    route("schedule_variable_update", "PUT", "/projects/:id/pipeline_schedules/:schedule_id/variables/:key", Access::Write, schedule_variables::update),
    route("schedule_variable_delete", "DELETE", "/projects/:id/pipeline_schedules/:schedule_id/variables/:key", Access::Write, schedule_variables::delete),
    route("branches", "GET", "/projects/:id/repository/branches", Access::Public, branches::list),
    route("branch_create", "POST", "/projects/:id/repository/branches", Access::Write, branches::create),
    route("branch", "GET", "/projects/:id/repository/branches/*branch", Access::Public, branches::show),
    route("branch_delete", "DELETE", "/projects/:id/repository/branches/*branch", Access::Write, branches::delete),
    route("file_raw", "GET", "/projects/:id/repository/files/:file_path/raw", Access::Code, files::raw),
    route("file", "GET", "/projects/:id/repository/files/:file_path", Access::Code, files::show),
    route("file_head", "HEAD", "/projects/:id/repository/files/:file_path", Access::Code, files::head),
    route("file_create", "POST", "/projects/:id/repository/files/:file_path", Access::Write, files::create),
    route("file_update", "PUT", "/projects/:id/repository/files/:file_path", Access::Write, files::update),
    route("file_delete", "DELETE", "/projects/:id/repository/files/:file_path", Access::Write, files::delete),
    route("commits", "GET", "/projects/:id/repository/commits", Access::Public, commits::list),
    route("commit_create", "POST", "/projects/:id/repository/commits", Access::Write, commits::create),
    route("commit", "GET", "/projects/:id/repository/commits/:sha", Access::Public, commits::show),
    route("compare", "GET", "/projects/:id/repository/compare", Access::Public, commits::compare),
    route("merge_requests", "GET", "/projects/:id/merge_requests", Access::Public, merge_requests::list),
    route("merge_request_create", "POST", "/projects/:id/merge_requests", Access::Write, merge_requests::create),
    route("merge_request", "GET", "/projects/:id/merge_requests/:merge_request_iid", Access::Public, merge_requests::show),
    route("merge_request_update", "PUT", "/projects/:id/merge_requests/:merge_request_iid", Access::Write, merge_requests::update),
    route("merge", "PUT", "/projects/:id/merge_requests/:merge_request_iid/merge", Access::Write, merge_requests::merge),
    route("merge_disarm", "POST", "/projects/:id/merge_requests/:merge_request_iid/cancel_merge_when_pipeline_succeeds", Access::Write, merge_requests::disarm),
    route("users", "GET", "/users", Access::SignedIn, merge_requests::users),
    route("project", "GET", "/projects/:id", Access::Public, projects::show),
    route("version", "GET", "/version", Access::Oneself, instance::version),
    route("metadata", "GET", "/metadata", Access::Oneself, instance::metadata),
    route("user", "GET", "/user", Access::Oneself, instance::user),
];

/// Where artifacts lie; no part of the API, nor, to the caller, of this host.
static STORAGE: Route = route(
    "object_storage",
    "GET",
    "/-/object-storage/:project/:pipeline/:job/*path",
    Access::Open,
    artifacts::stored,
);

/// A call that found its route, with everything read from it.
pub(crate) struct Request<'a> {
    pub(crate) call: &'a Call,
    pub(crate) route: &'static Route,
    pub(crate) args: Vec<(&'static str, String)>,
    pub(crate) params: Params,
    pub(crate) user: Option<u64>,
    pub(crate) credential: Option<Credential>,
    /// Pipelines younger than this are left out of the list.
    pub(crate) list_lag: Option<SignedDuration>,
}

impl Request<'_> {
    /// A path argument, decoded.
    pub(crate) fn arg(&self, name: &str) -> &str {
        self.args.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// A text parameter; other types are not text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name)?.as_str()
    }
}

/// Where a call leads.
pub(crate) enum Match {
    Route(&'static Route, Vec<(&'static str, String)>),
    OtherMethod,
    ApiV3,
    Nothing,
    OutsideApi,
}

pub(crate) fn find(call: &Call, version: Version) -> Match {
    let Some(path) = call.path.strip_prefix("/api/v4") else {
        let segments: Vec<&str> = call.path.split('/').skip(1).collect();
        if let Some(args) = fit(STORAGE.template, &segments).filter(|_| call.method == STORAGE.method) {
            return Match::Route(&STORAGE, args);
        }
        return if call.path.starts_with("/api/v3/") { Match::ApiV3 } else { Match::OutsideApi };
    };
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let fitting = |route: &&Route| route.since <= version && fit(route.template, &segments).is_some();
    match ALL.iter().filter(fitting).find(|route| call.method == route.method) {
        Some(route) => Match::Route(route, fit(route.template, &segments).unwrap_or_default()),
        None if ALL.iter().any(|route| fitting(&route)) => Match::OtherMethod,
        None => Match::Nothing,
    }
}

fn fit(template: &'static str, segments: &[&str]) -> Option<Vec<(&'static str, String)>> {
    let parts: Vec<&'static str> = template.split('/').skip(1).collect();
    let spare = segments.len().checked_sub(parts.len())?;
    let mut args = Vec::new();
    let mut at = 0;
    for part in parts {
        let takes = if part.starts_with('*') { spare + 1 } else { 1 };
        let taken = segments[at..at + takes].join("/");
        at += takes;
        match part.strip_prefix([':', '*']) {
            Some(_) if taken.is_empty() => return None,
            Some(name) => args.push((name, params::decoded(&taken))),
            None if part == taken => {}
            None => return None,
        }
    }
    (at == segments.len()).then_some(args)
}

/// GitLab's answer to a call, without faults.
pub(crate) fn answer(world: &mut World, call: &Call, list_lag: Option<SignedDuration>) -> Answered {
    let found = find(call, world.version);
    let access = if let Match::Route(route, _) = &found { route.access } else { Access::Open };
    let identity = match access {
        Access::Open => Identity { credential: None, user: Ok(None) },
        Access::Public | Access::Code | Access::SignedIn | Access::Oneself | Access::Write => {
            auth::identify(world, call)
        }
    };
    let Identity { mut credential, user } = identity;
    let elsewhere = matches!(&found, Match::Route(route, _) if route.name == STORAGE.name);
    let entered = match elsewhere {
        true => Ok(Vec::new()),
        false => world.limiter.enter(user.ok().flatten(), call.peer, call.at),
    };
    let announced = match entered {
        Ok(announced) => announced,
        Err(answer) => return Answered { answer, credential },
    };
    let mut answer = match found {
        Match::Route(route, args) => routed(world, call, (route, args), user, &mut credential, list_lag),
        Match::OtherMethod => Err(rows::METHOD_NOT_ALLOWED.answer()),
        Match::ApiV3 => Err(rows::API_V3_GONE.answer()),
        Match::Nothing => Err(rows::NOT_ROUTED.answer()),
        Match::OutsideApi => Err(rows::SITE_NOT_FOUND.answer()),
    }
    .unwrap_or_else(|refusal| refusal);
    if world.version.announces_limits() {
        answer.headers.extend(announced);
    }
    Answered { answer, credential }
}

/// An answer, and whose call it was.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) credential: Option<Credential>,
}

fn routed(
    world: &mut World,
    call: &Call,
    (route, args): (&'static Route, Vec<(&'static str, String)>),
    user: Result<Option<u64>, &'static Row>,
    credential: &mut Option<Credential>,
    list_lag: Option<SignedDuration>,
) -> Result<Answer, Answer> {
    let user = user.map_err(Row::answer)?;
    auth::admit(world, call, route.access, user)?;
    let mut params = params::of(call).map_err(|row| match route.name {
        // This route's body is read by a parser of its own.
        "commit_create" if row.name == rows::BODY_NOT_JSON.name => rows::COMMIT_NOT_JSON.answer(),
        _ => row.answer(),
    })?;
    // Path arguments win over body and query.
    params.extend(args.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())));
    if route.access == Access::Open {
        *credential = trigger::credential(world, &params);
    }
    let who = user.map_or_else(|| call.peer.to_string(), |user| user.to_string());
    world.limiter.application(route.name, who, call.at)?;
    let request = Request { call, route, args, params, user, credential: credential.clone(), list_lag };
    if let Some(Named::Current(project) | Named::Moved(project)) = world.named(request.arg("id")) {
        world.refresh(project)?;
    }
    (route.handler)(world, &request)
}

/// The trigger token among the parameters, by name.
pub(crate) fn trigger_credential(world: &World, params: &Params) -> Option<Credential> {
    trigger::credential(world, params)
}
