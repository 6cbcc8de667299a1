//! Merge requests of several operators at once, and beside what people merge, squash and write by hand.

use std::time::Duration;

use pipekick_sandbox::gitlab::{JobPlay, MergeRequestState, Play, Seed, When};
use serde_json::{Value, json};

use crate::harness::gitlab::{GITOPS, LONG, long, quick, with_gitops};
use crate::harness::{Seen, Story, Trigger, story};
use crate::images::{Git, state, tag, until_updated, updating};
use crate::merge_requests::{QUICK, VALUES, only, proposed, proposing, requests, says, until_state};

/// The machine may be busy: what is judged is what stands in the repository, not the time.
const WITHIN: Duration = Duration::from_secs(300);

/// Triggers, each with a file and a merge request of its own.
const MANY: usize = 8;

fn app(n: usize, version: &str) -> Trigger {
    let edits =
        json!([{"file": format!("apps/{n}.yaml"), "path": "image.tag", "value": "{{ variables.V }}"}]);
    let mut trigger = updating(&format!("t{n}"), edits).variables(&[("V", version)]);
    trigger.0["spec"]["imageUpdates"][0]["via"] = "MergeRequest".into();
    trigger
}

async fn apply_all(story: &Story, version: &str) {
    for n in 0..MANY {
        story.apply(&app(n, version)).await;
    }
    story.until_all(WITHIN, "be Running", |seen| seen.phase() == "Running").await;
}

async fn until_all_open(story: &Story, seq: i64) {
    let open = |seen: &Seen| state(seen) == "Open" && seen.number("status.run.seq") == seq;
    story.until_all(WITHIN, "be open", open).await;
}

