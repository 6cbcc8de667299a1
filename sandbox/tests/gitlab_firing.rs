//! Creating pipelines: what the trigger route takes, whom it believes, and what the ledger says afterwards.
#![allow(clippy::disallowed_methods, reason = "one test measures how long the simulator takes")]

mod gitlab_client;

use std::{collections::BTreeMap, time::Instant};

use gitlab_client::{SHOP, send, shop, started};
use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{
    Ci, CredentialKind, JobState, JobTokenSeed, Limits, Role, Seed, Source, Status, Throttle, UserSeed,
    VariableType, VariablesRole,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn with_project(change: impl FnOnce(&mut pipekick_sandbox::gitlab::ProjectSeed)) -> Seed {
    let mut seed = Seed::one_project("shop/checkout");
    change(&mut seed.projects[0]);
    seed
}

#[tokio::test]
async fn a_trigger_call_runs_as_the_tokens_owner_and_is_recorded_without_the_token() {
    let (sim, client) = shop();
    let mark = json!({ "pipekick": { "fire_id": "abc" }, "payload": { "deep": { "x": null } } });
    let answer = send(client.trigger(&mark)).await;
    assert_eq!((answer.status, answer.json()["source"].as_str()), (201, Some("trigger")));
    assert_eq!(answer.json()["user"]["username"], "alice");
    assert_eq!(answer.json()["status"], "created");
    assert!(answer.json().get("name").is_none());

    let ledger = sim.ledger();
    let [record] = ledger.pipelines_with_fire_id("abc")[..] else { panic!("{ledger:?}") };
    assert_eq!((record.source, record.born, record.call), (Source::Trigger, Status::Created, 1));
    assert_eq!(
        (record.credential.kind, record.credential.name.as_str()),
        (CredentialKind::TriggerToken, "ops")
    );
    let payload = record.variables.iter().find(|v| v.key == "TRIGGER_PAYLOAD").unwrap();
    assert_eq!(payload.variable_type, VariableType::File);
    let payload: Value = serde_json::from_str(&payload.value).unwrap();
    assert_eq!(
        payload,
        json!({
            "id": "shop/checkout", "ref": "main", "pipekick": { "fire_id": "abc" },
            "payload": { "deep": { "x": null } },
        })
    );
    assert_eq!(Value::Object(record.params.clone()), payload);
}

#[tokio::test]
async fn no_token_is_ever_written_down() {
    let (sim, client) = shop();
    let (trigger, access) = (Seed::TRIGGER_TOKEN, Seed::ACCESS_TOKEN);
    let queries = [
        format!("{SHOP}/trigger/pipeline?token={trigger}&ref=main&private_token={access}"),
        format!("{SHOP}/ref/main/trigger/pipeline?token={trigger}&access_token={access}&variables[A]=1"),
    ];
    for path in &queries {
        assert_eq!(send(client.call("POST", path)).await.status, 201);
    }
    send(client.call("GET", &format!("{SHOP}/pipelines?private_token={access}&ref=main"))).await;
    let text = send(client.raw("GET", "/-/sim/ledger")).await.body;
    assert!(!text.contains(trigger) && !text.contains(access), "{text}");
    assert!(text.contains("/pipelines?ref=main"), "{text}");
    assert_eq!(sim.ledger().calls.last().unwrap().credential.as_ref().unwrap().name, "bot");
}

#[tokio::test]
async fn query_and_body_are_merged_and_the_ref_in_the_path_wins() {
    let (sim, client) = started(with_project(|project| {
        project.branches = ["main", "feature/a.b"].map(|name| (name.into(), None)).into();
    }));
    let token = Seed::TRIGGER_TOKEN;
    for path in ["feature/a.b", "feature%2Fa.b"] {
        let path = format!("{SHOP}/ref/{path}/trigger/pipeline?token={token}");
        let answer = send(client.form(&path, "ref=main&variables[A]=1&variables[B]=x%20y".into())).await;
        assert_eq!((answer.status, answer.json()["ref"].as_str()), (201, Some("feature/a.b")));
    }
    let record = &sim.ledger().pipelines[0];
    assert_eq!(record.params["variables"], json!({ "A": "1", "B": "x y" }));
    assert_eq!(record.params["ref"], "feature/a.b");
}

#[tokio::test]
async fn a_full_ref_name_is_taken_a_commit_is_not() {
    let (_sim, client) =
        started(with_project(|project| project.tags = BTreeMap::from([("v1".into(), None)])));
    let full = send(client.trigger(&json!({ "ref": "refs/heads/main" }))).await;
    assert_eq!(full.json()["ref"], "main");
    let tag = send(client.trigger(&json!({ "ref": "refs/tags/v1" }))).await;
    assert_eq!((tag.json()["ref"].as_str(), tag.json()["tag"].as_bool()), (Some("v1"), Some(true)));
    let sha = full.json()["sha"].clone();
    let refused = send(client.trigger(&json!({ "ref": sha }))).await;
    assert_eq!(refused.json(), json!({ "message": { "base": ["Reference not found"] } }));
}

#[tokio::test]
async fn a_variable_named_trigger_payload_leaves_a_failed_pipeline() {
    let (sim, client) = shop();
    let answer = send(client.trigger(&json!({ "variables": { "TRIGGER_PAYLOAD": "mine" } }))).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["message"]["base"][0], "Duplicate variable name: TRIGGER_PAYLOAD");
    let record = &sim.ledger().pipelines[0];
    assert_eq!(record.born, Status::Failed);
    let listed = client.get(&format!("{SHOP}/pipelines?status=failed")).await;
    assert_eq!(listed.each("id"), [json!(record.id)]);
    assert_eq!(
        client.get(&format!("{SHOP}/pipelines/{}/jobs", record.id)).await.each("id"),
        [] as [Value; 0]
    );
}

