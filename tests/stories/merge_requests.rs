//! Image updates that go by merge requests: what stands in the repository and in GitLab's merge requests, and what the
//! object says of that.

use pipekick_sandbox::gitlab::{
    AccessTokenSeed, Fault, FaultRule, JobPlay, MergeRequest, MergeRequestState, Play, Protection, Role,
    Scope, Seed, UserSeed,
};
use serde_json::{Value, json};

use crate::harness::gitlab::{GITOPS, quick, with_gitops};
use crate::harness::{Secret, Seen, Story, Trigger, story};
use crate::images::{Git, state, tag, updating};

/// A lost request is given up soon.
pub const QUICK: [&str; 4] = ["--request-deadline", "2s", "--gitlab-request-limit", "1s"];
pub const VALUES: &str = "image:\n  tag: v1 # ours\nreplicas: 2\n";

fn values() -> Seed {
    with_gitops(quick(), &[("values.yaml", VALUES)])
}

pub fn proposing(name: &str, value: &str, request: Value) -> Trigger {
    let mut trigger = updating(name, tag(value));
    let update = &mut trigger.0["spec"]["imageUpdates"][0];
    update["via"] = "MergeRequest".into();
    if request != Value::Null {
        update["mergeRequest"] = request;
    }
    trigger
}

pub fn says(seen: &Seen) -> &str {
    seen.at("status.run.imageUpdates")[0]["message"].as_str().unwrap_or_default()
}

pub async fn until_state(story: &Story, name: &str, wanted: &str) -> Seen {
    story.until(name, &format!("be {wanted}"), |seen| state(seen) == wanted && seen.is_current()).await
}

/// The merge requests of the repository, the oldest first.
pub fn requests(story: &Story) -> Vec<MergeRequest> {
    story.gitlab.merge_requests(GITOPS)
}

pub fn only(story: &Story) -> MergeRequest {
    let mut all = requests(story);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// A file on the branch that merge requests of this trigger come from.
pub fn proposed(git: &Git, source: &str) -> String {
    git.run(&["show", &format!("{source}:values.yaml")])
}

#[test]
fn it_is_opened_with_all_that_spec_says_and_its_merge_is_told() {
    let mut seed = values();
    seed.users.push(UserSeed { username: "dora".into(), ..UserSeed::default() });
    story(seed, async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let request = json!({
            "branch": "bump/{{ trigger.name }}", "title": "Deploy {{ variables.VERSION }}",
            "description": "Please look.\n\nBoth of you.", "labels": ["bot", "team: shop"],
            "assignees": ["alice"], "reviewers": ["dora"], "removeSourceBranch": false,
        });
        let trigger = proposing("checkout", "{{ variables.VERSION }}", request);
        story.apply(&trigger.variables(&[("VERSION", "v2")])).await;
        let seen = until_state(story, "checkout", "Open").await;
        assert_eq!((seen.phase(), seen.truth("Ready")), ("Succeeded", "True"), "{}", seen.yaml());
        assert_eq!(seen.truth("ImagesUpdated"), "Unknown");
        let request = only(story);
        assert_eq!((request.title.as_str(), request.source_branch.as_str()), ("Deploy v2", "bump/checkout"));
        let description = request.description.clone().unwrap();
        assert!(
            description.starts_with("Please look.\n\nBoth of you.\n\n```text\nPipekick-Fire-Id: "),
            "{description}"
        );
        assert_eq!(request.labels, ["bot", "team: shop"]);
        let people = [&request.assignees, &request.reviewers].map(Vec::len);
        assert_eq!((people, request.assignees == request.reviewers), ([1, 1], false));
        assert!(!request.remove_source_branch);
        assert_eq!((git.show("values.yaml").as_str(), git.commits()), (VALUES, 1));
        assert_eq!(proposed(&git, "bump/checkout"), VALUES.replace("v1", "v2"));
        let record = &seen.at("status.run.imageUpdates")[0];
        let known = &record["mergeRequest"];
        assert_eq!((known["iid"].as_u64(), known["branch"].as_str()), (Some(1), Some("bump/checkout")));
        assert!(known["webUrl"].as_str().unwrap().ends_with("/platform/gitops/-/merge_requests/1"));
        assert_eq!(record["commit"].as_str(), Some(request.sha.as_str()));
        story
            .until_event("checkout", "MergeRequestOpen", "merge request !1 to main of platform/gitops")
            .await;

        assert!(story.gitlab.merge(GITOPS, 1).unwrap());
        let seen = until_state(story, "checkout", "Merged").await;
        assert_eq!((seen.truth("Ready"), seen.truth("ImagesUpdated")), ("True", "True"));
        assert_eq!(git.show("values.yaml"), VALUES.replace("v1", "v2"));
        let merged = &seen.at("status.run.imageUpdates")[0]["mergeRequest"]["mergeCommit"];
        assert_eq!(merged.as_str(), Some(git.head().as_str()));
        story
            .until_event(
                "checkout",
                "ImagesUpdated",
                "merge request !1 to main of platform/gitops was merged",
            )
            .await;

        // Its branch was kept: the next run begins it anew.
        let branch = json!({"branch": "bump/{{ trigger.name }}"});
        let trigger = proposing("checkout", "{{ variables.VERSION }}", branch);
        story.apply(&trigger.variables(&[("VERSION", "v3")])).await;
        until_state(story, "checkout", "Open").await;
        assert_eq!(requests(story).len(), 2);
        assert_eq!(proposed(&git, "bump/checkout"), VALUES.replace("v1", "v3"));
        let ahead = git.run(&["rev-list", "--count", "main..bump/checkout"]);
        assert_eq!(ahead.trim(), "1", "nothing of the run before is in it");
    });
}

