//! Every row of the table of answers is produced over HTTP at least once, in the shape the table says.
#![allow(clippy::unwrap_used, reason = "the functions beside the tests are tests too")]

#[path = "gitlab_rows/artifacts.rs"]
mod artifacts;
mod gitlab_client;
#[path = "gitlab_rows/merge_requests.rs"]
mod merge_requests;
#[path = "gitlab_rows/repositories.rs"]
mod repositories;
#[path = "gitlab_rows/schedules.rs"]
mod schedules;

use std::collections::{BTreeMap, BTreeSet};

use gitlab_client::{Client, SHOP, Seen, send, standing};
use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{
    AccessTokenSeed, Ci, Fault, FaultRule, GitlabSim, Handle, JobPlay, JobState, JobTokenSeed, Limits, Play,
    ProjectSeed, Protection, Role, Row, Scope, Seed, Throttle, TriggerSeed, UserSeed, VariablesRole, Version,
    Visibility, rows,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

struct Drive {
    sim: Handle,
    client: Client,
    seen: BTreeSet<&'static str>,
}

impl Drive {
    /// Sends, and holds the answer to the row it should be.
    async fn expect(&mut self, row: &str, request: RequestBuilder) -> Seen {
        let seen = send(request).await;
        let ledger = self.sim.ledger();
        let call = ledger.calls.last().unwrap();
        assert_eq!(call.row, Some(row), "{call:?} {seen:?}");
        let known: &&Row = rows::ALL.iter().find(|known| known.name == row).unwrap();
        known.check(seen.status, &seen.headers, &seen.body).unwrap();
        self.seen.insert(known.name);
        seen
    }

    fn trigger(&self, project: &str, body: &Value) -> RequestBuilder {
        self.client.call("POST", &format!("/projects/{project}/trigger/pipeline")).json(body)
    }

    /// A trigger call that is right but for the project.
    async fn fire(&mut self, row: &str, project: &str) {
        let call = self.trigger(project, &json!({ "ref": "main", "token": format!("tt-{project}") }));
        self.expect(row, call).await;
    }

    async fn get(&mut self, row: &str, path: &str) -> Seen {
        let call = self.client.api("GET", path);
        self.expect(row, call).await
    }
}

fn token(token: &str, user: &str, scopes: &[Scope]) -> AccessTokenSeed {
    AccessTokenSeed {
        token: token.into(),
        name: token.into(),
        user: user.into(),
        scopes: scopes.to_vec(),
        ..AccessTokenSeed::default()
    }
}

/// A project of alice's with the trigger token `tt-<path, encoded>`.
fn project(name: &str) -> ProjectSeed {
    ProjectSeed {
        path: format!("shop/{name}"),
        members: BTreeMap::from([("alice".into(), Role::Maintainer), ("dora".into(), Role::Developer)]),
        triggers: vec![TriggerSeed {
            token: format!("tt-shop%2F{name}"),
            description: name.into(),
            owner: "alice".into(),
            expires_at: None,
        }],
        ..ProjectSeed::default()
    }
}

fn everything() -> Seed {
    let mut seed = standing(Seed::one_project("shop/checkout"));
    let user = |name: &str, blocked| UserSeed { username: name.into(), blocked, ..UserSeed::default() };
    seed.users.extend([user("dora", false), user("gina", false), user("bart", true)]);
    let owned = |owner: &str, name| {
        let mut project = project(name);
        project.triggers[0].owner = owner.into();
        project
    };
    let with_ci = |name, ci| ProjectSeed { ci, ..project(name) };
    let heads = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), None)).collect();
    seed.projects[0].members.insert("alice".into(), Role::Owner);
    seed.projects[0].members.insert("gina".into(), Role::Guest);
    seed.projects[0].public_pipelines = false;
    let beside = |name| JobPlay { stage: "build".into(), ..JobPlay::new(name, 60) };
    seed.projects[0].script = vec![Play::jobs([beside("build"), JobPlay { manual: true, ..beside("gate") }])];
    seed.projects.extend([
        ProjectSeed { pipelines_enabled: false, ..project("off") },
        owned("gina", "outsider"),
        ProjectSeed {
            protected: vec![Protection { pattern: "main".into(), role: Role::Owner }],
            ..project("protected")
        },
        ProjectSeed { tags: heads(&["main"]), ..project("ambiguous") },
        ProjectSeed { variables_role: VariablesRole::NoOneAllowed, ..project("restricted") },
        with_ci("missing", Ci::Missing),
        with_ci("broken", Ci::Invalid("jobs config should contain at least one visible job".into())),
        with_ci("filtered", Ci::Filtered),
        with_ci("empty", Ci::Empty),
        ProjectSeed { moved_from: vec!["shop/old".into()], ..project("new") },
        ProjectSeed { visibility: Visibility::Public, ..project("public") },
    ]);
    let mut expiring = project("expiring");
    expiring.triggers[0].expires_at = Some("2026-11-01T00:00:00Z".parse().unwrap());
    seed.projects.push(expiring);
    let job = |name: &str, user: &str, state| JobTokenSeed {
        token: name.into(),
        name: name.into(),
        user: user.into(),
        state,
    };
    seed.job_tokens.extend([
        job("job-running", "alice", JobState::Running),
        job("job-strange", "dora", JobState::Running),
        job("job-finished", "alice", JobState::Finished),
        job("job-erased", "alice", JobState::Erased),
        job("job-orphaned", "alice", JobState::ProjectDeleted),
        job("job-expired", "alice", JobState::Expired),
    ]);
    seed.access_tokens.extend([
        AccessTokenSeed { revoked: true, ..token("revoked", "alice", &[Scope::Api]) },
        AccessTokenSeed {
            expires_at: Some("2026-11-01T00:00:00Z".parse().unwrap()),
            ..token("expired", "alice", &[Scope::Api])
        },
        token("reader", "alice", &[Scope::ReadApi]),
        token("blocked", "bart", &[Scope::Api]),
        token("guest", "gina", &[Scope::Api]),
        token("dora", "dora", &[Scope::Api]),
    ]);
    seed
}