#[tokio::test]
async fn too_large_a_pipeline_is_kept_failed_by_a_trigger_and_not_by_an_access_token() {
    let (sim, client) = started(with_project(|project| project.ci = Ci::TooLarge));
    assert_eq!(send(client.trigger(&json!({}))).await.status, 422);
    let create = client.api("POST", &format!("{SHOP}/pipeline")).json(&json!({ "ref": "main" }));
    assert_eq!(send(create).await.status, 400);
    assert_eq!(sim.ledger().pipelines.len(), 1);
}

#[tokio::test]
async fn a_job_token_makes_source_pipeline_as_the_jobs_user() {
    let job = JobTokenSeed {
        token: "glcbt-job".into(),
        name: "deploy".into(),
        user: "alice".into(),
        state: JobState::Running,
    };
    let (sim, client) = started(Seed { job_tokens: vec![job], ..Seed::one_project("shop/checkout") });
    let answer = send(client.trigger(&json!({ "token": "glcbt-job" }))).await;
    assert_eq!((answer.status, answer.json()["source"].as_str()), (201, Some("pipeline")));
    let record = &sim.ledger().pipelines[0];
    assert_eq!((record.credential.kind, record.user.as_str()), (CredentialKind::JobToken, "alice"));
}

#[tokio::test]
async fn restricted_variables_refuse_every_trigger_call_unless_the_payload_is_exempt() {
    let restricted = |exempt| {
        with_project(|project| {
            project.variables_role = VariablesRole::NoOneAllowed;
            project.payload_exempt = exempt;
        })
    };
    for (exempt, variables, status) in
        [(false, json!({}), 400), (true, json!({}), 201), (true, json!({ "A": "1" }), 400)]
    {
        let (sim, client) = started(restricted(exempt));
        let answer = send(client.trigger(&json!({ "variables": variables }))).await;
        assert_eq!(answer.status, status, "exempt {exempt}, variables {variables}");
        assert_eq!(sim.ledger().pipelines.len(), usize::from(status == 201));
        let create = client.api("POST", &format!("{SHOP}/pipeline")).json(&json!({ "ref": "main" }));
        assert_eq!(send(create).await.status, 201, "without variables an access token may");
    }
}

