//! Following pipelines: lists, pages, progress, actions, and who may see what.

mod gitlab_client;

use std::collections::BTreeMap;

use gitlab_client::{Client, SHOP, send, shop, started};
use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{
    AccessTokenSeed, Handle, JobPlay, Opening, Outcome, PipelineSeed, Play, ProjectSeed, Protection, Role,
    Scope, Seed, Source, Status, Tests, TriggerSeed, UserSeed, Visibility, When,
};
use serde_json::{Value, json};

fn with_project(change: impl FnOnce(&mut ProjectSeed)) -> Seed {
    let mut seed = Seed::one_project("shop/checkout");
    change(&mut seed.projects[0]);
    seed
}

fn playing(plays: impl IntoIterator<Item = Play>) -> (Handle, Client) {
    started(with_project(|project| project.script = plays.into_iter().collect()))
}

async fn fire(client: &Client) -> u64 {
    send(client.trigger(&json!({}))).await.id()
}

async fn status(client: &Client, id: u64) -> Value {
    client.get(&format!("{SHOP}/pipelines/{id}")).await.json()["status"].clone()
}

#[tokio::test]
async fn pages_tell_where_they_stand_and_links_keep_the_filters_but_no_token() {
    let (_sim, client) = shop();
    for _ in 0..5 {
        fire(&client).await;
    }
    let token = Seed::ACCESS_TOKEN;
    let path = format!("{SHOP}/pipelines?ref=main&per_page=2&page=2&private_token={token}");
    let page = send(client.call("GET", &path)).await;
    let pages = ["x-page", "x-per-page", "x-prev-page", "x-next-page", "x-total", "x-total-pages"];
    assert_eq!(pages.map(|name| page.header(name)), ["2", "2", "1", "3", "5", "3"]);
    assert_eq!(page.each("iid"), [json!(3), json!(2)]);
    let link = page.header("link");
    assert!(link.contains("pipelines?ref=main&page=3&per_page=2>; rel=\"next\""), "{link}");
    assert!(!link.contains(token), "{link}");
    let last = client.get(&format!("{SHOP}/pipelines?per_page=2&page=3&sort=asc")).await;
    assert_eq!((last.each("iid"), last.header("x-next-page")), (vec![json!(5)], ""));
}

#[tokio::test]
async fn above_ten_thousand_rows_no_totals_and_no_last_page_are_told() {
    let pipelines = vec![PipelineSeed::default(); 10_001];
    let (_sim, client) = started(with_project(|project| project.pipelines = pipelines));
    let page = client.get(&format!("{SHOP}/pipelines?page=50&per_page=1000")).await;
    assert_eq!(
        (page.header("x-total"), page.header("x-total-pages"), page.header("x-next-page")),
        ("", "", "51")
    );
    assert_eq!((page.each("id").len(), page.header("link").contains("last")), (100, false));
    assert_eq!(client.get(&format!("{SHOP}/pipelines?page=102&per_page=100")).await.body, "[]");
}

#[tokio::test]
async fn the_list_filters_by_what_the_facts_name_and_hides_child_pipelines() {
    let existing = |source, status, mins, name: Option<&str>| PipelineSeed {
        source,
        status,
        age: SignedDuration::from_mins(mins),
        name: name.map(str::to_owned),
        ..PipelineSeed::default()
    };
    let (_sim, client) = started(with_project(|project| {
        project.pipelines = vec![
            existing(Source::Push, Status::Failed, 60, Some("nightly")),
            existing(Source::Trigger, Status::Success, 50, None),
            existing(Source::ParentPipeline, Status::Success, 40, None),
            existing(Source::Schedule, Status::Skipped, 30, None),
        ];
    }));
    for (query, iids) in [
        ("", vec![4, 2, 1]),
        ("?source=parent_pipeline", vec![3]),
        ("?status=failed", vec![1]),
        ("?scope=finished", vec![2, 1]),
        ("?scope=branches", vec![4]),
        ("?scope=tags", vec![]),
        ("?name=nightly", vec![1]),
        ("?username=nobody", vec![]),
        ("?username=alice&order_by=status&sort=asc", vec![1, 4, 2]),
        ("?created_after=2026-11-02T07:05:00Z&created_before=2026-11-02T07:25:00Z", vec![2]),
        ("?updated_after=2026-11-02T07:20:00Z", vec![4]),
        ("?ref=nope", vec![]),
        ("?yaml_errors=true", vec![]),
    ] {
        let list = client.get(&format!("{SHOP}/pipelines{query}")).await;
        let iids: Vec<Value> = iids.into_iter().map(|iid| json!(iid)).collect();
        assert_eq!(list.each("iid"), iids, "{query}");
    }
}

