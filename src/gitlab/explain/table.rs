//! The table: from route, status and distinctive words to what they mean and what to do.

use pipekick_core::domain::Reason;

use super::Call;

/// What follows from a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    Refuse,
    /// Come back in a minute.
    Minute,
    /// Come back when the next minute begins on GitLab's clock: its limiter counts by the minute.
    NextMinute,
}

pub(super) struct Row {
    pub(super) calls: &'static [Call],
    pub(super) status: u16,
    /// Words that must all occur; alternatives. Empty: whatever the text is.
    pub(super) words: &'static [&'static [&'static str]],
    pub(super) reason: Reason,
    pub(super) then: Then,
    /// With `{answer}`, `{project}` and `{ref}`.
    pub(super) says: &'static str,
}

const TRIGGER: &[Call] = &[Call::FireTrigger];
const ACCESS: &[Call] = &[Call::FireAccess];
pub(super) const FIRE: &[Call] = &[Call::FireTrigger, Call::FireAccess];
const READ: &[Call] = &[
    Call::Pipelines,
    Call::Pipeline,
    Call::Variables,
    Call::Jobs,
    Call::Bridges,
    Call::TestSummary,
    Call::Branches,
    Call::Schedules,
    Call::Schedule,
    Call::Version,
    Call::User,
];
const OF_PIPELINE: &[Call] = &[
    Call::Pipeline,
    Call::Variables,
    Call::Jobs,
    Call::Bridges,
    Call::TestSummary,
    Call::Cancel,
    Call::RetryPipeline,
    Call::DeletePipeline,
    Call::NamePipeline,
];
const ACT: &[Call] = &[Call::Cancel, Call::RetryPipeline, Call::NamePipeline];
/// Sets what a schedule is.
const WRITE_SCHEDULE: &[Call] = &[Call::CreateSchedule, Call::UpdateSchedule];
const SCHEDULE_VARIABLE: &[Call] =
    &[Call::AddScheduleVariable, Call::SetScheduleVariable, Call::RemoveScheduleVariable];
const OF_SCHEDULE: &[Call] = &[
    Call::Schedule,
    Call::UpdateSchedule,
    Call::TakeSchedule,
    Call::DeleteSchedule,
    Call::AddScheduleVariable,
    Call::SetScheduleVariable,
    Call::RemoveScheduleVariable,
];
const WRITE: &[Call] = &[
    Call::FireTrigger,
    Call::FireAccess,
    Call::Cancel,
    Call::RetryPipeline,
    Call::DeletePipeline,
    Call::NamePipeline,
    Call::CreateSchedule,
    Call::UpdateSchedule,
    Call::TakeSchedule,
    Call::DeleteSchedule,
    Call::AddScheduleVariable,
    Call::SetScheduleVariable,
    Call::RemoveScheduleVariable,
];
const ANY: &[Call] = &[
    Call::FireTrigger,
    Call::FireAccess,
    Call::Pipelines,
    Call::Pipeline,
    Call::Variables,
    Call::Jobs,
    Call::Bridges,
    Call::TestSummary,
    Call::Cancel,
    Call::RetryPipeline,
    Call::DeletePipeline,
    Call::NamePipeline,
    Call::Branches,
    Call::Schedules,
    Call::Schedule,
    Call::CreateSchedule,
    Call::UpdateSchedule,
    Call::TakeSchedule,
    Call::DeleteSchedule,
    Call::AddScheduleVariable,
    Call::SetScheduleVariable,
    Call::RemoveScheduleVariable,
    Call::Version,
    Call::User,
];

/// The first row that fits is taken. What it says: GitLab's words, what they mean, what to do.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    // 400: the chain that makes a pipeline stopped, and nothing was stored.
    Row { calls: FIRE, status: 400, words: &[&["too many pipelines"]], reason: Reason::RateLimited, then: Then::NextMinute,
          says: "{answer}: the limit of pipelines per minute (for one user, project and commit) is used up. It is sent again when the next minute begins." },
    Row { calls: FIRE, status: 400, words: &[&["gitaly"]], reason: Reason::RateLimited, then: Then::Minute,
          says: "{answer}: GitLab's repository storage is overloaded and no pipeline was made. It is sent again in a minute." },
    Row { calls: FIRE, status: 400, words: &[&["reference not found"]], reason: Reason::RefNotFound, then: Then::Refuse,
          says: "{answer}: no branch or tag \"{ref}\" in project {project}. Push it, or correct the ref." },
    Row { calls: FIRE, status: 400, words: &[&["ambiguous"]], reason: Reason::Refused, then: Then::Refuse,
          says: "{answer}: \"{ref}\" is both a branch and a tag in project {project}. Write refs/heads/… or refs/tags/…." },
    Row { calls: FIRE, status: 400, words: &[&["permission to run a pipeline on"]], reason: Reason::RefProtected, then: Then::Refuse,
          says: "{answer}: \"{ref}\" is protected in project {project}, and the user whom the token acts for may neither push nor merge to it. Allow that user, or use a token of one who may." },
    Row { calls: TRIGGER, status: 400, words: &[&["set pipeline variables"]], reason: Reason::VariablesRefused, then: Then::Refuse,
          says: "{answer}: project {project} does not let the trigger token's owner set pipeline variables, and GitLab adds one (TRIGGER_PAYLOAD) to every trigger call, even one without variables. Lower \"Minimum role to use pipeline variables\" (Settings, CI/CD, Variables), use a trigger token of a user with a higher role, or fire with an access token and no variables." },
    Row { calls: ACCESS, status: 400, words: &[&["set pipeline variables"]], reason: Reason::VariablesRefused, then: Then::Refuse,
          says: "{answer}: project {project} does not let the access token's user set pipeline variables. Remove the variables, lower \"Minimum role to use pipeline variables\" (Settings, CI/CD, Variables), or use a token with a higher role." },
    Row { calls: FIRE, status: 400, words: &[&["pipeline did not run"], &["filtered out by workflow rules"]], reason: Reason::NoJobs, then: Then::Refuse,
          says: "{answer}: workflow:rules of project {project} on \"{ref}\" let no such pipeline run. Rules can tell it by $CI_PIPELINE_SOURCE: \"trigger\" for a trigger token, \"api\" for an access token." },
    Row { calls: FIRE, status: 400, words: &[&["would have been empty"], &["will not run for the selected trigger"], &["no stages / jobs"]], reason: Reason::NoJobs, then: Then::Refuse,
          says: "{answer}: no job's rules of project {project} on \"{ref}\" let it run. Rules can tell it by $CI_PIPELINE_SOURCE: \"trigger\" for a trigger token, \"api\" for an access token." },
    Row { calls: FIRE, status: 400, words: &[&["missing ci config"], &["missing .gitlab-ci.yml"]], reason: Reason::NoCiConfig, then: Then::Refuse,
          says: "{answer}: project {project} has no CI configuration on \"{ref}\". Add a .gitlab-ci.yml there, or correct the ref." },
    Row { calls: FIRE, status: 400, words: &[&["permissions to create a new pipeline"]], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the user whom the token acts for may not start pipelines in project {project}. Developer is the least role that may." },
    Row { calls: FIRE, status: 400, words: &[&["pipelines are disabled"]], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: CI/CD is switched off in project {project}. Switch it on (Settings, General, Visibility)." },
    // 405: GitLab lets nothing but GET through to a project's old path.
    Row { calls: FIRE, status: 405, words: &[], reason: Reason::ProjectNotFound, then: Then::Refuse,
        says: "{answer}: project {project} was renamed or moved. Write its new path, or its numeric id, which stays." },
    Row { calls: FIRE, status: 400, words: &[&["project is deleted"]], reason: Reason::ProjectNotFound, then: Then::Refuse,
          says: "{answer}: project {project} is being deleted." },

    // 400: a schedule that GitLab does not take.
    Row { calls: &[Call::CreateSchedule], status: 400, words: &[&["maximum number of", "schedules"]], reason: Reason::Refused, then: Then::Refuse,
          says: "{answer}: project {project} has as many pipeline schedules as GitLab allows one. Delete some there, or have the limit raised." },
    Row { calls: WRITE_SCHEDULE, status: 400, words: &[&["ambiguous"]], reason: Reason::RefNotFound, then: Then::Refuse,
          says: "{answer}: the ref is no branch or tag of project {project}, or it is both. Correct it, or write refs/heads/… or refs/tags/…." },
    Row { calls: WRITE_SCHEDULE, status: 400, words: &[&["not authorized to"]], reason: Reason::RefProtected, then: Then::Refuse,
          says: "{answer}: the ref is protected in project {project}, and the user whom the token acts for may neither push nor merge to it. Allow that user, or use a token of one who may." },

    // 401: who are you?
    Row { calls: TRIGGER, status: 401, words: &[], reason: Reason::Unauthorized, then: Then::Refuse,
          says: "{answer}: the trigger token is taken for a CI job's token, which is good only while its job runs. Use a pipeline trigger token (Settings, CI/CD, Pipeline trigger tokens)." },
    Row { calls: ANY, status: 401, words: &[&["expired"]], reason: Reason::Unauthorized, then: Then::Refuse,
          says: "{answer}: the access token has expired. Put a new one into the Secret." },
    Row { calls: ANY, status: 401, words: &[&["revoked"]], reason: Reason::Unauthorized, then: Then::Refuse,
          says: "{answer}: the access token was revoked. Put a new one into the Secret." },
    Row { calls: ANY, status: 401, words: &[], reason: Reason::Unauthorized, then: Then::Refuse,
          says: "{answer}: GitLab does not accept the access token: mistyped, expired, revoked, or its user is blocked. Put a valid one into the Secret." },

    // 403: you may not.
    Row { calls: WRITE, status: 403, words: &[&["read-only"], &["read only"]], reason: Reason::ReadOnly, then: Then::Minute,
          says: "{answer}: GitLab is read-only, as it is during maintenance. It is tried again in a minute." },
    Row { calls: READ, status: 403, words: &[&["insufficient_scope"]], reason: Reason::InsufficientScope, then: Then::Refuse,
          says: "{answer}: the access token lacks the scope read_api (or api). Scopes cannot be added: make a new token." },
    Row { calls: ANY, status: 403, words: &[&["insufficient_scope"]], reason: Reason::InsufficientScope, then: Then::Refuse,
          says: "{answer}: the access token lacks the scope api. Scopes cannot be added: make a new token." },
    Row { calls: FIRE, status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the user whom the token acts for may not start pipelines in project {project}. Developer is the least role that may." },
    Row { calls: &[Call::Variables], status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not read the variables of pipelines in project {project}. A Maintainer may, and the user who started the pipeline." },
    Row { calls: ACT, status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not cancel, retry or name this pipeline of project {project}. Developer is the least role that may, with the right to push to its ref if that is protected." },
    Row { calls: &[Call::DeletePipeline], status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not delete pipelines in project {project}. Only an Owner may." },
    Row { calls: &[Call::Branches], status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not read the code of project {project}. Reporter is the least role that may." },
    Row { calls: &[Call::CreateSchedule], status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not create pipeline schedules in project {project}. Developer is the least role that may." },
    Row { calls: &[Call::UpdateSchedule], status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: only its owner may change a pipeline schedule, and the access token acts for somebody else. A Maintainer can take it over." },
    Row { calls: &[Call::TakeSchedule, Call::DeleteSchedule], status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may neither take nor delete this pipeline schedule of project {project}. Its owner and Maintainers may." },
    Row { calls: SCHEDULE_VARIABLE, status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not set variables of this pipeline schedule. Its owner may, if \"Minimum role to use pipeline variables\" of project {project} (Settings, CI/CD, Variables) lets them." },
    Row { calls: READ, status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not read pipelines in project {project}. Reporter is the least role that may." },

    // 404: not there, or not for you.
    Row { calls: TRIGGER, status: 404, words: &[], reason: Reason::NotFoundByTrigger, then: Then::Refuse,
          says: "GitLab answered 404 to the trigger token: the token is not known to this project (mistyped, revoked, expired or of another project), or project {project} does not exist. GitLab does not say which." },
    Row { calls: OF_PIPELINE, status: 404, words: &[&["project"]], reason: Reason::ProjectNotFound, then: Then::Refuse,
          says: "{answer}: project {project} does not exist any more, or the access token may no longer see it." },
    Row { calls: &[Call::NamePipeline], status: 404, words: &[], reason: Reason::Refused, then: Then::Refuse,
          says: "{answer}: the pipeline is not in project {project} any more, or this GitLab is older than 16.6, which gave pipelines no names through its API." },
    Row { calls: OF_PIPELINE, status: 404, words: &[], reason: Reason::PipelineGone, then: Then::Refuse,
          says: "{answer}: the pipeline is not in project {project} any more." },
    Row { calls: OF_SCHEDULE, status: 404, words: &[&["pipeline schedule"]], reason: Reason::Refused, then: Then::Refuse,
          says: "{answer}: the pipeline schedule, or its variable, is not in project {project} any more." },
    Row { calls: ANY, status: 404, words: &[], reason: Reason::ProjectNotFound, then: Then::Refuse,
          says: "{answer}: project {project} does not exist, or the access token may not see it." },
];
