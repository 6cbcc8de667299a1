//! What an error of GitLab's means, and what to do about it: one table.
//!
//! Status and route are looked at first; the text only where nothing else tells two causes apart, and then by its
//! distinctive words in any case, for GitLab rewords its messages every few releases. What the table does not
//! know is quoted.

use std::time::Duration;

use pipekick_core::domain::Reason;

use super::ResponseMeta;
use super::budget::UNNAMED_WAIT;
use super::wire::{GitLabSays, Shape};

/// Which request an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    FireTrigger,
    FireAccess,
    Pipelines,
    Pipeline,
    Variables,
    Jobs,
    Cancel,
    Version,
    User,
}

impl Call {
    /// The route as it stands in logs and metrics.
    pub(super) const fn route(self) -> &'static str {
        match self {
            Self::FireTrigger => "/projects/:id/trigger/pipeline",
            Self::FireAccess => "/projects/:id/pipeline",
            Self::Pipelines => "/projects/:id/pipelines",
            Self::Pipeline => "/projects/:id/pipelines/:pipeline_id",
            Self::Variables => "/projects/:id/pipelines/:pipeline_id/variables",
            Self::Jobs => "/projects/:id/pipelines/:pipeline_id/jobs",
            Self::Cancel => "/projects/:id/pipelines/:pipeline_id/cancel",
            Self::Version => "/version",
            Self::User => "/user",
        }
    }
}

/// What was asked for, as far as a message names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) call: Call,
    pub(super) project: &'a str,
    pub(super) git_ref: &'a str,
}

/// What an answer that is no success means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// GitLab did nothing, and will not until something is changed.
    Refused { reason: Reason, message: String },
    /// GitLab did nothing, and asks to come back.
    Throttled { reason: Reason, message: String, wait: Duration },
    /// GitLab stored a pipeline that failed before any job ran.
    FailedAtBirth { message: String },
    /// It says nothing of what was done.
    Unclear { message: String },
}

/// What follows from a row.
#[derive(Debug, Clone, Copy)]
enum Then {
    Refuse,
    /// Come back in a minute.
    Minute,
    /// Come back when the next minute begins on GitLab's clock: its limiter counts by the minute.
    NextMinute,
}

