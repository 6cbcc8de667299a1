//! Pipeline schedules: who may do what to them, when they run, and what they make.
#![allow(clippy::unwrap_used, reason = "the functions beside the tests are tests too")]

mod gitlab_client;

use std::collections::BTreeMap;

use gitlab_client::{Client, SHOP, Seen, send, started};
use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{
    AccessTokenSeed, Ci, CredentialKind, Fault, FaultRule, Handle, InputSpec, ProjectSeed, Protection, Role,
    ScheduleSeed, ScheduleSettings, Scope, Seed, Source, Status, UserSeed, VariableType, VariablesRole,
};
use serde_json::{Value, json};

/// `shop/checkout` with alice, who is its maintainer, and the developers dora and dave with a token of that name.
fn seed(change: impl FnOnce(&mut ProjectSeed)) -> Seed {
    let mut seed = Seed::one_project("shop/checkout");
    for name in ["dora", "dave"] {
        seed.users.push(UserSeed { username: name.into(), ..UserSeed::default() });
        seed.projects[0].members.insert(name.into(), Role::Developer);
        seed.access_tokens.push(AccessTokenSeed {
            token: name.into(),
            name: name.into(),
            user: name.into(),
            scopes: vec![Scope::Api],
            ..AccessTokenSeed::default()
        });
    }
    change(&mut seed.projects[0]);
    seed
}

const SCHEDULES: &str = "/projects/shop%2Fcheckout/pipeline_schedules";

async fn by(client: &Client, token: &str, method: &str, path: &str, body: &Value) -> Seen {
    send(client.call(method, path).header("PRIVATE-TOKEN", token).json(body)).await
}

async fn alice(client: &Client, method: &str, path: &str, body: &Value) -> Seen {
    by(client, Seed::ACCESS_TOKEN, method, path, body).await
}

/// A schedule of alice's on `main`.
async fn create(client: &Client, cron: &str) -> u64 {
    let body = json!({ "description": "nightly", "ref": "main", "cron": cron });
    let created = alice(client, "POST", SCHEDULES, &body).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.id()
}

