//! Merge requests, judged by git itself.
#![allow(clippy::unwrap_used, reason = "the functions beside the tests are tests too")]

mod gitlab_client;

use std::{collections::BTreeMap, process::Command};

use gitlab_client::{Client, Seen, send, standing};
use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{
    GitlabSim, Handle, JobPlay, MergeRequestState, Outcome, Play, ProjectSeed, RepositorySeed, Role, Seed,
};
use serde_json::{Value, json};

const GITOPS: &str = "/projects/shop%2Fgitops";

/// Every commit starts a pipeline of one job that takes a minute and ends so, and so when it is retried.
fn gitops(outcomes: &[Outcome]) -> (Handle, Client) {
    let mut seed = standing(Seed::one_project("shop/checkout"));
    let files = [("values.yaml", "tag: v1\n"), ("other.yaml", "a: 1\n")];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    seed.projects.push(ProjectSeed {
        path: "shop/gitops".into(),
        members: BTreeMap::from([("alice".into(), Role::Maintainer)]),
        repository: Some(RepositorySeed { files: files.into() }),
        script: vec![Play::jobs([JobPlay::ending("lint", 60, outcomes.iter().copied())])],
        push_pipelines: true,
        ..ProjectSeed::default()
    });
    let sim = GitlabSim::start(seed).unwrap();
    let client = Client::new(&sim);
    (sim, client)
}