#[test]
fn a_newer_run_updates_the_open_one_and_keeps_what_people_did_to_it() {
    story(values(), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let apply = async |version: &str| {
            let trigger = proposing("checkout", "{{ variables.VERSION }}", Value::Null);
            story.apply(&trigger.variables(&[("VERSION", version)])).await;
        };
        apply("v2").await;
        until_state(story, "checkout", "Open").await;
        let source = format!("pipekick/{}/checkout-1", story.namespace);
        assert_eq!(only(story).source_branch, source);
        // Somebody commits beside it.
        let theirs = VALUES.replace("v1", "v2").replace("replicas: 2", "replicas: 3");
        let by_hand =
            story.gitlab.commit(GITOPS, &source, "scale", &[("values.yaml", &theirs)]).unwrap().unwrap();
        apply("v3").await;
        let is = |seen: &Seen| seen.number("status.run.seq") == 2 && state(seen) == "Open";
        let seen = story.until("checkout", "be open once more", is).await;
        let request = only(story);
        assert!(request.title.contains("v3"), "{}", request.title);
        let description = request.description.unwrap();
        let pipeline = format!("Pipekick-Pipeline: {}\n", seen.number("status.run.pipeline.id"));
        assert!(description.contains("values.yaml:2 image.tag: v1 → v3"), "{description}");
        assert!(description.contains(&pipeline), "{description}");
        assert_eq!(proposed(&git, &source), theirs.replace("v2", "v3"));
        // Nothing was forced: the branch goes on from what was there.
        git.run(&["merge-base", "--is-ancestor", &by_hand, &source]);
        assert_eq!(story.ledger().calls_to("merge_request_create").len(), 1);
        assert_eq!(story.ledger().calls_to("branch_delete").len(), 0);
    });
}

#[test]
fn one_that_a_person_closes_is_told_and_the_next_run_opens_another() {
    story(values(), async |story| {
        story.operator(&[]);
        story.apply(&proposing("checkout", "{{ variables.V }}", Value::Null).variables(&[("V", "v2")])).await;
        until_state(story, "checkout", "Open").await;
        assert!(story.gitlab.close(GITOPS, 1));
        let seen = until_state(story, "checkout", "Closed").await;
        let truths = ["Ready", "ImagesUpdated"].map(|kind| seen.truth(kind));
        assert_eq!((truths, seen.phase()), (["True", "False"], "Succeeded"), "{}", seen.yaml());
        story.until_event("checkout", "MergeRequestClosed", "!1 to main of platform/gitops was closed").await;
        // Nobody opens it again.
        story.kill_operators();
        story.operator(&[]);
        story.let_pass().await;
        assert_eq!(only(story).state, MergeRequestState::Closed);
        story.apply(&proposing("checkout", "{{ variables.V }}", Value::Null).variables(&[("V", "v3")])).await;
        until_state(story, "checkout", "Open").await;
        let states: Vec<_> = requests(story).iter().map(|request| request.state).collect();
        assert_eq!(states, [MergeRequestState::Closed, MergeRequestState::Opened]);
    });
}

#[test]
fn one_that_the_target_has_overtaken_is_closed() {
    story(values(), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let apply = async |version: &str| {
            let trigger = proposing("checkout", "{{ variables.V }}", Value::Null);
            story.apply(&trigger.variables(&[("V", version)])).await;
        };
        apply("v2").await;
        until_state(story, "checkout", "Open").await;
        // Somebody writes by hand what the next run wants.
        story
            .gitlab
            .commit(GITOPS, "main", "v3", &[("values.yaml", &VALUES.replace("v1", "v3"))])
            .unwrap()
            .unwrap();
        apply("v3").await;
        let seen = until_state(story, "checkout", "UpToDate").await;
        assert_eq!(seen.truth("ImagesUpdated"), "True");
        assert_eq!(only(story).state, MergeRequestState::Closed);
        assert_eq!(git.show("values.yaml"), VALUES.replace("v1", "v3"));
    });
}