struct Row {
    calls: &'static [Call],
    status: u16,
    /// Words that must all occur; alternatives. Empty: whatever the text is.
    words: &'static [&'static [&'static str]],
    reason: Reason,
    then: Then,
    /// With `{answer}`, `{project}` and `{ref}`.
    says: &'static str,
}

const TRIGGER: &[Call] = &[Call::FireTrigger];
const ACCESS: &[Call] = &[Call::FireAccess];
const FIRE: &[Call] = &[Call::FireTrigger, Call::FireAccess];
const READ: &[Call] =
    &[Call::Pipelines, Call::Pipeline, Call::Variables, Call::Jobs, Call::Version, Call::User];
const OF_PIPELINE: &[Call] = &[Call::Pipeline, Call::Variables, Call::Jobs, Call::Cancel];
const WRITE: &[Call] = &[Call::FireTrigger, Call::FireAccess, Call::Cancel];
const ANY: &[Call] = &[
    Call::FireTrigger,
    Call::FireAccess,
    Call::Pipelines,
    Call::Pipeline,
    Call::Variables,
    Call::Jobs,
    Call::Cancel,
    Call::Version,
    Call::User,
];

/// The first row that fits is taken. What it says: GitLab's words, what they mean, what to do.
#[rustfmt::skip]
const TABLE: &[Row] = &[
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
    Row { calls: &[Call::Cancel], status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not cancel pipelines in project {project}. Developer is the least role that may." },
    Row { calls: READ, status: 403, words: &[], reason: Reason::Forbidden, then: Then::Refuse,
          says: "{answer}: the access token may not read pipelines in project {project}. Reporter is the least role that may." },

    // 404: not there, or not for you.
    Row { calls: TRIGGER, status: 404, words: &[], reason: Reason::NotFoundByTrigger, then: Then::Refuse,
          says: "GitLab answered 404 to the trigger token: the token is not known to this project (mistyped, revoked, expired or of another project), or project {project} does not exist. GitLab does not say which." },
    Row { calls: OF_PIPELINE, status: 404, words: &[&["project"]], reason: Reason::ProjectNotFound, then: Then::Refuse,
          says: "{answer}: project {project} does not exist any more, or the access token may no longer see it." },
    Row { calls: OF_PIPELINE, status: 404, words: &[], reason: Reason::PipelineGone, then: Then::Refuse,
          says: "{answer}: the pipeline is not in project {project} any more." },
    Row { calls: ANY, status: 404, words: &[], reason: Reason::ProjectNotFound, then: Then::Refuse,
          says: "{answer}: project {project} does not exist, or the access token may not see it." },
];

/// Reads an answer that is no success. `body` is GitLab's words, or what the body is instead of them.
pub(super) fn explain(
    about: About<'_>,
    status: u16,
    meta: &ResponseMeta,
    body: Result<&GitLabSays, &str>,
) -> Meaning {
    let answer = match body {
        Ok(GitLabSays { text, .. }) if text.is_empty() => {
            format!("GitLab answered {status} without a reason")
        }
        Ok(GitLabSays { text, .. }) => format!("GitLab answered {status} \"{text}\""),
        Err(instead) => format!("{status} with {instead}"),
    };
    match (status, body) {
        (429, _) => {
            // Turned away before anything was done; the plain text that comes with it is GitLab's too.
            let wait = meta.asked_wait().unwrap_or(UNNAMED_WAIT).max(Duration::from_secs(1));
            let message = match body.map(|said| said.shape) {
                Ok(Shape::Limiter) => format!("{answer}: a limit of this one route is used up."),
                _ => "GitLab answered 429: the rate limit is used up.".to_owned(),
            };
            Meaning::Throttled { reason: Reason::RateLimited, message, wait }
        }
        (400 | 401 | 403 | 404 | 405, Ok(said)) => by_table(about, status, meta, said, &answer),
        // The other create route stores nothing that failed, so there a 422 is not understood.
        (422, Ok(said)) if about.call == Call::FireTrigger => {
            Meaning::FailedAtBirth { message: if said.text.is_empty() { answer } else { said.text.clone() } }
        }
        _ => Meaning::Unclear { message: answer },
    }
}

fn by_table(about: About<'_>, status: u16, meta: &ResponseMeta, said: &GitLabSays, answer: &str) -> Meaning {
    let text = said.text.to_lowercase();
    let fits = |row: &&Row| {
        row.status == status
            && row.calls.contains(&about.call)
            && (row.words.is_empty()
                || row.words.iter().any(|all| all.iter().all(|word| text.contains(word))))
    };
    let Some(row) = TABLE.iter().find(fits) else {
        return Meaning::Refused { reason: Reason::Refused, message: format!("{answer}.") };
    };
    let message = row
        .says
        .replace("{project}", about.project)
        .replace("{ref}", about.git_ref)
        .replace("{answer}", answer);
    let wait = match row.then {
        Then::Refuse => return Meaning::Refused { reason: row.reason, message },
        Then::Minute => Duration::from_secs(60),
        Then::NextMinute => to_next_minute(meta),
    };
    Meaning::Throttled { reason: row.reason, message, wait }
}

/// Two seconds into the next minute of GitLab's clock, which its `Date` tells to the second.
fn to_next_minute(meta: &ResponseMeta) -> Duration {
    let left = meta.date.map_or(60, |date| 60 - date.as_second().rem_euclid(60));
    Duration::from_secs(left.unsigned_abs() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(call: Call, status: u16, body: &str, meta: &ResponseMeta) -> Meaning {
        let about = About { call, project: "shop/checkout", git_ref: "rel/1" };
        explain(
            about,
            status,
            meta,
            GitLabSays::parse(body.as_bytes()).as_ref().ok_or("a body that is not GitLab's"),
        )
    }

    fn base(text: &str) -> String {
        serde_json::json!({"message": {"base": [text]}}).to_string()
    }

    #[test]
    fn a_refusal_has_its_reason_and_says_what_to_do() {
        use Call::{Cancel, FireAccess, FireTrigger, Jobs, Pipeline, Pipelines, Variables};
        let expired = r#"{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}"#;
        let revoked = r#"{"error":"invalid_token","error_description":"Token was revoked. You have to re-authorize from the user."}"#;
        let scope = r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api"}"#;
        let not_found = r#"{"message":"404 Not Found"}"#;
        let small_f = r#"{"message":"404 Not found"}"#;
        let no_project = r#"{"message":"404 Project Not Found"}"#;
        let forbidden = r#"{"message":"403 Forbidden"}"#;
        let vars = base("Insufficient permissions to set pipeline variables");
        let cases = [
            (FireTrigger, 404, not_found, Reason::NotFoundByTrigger, "GitLab does not say which"),
            (
                FireTrigger,
                400,
                &base("Reference not found"),
                Reason::RefNotFound,
                r#"no branch or tag "rel/1" in project shop/checkout"#,
            ),
            (FireAccess, 400, &base("reference NOT found"), Reason::RefNotFound, "no branch or tag"),
            (FireTrigger, 400, &base("Ref is ambiguous"), Reason::Refused, "refs/heads/"),
            (FireTrigger, 400, &base("Commit not found"), Reason::Refused, r#""Commit not found""#),
            (
                FireTrigger,
                400,
                &base(
                    "You do not have sufficient permission to run a pipeline on 'rel/1'. Please select a different branch or contact your administrator for assistance. Learn more",
                ),
                Reason::RefProtected,
                "is protected",
            ),
            (FireTrigger, 400, &vars, Reason::VariablesRefused, "TRIGGER_PAYLOAD"),
            (FireAccess, 400, &vars, Reason::VariablesRefused, "Remove the variables"),
            (
                FireTrigger,
                400,
                &base("The pipeline did not run. Review the workflow:rules configuration for the pipeline."),
                Reason::NoJobs,
                "workflow:rules",
            ),
            (
                FireTrigger,
                400,
                &base("pipeline did not run. Review the [workflow:rules](https://docs)"),
                Reason::NoJobs,
                "workflow:rules",
            ),
            (
                FireTrigger,
                400,
                &base("Pipeline filtered out by workflow rules."),
                Reason::NoJobs,
                "workflow:rules",
            ),
            (
                FireTrigger,
                400,
                &base(
                    "The resulting pipeline would have been empty. Review the rules configuration for the relevant jobs.",
                ),
                Reason::NoJobs,
                "no job's rules",
            ),
            (
                FireTrigger,
                400,
                &base(
                    "Pipeline will not run for the selected trigger. The rules configuration prevented any jobs from being added to the pipeline.",
                ),
                Reason::NoJobs,
                "no job's rules",
            ),
            (
                FireTrigger,
                400,
                &base("No stages / jobs for this pipeline."),
                Reason::NoJobs,
                "no job's rules",
            ),
            (FireTrigger, 400, &base("Missing CI config file"), Reason::NoCiConfig, "no CI configuration"),
            (
                FireTrigger,
                400,
                &base("Insufficient permissions to create a new pipeline"),
                Reason::Forbidden,
                "Developer",
            ),
            (FireTrigger, 400, &base("Pipelines are disabled!"), Reason::Forbidden, "switched off"),
            (FireTrigger, 400, &base("Project is deleted!"), Reason::ProjectNotFound, "being deleted"),
            (
                FireAccess,
                400,
                &base("jobs:build config contains unknown keys: workflow"),
                Reason::Refused,
                "unknown keys",
            ),
            (
                FireTrigger,
                400,
                r#"{"error":"variables is invalid"}"#,
                Reason::Refused,
                "variables is invalid",
            ),
            (
                FireTrigger,
                400,
                r#"{"message":"variables needs to be a map of key-valued strings"}"#,
                Reason::Refused,
                "key-valued",
            ),
            (
                FireTrigger,
                401,
                r#"{"message":"Job is not running"}"#,
                Reason::Unauthorized,
                "pipeline trigger token",
            ),
            (FireTrigger, 403, forbidden, Reason::Forbidden, "Developer"),
            (FireAccess, 401, expired, Reason::Unauthorized, "has expired"),
            (FireAccess, 401, revoked, Reason::Unauthorized, "was revoked"),
            (FireAccess, 401, r#"{"message":"401 Unauthorized"}"#, Reason::Unauthorized, "mistyped"),
            (FireAccess, 403, scope, Reason::InsufficientScope, "scope api"),
            (FireAccess, 403, forbidden, Reason::Forbidden, "Developer"),
            (FireAccess, 404, no_project, Reason::ProjectNotFound, "may not see it"),
            (Pipelines, 403, scope, Reason::InsufficientScope, "read_api"),
            (Pipelines, 403, forbidden, Reason::Forbidden, "Reporter"),
            (Pipelines, 404, no_project, Reason::ProjectNotFound, "may not see it"),
            (Pipeline, 404, small_f, Reason::PipelineGone, "not in project"),
            (Pipeline, 404, no_project, Reason::ProjectNotFound, "any more"),
            (Pipeline, 401, expired, Reason::Unauthorized, "has expired"),
            (Variables, 403, forbidden, Reason::Forbidden, "Maintainer"),
            (Jobs, 404, small_f, Reason::PipelineGone, "not in project"),
            (Cancel, 403, forbidden, Reason::Forbidden, "cancel"),
            (Cancel, 403, scope, Reason::InsufficientScope, "scope api"),
        ];
        for (call, status, body, expected, words) in cases {
            let meaning = ask(call, status, body, &ResponseMeta::default());
            let Meaning::Refused { reason, message } = meaning else {
                panic!("{call:?} {body}: {meaning:?}")
            };
            assert_eq!(reason, expected, "{call:?} {body}");
            assert!(message.contains(words), "{call:?} {body}: {message}");
            assert!(!message.contains(['{', '}']), "{message}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_waited_for() {
        let at = |date: &str| ResponseMeta { date: Some(date.parse().unwrap()), ..ResponseMeta::default() };
        let too_many = base("Too many pipelines created in the last minute. Try again later.");
        let read_only = r#"{"message":"You cannot perform write operations on a read-only instance"}"#;
        let limiter =
            r#"{"message":{"error":"This endpoint has been requested too many times. Try again later."}}"#;
        let none = ResponseMeta::default();
        let told = ResponseMeta { retry_after: Some(Duration::from_secs(17)), ..ResponseMeta::default() };
        let zero = ResponseMeta { retry_after: Some(Duration::ZERO), ..ResponseMeta::default() };
        let cases = [
            (
                "the creation limit ends with GitLab's minute",
                400,
                too_many.as_str(),
                at("2026-11-05T10:00:45Z"),
                Reason::RateLimited,
                17,
            ),
            (
                "whose clock is not told: a minute",
                400,
                too_many.as_str(),
                none.clone(),
                Reason::RateLimited,
                62,
            ),
            (
                "an overloaded Gitaly",
                400,
                &base("Upstream Gitaly has been exhausted. Try again later."),
                none.clone(),
                Reason::RateLimited,
                60,
            ),
            ("read-only is tried again in a minute", 403, read_only, none.clone(), Reason::ReadOnly, 60),
            ("429 in plain text with a time", 429, "Retry later", told, Reason::RateLimited, 17),
            ("429 in plain text without", 429, "Retry later", none.clone(), Reason::RateLimited, 60),
            ("429 as HTML", 429, "<html>", none.clone(), Reason::RateLimited, 60),
            ("429 at once is still a second", 429, "", zero, Reason::RateLimited, 1),
            ("429 of the application's limiter", 429, limiter, none, Reason::RateLimited, 60),
        ];
        for (sentence, status, body, meta, expected, secs) in cases {
            for call in FIRE {
                let meaning = ask(*call, status, body, &meta);
                let Meaning::Throttled { reason, wait, .. } = meaning else {
                    panic!("{sentence}: {meaning:?}")
                };
                assert_eq!((reason, wait), (expected, Duration::from_secs(secs)), "{sentence}");
            }
        }
    }

    #[test]
    fn what_says_nothing_of_the_effect_stays_unclear_and_foreign_bodies_are_not_quoted() {
        let cases = [
            (400, "<html>secret page</html>", "400 with a body that is not GitLab's"),
            (401, "secret", "401 with a body that is not GitLab's"),
            (403, "<html>secret</html>", "403 with a body that is not GitLab's"),
            (404, "{}", "404 with a body that is not GitLab's"),
            (422, "<html>", "422 with a body that is not GitLab's"),
            (
                409,
                r#"{"message":"409 Conflict: Resource lock"}"#,
                "GitLab answered 409 \"409 Conflict: Resource lock\"",
            ),
            (410, r#"{"message":"gone"}"#, "GitLab answered 410 \"gone\""),
            (
                500,
                r#"{"message":"500 Internal Server Error"}"#,
                "GitLab answered 500 \"500 Internal Server Error\"",
            ),
            (502, "<html>secret</html>", "502 with a body that is not GitLab's"),
            (503, r#"{"message":""}"#, "GitLab answered 503 without a reason"),
            (302, "", "302 with a body that is not GitLab's"),
            (200, "", "200 with a body that is not GitLab's"),
        ];
        for (status, body, expected) in cases {
            for call in FIRE {
                let meaning = ask(*call, status, body, &ResponseMeta::default());
                assert_eq!(meaning, Meaning::Unclear { message: expected.into() }, "{call:?} {status}");
            }
        }
    }

    #[test]
    fn a_422_to_the_trigger_token_is_a_pipeline_and_to_the_access_token_a_riddle() {
        let body = base("Duplicate variable name: TRIGGER_PAYLOAD");
        let message = "Duplicate variable name: TRIGGER_PAYLOAD".to_owned();
        assert_eq!(
            ask(Call::FireTrigger, 422, &body, &ResponseMeta::default()),
            Meaning::FailedAtBirth { message }
        );
        assert!(matches!(
            ask(Call::FireAccess, 422, &body, &ResponseMeta::default()),
            Meaning::Unclear { .. }
        ));
    }

    #[test]
    fn no_row_is_hidden_behind_an_earlier_one() {
        for (i, row) in TABLE.iter().enumerate() {
            let shadowed = |call: &Call| {
                TABLE[..i]
                    .iter()
                    .any(|r| r.status == row.status && r.words.is_empty() && r.calls.contains(call))
            };
            assert!(row.calls.iter().any(|call| !shadowed(call)), "row {i} is never reached: {}", row.says);
        }
    }
}
