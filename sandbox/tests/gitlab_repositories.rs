//! Repositories, judged by git itself: what the API says was done is what `git` finds.
#![allow(clippy::unwrap_used, reason = "the functions beside the tests are tests too")]

mod gitlab_client;

use std::{collections::BTreeMap, path::Path, process::Command, sync::mpsc, thread};

use gitlab_client::{Client, Seen, send, standing};
use pipekick_sandbox::gitlab::{
    Fault, FaultRule, GitlabSim, Handle, ProjectSeed, RepositorySeed, Role, Seed, SeedError, StartError,
};
use serde_json::{Value, json};

const GITOPS: &str = "/projects/shop%2Fgitops/repository";
const VALUES: &str = "\u{feff}# kept: as it is\r\nimage:\r\n  tag: 'v1'";

fn gitops() -> (Handle, Client) {
    let mut seed = standing(Seed::one_project("shop/checkout"));
    let files = [("app/values.yaml", VALUES), ("web/values.yaml", "tag: v1\n")];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    seed.projects.push(ProjectSeed {
        path: "shop/gitops".into(),
        members: BTreeMap::from([("alice".into(), Role::Maintainer)]),
        branches: BTreeMap::from([("main".into(), None), ("staging".into(), None)]),
        tags: BTreeMap::from([("v0".into(), None)]),
        repository: Some(RepositorySeed { files: files.into() }),
        ..ProjectSeed::default()
    });
    let sim = GitlabSim::start(seed).unwrap();
    let client = Client::new(&sim);
    (sim, client)
}

/// What git says in the project's repository.
fn git(sim: &Handle, args: &[&str]) -> String {
    git_in(&sim.repository("shop/gitops").unwrap(), args)
}

fn git_in(directory: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").current_dir(directory).args(args);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn commit(client: &Client, body: Value) -> Seen {
    send(client.api("POST", &format!("{GITOPS}/commits")).json(&body)).await
}

fn updates(files: &[(&str, &str)], seen: &str) -> Value {
    let action = |(path, content): &(&str, &str)| json!({ "action": "update", "file_path": path, "content": content, "last_commit_id": seen });
    files.iter().map(action).collect()
}

#[tokio::test]
async fn a_commit_is_what_git_shows_of_it() {
    let (sim, client) = gitops();
    let first = git(&sim, &["rev-parse", "main"]).trim().to_owned();
    let edited = VALUES.replace("v1", "v2");
    let message = "web: v2\n\nUpdates two.\n\nPipekick-Pipeline: 7\nPipekick-Pipeline: 8\n";
    let body = json!({
        "branch": "main", "commit_message": message, "author_name": "Build bot", "author_email": "bot@example.com",
        "actions": updates(&[("app/values.yaml", &edited), ("web/values.yaml", "tag: v2\n")], &first),
    });
    let made = commit(&client, body).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((made.status, &made.json()["parent_ids"]), (201, &json!([first])));
    assert_eq!(made.json()["stats"], json!({ "additions": 2, "deletions": 2, "total": 4 }));

    git(&sim, &["fsck", "--strict"]);
    assert_eq!(git(&sim, &["rev-parse", "main"]).trim(), id);
    assert_eq!(git(&sim, &["show", "main:app/values.yaml"]), edited);
    let told = git(&sim, &["log", "-1", "--format=%an <%ae> %cn <%ce> %cI %P", "main"]);
    let who = "Build bot <bot@example.com> alice <alice@example.com> 2026-11-02T08:00:00+00:00";
    assert_eq!(told.trim(), format!("{who} {first}"));
    assert_eq!(git(&sim, &["cat-file", "commit", "main"]).split_once("\n\n").unwrap().1, message);
    assert_eq!(git(&sim, &["diff", "--name-only", "main~", "main"]).lines().count(), 2);

    let ledger = sim.ledger();
    let [seed, ours] = &ledger.commits_to("shop/gitops")[..] else { panic!("{:?}", ledger.commits) };
    assert_eq!((seed.id.as_str(), seed.call), (first.as_str(), 0));
    assert_eq!((&ours.id, &ours.files), (&id, &vec!["app/values.yaml".into(), "web/values.yaml".into()]));
    assert_eq!(ledger.calls_to("commit_create")[0].commit.as_ref(), Some(&id));
    let listed = client.get(&format!("{GITOPS}/commits?trailers=true&path=web%2Fvalues.yaml")).await;
    assert_eq!(listed.each("id"), [json!(id), json!(first)]);
    assert_eq!(listed.each("extended_trailers")[0], json!({ "Pipekick-Pipeline": ["7", "8"] }));
}

