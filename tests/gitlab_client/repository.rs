//! Repositories through the client, against the simulator; git itself tells what was really done.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use jiff::SignedDuration;
use pipekick::gitlab::{Client, Endpoint, Options, Place, ReadKind};
use pipekick_core::decide::image_update::{CommitAnswer, CommitOrder, FileChange, FileSeen};
use pipekick_core::domain::output::MAX_OUTPUT_FILE;
use pipekick_core::domain::{
    Author, GitRef, Label, MergeRequestFields, MergeRequestState, Reason, RepoPath, Username,
};
use pipekick_core::yaml::MAX_FILE;
use pipekick_sandbox::gitlab::{
    AccessTokenSeed, ClockSeed, Fault, FaultRule, GitlabSim, Handle, JobPlay, Play, ProjectSeed, Protection,
    RepositorySeed, Role, Scope, Seed, UserSeed,
};
use secrecy::SecretString;

const GITOPS: &str = "shop/gitops";
const VALUES: &str = "\u{feff}image:\r\n  tag: v1 # glpat-simulated-access-token";

struct Shop {
    sim: Handle,
    client: Client,
    at: Endpoint,
    token: SecretString,
    main: GitRef,
}

/// A repository whose `prod` branches are protected against dora.
fn shop() -> Shop {
    let mut seed = Seed::one_project("shop/checkout");
    seed.clock = Some(ClockSeed::Manual { start: "2026-11-02T08:00:00Z".parse().unwrap() });
    seed.users.push(UserSeed { username: "dora".into(), ..UserSeed::default() });
    let large = "x".repeat(MAX_FILE + 10);
    let files = [("app/values.yaml", VALUES), ("odd \"ü\"/x.yaml", "tag: v1\n"), ("large.yaml", &large)];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    seed.projects.push(ProjectSeed {
        path: GITOPS.into(),
        members: BTreeMap::from([("alice".into(), Role::Maintainer), ("dora".into(), Role::Developer)]),
        branches: BTreeMap::from([("main".into(), None), ("prod/eu".into(), None)]),
        protected: vec![Protection { pattern: "prod*".into(), role: Role::Maintainer }],
        repository: Some(RepositorySeed { files: files.into() }),
        ..ProjectSeed::default()
    });
    let token = |name: &str, scopes: &[Scope]| AccessTokenSeed {
        token: format!("glpat-{name}-0123456789"),
        name: name.into(),
        user: "dora".into(),
        scopes: scopes.to_vec(),
        ..AccessTokenSeed::default()
    };
    seed.access_tokens.extend([token("dora", &[Scope::Api]), token("reader", &[Scope::ReadApi])]);
    let sim = GitlabSim::start(seed).unwrap();
    let at = Endpoint { project: GITOPS.parse().unwrap(), ..super::endpoint(sim.url()) };
    let token = SecretString::from(Seed::ACCESS_TOKEN);
    Shop { sim, client: client(), at, token, main: "main".parse().unwrap() }
}

/// On a busy machine git takes its time.
fn client() -> Client {
    super::client_with(Options { allow_http: true, deadline: Duration::from_secs(20) })
}

fn file(path: &str) -> RepoPath {
    path.parse().unwrap()
}

fn secret(name: &str) -> SecretString {
    SecretString::from(format!("glpat-{name}-0123456789"))
}

fn order(head: &str, path: &str, content: &str) -> CommitOrder {
    let trailers = "Pipekick-Fire-Id: 7hq2m0v6x5t1c9abcdefghjkmn\nPipekick-Pipeline: 705\n";
    CommitOrder {
        head: head.to_owned(),
        message: format!("tag\n\n{trailers}Pipekick-Wrote: {path}:image.tag\n"),
        author: None,
        files: vec![FileChange { file: file(path), content: content.to_owned() }],
    }
}

impl Shop {
    async fn head(&self) -> String {
        self.client.branch(&self.at, &self.main, &self.token).await.unwrap().head
    }