#[tokio::test]
async fn a_failed_create_by_access_token_stores_nothing() {
    let (sim, client) = shop();
    let twice = json!([{ "key": "A", "value": "1" }, { "key": "A", "value": "2" }]);
    let create = |variables: &Value| {
        client
            .api("POST", &format!("{SHOP}/pipeline"))
            .json(&json!({ "ref": "main", "variables": variables }))
    };
    let refused = send(create(&twice)).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json(), json!({ "message": { "base": ["Duplicate variable name: A"] } }));
    assert!(sim.ledger().pipelines.is_empty());

    let file = json!([
        { "key": "LICENSE", "value": "text", "variable_type": "file" },
        { "key": "PIPEKICK_FIRE_ID", "value": "abc" },
    ]);
    let made = send(create(&file)).await;
    assert_eq!((made.status, made.json()["source"].as_str()), (201, Some("api")));
    let ledger = sim.ledger();
    let [record] = ledger.pipelines_with_fire_id("abc")[..] else { panic!("{ledger:?}") };
    assert_eq!(record.variables[0].variable_type, VariableType::File);
    assert!(record.variables.iter().all(|v| v.key != "TRIGGER_PAYLOAD"));
}

#[tokio::test]
async fn a_form_without_indices_makes_an_array_of_variables() {
    let (sim, client) = shop();
    let body = "ref=main&variables[][key]=A&variables[][value]=1&variables[][key]=B&variables[][value]=2";
    let call =
        client.form(&format!("{SHOP}/pipeline"), body.into()).header("PRIVATE-TOKEN", Seed::ACCESS_TOKEN);
    assert_eq!(send(call).await.status, 201);
    let keys: Vec<String> = sim.ledger().pipelines[0].variables.iter().map(|v| v.key.clone()).collect();
    assert_eq!(keys, ["A", "B"]);
}

#[tokio::test]
async fn the_trigger_route_still_finds_a_project_by_its_former_path() {
    let (sim, client) = started(with_project(|project| {
        project.path = "shop/till".into();
        project.moved_from = vec!["shop/checkout".into()];
    }));
    assert_eq!(send(client.trigger(&json!({}))).await.status, 201);
    assert_eq!(sim.ledger().pipelines_of("shop/till").len(), 1);
}

#[tokio::test]
async fn who_loses_the_role_loses_the_trigger_and_a_400_says_so() {
    let (sim, client) = shop();
    let lowered = with_project(|project| {
        project.members = BTreeMap::from([("alice".into(), Role::Reporter)]);
        project.triggers.clear();
    });
    sim.add(lowered).unwrap();
    let refused = send(client.trigger(&json!({}))).await;
    assert_eq!(refused.json()["message"]["base"][0], "Insufficient permissions to create a new pipeline");
    sim.add(Seed {
        users: vec![UserSeed { username: "alice".into(), blocked: true, ..UserSeed::default() }],
        ..with_project(|project| project.triggers.clear())
    })
    .unwrap();
    assert_eq!(client.get(SHOP).await.status, 403);
    assert_eq!(send(client.trigger(&json!({}))).await.status, 400);
}

#[tokio::test]
async fn the_creation_limit_is_a_400_counts_refused_attempts_and_ends_with_the_minute() {
    let limits = Limits { pipelines_per_sha: Some(2), ..Limits::default() };
    let (sim, client) = started(Seed { limits: Some(limits), ..Seed::one_project("shop/checkout") });
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(send(client.trigger(&json!({}))).await.status);
    }
    let limited = send(client.trigger(&json!({}))).await;
    assert_eq!(statuses, [201, 201, 400]);
    assert_eq!(
        limited.json()["message"]["base"][0],
        "Too many pipelines created in the last minute. Try again later."
    );
    assert_eq!(limited.header("retry-after"), "");
    sim.advance(SignedDuration::from_secs(60));
    assert_eq!(send(client.trigger(&json!({}))).await.status, 201);
}

