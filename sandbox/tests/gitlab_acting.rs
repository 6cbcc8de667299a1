//! What is done to pipelines and jobs that exist, by calls and by people; bridges, reports and branches.
#![allow(clippy::unwrap_used, reason = "the functions beside the tests are tests too")]

mod gitlab_client;

use std::collections::BTreeMap;

use gitlab_client::{Client, SHOP, send, started};
use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{
    CredentialKind, Handle, JobPlay, Outcome, Play, ProjectSeed, Role, Seed, Source, Status, Tests, Triggers,
    When,
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

async fn pipeline(client: &Client, id: u64) -> Value {
    client.get(&format!("{SHOP}/pipelines/{id}")).await.json()
}

/// The id of a pipeline's current job of this name.
async fn job(client: &Client, pipeline: u64, name: &str) -> u64 {
    let jobs = client.get(&format!("{SHOP}/pipelines/{pipeline}/jobs")).await.json();
    jobs.as_array().unwrap().iter().find(|job| job["name"] == name).unwrap()["id"].as_u64().unwrap()
}

fn secs(secs: i64) -> SignedDuration {
    SignedDuration::from_secs(secs)
}

#[tokio::test]
async fn one_job_is_retried_under_a_new_id_and_the_old_one_never_again() {
    let flaky = JobPlay::ending("test", 5, [Outcome::Failed, Outcome::Success]);
    let (sim, client) = playing([Play::jobs([JobPlay::new("build", 5), flaky])]);
    let id = fire(&client).await;
    let first = job(&client, id, "test").await;
    let retry = |job: u64| format!("{SHOP}/jobs/{job}/retry");
    assert_eq!(client.post(&retry(first)).await.status, 403, "it has not run yet");
    sim.advance(secs(10));
    let again = client.post(&retry(first)).await;
    assert_eq!((again.status, again.json()["name"].as_str()), (201, Some("test")));
    assert_ne!(again.id(), first);
    assert_eq!(again.json()["pipeline"]["status"], "running");
    let refused = client.post(&retry(first)).await;
    assert_eq!(refused.json()["message"], "403 Forbidden - Job is not retryable");
    sim.advance(secs(5));
    assert_eq!(pipeline(&client, id).await["status"], "success");
    let build = job(&client, id, "build").await;
    assert_eq!(client.post(&retry(build)).await.status, 201, "a successful job can be run again");
    assert_eq!(client.get(&format!("{SHOP}/jobs/{build}")).await.json()["status"], "success");
    assert_eq!(client.get(&format!("{SHOP}/jobs/1")).await.json()["message"], "404 Not found");
}

#[tokio::test]
async fn a_manual_job_is_played_once_and_then_again_as_a_new_one() {
    let gate = JobPlay { manual: true, ..JobPlay::new("deploy", 5) };
    let (sim, client) = playing([Play::jobs([JobPlay::new("build", 5), gate])]);
    let id = fire(&client).await;
    let deploy = job(&client, id, "deploy").await;
    let play = format!("{SHOP}/jobs/{deploy}/play");
    assert_eq!(client.post(&play).await.json()["message"], "400 Bad request - Unplayable Job");
    sim.advance(secs(5));
    let played = client.post(&play).await;
    assert_eq!((played.status, played.json()["status"].as_str()), (200, Some("running")));
    sim.advance(secs(5));
    assert_eq!(client.post(&play).await.status, 200);
    assert_ne!(job(&client, id, "deploy").await, deploy);
    assert_eq!(pipeline(&client, id).await["status"], "running");
}

#[tokio::test]
async fn a_cancel_may_never_end_until_a_maintainer_forces_it() {
    let stuck = JobPlay::ending("build", 1, [Outcome::Stuck]);
    let (sim, client) = playing([Play { canceling: Play::NEVER, ..Play::jobs([stuck]) }]);
    let id = fire(&client).await;
    sim.advance(secs(1));
    client.post(&format!("{SHOP}/pipelines/{id}/cancel")).await;
    sim.advance(SignedDuration::from_hours(24 * 365));
    assert_eq!(pipeline(&client, id).await["status"], "canceling");
    let build = job(&client, id, "build").await;
    let cancel = format!("{SHOP}/jobs/{build}/cancel");
    assert_eq!(client.post(&cancel).await.json()["status"], "canceling");
    let forced = client.post(&format!("{cancel}?force=true")).await;
    assert_eq!((forced.status, forced.json()["status"].as_str()), (201, Some("canceled")));
    assert_eq!(sim.pipeline_status(id), Some(Status::Canceled));
}

#[tokio::test]
async fn a_person_runs_a_finished_pipeline_again_or_stops_it_in_process_and_over_http() {
    let failing = JobPlay::ending("test", 5, [Outcome::Failed]);
    let (sim, client) = playing([Play::jobs([JobPlay::new("build", 5), failing])]);
    let id = fire(&client).await;
    sim.advance(secs(10));
    assert_eq!(pipeline(&client, id).await["status"], "failed");
    assert!(sim.retry_pipeline(id));
    assert_eq!(pipeline(&client, id).await["status"], "running");
    assert!(sim.cancel_pipeline(id));
    assert_eq!(pipeline(&client, id).await["status"], "canceled");
    assert!(sim.retry_job(id, "build"));
    assert_eq!(pipeline(&client, id).await["status"], "running");
    assert!(!sim.retry_job(id, "no such job") && !sim.retry_pipeline(1) && !sim.cancel_pipeline(1));

    let calls = sim.ledger().calls.len();
    let by_hand =
        async |what: &str| send(client.raw("POST", &format!("/-/sim/pipelines/{id}/{what}"))).await.status;
    assert_eq!([by_hand("cancel").await, by_hand("retry").await, by_hand("burn").await], [200, 200, 422]);
    sim.advance(secs(10));
    assert_eq!([by_hand("retry/test").await, by_hand("play/test").await], [200, 422]);
    assert_eq!(sim.ledger().calls.len(), calls, "what people do is no call of the API");
}

#[tokio::test]
async fn a_bridge_makes_a_pipeline_when_it_starts_and_shows_it() {
    let child =
        Triggers { play: Some(Box::new(Play::jobs([JobPlay::new("e2e", 7)]))), ..Triggers::default() };
    let other = Triggers { project: Some("shop/till".into()), ..Triggers::default() };
    let nowhere = Triggers { project: Some("shop/nowhere".into()), ..Triggers::default() };
    let mut seed = with_project(|project| {
        project.script = vec![Play::jobs([
            JobPlay::new("build", 10),
            JobPlay::bridge("child", child),
            JobPlay::bridge("other", other),
            JobPlay { allow_failure: true, ..JobPlay::bridge("nowhere", nowhere) },
        ])];
    });
    seed.projects.push(ProjectSeed {
        path: "shop/till".into(),
        members: BTreeMap::from([("alice".into(), Role::Developer)]),
        ..ProjectSeed::default()
    });
    let (sim, client) = started(seed);
    let id = fire(&client).await;
    let bridges = format!("{SHOP}/pipelines/{id}/bridges");
    let before = client.get(&bridges).await;
    assert_eq!(before.each("name"), ["nowhere", "other", "child"]);
    assert_eq!(before.each("downstream_pipeline"), [Value::Null, Value::Null, Value::Null]);
    assert_eq!(client.get(&format!("{SHOP}/pipelines/{id}/jobs")).await.each("name"), ["build"]);

    sim.advance(secs(60));
    let ledger = sim.ledger();
    let [_, child, other] = &ledger.pipelines[..] else { panic!("{:?}", ledger.pipelines) };
    assert_eq!(
        (child.source, child.upstream, child.project.as_str()),
        (Source::ParentPipeline, Some(id), "shop/checkout")
    );
    assert_eq!(
        (other.source, other.upstream, other.project.as_str()),
        (Source::Pipeline, Some(id), "shop/till")
    );
    assert_eq!((child.credential.kind, child.call, child.fire_id.clone()), (CredentialKind::Bridge, 0, None));
    assert_eq!(
        child.at.to_string(),
        "2026-11-02T08:00:10Z",
        "dated when the bridge started, not when one looked"
    );
    let after = client.get(&bridges).await;
    let below: Vec<Value> =
        after.each("downstream_pipeline").iter().map(|below| below["id"].clone()).collect();
    assert_eq!(below, [Value::Null, json!(other.id), json!(child.id)]);
    assert_eq!(after.each("failure_reason")[0], "downstream_pipeline_creation_failed");
    assert_eq!(sim.pipeline_status(child.id), Some(Status::Success));
    let list = client.get(&format!("{SHOP}/pipelines")).await;
    assert_eq!(list.each("id"), [json!(id)], "children are not in the list");
}

#[tokio::test]
async fn a_bridge_run_again_makes_another_pipeline_and_bridges_nest_but_not_for_ever() {
    let deeper = |below: Option<Play>| {
        Play::jobs([JobPlay::bridge("down", Triggers { play: below.map(Box::new), ..Triggers::default() })])
    };
    let (sim, client) = playing([deeper(Some(deeper(Some(deeper(None)))))]);
    let id = fire(&client).await;
    sim.advance(secs(60));
    let depth: Vec<Option<u64>> = sim.ledger().pipelines.iter().map(|p| p.upstream).collect();
    assert_eq!(depth, [None, Some(id), Some(id + 1)], "a child of a child has no children");
    assert!(sim.retry_job(id, "down"));
    assert_eq!(sim.ledger().pipelines[3].upstream, Some(id));
}

#[tokio::test]
async fn reports_and_coverage_appear_when_the_pipeline_has_ended() {
    let tests = Tests { success: 2, failed: 1, skipped: 0, error: 0 };
    let (sim, client) =
        playing([Play { tests, coverage: Some(81.5), ..Play::jobs([JobPlay::new("test", 10)]) }]);
    let id = fire(&client).await;
    let report = async |name: &str| client.get(&format!("{SHOP}/pipelines/{id}/{name}")).await.json();
    assert_eq!(report("test_report_summary").await["total"]["count"], 0);
    assert_eq!(pipeline(&client, id).await["coverage"], Value::Null);
    sim.advance(secs(10));
    let summary = report("test_report_summary").await;
    assert_eq!(
        (&summary["total"]["failed"], &summary["test_suites"][0]["total_count"]),
        (&json!(1), &json!(3))
    );
    let full = report("test_report").await;
    let cases = full["test_suites"][0]["test_cases"].as_array().unwrap();
    let statuses: Vec<&str> = cases.iter().map(|case| case["status"].as_str().unwrap()).collect();
    assert_eq!((&full["total_count"], statuses), (&json!(3), vec!["success", "success", "failed"]));
    assert_eq!(pipeline(&client, id).await["coverage"], "81.50");
}

#[tokio::test]
async fn branches_are_found_by_a_part_a_beginning_or_an_end_of_their_name() {
    let names = ["main", "release/1.0", "release/2.0", "my-release"];
    let (_sim, client) = started(with_project(|project| {
        project.branches = names.map(|name| (name.to_owned(), None)).into();
    }));
    for (search, found) in [
        ("RELEASE", vec!["my-release", "release/1.0", "release/2.0"]),
        ("%5Erelease", vec!["release/1.0", "release/2.0"]),
        ("release%24", vec!["my-release"]),
        ("nope", vec![]),
    ] {
        let list = client.get(&format!("{SHOP}/repository/branches?search={search}")).await;
        let total = found.len().to_string();
        assert_eq!(list.each("name"), found, "{search}");
        assert_eq!(list.header("x-total"), total, "{search}");
    }
}

#[tokio::test]
async fn artifacts_are_there_once_the_job_succeeded_by_job_and_by_ref() {
    let left =
        |tag: &str| [("build.env".to_owned(), format!("TAG={tag}\n")), ("a b/ü".to_owned(), "x".to_owned())];
    let build = |tag: &str| JobPlay { artifacts: left(tag).into(), ..JobPlay::new("build", 5) };
    let broken = JobPlay::ending("test", 1, [Outcome::Failed]);
    let (sim, client) =
        playing([Play { when: When::Nth(2), ..Play::jobs([build("2"), broken]) }, Play::jobs([build("1")])]);
    let first = fire(&client).await;
    let of_job = async |pipeline: u64, path: &str| {
        let job = job(&client, pipeline, "build").await;
        client.get(&format!("{SHOP}/jobs/{job}/artifacts/{path}")).await
    };
    assert_eq!(of_job(first, "build.env").await.json()["message"], "404 Not Found", "it runs");
    sim.advance(secs(5));
    assert_eq!(of_job(first, "build.env").await.body, "TAG=1\n");
    assert_eq!(of_job(first, "a%20b/%C3%BC").await.body, "x");
    let shown = client.get(&format!("{SHOP}/pipelines/{first}/jobs")).await.json();
    assert_eq!(shown[0]["artifacts_file"]["filename"], "artifacts.zip");

    let second = fire(&client).await;
    sim.advance(secs(6));
    assert_eq!(of_job(second, "build.env").await.body, "TAG=2\n", "the job succeeded, the pipeline did not");
    let of_ref = async |git_ref: &str, job: &str| {
        client.get(&format!("{SHOP}/jobs/artifacts/{git_ref}/raw/build.env?job={job}")).await
    };
    assert_eq!(of_ref("main", "build").await.body, "TAG=1\n", "of the newest successful pipeline");
    assert_eq!([of_ref("main", "deploy").await.status, of_ref("nope", "build").await.status], [404, 404]);
}

#[tokio::test]
async fn the_object_storage_is_another_host_and_takes_no_token() {
    let build = JobPlay::new("build", 5).leaving([("out/build.env", "TAG=1\n")]);
    let mut seed = with_project(|project| project.script = vec![Play::jobs([build])]);
    seed.object_storage = Some(true);
    let (sim, client) = started(seed);
    let id = fire(&client).await;
    sim.advance(secs(5));
    let job = job(&client, id, "build").await;
    let moved = client.get(&format!("{SHOP}/jobs/{job}/artifacts/out/build.env")).await;
    let location = moved.header("location");
    assert!(moved.status == 302 && location.starts_with("http://localhost:"), "{moved:?}");
    let path = location.splitn(4, '/').nth(3).unwrap();
    let stored = send(client.raw("GET", &format!("/{path}"))).await;
    assert_eq!((stored.status, stored.body.as_str()), (200, "TAG=1\n"));
    let carried = client.raw("GET", &format!("/{path}")).header("PRIVATE-TOKEN", Seed::ACCESS_TOKEN);
    assert_eq!(send(carried).await.status, 400);
    let rows: Vec<_> = sim.ledger().calls_to("object_storage").iter().map(|call| call.row).collect();
    assert_eq!(rows, [Some("STORAGE_SERVED"), Some("STORAGE_REFUSES_TOKEN")]);
}