    async fn commit(&self, order: &CommitOrder) -> CommitAnswer {
        let place = Place::Branch(self.main.clone());
        self.client.commit(&self.at, &place, order, &self.token).await
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        let output = git.current_dir(self.sim.repository(GITOPS).unwrap()).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?} {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test]
async fn a_snapshot_is_all_of_one_commit_byte_by_byte() {
    let shop = shop();
    let wanted = ["app/values.yaml", "odd \"ü\"/x.yaml", "large.yaml", "none.yaml"];
    let files: BTreeSet<RepoPath> = wanted.into_iter().map(file).collect();
    let snapshot = shop.client.snapshot(&shop.at, &shop.main, &files, None, &shop.token).await.unwrap();
    assert_eq!(snapshot.head, shop.git(&["rev-parse", "main"]).trim());
    let content = |path: &str| match &snapshot.files[&file(path)] {
        FileSeen::Content(bytes) => Some(bytes.clone()),
        FileSeen::Missing => None,
    };
    assert_eq!(content("app/values.yaml").unwrap(), VALUES.as_bytes(), "a token in a file stays what it is");
    assert_eq!(content("odd \"ü\"/x.yaml").unwrap(), b"tag: v1\n");
    assert_eq!(content("large.yaml").unwrap().len(), MAX_FILE + 1, "one more than is edited, and no more");
    assert_eq!(content("none.yaml"), None);
    let first = &snapshot.history[&file("app/values.yaml")];
    assert_eq!((first.len(), &first[0].id, first[0].written.len()), (1, &snapshot.head, 0));
    assert!(snapshot.history[&file("none.yaml")].is_empty());
}

#[tokio::test]
async fn a_commit_is_made_and_read_back_by_its_trailers() {
    let shop = shop();
    let head = shop.head().await;
    let new = VALUES.replace("v1", "v2");
    let author = Author::new("Build bot", "bot@example.com").unwrap();
    let place = Place::Branch(shop.main.clone());
    let order = CommitOrder { author: Some(Box::new(author)), ..order(&head, "app/values.yaml", &new) };
    let answer = shop.client.commit(&shop.at, &place, &order, &shop.token).await;
    let CommitAnswer::Committed { commit } = answer else { panic!("{answer:?}") };
    assert_eq!(shop.git(&["show", "main:app/values.yaml"]), new);
    let told = shop.git(&["log", "-1", "--format=%H %P %an %ae", "main"]);
    assert_eq!(told.trim(), format!("{commit} {head} Build bot bot@example.com"));

    let path = file("app/values.yaml");
    let history = shop.client.history(&shop.at, &shop.main, &commit, &path, None, &shop.token).await.unwrap();
    let [ours, _] = &history[..] else { panic!("{history:?}") };
    let [written] = &ours.written[..] else { panic!("{history:?}") };
    assert_eq!(
        (written.pipeline, written.wrote.as_slice()),
        (705, &["app/values.yaml:image.tag".to_owned()][..])
    );
    assert_eq!(ours.at, Some("2026-11-02T08:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn a_history_reaches_back_as_far_as_is_asked() {
    let shop = shop();
    let path = file("app/values.yaml");
    for number in 0..60 {
        shop.sim.advance(SignedDuration::from_mins(1));
        let text = format!("n: {number}\n");
        shop.sim.commit(GITOPS, "main", "rival", &[("app/values.yaml", &text)]).unwrap().unwrap();
    }
    let head = shop.head().await;
    let of = async |since: Option<&str>| {
        let since = since.map(|at| at.parse().unwrap());
        shop.client.history(&shop.at, &shop.main, &head, &path, since, &shop.token).await.unwrap().len()
    };
    assert_eq!(of(None).await, 50);
    assert_eq!(of(Some("2026-11-02T08:55:00Z")).await, 50);
    assert_eq!(of(Some("2026-11-02T08:05:00Z")).await, 61, "ten minutes more, for clocks differ");
}

#[tokio::test]
async fn whoever_wrote_first_is_never_overwritten() {
    let shop = shop();
    let head = shop.head().await;
    let rival = "image:\n  tag: rival\n";
    shop.sim.commit(GITOPS, "main", "rival", &[("app/values.yaml", rival)]).unwrap().unwrap();
    let stale = shop.commit(&order(&head, "app/values.yaml", "x")).await;
    let CommitAnswer::Conflict { message } = stale else { panic!("{stale:?}") };
    assert!(message.contains("somebody else wrote to \"main\" of project shop/gitops"), "{message}");
    assert_eq!(shop.git(&["show", "main:app/values.yaml"]), rival);

    let head = shop.head().await;
    shop.sim.fault(FaultRule::next("commit_create", Fault::LostRace { branch: "main".into() })).unwrap();
    for gone in ["app/values.yaml", "none.yaml"] {
        let answer = shop.commit(&order(&head, gone, "x")).await;
        assert!(matches!(answer, CommitAnswer::Conflict { .. }), "{gone}: {answer:?}");
    }
    assert_eq!(shop.sim.ledger().commits_to(GITOPS).len(), 2, "the first, and the rival's");
}

#[tokio::test]
async fn a_new_branch_begins_at_the_commit_that_was_read() {
    let shop = shop();
    let head = shop.head().await;
    shop.sim.commit(GITOPS, "main", "rival", &[("app/values.yaml", "rival\n")]).unwrap().unwrap();
    let place = Place::NewBranch("pipekick/bump".parse().unwrap());
    let order = order(&head, "app/values.yaml", "ours\n");
    let made = shop.client.commit(&shop.at, &place, &order, &shop.token).await;
    assert!(matches!(made, CommitAnswer::Committed { .. }), "{made:?}");
    assert_eq!(shop.git(&["rev-parse", "pipekick/bump~"]).trim(), head);
    let again = shop.client.commit(&shop.at, &place, &order, &shop.token).await;
    assert!(matches!(again, CommitAnswer::Conflict { .. }), "{again:?}");
}

#[tokio::test]
async fn who_may_not_commit_is_told_why() {
    let shop = shop();
    let Shop { sim: _, client, at, token, main } = &shop;
    let head = shop.head().await;
    let order = order(&head, "app/values.yaml", "x");
    let prod: GitRef = "prod/eu".parse().unwrap();
    let nowhere = Endpoint { project: "shop/nowhere".parse().unwrap(), ..at.clone() };
    for (at, branch, token, words) in [
        (at, &prod, &secret("dora"), "may not push to \"prod/eu\" of project shop/gitops"),
        (at, main, &secret("reader"), "lacks the scope api; write_repository is for git alone"),
        (at, main, &secret("unknown"), "does not accept the access token"),
        (&nowhere, main, token, "project shop/nowhere does not exist"),
    ] {
        let answer = client.commit(at, &Place::Branch(branch.clone()), &order, token).await;
        let CommitAnswer::Refused { message } = answer else { panic!("{words}: {answer:?}") };
        assert!(message.contains(words), "{message}");
    }
    let seen = client.branch(at, &prod, &secret("dora")).await.unwrap();
    assert_eq!((seen.head, seen.protected, seen.can_push), (head, Some(true), Some(false)));
    assert_eq!(client.branch(at, main, token).await.unwrap().can_push, Some(true));
    let none = client.branch(at, &"none".parse().unwrap(), token).await.unwrap_err();
    assert_eq!((none.kind, none.reason), (ReadKind::NotFound, Reason::RefNotFound));
    assert!(none.message.contains("no branch \"none\" in project shop/gitops"), "{none}");
}

#[tokio::test]
async fn what_is_not_known_to_have_failed_is_unknown() {
    let shop = shop();
    let head = shop.head().await;
    for (fault, known) in [
        (Fault::EffectThenReset, false),
        (Fault::BadGateway { effect: true }, false),
        (Fault::ServerError { effect: false }, false),
        (Fault::TruncatedBody, false),
        (Fault::ResourceLock, false),
        (Fault::TooManyRequests { retry_after: 1 }, true),
        (Fault::ReadOnly, true),
    ] {
        shop.sim.fault(FaultRule::next("commit_create", fault.clone())).unwrap();
        // One that has not heard of a limit yet.
        let client = client();
        let order = order(&head, "app/values.yaml", "x");
        let answer = client.commit(&shop.at, &Place::Branch(shop.main.clone()), &order, &shop.token).await;
        assert_eq!(matches!(answer, CommitAnswer::Throttled { .. }), known, "{fault:?}: {answer:?}");
        assert_eq!(matches!(answer, CommitAnswer::Unknown { .. }), !known, "{fault:?}: {answer:?}");
    }
}

#[tokio::test]
async fn an_artifact_is_read_from_gitlab_and_from_its_storage_without_the_token() {
    let mut seed = Seed::one_project("shop/checkout");
    seed.clock = Some(ClockSeed::Manual { start: "2026-11-02T08:00:00Z".parse().unwrap() });
    let large = "x".repeat(MAX_OUTPUT_FILE + 10);
    let left = [("out/build.env", "IMAGE_TAG=v2\n"), ("large.env", &large)];
    seed.projects[0].script =
        vec![Play::jobs([JobPlay::new("build", 1).leaving(left), JobPlay::new("test", 1)])];
    let sim = GitlabSim::start(seed).unwrap();
    let (client, at, token) = (client(), super::endpoint(sim.url()), SecretString::from(Seed::ACCESS_TOKEN));
    let mut fire = super::order(sim.url());
    fire.variables.clear();
    let (answer, _) = client.fire_with_access(&fire, &token, None).await;
    let pipekick_core::domain::Answer::Accepted(pipeline) = answer else { panic!("{answer:?}") };
    sim.advance(SignedDuration::from_secs(5));
    let job = async |name: &str| client.job_named(&at, pipeline.id, name, &token).await.unwrap();
    assert_eq!(job("deploy").await, None);
    let (build, test) = (job("build").await.unwrap().id, job("test").await.unwrap().id);
    for storage in [false, true] {
        sim.add(Seed { object_storage: Some(storage), ..Seed::default() }).unwrap();
        let read = async |job, path: &str| client.artifact(&at, job, &file(path), &token).await;
        assert_eq!(read(build, "out/build.env").await.unwrap().unwrap(), b"IMAGE_TAG=v2\n");
        assert_eq!(read(build, "large.env").await.unwrap().unwrap().len(), MAX_OUTPUT_FILE + 1);
        assert_eq!(read(build, "none.env").await, Ok(None));
        assert_eq!(read(test, "out/build.env").await, Ok(None));
        let gone = client.artifact(&at, 1, &file("a"), &token).await;
        assert_eq!(gone, Ok(None), "a job that is gone has none");
    }
    let ledger = sim.ledger();
    let stored: Vec<_> = ledger.calls_to("object_storage").into_iter().map(|call| call.row).collect();
    assert_eq!(stored, [Some("STORAGE_SERVED"); 2], "it refuses whoever brings a token");
}

#[tokio::test]
async fn a_merge_request_is_opened_changed_armed_and_followed() {
    let shop = shop();
    let mut seed = Seed::default();
    let script = vec![Play::jobs([JobPlay::new("lint", 60)])];
    let members = BTreeMap::from([("alice".into(), Role::Maintainer)]);
    let path = GITOPS.to_owned();
    seed.projects =
        vec![ProjectSeed { path, members, script, push_pipelines: true, ..ProjectSeed::default() }];
    shop.sim.add(seed).unwrap();
    let Shop { sim, client, at, token, main } = &shop;
    let source: GitRef = "pipekick/bump".parse().unwrap();
    let head = shop.head().await;
    let order = order(&head, "app/values.yaml", "image:\n  tag: v2\n");
    let made = client.commit(at, &Place::NewBranch(source.clone()), &order, token).await;
    let CommitAnswer::Committed { commit } = made else { panic!("{made:?}") };

    let name = |name: &str| name.parse::<Username>().unwrap();
    let alice = client.user_named(at, &name("Alice"), token).await.unwrap().unwrap();
    assert_eq!(client.user_named(at, &name("nobody"), token).await, Ok(None));
    let trailers = "```text\nPipekick-Fire-Id: f5\nPipekick-Pipeline: 705\nPipekick-Wrote: v.yaml:tag\n```";
    let label = |text: &str| text.parse::<Label>().unwrap();
    let fields = MergeRequestFields {
        title: "Use v2".into(),
        description: format!("From pipeline 705\n\n{trailers}\n"),
        labels: vec![label("image"), label("bot")],
        remove_source_branch: true,
    };
    let (between, people) = ((&source, main), (&[alice.id][..], &[][..]));
    let opened = client.open_merge_request(at, between, &fields, people, token).await.unwrap();
    assert_eq!(
        (opened.iid, opened.state, opened.sha.as_ref()),
        (1, MergeRequestState::Opened, Some(&commit))
    );
    assert_eq!((opened.written[0].pipeline, opened.target.as_deref()), (705, Some("main")));
    let twice = client.open_merge_request(at, between, &fields, people, token).await.unwrap_err();
    assert_eq!(twice.kind, ReadKind::Trouble, "it is looked for: {twice}");
    assert!(twice.message.contains("is open in project shop/gitops"), "{twice}");
    let fields = MergeRequestFields { title: "Use v2.1".into(), labels: vec![label("late")], ..fields };
    client.describe_merge_request(at, 1, &fields, token).await.unwrap();
    let [request] = &sim.merge_requests(GITOPS)[..] else { panic!("one was opened") };
    assert_eq!(
        (request.title.as_str(), &request.labels[..]),
        ("Use v2.1", &["image", "bot", "late"].map(String::from)[..])
    );
    assert!(request.remove_source_branch && request.assignees == [alice.id]);

    let stale = client.auto_merge(at, 1, (&head, "x"), token).await.unwrap_err();
    assert!(stale.message.contains("somebody pushed"), "{stale}");
    let armed = client.auto_merge(at, 1, (&commit, "x"), token).await.unwrap();
    assert!(armed.auto_merge && armed.state == MergeRequestState::Opened, "{armed:?}");
    sim.advance(SignedDuration::from_secs(61));
    let merged = client.merge_request(at, 1, token).await.unwrap();
    assert_eq!(merged.state, MergeRequestState::Merged);
    assert_eq!(shop.git(&["rev-parse", "main"]).trim(), merged.merged_as.unwrap());
    let all = client.merge_requests_from(at, &source, token).await.unwrap();
    assert_eq!(all.iter().map(|request| request.state).collect::<Vec<_>>(), [MergeRequestState::Merged]);
    let history = client.history(at, main, &shop.head().await, &file("app/values.yaml"), None, token).await;
    assert_eq!(history.unwrap()[0].id, commit, "the trailers are found behind the merge");
}

#[tokio::test]
async fn a_merge_request_that_cannot_be_merged_says_why() {
    let shop = shop();
    let Shop { sim, client, at, token, main } = &shop;
    sim.commit(GITOPS, "prod/eu", "rival", &[("app/values.yaml", "a\n")]).unwrap().unwrap();
    let source: GitRef = "bump".parse().unwrap();
    let order = order(&shop.head().await, "app/values.yaml", "b\n");
    client.commit(at, &Place::NewBranch(source.clone()), &order, token).await;
    let (title, prod) = ("x".to_owned(), "prod/eu".parse().unwrap());
    let (description, labels) = (String::new(), vec![]);
    let fields = MergeRequestFields { title, description, labels, remove_source_branch: false };
    let (between, nobody) = ((&source, &prod), (&[][..], &[][..]));
    let opened = client.open_merge_request(at, between, &fields, nobody, token).await.unwrap();
    let sha = opened.sha.unwrap();
    let told = async |token: &SecretString| client.auto_merge(at, 1, (&sha, "x"), token).await.unwrap_err();
    assert!(told(&secret("dora")).await.message.contains("may not merge to the target branch"));
    let pipeline = told(token).await;
    assert!(pipeline.message.contains("its pipeline is not there yet"), "{pipeline}");
    assert_eq!(client.close_merge_request(at, 1, token).await.unwrap().state, MergeRequestState::Closed);
    let nope = "nope".parse().unwrap();
    let nowhere = client.open_merge_request(at, (&nope, main), &fields, nobody, token).await;
    let nowhere = nowhere.unwrap_err();
    assert_eq!(nowhere.kind, ReadKind::Refused);
    assert!(nowhere.message.contains("does not exist"), "{nowhere}");
    assert!(client.merge_request(at, 99, token).await.unwrap_err().is_gone());
    assert!(sim.merge_requests(GITOPS)[0].merge_commit.is_none());
    for _ in 0..2 {
        assert_eq!(client.delete_branch(at, &source, token).await, Ok(()), "it may be gone already");
    }
    assert_eq!(client.branch(at, &source, token).await.unwrap_err().reason, Reason::RefNotFound);
    let kept = client.delete_branch(at, main, token).await.unwrap_err();
    assert!(kept.message.contains("the default branch"), "{kept}");
}