/// A repository whose pushes have pipelines.
fn with_pipelines() -> Seed {
    let mut seed = values();
    let gitops = seed.projects.iter_mut().find(|project| project.path == GITOPS).unwrap();
    (gitops.push_pipelines, gitops.script) = (true, vec![Play::jobs([JobPlay::new("lint", 0)])]);
    seed
}

#[test]
fn it_is_merged_by_itself_when_its_pipeline_succeeds() {
    story(with_pipelines(), async |story| {
        let git = Git::of(story);
        story.gitlab.fault(FaultRule::next("merge", Fault::Reset)).unwrap();
        story.operator(&[]);
        story.apply(&proposing("checkout", "v2", json!({"autoMerge": true}))).await;
        let seen = until_state(story, "checkout", "Merged").await;
        assert_eq!(seen.truth("ImagesUpdated"), "True", "{}", seen.yaml());
        assert_eq!(git.show("values.yaml"), VALUES.replace("v1", "v2"));
        assert_eq!(only(story).state, MergeRequestState::Merged);
        let branches = git.run(&["branch", "--list", "pipekick/*"]);
        assert!(branches.is_empty(), "its branch goes: {branches}");
    });
}

#[test]
fn what_somebody_pushed_on_top_is_theirs_to_merge() {
    let mut seed = with_pipelines();
    let gitops = seed.projects.iter_mut().find(|project| project.path == GITOPS).unwrap();
    gitops.script =
        vec![Play::jobs([JobPlay { lasts: crate::harness::gitlab::LONG, ..JobPlay::new("lint", 0) }])];
    story(seed, async |story| {
        story.operator(&[]);
        story.apply(&proposing("checkout", "v2", json!({"autoMerge": true}))).await;
        let is = |seen: &Seen| says(seen).contains("GitLab merges it when nothing stands in the way");
        story.until("checkout", "be armed", is).await;
        let source = only(story).source_branch;
        story
            .gitlab
            .commit(GITOPS, &source, "scale", &[("values.yaml", "image: {tag: v9}\n")])
            .unwrap()
            .unwrap();
        let is = |seen: &Seen| state(seen) == "Open" && !says(seen).contains("GitLab merges it");
        story.until("checkout", "be armed no more", is).await;
        story.let_pass().await;
        assert_eq!(only(story).state, MergeRequestState::Opened);
    });
}

#[test]
fn without_the_right_to_merge_it_waits_and_says_why() {
    let mut seed = with_pipelines();
    seed.users.push(UserSeed { username: "dora".into(), ..UserSeed::default() });
    let gitops = seed.projects.iter_mut().find(|project| project.path == GITOPS).unwrap();
    gitops.members.insert("dora".into(), Role::Developer);
    gitops.protected.push(Protection { pattern: "main".into(), role: Role::Maintainer });
    seed.access_tokens.push(AccessTokenSeed {
        token: "glpat-dora-0123456789".into(),
        name: "dora".into(),
        user: "dora".into(),
        scopes: vec![Scope::Api],
        ..AccessTokenSeed::default()
    });
    story(seed, async |story| {
        story.operator(&[]);
        story.secret(Secret::new("gitops").key("token", "glpat-dora-0123456789")).await;
        let mut trigger = proposing("checkout", "v2", json!({"autoMerge": true}));
        trigger.0["spec"]["imageUpdates"][0]["accessTokenRef"] = json!({"name": "gitops", "key": "token"});
        story.apply(&trigger).await;
        let is = |seen: &Seen| says(seen).contains("may not merge to the target branch");
        let seen = story.until("checkout", "say that", is).await;
        assert_eq!(
            (state(&seen), seen.truth("Ready"), seen.truth("ImagesUpdated")),
            ("Open", "True", "Unknown")
        );
        assert_eq!(only(story).state, MergeRequestState::Opened);
        // Who may, does.
        assert!(story.gitlab.merge(GITOPS, 1).unwrap());
        until_state(story, "checkout", "Merged").await;
    });
}