#[tokio::test]
async fn every_row_is_reached_in_the_shape_the_table_says() {
    let sim = GitlabSim::start(everything()).unwrap();
    let client = Client::new(&sim);
    let mut drive = Drive { sim, client, seen: BTreeSet::new() };
    in_front(&mut drive).await;
    credentials(&mut drive).await;
    triggers(&mut drive).await;
    chain(&mut drive).await;
    creates(&mut drive).await;
    pipelines(&mut drive).await;
    artifacts::drive(&mut drive).await;
    repositories::drive(&mut drive).await;
    merge_requests::drive(&mut drive).await;
    schedules::drive(&mut drive).await;
    schedules::variables(&mut drive).await;
    instance(&mut drive).await;
    faults(&mut drive).await;
    limits(&mut drive).await;
    let table: BTreeSet<&str> = rows::ALL.iter().map(|row| row.name).collect();
    let missed: Vec<_> = table.difference(&drive.seen).collect();
    assert!(missed.is_empty(), "rows nobody reached: {missed:?}");
    assert_eq!(table.len(), rows::ALL.len(), "a row's name stands twice");
}

async fn in_front(drive: &mut Drive) {
    let call = drive.client.raw("GET", "/users/sign_in");
    drive.expect("SITE_NOT_FOUND", call).await;
    let call = drive.client.raw("GET", "/api/v3/projects");
    drive.expect("API_V3_GONE", call).await;
    drive.get("NOT_ROUTED", "/no/such/route").await;
    let call = drive.client.api("PATCH", &format!("{SHOP}/pipelines"));
    drive.expect("METHOD_NOT_ALLOWED", call).await;
    let path = format!("{SHOP}/trigger/pipeline");
    let call = drive.client.call("POST", &path).header("Content-Type", "application/json").body("{");
    drive.expect("BODY_NOT_JSON", call).await;
    let call = drive.client.call("POST", &path).header("Content-Type", "text/csv").body("a,b");
    drive.expect("BODY_NOT_SUPPORTED", call).await;
}

