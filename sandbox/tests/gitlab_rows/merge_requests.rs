//! The rows of merge requests.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{ProjectSeed, Protection, RepositorySeed, Role, Seed};
use serde_json::{Value, json};

use super::Drive;

const MERGES: &str = "/projects/shop%2Fmerges/merge_requests";

pub(super) async fn drive(drive: &mut Drive) {
    let members = BTreeMap::from([("alice".into(), Role::Maintainer), ("dora".into(), Role::Developer)]);
    let heads = ["main", "a", "b", "c"].map(|name| (name.to_owned(), None));
    let files = BTreeMap::from([("f".to_owned(), "0\n".to_owned())]);
    let merges = ProjectSeed {
        path: "shop/merges".into(),
        members,
        branches: heads.into(),
        protected: vec![Protection { pattern: "main".into(), role: Role::Maintainer }],
        repository: Some(RepositorySeed { files }),
        ..ProjectSeed::default()
    };
    drive.sim.add(Seed { projects: vec![merges], ..Seed::default() }).unwrap();
    for (branch, text) in [("a", "a\n"), ("b", "b\n"), ("c", "a\n")] {
        drive.sim.commit("shop/merges", branch, text, &[("f", text)]).unwrap().unwrap();
    }
    created(drive).await;
    merged(drive).await;
    drive.get("USERS", "/users?username=dora").await;
}

fn from(source: &str) -> Value {
    json!({ "title": format!("Merge {source}"), "source_branch": source, "target_branch": "main" })
}

async fn created(drive: &mut Drive) {
    for (row, body) in [
        ("MERGE_REQUEST_PARAMETER", json!({ "title": "x" })),
        ("MERGE_REQUEST_CREATED", from("a")),
        ("MERGE_REQUEST_EXISTS", from("a")),
        ("MERGE_REQUEST_SAME_BRANCH", from("main")),
        ("MERGE_REQUEST_BRANCH_MISSING", from("nope")),
        ("MERGE_REQUEST_CREATED", from("b")),
        ("MERGE_REQUEST_CREATED", from("c")),
    ] {
        let call = drive.client.api("POST", MERGES).json(&body);
        drive.expect(row, call).await;
    }
    drive.get("MERGE_REQUESTS", &format!("{MERGES}?state=opened")).await;
    drive.get("FILTER_INVALID", &format!("{MERGES}?state=done")).await;
    drive.get("MERGE_REQUEST_SHOWN", &format!("{MERGES}/1")).await;
    drive.get("MERGE_REQUEST_NOT_FOUND", &format!("{MERGES}/99")).await;
    for (row, body) in
        [("MERGE_REQUEST_UPDATED", json!({ "labels": "x" })), ("MERGE_REQUEST_PARAMETER", json!({}))]
    {
        let call = drive.client.api("PUT", &format!("{MERGES}/1")).json(&body);
        drive.expect(row, call).await;
    }
}

async fn merged(drive: &mut Drive) {
    let merge = |drive: &Drive, iid: u64, body: Value| {
        drive.client.api("PUT", &format!("{MERGES}/{iid}/merge")).json(&body)
    };
    let by_dora = drive.client.call("PUT", &format!("{MERGES}/1/merge")).header("PRIVATE-TOKEN", "dora");
    drive.expect("MERGE_UNAUTHORIZED", by_dora).await;
    let call = merge(drive, 1, json!({ "sha": "0".repeat(40) }));
    drive.expect("MERGE_SHA_DIFFERS", call).await;
    let call = merge(drive, 1, json!({ "auto_merge": true }));
    drive.expect("MERGE_NOT_ALLOWED", call).await;
    let call = merge(drive, 1, json!({}));
    drive.expect("MERGED", call).await;
    let call = merge(drive, 1, json!({}));
    drive.expect("MERGE_NOT_ALLOWED", call).await;
    let call = merge(drive, 2, json!({}));
    drive.expect("MERGE_CONFLICT", call).await;
    let call = drive.client.api("POST", "/projects/shop%2Fmerges/pipeline").json(&json!({ "ref": "c" }));
    drive.expect("CREATED", call).await;
    let call = merge(drive, 3, json!({ "merge_when_pipeline_succeeds": true }));
    drive.expect("MERGE_ARMED", call).await;
    let call = drive.client.api("POST", &format!("{MERGES}/3/cancel_merge_when_pipeline_succeeds"));
    drive.expect("MERGE_DISARMED", call).await;
    drive.sim.advance(SignedDuration::from_secs(5));
}