async fn next_run(client: &Client, id: u64) -> String {
    client.get(&format!("{SCHEDULES}/{id}")).await.json()["next_run_at"].as_str().unwrap().to_owned()
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// The times at which the ledger's pipelines were made, without the date.
fn made(sim: &Handle) -> Vec<String> {
    sim.ledger().pipelines.iter().map(|p| p.at.strftime("%H:%M:%S").to_string()).collect()
}

#[tokio::test]
async fn a_schedule_is_created_with_defaults_and_its_ref_in_full() {
    let (_sim, client) = started(seed(|_| {}));
    let body =
        json!({ "description": "nightly", "ref": "main", "cron": " 0 * * * * ", "next_run_at": "never" });
    let created = alice(&client, "POST", SCHEDULES, &body).await.json();
    for (key, value) in [
        ("description", json!("nightly")),
        ("ref", json!("refs/heads/main")),
        ("cron", json!("0 * * * *")),
        ("cron_timezone", json!("UTC")),
        ("active", json!(true)),
        ("next_run_at", json!("2026-11-02T09:03:00.000Z")),
        ("last_pipeline", Value::Null),
        ("variables", json!([])),
        ("inputs", json!([])),
    ] {
        assert_eq!(created[key], value, "{key}");
    }
    assert_eq!(created["owner"]["username"], "alice");
    let list = client.get(SCHEDULES).await;
    assert_eq!((list.each("id"), list.json()[0].get("variables")), (vec![created["id"].clone()], None));
}

#[tokio::test]
async fn it_runs_when_the_worker_comes_by_after_its_time_and_as_its_owner() {
    let (sim, client) = started(seed(|_| {}));
    let id = create(&client, "0 * * * *").await;
    let variable = json!({ "key": "ENV", "value": "prod" });
    alice(&client, "POST", &format!("{SCHEDULES}/{id}/variables"), &variable).await;
    sim.advance(minutes(62));
    assert!(made(&sim).is_empty(), "09:02, and the worker comes at 3, 13, 23 …");
    sim.advance(minutes(1));
    assert_eq!(made(&sim), ["09:03:00"]);
    let ledger = sim.ledger();
    let run = &ledger.pipelines[0];
    assert_eq!((run.source, run.user.as_str(), run.git_ref.as_str()), (Source::Schedule, "alice", "main"));
    assert_eq!((run.credential.kind, run.schedule, run.call), (CredentialKind::Schedule, Some(id), 0));
    assert_eq!(run.variables[0].key, "ENV", "jobs get the schedule's variables");
    let variables = client.get(&format!("{SHOP}/pipelines/{}/variables", run.id)).await;
    assert_eq!(variables.body, "[]", "but the pipeline has none of its own");
    let shown = client.get(&format!("{SCHEDULES}/{id}")).await.json();
    assert_eq!(
        (&shown["last_pipeline"]["id"], &shown["next_run_at"]),
        (&json!(run.id), &json!("2026-11-02T10:03:00.000Z"))
    );
    assert_eq!(shown["last_pipeline"]["status"], "created");
    sim.advance(minutes(10));
    let shown = client.get(&format!("{SCHEDULES}/{id}")).await.json();
    assert_eq!(shown["last_pipeline"]["status"], "success", "and nobody looked at the pipeline itself");
    sim.advance(SignedDuration::from_hours(3));
    assert_eq!(made(&sim), ["09:03:00", "10:03:00", "11:03:00", "12:03:00"]);
    let pipelines = client.get(&format!("{SCHEDULES}/{id}/pipelines?per_page=2")).await;
    assert_eq!(pipelines.each("id"), [json!(run.id), json!(run.id + 1)], "the oldest first");
    let newest = client.get(&format!("{SCHEDULES}/{id}/pipelines?sort=desc&per_page=1")).await;
    assert_eq!((newest.each("id"), newest.header("x-total")), (vec![json!(run.id + 3)], "4"));
}

#[tokio::test]
async fn too_frequent_a_schedule_is_slowed_and_a_quicker_worker_is_seen_in_next_run_at() {
    let scheduling = |settings| Seed { scheduling: Some(settings), ..Seed::default() };
    let (sim, client) = started(seed(|_| {}));
    let every_minute = create(&client, "* * * * *").await;
    assert_eq!(next_run(&client, every_minute).await, "2026-11-02T08:03:00.000Z");
    sim.advance(minutes(30));
    assert_eq!(made(&sim), ["08:03:00", "08:13:00", "08:23:00"]);

    let hourly = ScheduleSettings { per_day: Some(24), ..ScheduleSettings::default() };
    sim.add(scheduling(hourly)).unwrap();
    alice(&client, "PUT", &format!("{SCHEDULES}/{every_minute}"), &json!({})).await;
    assert_eq!(next_run(&client, every_minute).await, "2026-11-02T09:03:00.000Z");
    let worker = ScheduleSettings { worker: "*/5 * * * *".into(), ..ScheduleSettings::default() };
    sim.add(scheduling(worker)).unwrap();
    alice(&client, "PUT", &format!("{SCHEDULES}/{every_minute}"), &json!({})).await;
    assert_eq!(next_run(&client, every_minute).await, "2026-11-02T08:35:00.000Z");
    let wrong = ScheduleSettings { worker: "often".into(), ..ScheduleSettings::default() };
    assert!(sim.add(scheduling(wrong)).is_err());
}

#[tokio::test]
async fn zones_are_taken_by_either_name_and_what_is_wrong_is_told_by_attribute() {
    let (_sim, client) = started(seed(|project| {
        project.branches = ["main", "both"].map(|name| (name.to_owned(), None)).into();
        project.tags = ["both", "v1"].map(|name| (name.to_owned(), None)).into();
    }));
    let post = async |change: Value| {
        let mut body = json!({ "description": "x", "ref": "main", "cron": "0 9 * * *" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let seen = alice(&client, "POST", SCHEDULES, &body).await;
        (seen.status, seen.json())
    };
    let (_, tokyo) = post(json!({ "cron_timezone": "Tokyo" })).await;
    assert_eq!(
        (&tokyo["cron_timezone"], &tokyo["next_run_at"]),
        (&json!("Tokyo"), &json!("2026-11-03T00:03:00.000Z"))
    );
    let (_, berlin) = post(json!({ "cron_timezone": "Europe/Berlin", "ref": "v1" })).await;
    assert_eq!(
        (&berlin["ref"], &berlin["next_run_at"]),
        (&json!("refs/tags/v1"), &json!("2026-11-03T08:03:00.000Z"))
    );
    for (change, message) in [
        (json!({ "cron": "every 3h" }), json!({ "cron": ["syntax is invalid"] })),
        (
            json!({ "cron": "0 0 31 2 *", "cron_timezone": "Mars" }),
            json!({ "cron": ["syntax is invalid"], "cron_timezone": ["syntax is invalid"] }),
        ),
        (json!({ "description": " " }), json!({ "description": ["can't be blank"] })),
        (json!({ "ref": "both" }), json!({ "ref": ["is ambiguous"] })),
        (json!({ "ref": "nope" }), json!({ "ref": ["is ambiguous"] })),
    ] {
        assert_eq!(post(change).await, (400, json!({ "message": message })));
    }
    let missing = alice(&client, "POST", SCHEDULES, &json!({ "active": "perhaps" })).await;
    assert_eq!(
        missing.json()["error"],
        "description is missing, ref is missing, cron is missing, active is invalid"
    );
    assert_eq!(send(client.call("GET", SCHEDULES)).await.status, 401, "everybody signs in");
}

#[tokio::test]
async fn only_the_owner_changes_a_schedule_and_a_maintainer_takes_it_first() {
    let (sim, client) = started(seed(|_| {}));
    let body = json!({ "description": "dora's", "ref": "main", "cron": "0 * * * *" });
    let id = by(&client, "dora", "POST", SCHEDULES, &body).await.id();
    let one = format!("{SCHEDULES}/{id}");
    let variables = format!("{one}/variables");
    let variable = json!({ "key": "ENV", "value": "prod" });
    assert_eq!(by(&client, "dora", "POST", &variables, &variable).await.status, 201);
    let off = json!({ "active": false });
    assert_eq!(alice(&client, "PUT", &one, &off).await.status, 403, "a Maintainer is not the owner");
    assert_eq!(by(&client, "dave", "PUT", &one, &off).await.status, 403);
    assert_eq!(by(&client, "dave", "DELETE", &one, &json!({})).await.status, 403);
    let shown = by(&client, "dave", "GET", &one, &json!({})).await.json();
    assert_eq!(shown.get("variables"), None, "another Developer does not see them");
    assert_eq!(by(&client, "dave", "GET", &format!("{variables}/ENV"), &json!({})).await.status, 403);
    assert_eq!(client.get(&one).await.json()["variables"][0]["value"], "prod");

    let take = format!("{one}/take_ownership");
    assert_eq!(by(&client, "dave", "POST", &take, &json!({})).await.status, 403);
    assert_eq!(
        [alice(&client, "POST", &take, &json!({})).await.status, client.post(&take).await.status],
        [201, 200]
    );
    assert_eq!(alice(&client, "PUT", &one, &off).await.json()["active"], false);
    assert_eq!(by(&client, "dora", "PUT", &one, &off).await.status, 403);
    sim.advance(SignedDuration::from_hours(5));
    assert!(made(&sim).is_empty(), "it is inactive");
    assert_eq!(client.get(&format!("{SCHEDULES}?scope=active")).await.body, "[]");
    assert_eq!(client.get(&format!("{SCHEDULES}?scope=inactive")).await.each("id"), [json!(id)]);
}

#[tokio::test]
async fn variables_are_set_one_by_one_and_only_where_the_project_lets_one() {
    let (sim, client) = started(seed(|_| {}));
    let id = create(&client, "0 * * * *").await;
    let variables = format!("{SCHEDULES}/{id}/variables");
    let post = async |body: Value| alice(&client, "POST", &variables, &body).await;
    assert_eq!(
        post(json!({ "key": "A", "value": "1" })).await.json(),
        json!({ "variable_type": "env_var", "key": "A", "value": "1", "raw": false })
    );
    let file = json!({ "key": "B", "value": "", "variable_type": "file" });
    assert_eq!(post(file).await.json()["variable_type"], "file");
    for (body, error) in [
        (json!({ "key": "A", "value": "2" }), json!({ "message": { "key": ["has already been taken"] } })),
        (
            json!({ "key": "NOT-A-WORD", "value": "2" }),
            json!({ "message": { "key": ["can contain only letters, digits and '_'."] } }),
        ),
        (
            json!({ "variable_type": "x" }),
            json!({ "error": "key is missing, value is missing, variable_type does not have a valid value" }),
        ),
    ] {
        let seen = post(body).await;
        assert_eq!((seen.status, seen.json()), (400, error));
    }
    let one = format!("{variables}/A");
    let updated = alice(&client, "PUT", &one, &json!({ "value": "3", "variable_type": "file" })).await;
    assert_eq!((updated.status, updated.json()["value"].as_str()), (200, Some("3")));
    let stored = &sim.schedules("shop/checkout")[0].variables;
    assert_eq!((stored[0].value.as_str(), stored[0].variable_type), ("3", VariableType::File));
    let deleted = alice(&client, "DELETE", &one, &json!({})).await;
    assert_eq!((deleted.status, deleted.json()["key"].as_str()), (202, Some("A")));
    assert_eq!(client.get(&one).await.json()["message"], "404 Pipeline Schedule Variable Not Found");
    sim.add(seed(|project| {
        project.variables_role = VariablesRole::NoOneAllowed;
        project.triggers.clear();
    }))
    .unwrap();
    assert_eq!(post(json!({ "key": "C", "value": "1" })).await.status, 403);
    sim.advance(minutes(63));
    assert_eq!(made(&sim).len(), 1, "what the schedule has already does not keep it from running");
}

#[tokio::test]
async fn inputs_are_kept_by_name_and_passed_and_older_versions_know_none() {
    let (sim, client) = started(seed(|project| {
        project.inputs = BTreeMap::from([("region".into(), InputSpec::default())]);
    }));
    let body = json!({
        "description": "x", "ref": "main", "cron": "0 * * * *",
        "inputs": [{ "name": "region", "value": "eu" }, { "name": "deep", "value": [1] }],
    });
    let created = alice(&client, "POST", SCHEDULES, &body).await;
    assert_eq!(
        created.json()["inputs"],
        json!([{ "name": "deep", "value": [1] }, { "name": "region", "value": "eu" }])
    );
    let one = format!("{SCHEDULES}/{}", created.id());
    let change =
        json!({ "inputs": [{ "name": "deep", "destroy": true }, { "name": "region", "value": "us" }] });
    let changed = alice(&client, "PUT", &one, &change).await;
    assert_eq!(changed.json()["inputs"], json!([{ "name": "region", "value": "us" }]));
    let wrong = alice(&client, "PUT", &one, &json!({ "inputs": [{ "value": 1 }, { "name": "x" }] })).await;
    assert_eq!(wrong.json()["error"], "inputs[0][name] is missing, inputs[1][value] is missing");
    sim.advance(SignedDuration::from_hours(1) + minutes(3));
    assert_eq!(sim.ledger().pipelines[0].born, Status::Created);
    sim.add(Seed { version: Some("17.10".parse().unwrap()), ..Seed::default() }).unwrap();
    assert_eq!(client.get(&one).await.json().get("inputs"), None);
}

#[tokio::test]
async fn play_answers_without_a_pipeline_and_two_quick_ones_make_one_as_the_player() {
    let (sim, client) = started(seed(|_| {}));
    let id = create(&client, "0 0 1 1 *").await;
    let play = format!("{SCHEDULES}/{id}/play");
    let before = next_run(&client, id).await;
    for _ in 0..2 {
        let played = client.post(&play).await;
        assert_eq!((played.status, played.json()), (201, json!({ "message": "201 Created" })));
    }
    assert_eq!(by(&client, "dora", "POST", &play, &json!({})).await.status, 201);
    assert!(made(&sim).is_empty());
    sim.advance(SignedDuration::from_secs(1));
    let users: Vec<String> = sim.ledger().pipelines.iter().map(|p| p.user.clone()).collect();
    assert_eq!(users, ["alice", "dora"]);
    assert_eq!(next_run(&client, id).await, before, "the plan stays as it was");
    client.post(&play).await;
    sim.advance(SignedDuration::from_secs(1));
    assert_eq!(made(&sim).len(), 3);
}

#[tokio::test]
async fn who_loses_the_right_to_run_pipelines_has_his_schedule_switched_off() {
    let demoted = || {
        seed(|project| {
            project.members.insert("alice".into(), Role::Reporter);
            project.triggers.clear();
        })
    };
    let (sim, client) = started(seed(|_| {}));
    let id = create(&client, "0 * * * *").await;
    sim.add(demoted()).unwrap();
    sim.advance(SignedDuration::from_hours(2));
    assert!(made(&sim).is_empty());
    assert_eq!(client.get(&format!("{SCHEDULES}/{id}")).await.json()["active"], false);
    assert_eq!(sim.ledger().schedule_runs.len(), 1, "once is enough");

    let (sim, client) = started(seed(|_| {}));
    let id = create(&client, "0 * * * *").await;
    let stays = ScheduleSettings { deactivates: false, ..ScheduleSettings::default() };
    sim.add(Seed { scheduling: Some(stays), ..demoted() }).unwrap();
    sim.advance(minutes(123));
    assert_eq!(client.get(&format!("{SCHEDULES}/{id}")).await.json()["active"], true);
    let refused: Vec<_> = sim.ledger().schedule_runs.iter().map(|run| run.refused).collect();
    assert_eq!(refused, [Some("CHAIN_NO_PERMISSION"), Some("CHAIN_NO_PERMISSION")]);
}

#[tokio::test]
async fn what_cannot_be_run_is_a_failed_pipeline_or_before_18_nothing() {
    let broken = || {
        seed(|project| {
            project.ci = Ci::Invalid("jobs config should contain at least one visible job".into());
            project.triggers.clear();
        })
    };
    for (version, made) in [("18.5", 1), ("17.11", 0)] {
        let (sim, client) = started(seed(|_| {}));
        sim.add(Seed { version: Some(version.parse().unwrap()), ..broken() }).unwrap();
        create(&client, "0 * * * *").await;
        sim.advance(minutes(63));
        let ledger = sim.ledger();
        assert_eq!((ledger.pipelines.len(), ledger.schedule_runs.len()), (made, 1), "{version}");
        assert!(ledger.pipelines.iter().all(|pipeline| pipeline.born == Status::Failed), "{version}");
    }
}

#[tokio::test]
async fn there_is_a_limit_for_a_project_and_a_protected_ref_is_for_who_may_push_to_it() {
    let (sim, client) = started(seed(|project| {
        project.protected = vec![Protection { pattern: "main".into(), role: Role::Maintainer }];
    }));
    let body = json!({ "description": "x", "ref": "main", "cron": "0 * * * *" });
    let refused = by(&client, "dora", "POST", SCHEDULES, &body).await;
    assert_eq!(
        refused.json()["message"]["base"][0],
        "The current user is not authorized to create the pipeline schedule"
    );
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(create(&client, "0 * * * *").await);
    }
    let refused = alice(&client, "POST", SCHEDULES, &body).await;
    assert_eq!(refused.json()["message"]["base"][0], "Maximum number of ci pipeline schedules (10) exceeded");
    let one = format!("{SCHEDULES}/{}", ids[0]);
    assert_eq!(by(&client, "dora", "POST", &format!("{one}/play"), &json!({})).await.status, 403);
    sim.advance(minutes(63));
    assert_eq!(made(&sim).len(), 10);
    assert_eq!(alice(&client, "DELETE", &one, &json!({})).await.status, 204);
    assert_eq!(client.get(&one).await.json()["message"], "404 Pipeline Schedule Not Found");
    assert_eq!(sim.schedules("shop/checkout").len(), 9);
    assert_eq!(client.get(&format!("{SHOP}/pipelines")).await.each("id").len(), 10, "its pipelines stay");
    create(&client, "0 * * * *").await;
}

#[tokio::test]
async fn a_lost_answer_leaves_the_schedule_and_late_effects_keep_their_order_with_the_worker() {
    let (sim, client) = started(seed(|_| {}));
    sim.fault(FaultRule::next("schedule_create", Fault::LateEffect { after: minutes(5) })).unwrap();
    let body = json!({ "description": "late", "ref": "main", "cron": "* * * * *" });
    assert_eq!(alice(&client, "POST", SCHEDULES, &body).await.status, 504);
    assert!(sim.schedules("shop/checkout").is_empty());
    sim.advance(minutes(20));
    assert_eq!(made(&sim), ["08:13:00"], "created at 08:05, too late for the worker of 08:03");
    assert_eq!(sim.schedules("shop/checkout")[0].created_at.to_string(), "2026-11-02T08:05:00Z");
}

#[tokio::test]
async fn a_seed_may_bring_schedules_and_change_them_by_their_description() {
    let brought = |active, value: &str| {
        let variables = BTreeMap::from([("ENV".to_owned(), value.to_owned())]);
        seed(|project| {
            let description = "kept by hand".to_owned();
            project.schedules =
                vec![ScheduleSeed { description, active, variables, ..ScheduleSeed::default() }];
            project.triggers.clear();
        })
    };
    let (sim, client) = started(brought(true, "a"));
    let before = sim.schedules("shop/checkout");
    sim.add(brought(false, "b")).unwrap();
    let after = sim.schedules("shop/checkout");
    assert_eq!((after.len(), after[0].id, after[0].active), (1, before[0].id, false));
    assert_eq!((before[0].variables[0].value.as_str(), after[0].variables[0].value.as_str()), ("a", "b"));
    let listed = send(client.raw("GET", "/-/sim/schedules")).await;
    assert_eq!(listed.each("description"), ["kept by hand"]);
}