async fn credentials(drive: &mut Drive) {
    let by = |drive: &Drive, token: &str| drive.client.call("GET", SHOP).header("PRIVATE-TOKEN", token);
    for (token, row) in [
        ("unknown", "UNAUTHORIZED"),
        ("expired", "TOKEN_EXPIRED"),
        ("revoked", "TOKEN_REVOKED"),
        ("blocked", "USER_BLOCKED"),
    ] {
        let call = by(drive, token);
        drive.expect(row, call).await;
    }
    let call = drive.client.call("GET", SHOP).header("Authorization", "Bearer unknown");
    drive.expect("BEARER_UNKNOWN", call).await;
    let call =
        drive.client.call("POST", &format!("{SHOP}/pipeline?ref=main")).header("PRIVATE-TOKEN", "reader");
    drive.expect("SCOPE_TOO_SMALL", call).await;
    drive.get("PROJECT_NOT_FOUND", "/projects/shop%2Fnowhere").await;
    let call = drive.client.call("GET", SHOP);
    drive.expect("PROJECT_NOT_FOUND", call).await;
    let moved = drive.get("PROJECT_MOVED", "/projects/shop%2Fold/pipelines?ref=main").await;
    assert!(moved.header("location").ends_with("/pipelines?ref=main"), "{moved:?}");
    let call = drive.client.api("POST", "/projects/shop%2Fold/pipeline").json(&json!({ "ref": "main" }));
    drive.expect("PROJECT_MOVED_WRITE", call).await;
    let call = drive.client.call("GET", &format!("{SHOP}/pipelines")).header("PRIVATE-TOKEN", "guest");
    drive.expect("FORBIDDEN", call).await;
    drive.get("NOT_FOUND_BY_ID", &format!("{SHOP}/pipelines/1")).await;
}

async fn triggers(drive: &mut Drive) {
    let shop = "shop%2Fcheckout";
    let token = Seed::TRIGGER_TOKEN;
    for (row, body) in [
        ("TRIGGER_TOKEN_MISSING", json!({ "ref": "main" })),
        ("TRIGGER_REF_MISSING", json!({ "token": token })),
        ("TRIGGER_REF_EMPTY", json!({ "token": token, "ref": " " })),
        ("TRIGGER_VARIABLES_INVALID", json!({ "token": token, "ref": "main", "variables": ["A"] })),
        ("TRIGGER_INPUTS_INVALID", json!({ "token": token, "ref": "main", "inputs": "A" })),
        ("TRIGGER_SEVERAL_INVALID", json!({})),
        ("TRIGGER_VARIABLES_NOT_STRINGS", json!({ "token": token, "ref": "main", "variables": { "N": 3 } })),
        ("TRIGGER_TOKEN_UNKNOWN", json!({ "token": "tt-shop%2Fempty", "ref": "main" })),
        ("TRIGGER_JOB_NOT_RUNNING", json!({ "token": "job-finished", "ref": "main" })),
        ("TRIGGER_JOB_ERASED", json!({ "token": "job-erased", "ref": "main" })),
        ("TRIGGER_JOB_PROJECT_DELETED", json!({ "token": "job-orphaned", "ref": "main" })),
        ("TRIGGER_JOB_TOKEN_EXPIRED", json!({ "token": "job-expired", "ref": "main" })),
        ("TRIGGER_JOB_SEES_NOTHING", json!({ "token": "job-strange", "ref": "main" })),
        ("TRIGGER_CREATED", json!({ "token": "job-running", "ref": "main" })),
        ("TRIGGER_CREATED", json!({ "token": token, "ref": "main" })),
    ] {
        let call = drive.trigger(shop, &body);
        drive.expect(row, call).await;
    }
    let call = drive.client.trigger(&json!({})).header("X-Gitlab-Event", "Pipeline Hook");
    drive.expect("TRIGGER_LOOP", call).await;
    drive.fire("TRIGGER_PROJECT_NOT_FOUND", "checkout").await;
    drive.fire("TRIGGER_TOKEN_EXPIRED", "shop%2Fexpiring").await;
    drive.fire("TRIGGER_STORED_FAILED", "shop%2Fbroken").await;
    version(drive, "16.11");
    drive.fire("TRIGGER_STORED_FAILED_OLD", "shop%2Fbroken").await;
    drive.fire("CHAIN_FILTERED_OLD", "shop%2Ffiltered").await;
    let call = drive.client.trigger(&json!({ "inputs": "not even a map" }));
    drive.expect("INPUTS_DROPPED", call).await;
    version(drive, "18.5");
}

