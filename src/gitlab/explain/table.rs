//! The table: from request and what came back to what it means and what to do. The first row that fits is taken.

use pipekick_core::domain::Reason;

use super::Call;
use crate::gitlab::wire::Shape;

/// What came back from a request, or what kept it from being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came<'a> {
    /// An answer in GitLab's words.
    Said { status: u16, shape: Shape, text: &'a str },
    /// An answer whose body is not GitLab's: a proxy's page, a sign-in form.
    Foreign { status: u16 },
    /// Nothing was sent, and this is why.
    NotSent { why: &'a str },
}

/// What of it a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// This status, in GitLab's words.
    Said(u16),
    /// The same, from the limiter that counts one route's calls.
    Limiter(u16),
    /// These statuses, in GitLab's words.
    SaidFrom(u16, u16),
    /// This status, whatever came with it.
    Status(u16),
    /// These statuses, with a body that is not GitLab's.
    Foreign(u16, u16),
    /// Nothing was sent.
    NotSent,
    /// It was sent, or may have been, and no answer came: there is nothing to read, and the row is for people only.
    Lost,
}

/// What follows from a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// GitLab did nothing, and will not until something is changed.
    Refuse,
    /// Come back in a minute.
    Minute,
    /// Come back when the next minute begins on GitLab's clock: its limiter counts by the minute.
    NextMinute,
    /// Come back when GitLab says, or in a minute.
    Asked,
    /// A pipeline exists that failed before any job ran.
    FailedAtBirth,
    /// It says nothing of what was done.
    Unclear,
    /// Nothing left this process.
    NotSent,
}

pub(super) struct Row {
    pub(super) calls: &'static [Call],
    pub(super) on: On,
    /// Words that must all occur, in any case; alternatives. Empty: whatever the text is.
    pub(super) words: &'static [&'static [&'static str]],
    /// What users see, word by word, of today's GitLab and of older ones.
    pub(super) seen: &'static [&'static str],
    pub(super) reason: Reason,
    pub(super) then: Then,
    /// What it means, with `{project}`, `{ref}` and `{host}`. Without a full stop, for it may follow a colon.
    pub(super) means: &'static str,
    /// What to do about it, in sentences.
    pub(super) help: &'static str,
}