#[tokio::test]
async fn a_file_reads_back_byte_by_byte() {
    let (sim, client) = gitops();
    let bytes = [0xff_u8, 0, b'\n', 0xfe, b'\r'];
    let body = json!({
        "branch": "main", "commit_message": "raw",
        "actions": [{
            "action": "create", "file_path": "odd \"ü\"/x.bin", "encoding": "base64",
            "content": data_encoding::BASE64.encode(&bytes), "execute_filemode": true,
        }],
    });
    assert_eq!(commit(&client, body).await.status, 201);
    let path = format!("{GITOPS}/files/odd%20%22%C3%BC%22%2Fx.bin/raw?ref=main");
    let response = client.api("GET", &path).send().await.unwrap();
    let blob = response.headers()["x-gitlab-blob-id"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["x-gitlab-execute-filemode"], "true");
    assert_eq!(response.bytes().await.unwrap(), &bytes[..]);
    assert_eq!(git(&sim, &["rev-parse", "main:odd \"ü\"/x.bin"]).trim(), blob);
    let raw = client.get(&format!("{GITOPS}/files/app%2Fvalues.yaml/raw?ref=v0")).await;
    assert_eq!(raw.body, VALUES);
}

#[tokio::test]
async fn last_commit_id_is_about_the_path_and_locks_no_branch() {
    let (sim, client) = gitops();
    let first = git(&sim, &["rev-parse", "main"]).trim().to_owned();
    let write = |path: &str, seen: &str| json!({ "branch": "main", "commit_message": "m", "actions": updates(&[(path, "tag: v2\n")], seen) });
    sim.commit("shop/gitops", "main", "rival", &[("web/values.yaml", "tag: rival\n")]).unwrap().unwrap();
    assert_eq!(commit(&client, write("app/values.yaml", &first)).await.status, 201, "another path");
    let refused = commit(&client, write("web/values.yaml", &first)).await;
    let told = "The file has changed since you started editing it: web/values.yaml";
    assert_eq!((refused.status, &refused.json()["message"]), (400, &json!(told)));
    assert_eq!(
        commit(&client, write("web/values.yaml", "what is this")).await.status,
        201,
        "unknown ids pass"
    );
    let head = git(&sim, &["rev-parse", "main"]).trim().to_owned();
    let again = commit(&client, write("web/values.yaml", &head)).await;
    assert_eq!(again.status, 201, "any commit at which it was read, and the same content once more");
    assert_eq!(git(&sim, &["diff", "main~", "main"]), "");
}

#[tokio::test]
async fn a_forced_start_destroys_what_others_committed() {
    let (sim, client) = gitops();
    let first = git(&sim, &["rev-parse", "main"]).trim().to_owned();
    sim.commit("shop/gitops", "main", "rival", &[("web/values.yaml", "tag: rival\n")]).unwrap().unwrap();
    let body = |force: bool| {
        json!({
            "branch": "main", "start_sha": first, "force": force, "commit_message": "m",
            "actions": [{ "action": "update", "file_path": "app/values.yaml", "content": "" }],
        })
    };
    assert_eq!(commit(&client, body(false)).await.status, 400);
    assert_eq!(commit(&client, body(true)).await.status, 201);
    assert_eq!(git(&sim, &["log", "--format=%s", "main"]), "m\nFirst commit\n");
}