fn version(drive: &Drive, version: &str) {
    let version: Version = version.parse().unwrap();
    drive.sim.add(Seed { version: Some(version), ..Seed::default() }).unwrap();
}

async fn chain(drive: &mut Drive) {
    for (row, project) in [
        ("CHAIN_PIPELINES_DISABLED", "off"),
        ("CHAIN_NO_PERMISSION", "outsider"),
        ("CHAIN_REF_PROTECTED", "protected"),
        ("CHAIN_REF_AMBIGUOUS", "ambiguous"),
        ("CHAIN_VARIABLES_RESTRICTED", "restricted"),
        ("CHAIN_CI_MISSING", "missing"),
        ("CHAIN_FILTERED", "filtered"),
        ("CHAIN_EMPTY", "empty"),
    ] {
        drive.fire(row, &format!("shop%2F{project}")).await;
    }
    let call = drive.client.trigger(&json!({ "ref": "nope" }));
    drive.expect("CHAIN_REF_NOT_FOUND", call).await;
    let call = drive.client.trigger(&json!({ "variables": { "NOT-A-WORD": "x" } }));
    drive.expect("CHAIN_BAD_KEY", call).await;
    limit(drive, Limits { pipelines_per_user: Some(0), ..Limits::default() });
    let call = drive.client.trigger(&json!({}));
    drive.expect("CHAIN_RATE_LIMITED", call).await;
    limit(drive, Limits::default());
}

async fn creates(drive: &mut Drive) {
    let create = |drive: &Drive, project: &str, body: Value| {
        drive.client.api("POST", &format!("/projects/shop%2F{project}/pipeline")).json(&body)
    };
    for (row, project, body) in [
        ("CREATE_CONFIG_ERROR", "broken", json!({ "ref": "main" })),
        ("CREATE_VARIABLES_INVALID", "checkout", json!({ "ref": "main", "variables": { "A": "1" } })),
        (
            "CREATE_TYPE_INVALID",
            "checkout",
            json!({ "ref": "main", "variables": [{ "key": "A", "value": "1", "variable_type": "x" }] }),
        ),
        ("CREATE_INPUTS_INVALID", "checkout", json!({ "ref": "main", "inputs": ["A"] })),
        ("CREATE_REF_MISSING", "checkout", json!({})),
        ("CREATED", "checkout", json!({ "ref": "main" })),
    ] {
        let call = create(drive, project, body);
        drive.expect(row, call).await;
    }
}

async fn pipelines(drive: &mut Drive) {
    let call = drive.client.trigger(&json!({ "variables": { "A": "1" } }));
    let id = drive.expect("TRIGGER_CREATED", call).await.id();
    let one = format!("{SHOP}/pipelines/{id}");
    drive.get("PIPELINES", &format!("{SHOP}/pipelines")).await;
    drive.get("FILTER_INVALID", &format!("{SHOP}/pipelines?status=done")).await;
    drive.get("PIPELINE_SHOWN", &one).await;
    drive.get("PIPELINE_LATEST", &format!("{SHOP}/pipelines/latest")).await;
    drive.get("LATEST_NONE", "/projects/shop%2Fempty/pipelines/latest").await;
    drive.get("VARIABLES_SHOWN", &format!("{one}/variables")).await;
    drive.get("TEST_SUMMARY_SHOWN", &format!("{one}/test_report_summary")).await;
    drive.get("TEST_REPORT_SHOWN", &format!("{one}/test_report")).await;
    version(drive, "16.2");
    drive.get("PIPELINES_OLD", &format!("{SHOP}/pipelines")).await;
    drive.get("PIPELINE_SHOWN_OLD", &one).await;
    drive.get("PIPELINE_LATEST_OLD", &format!("{SHOP}/pipelines/latest")).await;
    version(drive, "18.5");
    jobs(drive, &one).await;
    for (row, method, action) in [
        ("CANCELED", "POST", "/cancel"),
        ("RETRIED", "POST", "/retry"),
        ("METADATA_NAME_MISSING", "PUT", "/metadata"),
        ("METADATA_SET", "PUT", "/metadata?name=nightly"),
    ] {
        let call = drive.client.api(method, &format!("{one}{action}"));
        drive.expect(row, call).await;
    }
    let call = drive.client.api("PUT", &format!("{one}/metadata")).json(&json!({ "name": "n".repeat(256) }));
    drive.expect("METADATA_NAME_TOO_LONG", call).await;
    let call = drive.client.api("DELETE", &one);
    drive.expect("DELETED", call).await;
}