const TRIGGER: &[Call] = &[Call::FireTrigger];
const ACCESS: &[Call] = &[Call::FireAccess];
pub(super) const FIRE: &[Call] = &[Call::FireTrigger, Call::FireAccess];
pub(super) const READ: &[Call] = &[
    Call::Pipelines,
    Call::Pipeline,
    Call::Variables,
    Call::Jobs,
    Call::Bridges,
    Call::TestSummary,
    Call::Project,
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
pub(super) const ANY: &[Call] = &[
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
    Call::Project,
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

#[rustfmt::skip]
pub(super) static TABLE: &[Row] = &[
    // 400: the chain that makes a pipeline stopped, and nothing was stored.
    Row { calls: FIRE, on: On::Said(400), words: &[&["too many pipelines"]],
          seen: &["Too many pipelines created in the last minute. Try again later."],
          reason: Reason::RateLimited, then: Then::NextMinute,
          means: "the limit of pipelines per minute (for one user, project and commit) is used up",
          help: "It is sent again when the next minute begins." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["gitaly"]],
          seen: &["Upstream Gitaly has been exhausted. Try again later."],
          reason: Reason::RateLimited, then: Then::Minute,
          means: "GitLab's repository storage is overloaded and no pipeline was made",
          help: "It is sent again in a minute." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["reference not found"]],
          seen: &["Reference not found"],
          reason: Reason::RefNotFound, then: Then::Refuse,
          means: "no branch or tag \"{ref}\" in project {project}",
          help: "Push it, or correct the ref." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["ambiguous"]],
          seen: &["Ref is ambiguous"],
          reason: Reason::Refused, then: Then::Refuse,
          means: "\"{ref}\" is both a branch and a tag in project {project}",
          help: "Write refs/heads/… or refs/tags/…." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["permission to run a pipeline on"]],
          seen: &["You do not have sufficient permission to run a pipeline on 'main'. Please select a different branch or contact your administrator for assistance."],
          reason: Reason::RefProtected, then: Then::Refuse,
          means: "\"{ref}\" is protected in project {project}, and the user whom the token acts for may neither push nor merge to it",
          help: "Allow that user, or use a token of one who may." },
    Row { calls: TRIGGER, on: On::Said(400), words: &[&["set pipeline variables"]],
          seen: &["Insufficient permissions to set pipeline variables"],
          reason: Reason::VariablesRefused, then: Then::Refuse,
          means: "project {project} does not let the trigger token's owner set pipeline variables, and GitLab adds one (TRIGGER_PAYLOAD) to every trigger call, even one without variables",
          help: "Lower \"Minimum role to use pipeline variables\" (Settings, CI/CD, Variables), use a trigger token of a user with a higher role, or fire with an access token and no variables." },
    Row { calls: ACCESS, on: On::Said(400), words: &[&["set pipeline variables"]],
          seen: &["Insufficient permissions to set pipeline variables"],
          reason: Reason::VariablesRefused, then: Then::Refuse,
          means: "project {project} does not let the access token's user set pipeline variables",
          help: "Remove the variables, lower \"Minimum role to use pipeline variables\" (Settings, CI/CD, Variables), or use a token with a higher role." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["pipeline did not run"], &["filtered out by workflow rules"]],
          seen: &["The pipeline did not run. Review the workflow:rules configuration for the pipeline.", "Pipeline filtered out by workflow rules."],
          reason: Reason::NoJobs, then: Then::Refuse,
          means: "workflow:rules of project {project} on \"{ref}\" let no such pipeline run",
          help: "Rules can tell it by $CI_PIPELINE_SOURCE: \"trigger\" for a trigger token, \"api\" for an access token." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["would have been empty"], &["will not run for the selected trigger"], &["no stages / jobs"]],
          seen: &["The resulting pipeline would have been empty. Review the rules configuration for the relevant jobs.",
                  "Pipeline will not run for the selected trigger. The rules configuration prevented any jobs from being added to the pipeline.",
                  "No stages / jobs for this pipeline."],
          reason: Reason::NoJobs, then: Then::Refuse,
          means: "no job's rules of project {project} on \"{ref}\" let it run",
          help: "Rules can tell it by $CI_PIPELINE_SOURCE: \"trigger\" for a trigger token, \"api\" for an access token." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["missing ci config"], &["missing .gitlab-ci.yml"]],
          seen: &["Missing CI config file", "Missing .gitlab-ci.yml file"],
          reason: Reason::NoCiConfig, then: Then::Refuse,
          means: "project {project} has no CI configuration on \"{ref}\"",
          help: "Add a .gitlab-ci.yml there, or correct the ref." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["permissions to create a new pipeline"]],
          seen: &["Insufficient permissions to create a new pipeline"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the user whom the token acts for may not start pipelines in project {project}",
          help: "Developer is the least role that may." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["pipelines are disabled"]],
          seen: &["Pipelines are disabled!"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "CI/CD is switched off in project {project}",
          help: "Switch it on (Settings, General, Visibility)." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["project is deleted"]],
          seen: &["Project is deleted!"],
          reason: Reason::ProjectNotFound, then: Then::Refuse,
          means: "project {project} is being deleted",
          help: "Restore it in GitLab, or name another." },
    Row { calls: FIRE, on: On::Said(400), words: &[&["failed to persist the pipeline"]],
          seen: &["Failed to persist the pipeline: Variables key can contain only letters, digits and '_'."],
          reason: Reason::Refused, then: Then::Refuse,
          means: "GitLab could not store the pipeline; its words say what of it was wrong",
          help: "Correct that part of the spec." },
    Row { calls: ACCESS, on: On::Said(400), words: &[&["config"], &["yaml"], &["syntax"], &["duplicate variable"]],
          seen: &["jobs:build config contains unknown keys: scirpt", "Duplicate variable name: REGION"],
          reason: Reason::Refused, then: Then::Refuse,
          means: "the CI configuration of project {project} on \"{ref}\" is invalid, or does not go with what was sent; with an access token GitLab stores no pipeline then",
          help: "Correct it; the CI lint of the project (Build, Pipeline editor) shows the same." },
    Row { calls: TRIGGER, on: On::Said(422), words: &[],
          seen: &["jobs:build config contains unknown keys: scirpt", "Duplicate variable name: TRIGGER_PAYLOAD"],
          reason: Reason::PipelineFailedAtBirth, then: Then::FailedAtBirth,
          means: "GitLab stored a pipeline that failed before any job ran: the CI configuration is invalid, or a limit of its size was met",
          help: "Mend what GitLab names, then ask for a new run. With an access token the failed pipeline is linked in status." },
    // GitLab lets nothing but GET through to a project's old path.
    Row { calls: FIRE, on: On::Said(405), words: &[],
          seen: &["405 Method Not Allowed - Non GET methods are not allowed for moved projects"],
          reason: Reason::ProjectNotFound, then: Then::Refuse,
          means: "project {project} was renamed or moved",
          help: "Write its new path, or its numeric id, which stays." },

    // 400: a schedule that GitLab does not take.
    Row { calls: &[Call::CreateSchedule], on: On::Said(400), words: &[&["maximum number of", "schedules"]],
          seen: &["Maximum number of pipeline schedules (10) exceeded"],
          reason: Reason::Refused, then: Then::Refuse,
          means: "project {project} has as many pipeline schedules as GitLab allows one",
          help: "Delete some there, or have the limit raised." },
    Row { calls: WRITE_SCHEDULE, on: On::Said(400), words: &[&["ambiguous"]],
          seen: &["Ref is ambiguous"],
          reason: Reason::RefNotFound, then: Then::Refuse,
          means: "the ref is no branch or tag of project {project}, or it is both",
          help: "Correct it, or write refs/heads/… or refs/tags/…." },
    Row { calls: WRITE_SCHEDULE, on: On::Said(400), words: &[&["not authorized to"]],
          seen: &["The current user is not authorized to set pipeline schedule variables"],
          reason: Reason::RefProtected, then: Then::Refuse,
          means: "the ref is protected in project {project}, and the user whom the token acts for may neither push nor merge to it",
          help: "Allow that user, or use a token of one who may." },

    // 401: who are you?
    Row { calls: TRIGGER, on: On::Said(401), words: &[],
          seen: &["Job is not running", "Job has been erased!", "Job token has expired"],
          reason: Reason::Unauthorized, then: Then::Refuse,
          means: "the trigger token is taken for a CI job's token, which is good only while its job runs",
          help: "Use a pipeline trigger token (Settings, CI/CD, Pipeline trigger tokens)." },
    Row { calls: ANY, on: On::Said(401), words: &[&["expired"]],
          seen: &["invalid_token: Token is expired. You can either do re-authorization or token refresh."],
          reason: Reason::Unauthorized, then: Then::Refuse,
          means: "the access token has expired",
          help: "Put a new one into the Secret." },
    Row { calls: ANY, on: On::Said(401), words: &[&["revoked"]],
          seen: &["invalid_token: Token was revoked. You have to re-authorize from the user."],
          reason: Reason::Unauthorized, then: Then::Refuse,
          means: "the access token was revoked",
          help: "Put a new one into the Secret." },
    Row { calls: ANY, on: On::Said(401), words: &[],
          seen: &["401 Unauthorized", "invalid_token: Bad Access Token."],
          reason: Reason::Unauthorized, then: Then::Refuse,
          means: "GitLab does not accept the access token: mistyped, expired, revoked, or its user is blocked",
          help: "Put a valid one into the Secret." },

    // 403: you may not.
    Row { calls: WRITE, on: On::Said(403), words: &[&["read-only"], &["read only"]],
          seen: &["You cannot perform write operations on a read-only instance"],
          reason: Reason::ReadOnly, then: Then::Minute,
          means: "GitLab is read-only, as it is during maintenance",
          help: "It is tried again in a minute." },
    Row { calls: READ, on: On::Said(403), words: &[&["insufficient_scope"]],
          seen: &["insufficient_scope: The request requires higher privileges than provided by the access token."],
          reason: Reason::InsufficientScope, then: Then::Refuse,
          means: "the access token lacks the scope read_api (or api)",
          help: "Scopes cannot be added: make a new token." },
    Row { calls: ANY, on: On::Said(403), words: &[&["insufficient_scope"]],
          seen: &["insufficient_scope: The request requires higher privileges than provided by the access token."],
          reason: Reason::InsufficientScope, then: Then::Refuse,
          means: "the access token lacks the scope api",
          help: "Scopes cannot be added: make a new token." },
    Row { calls: ANY, on: On::Said(403), words: &[&["blocked"], &["too many ips"]],
          seen: &["403 Forbidden - Your account has been blocked."],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the user whom the token acts for is blocked in GitLab",
          help: "Have the user unblocked, or use a token of another." },
    Row { calls: FIRE, on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the user whom the token acts for may not start pipelines in project {project}",
          help: "Developer is the least role that may." },
    Row { calls: &[Call::Variables], on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the access token may not read the variables of pipelines in project {project}",
          help: "A Maintainer may, and the user who started the pipeline." },
    Row { calls: ACT, on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the access token may not cancel, retry or name this pipeline of project {project}",
          help: "Developer is the least role that may, with the right to push to its ref if that is protected." },
    Row { calls: &[Call::DeletePipeline], on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the access token may not delete pipelines in project {project}",
          help: "Only an Owner may." },
    Row { calls: &[Call::Branches], on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the access token may not read the code of project {project}",
          help: "Reporter is the least role that may." },
    Row { calls: &[Call::CreateSchedule], on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the access token may not create pipeline schedules in project {project}",
          help: "Developer is the least role that may." },
    Row { calls: &[Call::UpdateSchedule], on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "only its owner may change a pipeline schedule, and the access token acts for somebody else",
          help: "A Maintainer can take it over." },
    Row { calls: &[Call::TakeSchedule, Call::DeleteSchedule], on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the access token may neither take nor delete this pipeline schedule of project {project}",
          help: "Its owner and Maintainers may." },
    Row { calls: SCHEDULE_VARIABLE, on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the access token may not set variables of this pipeline schedule",
          help: "Its owner may, if \"Minimum role to use pipeline variables\" of project {project} (Settings, CI/CD, Variables) lets them." },
    Row { calls: READ, on: On::Said(403), words: &[],
          seen: &["403 Forbidden"],
          reason: Reason::Forbidden, then: Then::Refuse,
          means: "the access token may not read pipelines in project {project}",
          help: "Reporter is the least role that may." },

    // 404: not there, or not for you.
    Row { calls: TRIGGER, on: On::Said(404), words: &[],
          seen: &["404 Not Found"],
          reason: Reason::NotFoundByTrigger, then: Then::Refuse,
          means: "the trigger token is not known to project {project} (mistyped, revoked, expired or of another project), or there is no such project. GitLab does not say which",
          help: "Name an access token in accessTokenRef, and Pipekick looks which it is. Or look yourself: a Maintainer of the project sees its tokens under Settings, CI/CD, Pipeline trigger tokens." },
    Row { calls: OF_PIPELINE, on: On::Said(404), words: &[&["project"]],
          seen: &["404 Project Not Found"],
          reason: Reason::ProjectNotFound, then: Then::Refuse,
          means: "project {project} does not exist any more, or the access token may no longer see it",
          help: "Restore the project, or the role of the token's user in it." },
    Row { calls: &[Call::NamePipeline], on: On::Said(404), words: &[],
          seen: &["404 Not Found"],
          reason: Reason::Refused, then: Then::Refuse,
          means: "the pipeline is not in project {project} any more, or this GitLab is older than 16.6, which gave pipelines no names through its API",
          help: "Nothing: the pipeline runs without the name." },
    Row { calls: OF_PIPELINE, on: On::Said(404), words: &[],
          seen: &["404 Not found"],
          reason: Reason::PipelineGone, then: Then::Refuse,
          means: "the pipeline is not in project {project} any more",
          help: "Somebody deleted it; the run ends Canceled." },
    Row { calls: OF_SCHEDULE, on: On::Said(404), words: &[&["pipeline schedule"]],
          seen: &["404 Pipeline Schedule Not Found"],
          reason: Reason::Refused, then: Then::Refuse,
          means: "the pipeline schedule, or its variable, is not in project {project} any more",
          help: "Somebody deleted it." },
    Row { calls: ANY, on: On::Said(404), words: &[],
          seen: &["404 Project Not Found"],
          reason: Reason::ProjectNotFound, then: Then::Refuse,
          means: "project {project} does not exist, or the access token may not see it",
          help: "Correct the project, or give the token's user a role in it." },
    Row { calls: ANY, on: On::Said(400), words: &[],
          seen: &["Commit not found", "variables is invalid"],
          reason: Reason::Refused, then: Then::Refuse,
          means: "GitLab refused, and did nothing; the words are its own, and all that is known",
          help: "Correct what they name." },
    Row { calls: ANY, on: On::Said(405), words: &[],
          seen: &["405 Method Not Allowed"],
          reason: Reason::Refused, then: Then::Refuse,
          means: "GitLab refused, and did nothing; the words are its own, and all that is known",
          help: "Correct what they name." },

    // Too much, too often.
    Row { calls: ANY, on: On::Limiter(429), words: &[],
          seen: &["This endpoint has been requested too many times. Try again later."],
          reason: Reason::RateLimited, then: Then::Asked,
          means: "a limit of this one route is used up",
          help: "It is asked again in a minute, or when GitLab says." },
    // Turned away before anything was done; the plain text that comes with it is GitLab's too, and not quoted.
    Row { calls: ANY, on: On::Status(429), words: &[],
          seen: &["Retry later"],
          reason: Reason::RateLimited, then: Then::Asked,
          means: "the rate limit is used up",
          help: "It is asked again when GitLab says (Retry-After), or in a minute." },

    // It may have done something, and does not say.
    Row { calls: ANY, on: On::Said(503), words: &[],
          seen: &["503 Service Unavailable", "Upstream Gitaly has been exhausted. Try again later."],
          reason: Reason::OutcomeUnknown, then: Then::Unclear,
          means: "GitLab, or its repository storage, is overloaded",
          help: "Nothing: requests wait as long as GitLab asks." },
    Row { calls: ANY, on: On::Said(409), words: &[],
          seen: &["409 Conflict: Resource lock"],
          reason: Reason::OutcomeUnknown, then: Then::Unclear,
          means: "two requests met at the same record inside GitLab",
          help: "Nothing: it passes." },
    Row { calls: ANY, on: On::SaidFrom(500, 599), words: &[],
          seen: &["500 Internal Server Error"],
          reason: Reason::OutcomeUnknown, then: Then::Unclear,
          means: "GitLab broke off in the middle of the request",
          help: "Nothing, unless it stays: then GitLab's administrator finds the error in its log." },
    Row { calls: ANY, on: On::Foreign(500, 599), words: &[],
          seen: &["502 with a body that is not GitLab's", "503 with a body that is not GitLab's", "504 with a body that is not GitLab's"],
          reason: Reason::OutcomeUnknown, then: Then::Unclear,
          means: "a proxy or load balancer before GitLab answered in its place (often HTML): GitLab is down, restarting or slow, and the request may have reached it",
          help: "Nothing, unless it stays." },
    Row { calls: ANY, on: On::Foreign(300, 399), words: &[],
          seen: &["302, a redirect to https://sso.example.com, which is not followed. Is the GitLab URL right?"],
          reason: Reason::OutcomeUnknown, then: Then::Unclear,
          means: "something sends requests elsewhere: the URL is http or an old name of GitLab's, or a sign-in page stands before its API",
          help: "Write the URL under which the API answers directly. Redirects are never followed: a token goes to no other host." },
    Row { calls: ANY, on: On::Foreign(0, 999), words: &[],
          seen: &["200 with a body that is not what was asked for", "403 with a body that is not GitLab's", "404 with a body that is not GitLab's"],
          reason: Reason::OutcomeUnknown, then: Then::Unclear,
          means: "something else than GitLab answered: a proxy, a firewall, a sign-in page, or the URL is not a GitLab's",
          help: "Open the URL with /api/v4/version from inside the cluster and see who answers. Such bodies are never quoted." },
    Row { calls: ANY, on: On::SaidFrom(0, 999), words: &[],
          seen: &["API V3 is no longer supported. Use API V4 instead."],
          reason: Reason::OutcomeUnknown, then: Then::Unclear,
          means: "an answer that Pipekick does not expect here",
          help: "Nothing, unless it stays: then it is worth an issue." },
    Row { calls: ANY, on: On::Lost, words: &[],
          seen: &["no answer from gitlab.example.com within 30 s", "the connection to gitlab.example.com broke before an answer came: connection reset"],
          reason: Reason::OutcomeUnknown, then: Then::Unclear,
          means: "the request was sent, or may have been, and no answer came",
          help: "Nothing, unless it stays: GitLab is slow, or something between cuts long requests (--request-deadline)." },

    // Nothing was sent.
    Row { calls: ANY, on: On::NotSent, words: &[&["is plain http"]],
          seen: &["http://gitlab.example.com is plain http, and the operator was started without --allow-http: write https"],
          reason: Reason::PlainHttpRefused, then: Then::NotSent,
          means: "tokens would travel unencrypted",
          help: "Write https://." },
    Row { calls: ANY, on: On::NotSent, words: &[&["into the secret"], &["cannot be sent in a header"]],
          seen: &["the token has a blank, a line break or a character that no token has: put the token alone into the Secret."],
          reason: Reason::SecretUnusable, then: Then::NotSent,
          means: "what stands in the Secret cannot be a token; a line break at its end is the usual slip",
          help: "`kubectl create secret generic … --from-literal` adds none; with `echo`, use `echo -n`." },
    Row { calls: ANY, on: On::NotSent, words: &[&["rate limit", "is used up"]],
          seen: &["the rate limit of gitlab.example.com is used up. Nothing was sent"],
          reason: Reason::RateLimited, then: Then::Asked,
          means: "Pipekick itself holds requests back, by what GitLab said of its limit before",
          help: "It goes on when the limit's window ends; the message says when." },
    Row { calls: ANY, on: On::NotSent, words: &[&["tunnel"], &["proxy"], &["socks"]],
          seen: &["cannot connect to gitlab.example.com: tunnel error: unsuccessful"],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "the proxy named by HTTPS_PROXY did not let the connection to {host} through",
          help: "Let the proxy allow {host}, or add it to NO_PROXY." },
    Row { calls: ANY, on: On::NotSent, words: &[&["unknownissuer"], &["unknown issuer"], &["selfsigned"], &["self-signed"], &["unknownca"]],
          seen: &["cannot connect to gitlab.example.com: invalid peer certificate: UnknownIssuer"],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "the certificate of {host} is signed by a CA that the operator does not know: a private one, or that of a proxy that opens TLS",
          help: "Name that CA in spec.gitlab.caBundleRef." },
    Row { calls: ANY, on: On::NotSent, words: &[&["not valid for name"], &["notvalidforname"]],
          seen: &["cannot connect to gitlab.example.com: invalid peer certificate: certificate not valid for name \"gitlab.example.com\""],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "the certificate is of another name than {host}",
          help: "Write the name that the certificate has, or have GitLab's certificate name this host." },
    Row { calls: ANY, on: On::NotSent, words: &[&["certificate expired"], &["certificate not valid yet"], &["invalid peer certificate: expired"]],
          seen: &["cannot connect to gitlab.example.com: invalid peer certificate: certificate expired"],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "the certificate of {host} is no longer, or not yet, valid by the clock of this node",
          help: "Have GitLab's certificate renewed; look at the node's clock." },
    Row { calls: ANY, on: On::NotSent, words: &[&["invalidcontenttype"], &["corrupt message"]],
          seen: &["cannot connect to gitlab.example.com:8080: received corrupt message of type InvalidContentType"],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "no TLS is spoken at {host}: it is a plain http port, or another service",
          help: "Write the port where GitLab speaks https." },
    Row { calls: ANY, on: On::NotSent, words: &[&["certificate"], &["tls"], &["handshake"], &["alert"]],
          seen: &["cannot connect to gitlab.example.com: received fatal alert: ProtocolVersion"],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "the operator and {host} could not agree on TLS",
          help: "TLS 1.2 and 1.3 are spoken, with certificates checked against the public CAs." },
    Row { calls: ANY, on: On::NotSent, words: &[&["dns error"], &["lookup address"], &["name or service not known"], &["no such host"]],
          seen: &["cannot connect to gitlab.example.com: dns error: failed to lookup address information: Name or service not known"],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "the name {host} cannot be resolved from inside the cluster",
          help: "Correct the URL, or the cluster's DNS; a NetworkPolicy must let the operator ask it." },
    Row { calls: ANY, on: On::NotSent, words: &[&["connection refused"]],
          seen: &["cannot connect to gitlab.example.com: tcp connect error: Connection refused"],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "nothing listens at {host}: GitLab is down, or the port is wrong",
          help: "Correct the URL's port, or wait for GitLab." },
    Row { calls: ANY, on: On::NotSent, words: &[&["no answer within"], &["timed out"], &["no route"], &["unreachable"], &["deadline"]],
          seen: &["cannot connect to gitlab.example.com, no answer within 5 s: operation timed out"],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "packets to {host} get no answer",
          help: "A firewall, an egress NetworkPolicy or a missing HTTPS_PROXY is the usual cause." },
    Row { calls: ANY, on: On::NotSent, words: &[],
          seen: &[],
          reason: Reason::Unreachable, then: Then::NotSent,
          means: "{host} could not be reached",
          help: "The message says what the network said." },
];