fn git(sim: &Handle, args: &[&str]) -> String {
    let directory = sim.repository("shop/gitops").unwrap();
    let output = Command::new("git").current_dir(directory).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn put(client: &Client, path: &str, body: Value) -> Seen {
    send(client.api("PUT", &format!("{GITOPS}/merge_requests/{path}")).json(&body)).await
}

/// A branch with one commit and a merge request for it.
async fn open(client: &Client, branch: &str, tag: &str) -> Seen {
    let action =
        json!({ "action": "update", "file_path": "values.yaml", "content": format!("tag: {tag}\n") });
    let message = format!("{tag}\n\nPipekick-Pipeline: 7\n");
    let body = json!({
        "branch": branch, "start_branch": "main", "commit_message": message, "actions": [action],
    });
    let made = send(client.api("POST", &format!("{GITOPS}/repository/commits")).json(&body)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let body = json!({
        "title": format!("Use {tag}"), "source_branch": branch, "target_branch": "main",
        "labels": "image,bot", "assignee_ids": [101], "reviewer_ids": [101], "remove_source_branch": true,
    });
    send(client.api("POST", &format!("{GITOPS}/merge_requests")).json(&body)).await
}

#[tokio::test]
async fn a_merge_is_a_merge_commit_and_the_source_goes() {
    let (sim, client) = gitops(&[Outcome::Success]);
    let opened = open(&client, "bump", "v2").await.json();
    assert_eq!(opened["labels"], json!(["image", "bot"]));
    assert_eq!((&opened["reviewers"][0]["username"], &opened["state"]), (&json!("alice"), &json!("opened")));
    assert_eq!(opened["detailed_merge_status"], "checking", "it is not known yet");
    let known = client.get(&format!("{GITOPS}/merge_requests/1")).await.json();
    assert_eq!(known["detailed_merge_status"], "mergeable");
    sim.commit("shop/gitops", "main", "rival", &[("other.yaml", "a: 2\n")]).unwrap().unwrap();
    let merged = put(&client, "1/merge", json!({ "sha": opened["sha"] })).await.json();
    assert_eq!((&merged["state"], &merged["merge_user"]["username"]), (&json!("merged"), &json!("alice")));
    let told = git(&sim, &["log", "-1", "--format=%H %p %s", "main"]);
    assert!(told.starts_with(merged["merge_commit_sha"].as_str().unwrap()), "{told}");
    assert!(told.contains("Merge branch 'bump' into 'main'") && told.split(' ').count() == 8, "{told}");
    assert_eq!(git(&sim, &["show", "main:values.yaml", "main:other.yaml"]), "tag: v2\na: 2\n");
    assert_eq!(git(&sim, &["branch", "--list", "bump"]), "");
    git(&sim, &["fsck", "--strict"]);
    let listed = client.get(&format!("{GITOPS}/repository/commits?path=values.yaml")).await;
    assert_eq!(listed.each("title")[0], "v2", "the commit with the trailers, behind the merge");
    let ledger = sim.ledger();
    assert_eq!(ledger.merge_requests.len(), 1);
    assert_eq!(ledger.calls_to("merge_request_create")[0].merge_request, Some(1));
}

#[tokio::test]
async fn an_armed_one_is_merged_when_its_pipeline_succeeds_and_not_before() {
    let (sim, client) = gitops(&[Outcome::Failed, Outcome::Success]);
    let sha = open(&client, "bump", "v2").await.json()["sha"].clone();
    let armed = put(&client, "1/merge", json!({ "auto_merge": true, "sha": sha })).await;
    let told = armed.json();
    assert_eq!((armed.status, &told["state"]), (200, &json!("opened")));
    assert_eq!(told["merge_when_pipeline_succeeds"], true);
    sim.advance(SignedDuration::from_secs(61));
    let [request] = &sim.merge_requests("shop/gitops")[..] else { panic!("one was opened") };
    assert_eq!(request.state, MergeRequestState::Opened, "its pipeline failed");
    let pipeline = sim.read_ledger(|ledger| ledger.pipelines.last().unwrap().id);
    assert!(sim.retry_pipeline(pipeline));
    sim.advance(SignedDuration::from_secs(61));
    assert_eq!(sim.merge_requests("shop/gitops")[0].state, MergeRequestState::Merged);
    assert_eq!(git(&sim, &["show", "main:values.yaml"]), "tag: v2\n");
}

#[tokio::test]
async fn a_push_disarms_and_a_conflict_is_told() {
    let (sim, client) = gitops(&[Outcome::Success]);
    open(&client, "bump", "v2").await;
    put(&client, "1/merge", json!({ "auto_merge": true })).await;
    sim.commit("shop/gitops", "bump", "more", &[("values.yaml", "tag: v3\n")]).unwrap().unwrap();
    sim.commit("shop/gitops", "main", "rival", &[("values.yaml", "tag: rival\n")]).unwrap().unwrap();
    sim.advance(SignedDuration::from_secs(61));
    let shown = client.get(&format!("{GITOPS}/merge_requests/1")).await.json();
    assert_eq!(shown["merge_when_pipeline_succeeds"], false);
    let shown = client.get(&format!("{GITOPS}/merge_requests/1")).await.json();
    assert_eq!(
        (&shown["detailed_merge_status"], &shown["has_conflicts"]),
        (&json!("conflict"), &json!(true))
    );
    assert_eq!(put(&client, "1/merge", json!({})).await.status, 422);
    let closed = put(&client, "1", json!({ "state_event": "close" })).await.json();
    assert_eq!(closed["state"], "closed");
    assert_eq!(git(&sim, &["show", "main:values.yaml"]), "tag: rival\n");
}

#[tokio::test]
async fn people_merge_and_close_by_hand() {
    let (sim, client) = gitops(&[Outcome::Success]);
    open(&client, "one", "v2").await;
    assert!(sim.merge("shop/gitops", 1).unwrap() && !sim.merge("shop/gitops", 1).unwrap());
    open(&client, "two", "v3").await;
    assert!(sim.close("shop/gitops", 2) && !sim.close("shop/gitops", 3));
    let open = client.get(&format!("{GITOPS}/merge_requests?state=opened&source_branch=two")).await;
    assert_eq!(open.json(), json!([]));
    let all = client.get(&format!("{GITOPS}/merge_requests")).await;
    assert_eq!(all.each("state"), ["closed", "merged"], "the newest first");
}