#[tokio::test]
async fn before_18_the_time_of_creation_filters_nothing() {
    let version = Some("17.11".parse().unwrap());
    let (_sim, client) = started(Seed { version, ..Seed::one_project("shop/checkout") });
    fire(&client).await;
    let list = client.get(&format!("{SHOP}/pipelines?created_after=2030-01-01T00:00:00Z")).await;
    assert_eq!(list.each("iid"), [json!(1)]);
}

#[tokio::test]
async fn a_pipeline_goes_through_its_play_as_time_is_advanced() {
    let open = |status, secs| Opening { status, lasts: SignedDuration::from_secs(secs) };
    let (sim, client) = playing([Play {
        opening: vec![open(Status::Created, 10), open(Status::Preparing, 10), open(Status::Pending, 10)],
        tests: Tests { success: 3, failed: 1, ..Tests::default() },
        ..Play::jobs([JobPlay::new("build", 10), JobPlay::new("test", 10)])
    }]);
    let id = fire(&client).await;
    let mut seen = vec![status(&client, id).await];
    for _ in 0..5 {
        sim.advance(SignedDuration::from_secs(10));
        seen.push(status(&client, id).await);
    }
    assert_eq!(seen, ["created", "preparing", "pending", "running", "running", "success"]);
    let done = client.get(&format!("{SHOP}/pipelines/{id}")).await.json();
    assert_eq!((done["duration"].as_i64(), done["queued_duration"].as_i64()), (Some(20), Some(30)));
    assert_eq!(done["finished_at"], "2026-11-02T08:00:50.000Z");
    let summary = client.get(&format!("{SHOP}/pipelines/{id}/test_report_summary")).await.json();
    assert_eq!(summary["total"]["count"], 4);
}

#[tokio::test]
async fn the_play_is_chosen_by_count_or_by_variable() {
    let failing = |when| Play { when, ..Play::jobs([JobPlay::ending("build", 1, [Outcome::Failed])]) };
    let (sim, client) = playing([
        failing(When::Nth(2)),
        failing(When::Variable { key: "ENV".into(), value: "broken".into() }),
        Play::jobs([JobPlay::new("build", 1)]),
    ]);
    let mut ids = vec![fire(&client).await, fire(&client).await];
    ids.push(send(client.trigger(&json!({ "variables": { "ENV": "broken" } }))).await.id());
    sim.advance(SignedDuration::from_secs(1));
    let ends: Vec<_> = ids.into_iter().map(|id| sim.pipeline_status(id).unwrap()).collect();
    assert_eq!(ends, [Status::Success, Status::Failed, Status::Failed]);
}

#[tokio::test]
async fn a_retry_runs_the_same_pipeline_again_under_new_job_ids() {
    let flaky = JobPlay::ending("test", 5, [Outcome::Failed, Outcome::Success]);
    let (sim, client) = playing([Play::jobs([JobPlay::new("build", 5), flaky])]);
    let id = fire(&client).await;
    sim.advance(SignedDuration::from_secs(10));
    let jobs = format!("{SHOP}/pipelines/{id}/jobs");
    let failed = client.get(&format!("{jobs}?scope[]=failed")).await;
    assert_eq!(failed.each("failure_reason"), ["script_failure"]);

    let retried = client.post(&format!("{SHOP}/pipelines/{id}/retry")).await;
    assert_eq!((retried.status, retried.id()), (201, id));
    assert_eq!(status(&client, id).await, "running");
    sim.advance(SignedDuration::from_secs(5));
    assert_eq!(status(&client, id).await, "success");
    let now = client.get(&jobs).await;
    assert_eq!(now.each("name"), ["test", "build"]);
    assert_ne!(now.each("id")[0], failed.each("id")[0]);
    assert_eq!(client.get(&format!("{jobs}?include_retried=true")).await.each("id").len(), 3);
    assert_eq!(client.get(&format!("{SHOP}/pipelines/{id}/bridges")).await.body, "[]");
}

