//! The rows of artifacts and of the object storage they may lie in.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{JobPlay, Play, ProjectSeed, Role, Seed};
use serde_json::json;

use super::Drive;

pub(super) async fn drive(drive: &mut Drive) {
    let left = JobPlay::new("build", 1).leaving([("build.env", "TAG=1.2\n")]);
    let members = BTreeMap::from([("alice".into(), Role::Maintainer)]);
    let script = vec![Play::jobs([left, JobPlay::new("test", 1)])];
    let path = "shop/built".to_owned();
    let built = ProjectSeed { path, members, script, ..ProjectSeed::default() };
    drive.sim.add(Seed { projects: vec![built], ..Seed::default() }).unwrap();
    let project = "/projects/shop%2Fbuilt";
    let call = drive.client.api("POST", &format!("{project}/pipeline")).json(&json!({ "ref": "main" }));
    let id = drive.expect("CREATED", call).await.id();
    drive.sim.advance(SignedDuration::from_secs(2));
    let jobs = drive.get("JOBS", &format!("{project}/pipelines/{id}/jobs")).await.each("id");
    let of_job = |at: usize, path: &str| format!("{project}/jobs/{}/artifacts/{path}", jobs[at]);
    let of_ref = format!("{project}/jobs/artifacts/main/raw/build.env");
    drive.get("ARTIFACT_SHOWN", &of_job(1, "build.env")).await;
    drive.get("ARTIFACT_SHOWN", &format!("{of_ref}?job=build")).await;
    drive.get("ARTIFACT_JOB_MISSING", &of_ref).await;
    drive.get("ARTIFACTS_NONE", &of_job(0, "build.env")).await;
    drive.get("ARTIFACT_ENTRY_MISSING", &of_job(1, "no/such/file")).await;
    drive.get("ARTIFACT_PATH_INVALID", &of_job(1, "%2E%2E%2Fx")).await;
    drive.sim.add(Seed { object_storage: Some(true), ..Seed::default() }).unwrap();
    let moved = drive.get("ARTIFACT_REDIRECTED", &of_job(1, "build.env")).await;
    let (_, stored) = moved.header("location").split_once("/-/").unwrap();
    let stored = format!("/-/{stored}");
    for (row, path, token) in [
        ("STORAGE_SERVED", stored.clone(), None),
        ("STORAGE_REFUSES_TOKEN", stored.clone(), Some(Seed::ACCESS_TOKEN)),
        ("STORAGE_FORBIDDEN", stored.replace("simulated", "guessed"), None),
    ] {
        let mut call = drive.client.raw("GET", &path);
        if let Some(token) = token {
            call = call.header("PRIVATE-TOKEN", token);
        }
        drive.expect(row, call).await;
    }
}
