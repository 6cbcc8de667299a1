//! The rows of repositories: files, commits, branches.

use std::collections::BTreeMap;

use pipekick_sandbox::gitlab::{
    AccessTokenSeed, Fault, FaultRule, ProjectSeed, Protection, RepositorySeed, Role, Scope, Seed,
};
use serde_json::{Value, json};

use super::{Drive, SHOP, token};

const GITOPS: &str = "/projects/shop%2Fgitops/repository";

pub(super) async fn drive(drive: &mut Drive) {
    let members = BTreeMap::from([("alice".into(), Role::Maintainer), ("dora".into(), Role::Developer)]);
    let files = BTreeMap::from([
        ("app/values.yaml".to_owned(), "tag: v1\n".to_owned()),
        ("README.md".to_owned(), "Read me\n".to_owned()),
    ]);
    let protected = vec![Protection { pattern: "prod*".into(), role: Role::Maintainer }];
    let branches = BTreeMap::from([("main".to_owned(), None), ("prod".to_owned(), None)]);
    let repository = Some(RepositorySeed { files });
    let path = "shop/gitops".to_owned();
    let gitops = ProjectSeed { path, members, protected, branches, repository, ..ProjectSeed::default() };
    let reader = AccessTokenSeed { ..token("files", "dora", &[Scope::ReadRepository]) };
    drive.sim.add(Seed { projects: vec![gitops], access_tokens: vec![reader], ..Seed::default() }).unwrap();
    read(drive).await;
    branch(drive).await;
    file(drive).await;
    commit(drive).await;
    let refused = FaultRule::next("file", Fault::LostRace { branch: "main".into() });
    drive.sim.fault(refused).unwrap();
    drive.get("COMMIT_LOST_RACE", &format!("{GITOPS}/files/README.md?ref=main")).await;
    drive.get("REPOSITORY_NOT_FOUND", &format!("{SHOP}/repository/commits")).await;
    let lies_at = drive.sim.repository("shop/gitops").unwrap();
    std::fs::rename(lies_at.join("HEAD"), lies_at.join("HEAD.away")).unwrap();
    drive.get("REPOSITORY_BROKEN", &format!("{GITOPS}/commits")).await;
    std::fs::rename(lies_at.join("HEAD.away"), lies_at.join("HEAD")).unwrap();
}

async fn read(drive: &mut Drive) {
    let values = format!("{GITOPS}/files/app%2Fvalues.yaml");
    let shown = drive.get("FILE_SHOWN", &format!("{values}?ref=main")).await;
    assert_eq!(shown.json()["content"], "dGFnOiB2MQo=");
    let raw = drive.get("FILE_RAW", &format!("{values}/raw")).await;
    assert_eq!((raw.body.as_str(), raw.header("x-gitlab-size")), ("tag: v1\n", "8"));
    let head = drive.client.api("HEAD", &format!("{values}?ref=main"));
    drive.expect("FILE_HEAD", head).await;
    let by = |path: &str| drive.client.call("GET", path).header("PRIVATE-TOKEN", "files");
    let (file, commits) = (by(&format!("{values}?ref=main")), by(&format!("{GITOPS}/commits")));
    drive.expect("FILE_SHOWN", file).await;
    drive.expect("SCOPE_TOO_SMALL", commits).await;
    drive.get("FILE_PARAMETER", &values).await;
    drive.get("FILE_NOT_FOUND", &format!("{GITOPS}/files/nope?ref=main")).await;
    drive.get("COMMIT_NOT_FOUND", &format!("{values}?ref=nope")).await;
    let commits = drive.get("COMMITS", &format!("{GITOPS}/commits?path=README.md")).await;
    let id = commits.each("id")[0].as_str().unwrap().to_owned();
    drive.get("COMMIT_SHOWN", &format!("{GITOPS}/commits/{id}")).await;
    drive.get("COMMIT_NOT_FOUND", &format!("{GITOPS}/commits/nope")).await;
    drive.get("COMPARED", &format!("{GITOPS}/compare?from=prod&to=main")).await;
    drive.get("COMPARE_PARAMETER", &format!("{GITOPS}/compare?from=main")).await;
    drive.get("COMPARE_NOT_FOUND", &format!("{GITOPS}/compare?from=main&to=nope")).await;
}

async fn branch(drive: &mut Drive) {
    for (row, who, body) in [
        ("BRANCH_CREATED", "dora", json!({ "branch": "feature", "ref": "main" })),
        ("BRANCH_PARAMETER", "dora", json!({ "branch": "feature" })),
        ("BRANCH_EXISTS", "dora", json!({ "branch": "feature", "ref": "main" })),
        ("BRANCH_NAME_INVALID", "dora", json!({ "branch": "a..b", "ref": "main" })),
        ("BRANCH_START_INVALID", "dora", json!({ "branch": "other", "ref": "nope" })),
        ("BRANCH_PROTECTED_CREATE", "dora", json!({ "branch": "prod-2", "ref": "main" })),
    ] {
        let call = drive.client.call("POST", &format!("{GITOPS}/branches"));
        drive.expect(row, call.header("PRIVATE-TOKEN", who).json(&body)).await;
    }
    for (row, name) in [
        ("BRANCH_DELETED", "feature"),
        ("BRANCH_NOT_FOUND", "feature"),
        ("BRANCH_IS_DEFAULT", "main"),
        ("BRANCH_IS_PROTECTED", "prod"),
    ] {
        let call = drive.client.api("DELETE", &format!("{GITOPS}/branches/{name}"));
        drive.expect(row, call).await;
    }
}