#[tokio::test]
async fn a_cancel_is_200_twice_and_goes_through_canceling() {
    let canceling = SignedDuration::from_secs(3);
    let stuck = JobPlay::ending("build", 1, [Outcome::Stuck]);
    let (sim, client) = playing([Play { canceling, ..Play::jobs([stuck]) }]);
    let id = fire(&client).await;
    sim.advance(SignedDuration::from_hours(5));
    assert_eq!(status(&client, id).await, "running");
    let cancel = format!("{SHOP}/pipelines/{id}/cancel");
    assert_eq!(client.post(&cancel).await.json()["status"], "canceling");
    sim.advance(canceling);
    let again = client.post(&cancel).await;
    assert_eq!((again.status, again.json()["status"].as_str()), (200, Some("canceled")));
}

#[tokio::test]
async fn a_manual_job_blocks_until_it_is_played() {
    let gate = JobPlay { manual: true, ..JobPlay::new("deploy", 5) };
    let (sim, client) = playing([Play::jobs([JobPlay::new("build", 5), gate])]);
    let id = fire(&client).await;
    sim.advance(SignedDuration::from_hours(1));
    assert_eq!(status(&client, id).await, "manual");
    assert!(!sim.play_job(id, "build"));
    assert!(sim.play_job(id, "deploy"));
    assert_eq!(status(&client, id).await, "running");
    sim.advance(SignedDuration::from_secs(5));
    assert_eq!(status(&client, id).await, "success");
}

#[tokio::test]
async fn latest_looks_at_the_head_commit_only() {
    let (sim, client) = shop();
    let id = fire(&client).await;
    assert_eq!(client.get(&format!("{SHOP}/pipelines/latest?ref=main")).await.id(), id);
    sim.add(with_project(|project| {
        project.branches = BTreeMap::from([("main".into(), Some("f".repeat(40)))]);
        project.triggers.clear();
    }))
    .unwrap();
    assert_eq!(client.get(&format!("{SHOP}/pipelines/latest?ref=main")).await.status, 403);
}

#[tokio::test]
async fn a_deleted_pipeline_is_gone_from_gitlab_and_stays_in_the_ledger() {
    let (sim, client) = started(with_project(|project| {
        project.members = BTreeMap::from([("alice".into(), Role::Owner)]);
    }));
    let id = fire(&client).await;
    let path = format!("{SHOP}/pipelines/{id}");
    assert_eq!(send(client.api("DELETE", &path)).await.status, 204);
    assert_eq!(client.get(&path).await.json()["message"], "404 Not found");
    assert_eq!(sim.pipeline_status(id), None);
    assert_eq!(sim.ledger().pipelines[0].id, id);
}