#[tokio::test]
async fn what_somebody_pushes_by_path_counts() {
    let (sim, client) = gitops();
    let bare = sim.repository("shop/gitops").unwrap();
    let here = tempfile::tempdir().unwrap();
    git_in(here.path(), &["clone", "-q", bare.to_str().unwrap(), "clone"]);
    let clone = here.path().join("clone");
    std::fs::write(clone.join("web/values.yaml"), "tag: pushed\n").unwrap();
    let by = ["-c", "user.name=eve", "-c", "user.email=eve@example.com"];
    git_in(&clone, &[&by[..], &["commit", "-qam", "by hand"]].concat());
    git_in(&clone, &["push", "-q", "origin", "HEAD:main", "HEAD:refs/heads/by/hand"]);
    let raw = client.get(&format!("{GITOPS}/files/web%2Fvalues.yaml/raw?ref=main")).await;
    assert_eq!(raw.body, "tag: pushed\n");
    let branches = client.get(&format!("{GITOPS}/branches")).await.each("name");
    assert_eq!(branches, ["by/hand", "main", "staging"]);
    let fired = client.api("POST", "/projects/shop%2Fgitops/pipeline").json(&json!({ "ref": "by/hand" }));
    let sha = send(fired).await.json()["sha"].clone();
    assert_eq!(sha, git_in(&clone, &["rev-parse", "HEAD"]).trim());
    assert_eq!(sim.ledger().commits_to("shop/gitops").len(), 1, "the ledger has what was made here");
}

#[tokio::test]
async fn anybody_clones_over_http_and_nobody_pushes() {
    let (sim, client) = gitops();
    let url = format!("{}/shop/gitops.git", sim.url());
    assert_eq!(client.get("/projects/shop%2Fgitops").await.json()["http_url_to_repo"], url);
    let (done, cloned) = mpsc::channel();
    thread::spawn(move || {
        let here = tempfile::tempdir().unwrap();
        git_in(here.path(), &["clone", "-q", &url, "clone"]);
        let clone = here.path().join("clone");
        let text = std::fs::read_to_string(clone.join("app/values.yaml")).unwrap();
        let mut push = Command::new("git");
        push.env("GIT_TERMINAL_PROMPT", "0").current_dir(&clone).args(["push", "origin", "HEAD:other"]);
        done.send((text, push.output().unwrap().status.success())).unwrap();
    });
    let (text, pushed) = tokio::task::spawn_blocking(move || cloned.recv().unwrap()).await.unwrap();
    assert_eq!((text.as_str(), pushed), (VALUES, false));
    assert!(!git(&sim, &["branch"]).contains("other"));
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_commit() {
    let (sim, client) = gitops();
    let body = |text: &str| {
        let action = json!({ "action": "create", "file_path": "a", "content": text });
        json!({ "branch": "main", "commit_message": text, "actions": [action] })
    };
    sim.fault(FaultRule::nth(2, "commit_create", Fault::ServerError { effect: false })).unwrap();
    sim.fault(FaultRule::next("commit_create", Fault::BadGateway { effect: true })).unwrap();
    assert_eq!(commit(&client, body("1")).await.status, 502);
    assert_eq!(commit(&client, body("2")).await.status, 500);
    assert_eq!(commit(&client, body("3")).await.json()["message"], "A file with this name already exists");
    assert_eq!(git(&sim, &["show", "main:a"]), "1");
    assert_eq!(sim.ledger().commits_to("shop/gitops").len(), 2);
}

#[test]
fn a_repository_goes_with_its_simulator() {
    let (sim, _) = gitops();
    let path = sim.repository("shop/gitops").unwrap();
    assert!(path.join("HEAD").exists() && sim.repository("shop/checkout").is_none());
    drop(sim);
    assert!(!path.exists());
}

#[test]
fn a_made_up_head_and_a_repository_do_not_go_together() {
    let mut seed = Seed::one_project("shop/gitops");
    seed.projects[0].branches.insert("main".into(), Some("abc".into()));
    seed.projects[0].repository = Some(RepositorySeed::default());
    let refused = GitlabSim::start(seed).err().unwrap();
    assert!(matches!(refused, StartError::Seed(SeedError::HeadIsReal { .. })), "{refused}");
}