async fn file(drive: &mut Drive) {
    let first = drive.get("BRANCH_SHOWN", &format!("{GITOPS}/branches/main")).await;
    let first = first.json()["commit"]["id"].clone();
    let change = json!({ "branch": "main", "commit_message": "m", "content": "x" });
    let on = |branch: &str, more: Value| {
        let mut body = change.clone();
        body["branch"] = branch.into();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (row, method, body) in [
        ("FILE_CREATED", "POST", on("main", json!({}))),
        ("COMMIT_FILE_EXISTS", "POST", on("main", json!({}))),
        ("FILE_UPDATED", "PUT", on("main", json!({ "content": "y" }))),
        ("FILE_BRANCH_FORBIDDEN", "PUT", on("prod", json!({}))),
        ("FILE_PARAMETER", "PUT", json!({ "branch": "main" })),
        ("FILE_DELETED", "DELETE", on("main", json!({ "last_commit_id": first }))),
        ("COMMIT_FILE_MISSING", "PUT", on("main", json!({}))),
    ] {
        let call = drive.client.call(method, &format!("{GITOPS}/files/new.txt"));
        drive.expect(row, call.header("PRIVATE-TOKEN", "dora").json(&body)).await;
    }
    let call = drive.client.api("POST", &format!("{GITOPS}/files/app"));
    drive.expect("COMMIT_DIRECTORY_EXISTS", call.json(&change)).await;
    drive.sim.commit("shop/gitops", "main", "m", &[("README.md", "Read\n")]).unwrap().unwrap();
    let call = drive.client.api("PUT", &format!("{GITOPS}/files/README.md"));
    drive.expect("FILE_CHANGED", call.json(&on("main", json!({ "last_commit_id": first })))).await;
}

async fn commit(drive: &mut Drive) {
    let commits = drive.get("COMMITS", &format!("{GITOPS}/commits")).await;
    let [new, .., old] = &commits.each("id")[..] else { panic!("{commits:?}") };
    let update = json!([{ "action": "update", "file_path": "README.md", "content": "1" }]);
    let stale =
        json!([{ "action": "update", "file_path": "README.md", "content": "2", "last_commit_id": old }]);
    let of = |action: Value| json!({ "branch": "main", "commit_message": "m", "actions": [action] });
    let from = |start: Value| {
        let mut body = json!({ "branch": "main", "commit_message": "m", "actions": update });
        body.as_object_mut().unwrap().extend(start.as_object().unwrap().clone());
        body
    };
    for (row, body) in [
        ("COMMIT_CREATED", from(json!({ "start_sha": null }))),
        ("COMMIT_FILE_CHANGED", from(json!({ "actions": stale }))),
        ("COMMIT_INVALID", from(json!({ "commit_message": "" }))),
        ("COMMIT_INVALID", of(json!({ "action": "rename", "file_path": "a" }))),
        ("COMMIT_INVALID", of(json!({ "action": "update", "file_path": "README.md" }))),
        ("COMMIT_INVALID", from(json!({ "start_branch": "prod", "start_sha": new }))),
        ("COMMIT_NOT_ON_BRANCH", from(json!({ "branch": "new", "start_branch": "nope" }))),
        ("COMMIT_NOT_ON_BRANCH", from(json!({ "branch": "new" }))),
        ("COMMIT_BRANCH_EXISTS", from(json!({ "start_sha": new }))),
        ("COMMIT_START_INVALID", from(json!({ "branch": "new", "start_sha": "abc" }))),
        ("COMMIT_START_UNKNOWN", from(json!({ "branch": "new", "start_sha": "0".repeat(40) }))),
        ("COMMIT_BRANCH_INVALID", from(json!({ "branch": "a..b", "start_branch": "main" }))),
        ("COMMIT_CREATED", from(json!({ "branch": "new", "start_sha": new }))),
        ("COMMIT_FILE_EXISTS", of(json!({ "action": "create", "file_path": "README.md", "content": "" }))),
        ("COMMIT_FILE_MISSING", of(json!({ "action": "delete", "file_path": "nope" }))),
        ("COMMIT_DIRECTORY_EXISTS", of(json!({ "action": "create", "file_path": "app", "content": "" }))),
        ("COMMIT_PATH_TRAVERSAL", of(json!({ "action": "create", "file_path": "a/../b", "content": "" }))),
    ] {
        let call = drive.client.api("POST", &format!("{GITOPS}/commits")).json(&body);
        drive.expect(row, call).await;
    }
    let body = from(json!({ "branch": "prod" }));
    let call = drive.client.call("POST", &format!("{GITOPS}/commits")).header("PRIVATE-TOKEN", "dora");
    drive.expect("COMMIT_BRANCH_FORBIDDEN", call.json(&body)).await;
    let call = drive.client.api("POST", &format!("{GITOPS}/commits"));
    drive.expect("COMMIT_NOT_JSON", call.header("Content-Type", "application/json").body("{")).await;
}