#[tokio::test]
async fn variables_are_for_maintainers_and_for_who_triggered_it_with_the_right_to_the_ref() {
    let user = |name: &str| UserSeed { username: name.into(), ..UserSeed::default() };
    let token = |name: &str| AccessTokenSeed {
        token: name.into(),
        name: name.into(),
        user: name.into(),
        scopes: vec![Scope::ReadApi],
        ..AccessTokenSeed::default()
    };
    let mut seed = with_project(|project| {
        project.members.extend([("dora".into(), Role::Developer), ("dave".into(), Role::Developer)]);
        let token = "glptt-doras".into();
        let dora =
            TriggerSeed { token, description: "dora's".into(), owner: "dora".into(), expires_at: None };
        project.triggers.push(dora);
    });
    seed.users.extend([user("dora"), user("dave")]);
    seed.access_tokens.extend([token("dora"), token("dave")]);
    let (sim, client) = started(seed);
    let id = send(client.trigger(&json!({ "token": "glptt-doras" }))).await.id();
    let path = format!("{SHOP}/pipelines/{id}/variables");
    let read =
        async |token: &str| send(client.call("GET", &path).header("PRIVATE-TOKEN", token)).await.status;
    assert_eq!([read("dora").await, read("dave").await, read(Seed::ACCESS_TOKEN).await], [200, 403, 200]);
    sim.add(with_project(|project| {
        project.members.insert("dora".into(), Role::Developer);
        project.protected = vec![Protection { pattern: "ma*".into(), role: Role::Maintainer }];
        project.triggers.clear();
    }))
    .unwrap();
    assert_eq!(read("dora").await, 403, "a ref protected against her withdraws the read");
}

#[tokio::test]
async fn tokens_can_be_revoked_expire_and_be_rotated_in_mid_run() {
    let (sim, client) = shop();
    sim.expire_token("bot").unwrap();
    assert_eq!(client.get(SHOP).await.json()["error"], "invalid_token");
    let new = sim.rotate_token("bot").unwrap();
    let rotated = send(client.call("GET", SHOP).header("Authorization", format!("Bearer {new}"))).await;
    assert_eq!(rotated.status, 200);
    assert_eq!(
        client.get(SHOP).await.json()["error_description"].as_str().unwrap()[..17],
        *"Token was revoked"
    );

    let new = sim.rotate_token("ops").unwrap();
    assert_eq!(send(client.trigger(&json!({}))).await.json()["message"], "404 Not Found");
    assert_eq!(send(client.trigger(&json!({ "token": new }))).await.status, 201);
    sim.revoke_token("ops").unwrap();
    assert_eq!(send(client.trigger(&json!({ "token": new }))).await.status, 404);
    assert!(sim.revoke_token("nobody's").is_err());
}

#[tokio::test]
async fn a_project_renamed_in_mid_run_redirects_reads_and_keeps_its_id_and_pipelines() {
    let (sim, client) = started(with_project(|project| project.id = Some(7)));
    let id = fire(&client).await;
    sim.add(with_project(|project| {
        project.id = Some(7);
        project.path = "till/checkout".into();
        project.triggers.clear();
    }))
    .unwrap();
    let moved = client.get(&format!("{SHOP}/pipelines/{id}")).await;
    let location = format!("{}/api/v4/projects/7/pipelines/{id}", sim.url());
    assert_eq!((moved.status, moved.header("location")), (301, location.as_str()));
    assert_eq!(client.get(&format!("/projects/7/pipelines/{id}")).await.id(), id);
    assert_eq!(client.get("/projects/till%2Fcheckout").await.id(), 7);
}

#[tokio::test]
async fn anybody_reads_a_public_project_but_a_bad_token_is_refused_even_there() {
    let (_sim, client) = started(with_project(|project| project.visibility = Visibility::Public));
    let id = fire(&client).await;
    let get = |path: &str| client.call("GET", path);
    assert_eq!(send(get(&format!("{SHOP}/pipelines"))).await.status, 200);
    assert_eq!(send(get(&format!("{SHOP}/pipelines")).header("PRIVATE-TOKEN", "wrong")).await.status, 401);
    assert_eq!(send(get(&format!("{SHOP}/pipelines/{id}/jobs"))).await.status, 401);
    assert_eq!(send(get(&format!("{SHOP}/pipelines/{id}/variables"))).await.status, 403);
    assert_eq!(send(client.call("POST", &format!("{SHOP}/pipelines/{id}/cancel"))).await.status, 401);
    assert_eq!(send(get("/projects/checkout")).await.status, 404, "a path without a slash finds nothing");
}

#[tokio::test]
async fn the_date_header_is_the_simulators_time() {
    let (_sim, client) = shop();
    assert_eq!(client.get("/version").await.header("date"), "Mon, 02 Nov 2026 08:00:00 GMT");
}