/// Time stands still: the first job runs, and the manual one waits.
async fn jobs(drive: &mut Drive, pipeline: &str) {
    let jobs = drive.get("JOBS", &format!("{pipeline}/jobs")).await;
    drive.get("JOBS_SCOPE_INVALID", &format!("{pipeline}/jobs?scope[]=done")).await;
    drive.get("BRIDGES", &format!("{pipeline}/bridges")).await;
    let [gate, build] = &jobs.each("id")[..] else { panic!("{jobs:?}") };
    let [gate, build] = [gate, build].map(|id| format!("{SHOP}/jobs/{id}"));
    drive.get("JOB_SHOWN", &build).await;
    for (row, path) in [
        ("JOB_NOT_RETRYABLE", format!("{build}/retry")),
        ("JOB_UNPLAYABLE", format!("{build}/play")),
        ("JOB_PLAYED", format!("{gate}/play")),
        ("JOB_CANCELED", format!("{build}/cancel")),
        ("JOB_RETRIED", format!("{build}/retry")),
    ] {
        let call = drive.client.api("POST", &path);
        drive.expect(row, call).await;
    }
}

async fn instance(drive: &mut Drive) {
    drive.get("PROJECT_SHOWN", SHOP).await;
    drive.get("BRANCHES", &format!("{SHOP}/repository/branches")).await;
    drive.get("BRANCH_SHOWN", &format!("{SHOP}/repository/branches/main")).await;
    drive.get("BRANCH_NOT_FOUND", &format!("{SHOP}/repository/branches/nope")).await;
    drive.get("VERSION_SHOWN", "/version").await;
    drive.get("METADATA_SHOWN", "/metadata").await;
    drive.get("USER_SHOWN", "/user").await;
}

async fn faults(drive: &mut Drive) {
    for (row, fault) in [
        ("FAULT_BAD_GATEWAY", Fault::BadGateway { effect: false }),
        ("FAULT_GATEWAY_TIMEOUT", Fault::LateEffect { after: SignedDuration::from_secs(30) }),
        ("FAULT_SERVER_ERROR", Fault::ServerError { effect: true }),
        ("FAULT_TOO_MANY", Fault::TooManyRequests { retry_after: 7 }),
        ("FAULT_UNAVAILABLE", Fault::Unavailable { retry_after: 7 }),
        ("FAULT_READ_ONLY", Fault::ReadOnly),
        ("FAULT_RESOURCE_LOCK", Fault::ResourceLock),
        ("FAULT_REDIRECT", Fault::Redirect { location: "http://127.0.0.1:9/".into() }),
    ] {
        drive.sim.fault(FaultRule::next("project", fault)).unwrap();
        drive.get(row, SHOP).await;
    }
}

async fn limits(drive: &mut Drive) {
    limit(drive, Limits { application: BTreeMap::from([("project".into(), 0)]), ..Limits::default() });
    drive.get("APPLICATION_LIMITED", SHOP).await;
    let none = Throttle { requests: 0, period: SignedDuration::from_secs(60) };
    limit(drive, Limits { authenticated: Some(none), ..Limits::default() });
    drive.get("THROTTLED", SHOP).await;
}

fn limit(drive: &Drive, limits: Limits) {
    drive.sim.add(Seed { limits: Some(limits), ..Seed::default() }).unwrap();
}
