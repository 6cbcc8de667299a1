use super::super::says::Shape;
use super::table::{ANY, FIRE, Row, TABLE};
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
    use Call::{
        Artifact, Branch, Branches, Bridges, Cancel, Commit, CreateSchedule, DeleteBranch, DeletePipeline,
        DeleteSchedule, File, FireAccess, FireTrigger, Jobs, Merge, MergeRequest, NamePipeline,
        OpenMergeRequest, Pipeline, Pipelines, RetryPipeline, Schedule, Schedules, SetScheduleVariable,
        TestSummary, UpdateSchedule, Variables,
    };
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
        (FireTrigger, 400, &base("No stages / jobs for this pipeline."), Reason::NoJobs, "no job's rules"),
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
        (FireTrigger, 400, r#"{"error":"variables is invalid"}"#, Reason::Refused, "variables is invalid"),
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
        (RetryPipeline, 403, forbidden, Reason::Forbidden, "retry"),
        (RetryPipeline, 404, small_f, Reason::PipelineGone, "not in project"),
        (DeletePipeline, 403, forbidden, Reason::Forbidden, "Only an Owner"),
        (NamePipeline, 404, r#"{"error":"404 Not Found"}"#, Reason::Refused, "16.6"),
        (NamePipeline, 404, no_project, Reason::ProjectNotFound, "any more"),
        (Branches, 403, forbidden, Reason::Forbidden, "read the code"),
        (TestSummary, 403, scope, Reason::InsufficientScope, "read_api"),
        (Bridges, 404, small_f, Reason::PipelineGone, "not in project"),
        (
            CreateSchedule,
            400,
            &base("Maximum number of ci pipeline schedules (10) exceeded"),
            Reason::Refused,
            "the limit raised",
        ),
        (
            CreateSchedule,
            400,
            &base("The current user is not authorized to create the pipeline schedule"),
            Reason::RefProtected,
            "is protected",
        ),
        (UpdateSchedule, 400, r#"{"message":{"ref":["is ambiguous"]}}"#, Reason::RefNotFound, "refs/heads/"),
        (
            UpdateSchedule,
            400,
            r#"{"message":{"cron":["syntax is invalid"]}}"#,
            Reason::Refused,
            "cron syntax is invalid",
        ),
        (UpdateSchedule, 403, forbidden, Reason::Forbidden, "only its owner"),
        (DeleteSchedule, 403, forbidden, Reason::Forbidden, "Maintainers may"),
        (SetScheduleVariable, 403, forbidden, Reason::Forbidden, "Minimum role"),
        (
            Schedule,
            404,
            r#"{"message":"404 Pipeline Schedule Not Found"}"#,
            Reason::Refused,
            "not in project shop/checkout any more",
        ),
        (Schedule, 404, no_project, Reason::ProjectNotFound, "may not see it"),
        (Schedules, 403, forbidden, Reason::Forbidden, "Reporter"),
        (Cancel, 403, scope, Reason::InsufficientScope, "scope api"),
        (
            Commit,
            403,
            r#"{"message":"403 Forbidden - You are not allowed to push into this branch"}"#,
            Reason::RefProtected,
            r#"may not push to "rel/1" of project shop/checkout"#,
        ),
        (Commit, 403, scope, Reason::InsufficientScope, "write_repository"),
        (Commit, 403, forbidden, Reason::Forbidden, "Developer"),
        (Commit, 404, no_project, Reason::ProjectNotFound, "may not see it"),
        (Commit, 400, r#"{"message":"PREVENTED BY HOOK"}"#, Reason::Refused, "PREVENTED BY HOOK"),
        (
            Commit,
            405,
            r#"{"message":"405 Method Not Allowed - Non GET methods are not allowed for moved projects"}"#,
            Reason::ProjectNotFound,
            "renamed or moved",
        ),
        (Branch, 404, r#"{"message":"404 Branch Not Found"}"#, Reason::RefNotFound, "no branch \"rel/1\""),
        (File, 404, r#"{"message":"404 File Not Found"}"#, Reason::Refused, "no such file"),
        (File, 404, r#"{"message":"404 Commit Not Found"}"#, Reason::RefNotFound, "is gone from it"),
        (File, 404, no_project, Reason::ProjectNotFound, "may not see it"),
        (File, 403, forbidden, Reason::Forbidden, "read the code"),
        (Artifact, 404, not_found, Reason::Refused, "no such file among its artifacts"),
        (Artifact, 404, "Not Found", Reason::Refused, "no such file among its artifacts"),
        (Artifact, 404, no_project, Reason::ProjectNotFound, "any more"),
        (MergeRequest, 404, small_f, Reason::Refused, "not in project"),
        (MergeRequest, 404, no_project, Reason::ProjectNotFound, "may not see it"),
        (
            DeleteBranch,
            405,
            r#"{"message":"Protected branch cant be removed"}"#,
            Reason::Refused,
            "protected, or the default branch",
        ),
        (OpenMergeRequest, 403, forbidden, Reason::Forbidden, "open or change"),
        (Merge, 401, r#"{"message":"401 Unauthorized"}"#, Reason::Forbidden, "may not merge"),
        (Merge, 401, expired, Reason::Unauthorized, "has expired"),
        (Merge, 405, r#"{"message":"405 Method Not Allowed"}"#, Reason::Refused, "as it stands"),
        (Merge, 422, r#"{"message":"Branch cannot be merged"}"#, Reason::Refused, "conflicts"),
    ];
    for (call, status, body, expected, words) in cases {
        let meaning = ask(call, status, body, &ResponseMeta::default());
        let Meaning::Refused { reason, message } = meaning else { panic!("{call:?} {body}: {meaning:?}") };
        assert_eq!(reason, expected, "{call:?} {body}");
        assert!(message.contains(words), "{call:?} {body}: {message}");
        assert!(!message.contains(['{', '}']), "{message}");
    }
}

#[test]
fn what_came_second_is_told_from_what_is_refused() {
    for said in [
        "The file has changed since you started editing it: apps/values.yaml",
        "9:reference update failed: Could not update refs/heads/main. Please refresh and try again..",
        "A file with this name doesn't exist",
        "A file with this name already exists",
        "A branch called 'bump' already exists. Switch to that branch in order to make changes",
        "You can only create or edit files when you are on a branch",
    ] {
        let body = serde_json::json!({ "message": said }).to_string();
        let meaning = ask(Call::Commit, 400, &body, &ResponseMeta::default());
        assert!(matches!(meaning, Meaning::Overtaken { .. }), "{said}: {meaning:?}");
    }
    let twin = r#"{"message":["Another open merge request already exists for this source branch: !7"]}"#;
    let meaning = ask(Call::OpenMergeRequest, 409, twin, &ResponseMeta::default());
    assert!(matches!(&meaning, Meaning::Overtaken { message } if message.contains("!7")), "{meaning:?}");
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
        ("whose clock is not told: a minute", 400, too_many.as_str(), none.clone(), Reason::RateLimited, 62),
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
            let Meaning::Throttled { reason, wait, .. } = meaning else { panic!("{sentence}: {meaning:?}") };
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
            let Meaning::Unclear { message } = meaning else { panic!("{call:?} {status}: {meaning:?}") };
            assert!(message.starts_with(&format!("{expected}: ")), "{call:?} {status}: {message}");
            assert!(!message.contains("secret") && !message.contains("html"), "{call:?} {status}: {message}");
        }
    }
}

#[test]
fn a_422_to_the_trigger_token_is_a_pipeline_and_to_the_access_token_a_riddle() {
    let body = base("Duplicate variable name: TRIGGER_PAYLOAD");
    let meaning = ask(Call::FireTrigger, 422, &body, &ResponseMeta::default());
    let Meaning::FailedAtBirth { message } = meaning else { panic!("{meaning:?}") };
    assert!(message.starts_with("\"Duplicate variable name: TRIGGER_PAYLOAD\": "), "{message}");
    assert!(message.contains("Mend what GitLab names"), "{message}");
    assert!(matches!(ask(Call::FireAccess, 422, &body, &ResponseMeta::default()), Meaning::Unclear { .. }));
}

/// What came back, as a row's example shows it.
fn example<'a>(row: &Row, text: &'a str) -> Option<Came<'a>> {
    Some(match row.on {
        On::Said(status) | On::Status(status) => Came::Said { status, shape: Shape::Message, text },
        On::Limiter(status) => Came::Said { status, shape: Shape::Limiter, text },
        On::SaidFrom(0, _) => Came::Said { status: 410, shape: Shape::Message, text },
        On::SaidFrom(status, _) => Came::Said { status, shape: Shape::Message, text },
        On::Foreign(0, _) => Came::Foreign { status: 200 },
        On::Foreign(status, _) => Came::Foreign { status },
        On::NotSent => Came::NotSent { why: text },
        On::Lost => return None,
    })
}

#[test]
fn what_a_row_shows_as_seen_leads_to_that_row() {
    for row in TABLE {
        for text in row.seen {
            let Some(came) = example(row, text) else { continue };
            let leads_here = |call: &Call| std::ptr::eq(find(*call, came), row);
            assert!(row.calls.iter().any(leads_here), "`{text}` leads to another row");
        }
        let named = row.words.is_empty()
            || row.words.iter().any(|all| {
                row.seen.iter().any(|text| all.iter().all(|word| text.to_lowercase().contains(word)))
            });
        assert!(named, "none of {:?} shows in what is seen", row.words);
    }
}

#[test]
fn every_row_says_what_it_means_and_what_to_do() {
    for Row { means, help, seen, .. } in TABLE {
        assert!(!means.is_empty() && !means.ends_with('.'), "{means}");
        assert!(help.ends_with('.') && help.starts_with(|first: char| !first.is_lowercase()), "{help}");
        assert!(seen.iter().all(|text| !text.contains(['{', '`'])), "{seen:?}");
    }
}

#[test]
fn whatever_comes_has_a_row() {
    for call in ANY {
        for status in 0..1000 {
            for shape in [Shape::Message, Shape::Limiter] {
                find(*call, Came::Said { status, shape, text: "" });
            }
            find(*call, Came::Foreign { status });
        }
        find(*call, Came::NotSent { why: "" });
    }
}

#[test]
fn what_kept_a_request_from_being_sent_is_explained() {
    let cases = [
        ("cannot connect to h: dns error: failed to lookup address information", "cannot be resolved"),
        ("cannot connect to h: tcp connect error: Connection refused (os error 111)", "nothing listens at h"),
        ("cannot connect to h, no answer within 5 s: operation timed out", "NetworkPolicy"),
        (
            "cannot connect to h: invalid peer certificate: UnknownIssuer",
            "a CA that the operator does not know",
        ),
        (
            "cannot connect to h: invalid peer certificate: certificate not valid for name \"h\"",
            "of another name",
        ),
        ("cannot connect to h: received corrupt message of type InvalidContentType", "no TLS is spoken at h"),
        ("cannot connect to h: tunnel error: unsuccessful", "HTTPS_PROXY"),
        ("cannot connect to h: something new", "h could not be reached"),
    ];
    for (message, words) in cases {
        let error = SendError::NotSent { reason: Reason::Unreachable, message: message.into() };
        let told = unsent(Call::FireTrigger, "h", error).to_string();
        assert!(told.starts_with(message) && told.contains(words), "{told}");
        assert!(!told.contains(['{', '}']), "{told}");
    }
    for ours in [
        SendError::NotSent { reason: Reason::SecretUnusable, message: "the token is empty".into() },
        SendError::Lost { message: "no answer".into() },
    ] {
        assert_eq!(unsent(Call::FireTrigger, "h", ours.clone()), ours);
    }
}

#[test]
fn a_gitlab_that_would_drop_inputs_is_told_the_version_that_takes_them() {
    let url = "https://gitlab.example.com".parse().unwrap();
    let (reason, message) = too_old_for_inputs(&url, "17.9".parse().unwrap());
    assert_eq!(reason, Reason::GitLabTooOld);
    assert!(message.starts_with("https://gitlab.example.com is GitLab 17.9, "), "{message}");
    assert!(message.contains(&format!("{} or later", GitLabVersion::INPUTS)), "{message}");
}

#[test]
fn the_page_shows_every_row_in_a_whole_table() {
    let page = troubleshooting();
    for row in TABLE {
        for text in row.seen {
            assert!(page.contains(text), "{text}");
        }
    }
    for line in page.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 6, "{line}");
        assert!(!line.contains(['{', '}']), "{line}");
    }
}