#[tokio::test]
async fn trigger_calls_count_as_anonymous_traffic_of_their_address_in_fixed_windows() {
    let throttle = Throttle { requests: 10, period: SignedDuration::from_secs(3600) };
    let limits = Limits { unauthenticated: Some(throttle), ..Limits::default() };
    let (sim, client) = started(Seed { limits: Some(limits), ..Seed::one_project("shop/checkout") });
    sim.advance(SignedDuration::from_mins(50));
    let first = send(client.trigger(&json!({}))).await;
    // Ten an hour is normalised to one a minute, rounded up; what remains is of the hour.
    assert_eq!((first.header("ratelimit-limit"), first.header("ratelimit-remaining")), ("1", "9"));
    for _ in 0..9 {
        assert_eq!(send(client.trigger(&json!({}))).await.status, 201);
    }
    let throttled = send(client.trigger(&json!({}))).await;
    assert_eq!((throttled.status, throttled.body.as_str()), (429, "Retry later"));
    assert_eq!(throttled.header("retry-after"), "600");
    assert_eq!(throttled.header("ratelimit-resettime"), "Mon, 02 Nov 2026 09:00:00 GMT");
    assert_eq!(client.get(SHOP).await.status, 200, "a user's own calls are counted apart");
    sim.advance(SignedDuration::from_mins(10));
    assert_eq!(send(client.trigger(&json!({}))).await.status, 201);
}

#[tokio::test]
async fn each_address_has_a_window_of_its_own_and_a_user_has_one_wherever_he_calls_from() {
    let limit = |requests| Some(Throttle { requests, period: SignedDuration::from_secs(60) });
    let limits = Limits { unauthenticated: limit(2), authenticated: limit(2), ..Limits::default() };
    let (sim, here) = started(Seed { limits: Some(limits), ..Seed::one_project("shop/checkout") });
    let there = gitlab_client::Client::from_address(&sim, Some([127, 0, 0, 2].into()));
    for (client, statuses) in [(&here, [201, 201, 429]), (&there, [201, 201, 429])] {
        for status in statuses {
            assert_eq!(send(client.trigger(&json!({}))).await.status, status);
        }
    }
    let user = [here.get(SHOP).await, there.get(SHOP).await, here.get(SHOP).await];
    assert_eq!(user.map(|seen| seen.status), [200, 200, 429]);
}

#[tokio::test]
async fn the_creation_limit_is_counted_by_project_user_and_commit_and_by_user() {
    let both = ["main", "next"].map(|name| (name.to_owned(), None));
    let limits = |limits: Limits| Seed { limits: Some(limits), ..Seed::default() };
    let (sim, client) = started(with_project(|project| project.branches = both.into()));
    sim.add(limits(Limits { pipelines_per_sha: Some(1), ..Limits::default() })).unwrap();
    let on = async |git_ref: &str| send(client.trigger(&json!({ "ref": git_ref }))).await.status;
    assert_eq!([on("main").await, on("main").await, on("next").await], [201, 400, 201]);
    sim.add(limits(Limits { pipelines_per_user: Some(1), ..Limits::default() })).unwrap();
    assert_eq!([on("main").await, on("next").await], [201, 400]);
}

#[tokio::test]
async fn before_18_only_a_429_tells_of_limits() {
    let throttle = Throttle { requests: 1, period: SignedDuration::from_secs(60) };
    let limits = Limits { unauthenticated: Some(throttle), ..Limits::default() };
    let version = Some("17.3".parse().unwrap());
    let (_sim, client) =
        started(Seed { version, limits: Some(limits), ..Seed::one_project("shop/checkout") });
    assert_eq!(send(client.trigger(&json!({}))).await.header("ratelimit-limit"), "");
    assert_eq!(send(client.trigger(&json!({}))).await.header("ratelimit-limit"), "1");
}

#[tokio::test]
async fn two_thousand_triggers_at_once_take_seconds_and_none_is_lost() {
    let (sim, client) = shop();
    let start = Instant::now();
    let calls: JoinSet<_> = (0..2000)
        .map(|n| send(client.trigger(&json!({ "pipekick": { "fire_id": format!("fire-{n}") } }))))
        .collect();
    let answers = calls.join_all().await;
    let took = start.elapsed();
    assert!(answers.iter().all(|answer| answer.status == 201));
    let ledger = sim.ledger();
    assert_eq!(ledger.pipelines.len(), 2000);
    assert!(ledger.duplicate_fire_ids().is_empty());
    assert!(took.as_secs() < 20, "took {took:?}");
    println!("2,000 triggers took {took:?}");
    let start = Instant::now();
    for page in 1..=20 {
        let list =
            client.get(&format!("{SHOP}/pipelines?per_page=100&page={page}&source=trigger&ref=main")).await;
        assert_eq!(list.each("id").len(), 100);
    }
    println!("20 pages of 100 took {:?}", start.elapsed());
}