#[test]
fn two_operators_have_one_merge_request_for_each_trigger_though_one_of_them_dies() {
    let files: Vec<(String, String)> =
        (0..MANY).map(|n| (format!("apps/{n}.yaml"), format!("image: {{tag: v1}} # {n}\n"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    story(with_gitops(long(), &files), async |story| {
        let git = Git::of(story);
        story.operator(&QUICK);
        story.operator(&QUICK);
        apply_all(story, "v2").await;
        story.end_pipelines();
        until_all_open(story, 1).await;
        // Once more, on top of what is open; one of the two dies while it is at it.
        apply_all(story, "v3").await;
        story.end_pipelines();
        story.until_ledger("have some of the commits", |l| l.calls_to("commit_create").len() > MANY).await;
        story.kill_operator(1);
        until_all_open(story, 2).await;

        let all = requests(story);
        assert_eq!(all.len(), MANY, "{all:?}");
        let branches = git.run(&["for-each-ref", "--format=%(refname:short)", "refs/heads/pipekick"]);
        assert_eq!(branches.lines().count(), MANY, "{branches}");
        for n in 0..MANY {
            let source = format!("pipekick/{}/t{n}-1", story.namespace);
            let of = |request: &&pipekick_sandbox::gitlab::MergeRequest| request.source_branch == source;
            let [request] = &all.iter().filter(of).collect::<Vec<_>>()[..] else {
                panic!("{source}: {all:?}")
            };
            assert!(
                request.title.contains("v3") && request.state == MergeRequestState::Opened,
                "{request:?}"
            );
            let text = git.run(&["show", &format!("{source}:apps/{n}.yaml")]);
            assert_eq!(text, format!("image: {{tag: v3}} # {n}\n"));
            let ids = git.run(&[
                "log",
                "--format=%(trailers:key=Pipekick-Fire-Id,valueonly,separator=%x20)",
                &format!("main..{source}"),
            ]);
            let mut ids: Vec<&str> = ids.lines().collect();
            ids.sort_unstable();
            ids.dedup();
            let commits = git.run(&["rev-list", "--count", &format!("main..{source}")]);
            assert_eq!((ids.len(), commits.trim()), (2, "2"), "{source}: each run once");
        }
    });
}

/// Opens one with v2, and has somebody write the same line by hand; it is told that they conflict.
async fn in_conflict(story: &Story) -> String {
    story.apply(&proposing("checkout", "{{ variables.V }}", Value::Null).variables(&[("V", "v2")])).await;
    until_state(story, "checkout", "Open").await;
    let by_hand = [("values.yaml", &*VALUES.replace("v1", "v1.1"))];
    story.gitlab.commit(GITOPS, "main", "by hand", &by_hand).unwrap().unwrap();
    let is = |seen: &Seen| says(seen).contains("it conflicts with its target branch");
    let seen = story.until("checkout", "be told of the conflict", is).await;
    assert_eq!((state(&seen), seen.truth("ImagesUpdated")), ("Open", "Unknown"));
    only(story).source_branch
}

async fn next(story: &Story) -> Seen {
    story.apply(&proposing("checkout", "{{ variables.V }}", Value::Null).variables(&[("V", "v3")])).await;
    let is = |seen: &Seen| seen.number("status.run.seq") == 2 && state(seen) == "Open";
    story.until("checkout", "be open once more", is).await
}

#[test]
fn one_in_conflict_is_replaced_by_the_next_run() {
    story(with_gitops(quick(), &[("values.yaml", VALUES)]), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let source = in_conflict(story).await;
        let seen = next(story).await;
        let states: Vec<MergeRequestState> = requests(story).iter().map(|request| request.state).collect();
        assert_eq!(states, [MergeRequestState::Closed, MergeRequestState::Opened], "{}", seen.yaml());
        assert_eq!(proposed(&git, &source), VALUES.replace("v1", "v3"));
        assert_eq!(git.run(&["rev-list", "--count", &format!("main..{source}")]).trim(), "1");
        assert!(story.gitlab.merge(GITOPS, 2).unwrap(), "nothing is in its way");
        until_state(story, "checkout", "Merged").await;
        assert_eq!(git.show("values.yaml"), VALUES.replace("v1", "v3"));
    });
}

#[test]
fn what_somebody_committed_to_one_in_conflict_stays() {
    story(with_gitops(quick(), &[("values.yaml", VALUES)]), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let source = in_conflict(story).await;
        let theirs = story.gitlab.commit(GITOPS, &source, "docs", &[("README", "ours\n")]).unwrap().unwrap();
        next(story).await;
        assert_eq!(only(story).state, MergeRequestState::Opened);
        git.run(&["merge-base", "--is-ancestor", &theirs, &source]);
        assert_eq!(proposed(&git, &source), VALUES.replace("v1", "v3"));
        let is = |seen: &Seen| says(seen).contains("it conflicts with its target branch");
        story.until("checkout", "be told of the conflict again", is).await;
    });
}

#[test]
fn a_squash_takes_nothing_back_though_it_drops_the_trailers() {
    for via in ["Commit", "MergeRequest"] {
        let mut early = long();
        early.when = When::Nth(1);
        let mut seed = with_gitops(early, &[("values.yaml", VALUES)]);
        seed.projects[0].script.push(quick());
        story(seed, async |story| {
            let git = Git::of(story);
            story.operator(&[]);
            let shared = |name: &str, value: &str, via: &str| {
                let mut trigger = updating(name, tag(value));
                let update = &mut trigger.0["spec"]["imageUpdates"][0];
                (update["allowShared"], update["via"]) = (true.into(), via.into());
                trigger
            };
            story.apply(&shared("early", "v2", via)).await;
            story.until_phase("early", "Running").await;
            story.apply(&shared("late", "v3", "MergeRequest")).await;
            until_state(story, "late", "Open").await;
            assert!(story.gitlab.squash(GITOPS, 1) && story.gitlab.merge(GITOPS, 1).unwrap());
            let log = git.run(&["log", "--format=%B", "main"]);
            assert!(!log.contains("Pipekick"), "the squash dropped them: {log}");
            story.end_pipelines();
            let seen = until_updated(story, "early").await;
            assert_eq!(state(&seen), "Superseded", "{via}: {}", seen.yaml());
            assert_eq!(git.show("values.yaml"), VALUES.replace("v1", "v3"));
            assert_eq!(only(story).state, MergeRequestState::Merged);
        });
    }
}

#[test]
fn a_squash_that_it_has_asked_for_keeps_the_trailers() {
    let mut seed: Seed = with_gitops(quick(), &[("values.yaml", VALUES)]);
    let gitops = seed.projects.iter_mut().find(|project| project.path == GITOPS).unwrap();
    gitops.push_pipelines = true;
    gitops.script = vec![Play::jobs([JobPlay { lasts: LONG, ..JobPlay::new("lint", 0) }])];
    story(seed, async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        story.apply(&proposing("checkout", "v2", json!({"autoMerge": true}))).await;
        let is = |seen: &Seen| says(seen).contains("GitLab merges it when nothing stands in the way");
        let seen = story.until("checkout", "be armed", is).await;
        assert!(story.gitlab.squash(GITOPS, 1));
        story.end_pipelines();
        until_state(story, "checkout", "Merged").await;
        let squashed = only(story).squash_commit.unwrap();
        let message = git.run(&["show", "--no-patch", "--format=%B", &squashed]);
        let id = format!("Pipekick-Fire-Id: {}\n", seen.text("status.run.fireId"));
        assert!(message.starts_with("image.tag v2\n\n") && message.contains(&id), "{message}");
        assert_eq!(git.run(&["show", "--no-patch", "--format=%P", &squashed]).split(' ').count(), 1);
    });
}