#[test]
fn what_cannot_be_is_told_and_nothing_is_written() {
    story(values(), async |story| {
        let git = Git::of(story);
        story.gitlab.commit(GITOPS, "main", "x", &[("other.yaml", "a: b\n")]).unwrap().unwrap();
        git.run(&["branch", "theirs", "main"]);
        story.operator(&[]);
        for (name, request, told) in [
            ("no-user", json!({"reviewers": ["nobody"]}), "no user `nobody`"),
            (
                "to-itself",
                json!({"branch": "main"}),
                "mergeRequest.branch: main is the branch that is written to",
            ),
            ("theirs", json!({"branch": "theirs"}), "its last commit is somebody else's"),
            ("undefined", json!({"title": "{{ outputs.nope }}"}), "mergeRequest.title: `outputs.nope`"),
        ] {
            story.apply(&proposing(name, "v2", request)).await;
            let seen = until_state(story, name, "Refused").await;
            assert!(says(&seen).contains(told), "{name}: {}", says(&seen));
            story.delete(name).await;
            story.until_gone(name).await;
        }
        let mut dry = proposing("dry", "v2", Value::Null);
        dry.0["spec"]["imageUpdates"][0]["dryRun"] = true.into();
        story.apply(&dry).await;
        let seen = until_state(story, "dry", "DryRun").await;
        let diff = seen.at("status.run.imageUpdates")[0]["diff"].as_str().unwrap_or_default();
        assert_eq!(diff, "values.yaml:2 image.tag: v1 → v2\n");
        assert!(requests(story).is_empty());
        assert_eq!(git.run(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]), "main\ntheirs\n");
    });
}

#[test]
fn whatever_reply_is_lost_there_is_one_commit_and_one_merge_request() {
    for (route, fault) in [
        ("commit_create", Fault::EffectThenReset),
        ("commit_create", Fault::Reset),
        ("merge_request_create", Fault::EffectThenReset),
        ("merge_request_create", Fault::Reset),
    ] {
        story(values(), async |story| {
            let git = Git::of(story);
            story.gitlab.fault(FaultRule::next(route, fault.clone())).unwrap();
            story.operator(&QUICK);
            story.apply(&proposing("checkout", "v2", Value::Null)).await;
            let seen = until_state(story, "checkout", "Open").await;
            let request = only(story);
            let record = &seen.at("status.run.imageUpdates")[0];
            assert_eq!(record["mergeRequest"]["iid"].as_u64(), Some(1), "{route}: {}", seen.yaml());
            let ahead = git.run(&["rev-list", "--count", &format!("main..{}", request.source_branch)]);
            assert_eq!(ahead.trim(), "1", "{route}");
        });
    }
}

#[test]
fn a_lost_reply_at_the_open_one_is_found_there() {
    story(values(), async |story| {
        story.operator(&QUICK);
        let apply = async |version: &str| {
            let trigger = proposing("checkout", "{{ variables.V }}", Value::Null);
            story.apply(&trigger.variables(&[("V", version)])).await;
        };
        apply("v2").await;
        until_state(story, "checkout", "Open").await;
        story.gitlab.fault(FaultRule::next("merge_request_update", Fault::EffectThenReset)).unwrap();
        apply("v3").await;
        let is = |seen: &Seen| seen.number("status.run.seq") == 2 && state(seen) == "Open";
        story.until("checkout", "be open once more", is).await;
        assert!(only(story).title.contains("v3"));
        assert_eq!(story.ledger().calls_to("merge_request_update").len(), 1);
    });
}

#[test]
fn another_operator_follows_what_the_one_before_opened() {
    story(values(), async |story| {
        story.operator(&[]);
        story.apply(&proposing("checkout", "v2", Value::Null)).await;
        until_state(story, "checkout", "Open").await;
        story.kill_operators();
        assert!(story.gitlab.merge(GITOPS, 1).unwrap());
        story.operator(&[]);
        let seen = until_state(story, "checkout", "Merged").await;
        assert_eq!(seen.truth("ImagesUpdated"), "True");
        assert_eq!(only(story).state, MergeRequestState::Merged);
    });
}

#[test]
fn of_runs_that_share_a_merge_request_the_later_wins() {
    let mut early = crate::harness::gitlab::long();
    early.when = pipekick_sandbox::gitlab::When::Nth(1);
    let mut seed = with_gitops(early, &[("values.yaml", VALUES)]);
    seed.projects[0].script.push(quick());
    story(seed, async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let shared = |name: &str, value: &str| {
            let mut trigger = proposing(name, value, json!({"branch": "bump"}));
            trigger.0["spec"]["imageUpdates"][0]["allowShared"] = true.into();
            trigger
        };
        story.apply(&shared("early", "v2")).await;
        story.until_phase("early", "Running").await;
        story.apply(&shared("late", "v3")).await;
        until_state(story, "late", "Open").await;
        story.end_pipelines();
        let seen = until_state(story, "early", "Superseded").await;
        assert_eq!(seen.truth("ImagesUpdated"), "True", "{}", seen.yaml());
        assert_eq!(only(story).state, MergeRequestState::Opened);
        assert_eq!(proposed(&git, "bump"), VALUES.replace("v1", "v3"));
    });
}