impl Row {
    fn fits(&self, call: Call, came: Came<'_>) -> bool {
        let text = match (self.on, came) {
            (On::Said(wanted), Came::Said { status, text, .. }) if wanted == status => text,
            (On::Limiter(wanted), Came::Said { status, shape: Shape::Limiter, text }) if wanted == status => {
                text
            }
            (On::SaidFrom(first, last), Came::Said { status, text, .. })
                if (first..=last).contains(&status) =>
            {
                text
            }
            (On::Status(wanted), Came::Said { status, .. } | Came::Foreign { status })
                if wanted == status =>
            {
                ""
            }
            (On::Foreign(first, last), Came::Foreign { status }) if (first..=last).contains(&status) => "",
            (On::NotSent, Came::NotSent { why }) => why,
            (
                On::Said(_)
                | On::Limiter(_)
                | On::SaidFrom(..)
                | On::Status(_)
                | On::Foreign(..)
                | On::NotSent
                | On::Lost,
                Came::Said { .. } | Came::Foreign { .. } | Came::NotSent { .. },
            ) => return false,
        };
        let text = text.to_lowercase();
        let occur = |all: &&[&str]| all.iter().all(|word| text.contains(word));
        self.calls.contains(&call) && (self.words.is_empty() || self.words.iter().any(occur))
    }
}

/// The row that what came back from `call` belongs to.
pub(super) fn find(call: Call, came: Came<'_>) -> &'static Row {
    let row = TABLE.iter().find(|row| row.fits(call, came));
    row.expect("the table has a row for whatever was said, for every foreign body and for whatever kept a request here")
}
