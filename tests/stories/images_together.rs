//! Image updates of many triggers, operators and rivals at once.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{Fault, FaultRule, JobPlay, Play};
use serde_json::json;

use crate::harness::gitlab::{GITOPS, LONG, long, quick, with_gitops};
use crate::harness::{Seen, Story, Trigger, story};
use crate::images::{Git, state, tag, until_updated, updating};

/// The machine may be busy: what is judged is what stands in the repository, not the time.
const WITHIN: Duration = Duration::from_secs(300);
const VALUES: &str = "image:\n  tag: v1\n";

fn shared(name: &str, value: &str) -> Trigger {
    let mut trigger = updating(name, tag(value));
    trigger.0["spec"]["imageUpdates"][0]["allowShared"] = true.into();
    trigger
}

#[test]
fn who_writes_what_another_writes_is_refused_unless_both_allow_it() {
    // The same project to GitLab, however it is spelled.
    for spelled in [json!(GITOPS.to_uppercase()), json!("77")] {
        let mut seed = with_gitops(quick(), &[("values.yaml", VALUES)]);
        seed.projects.iter_mut().find(|project| project.path == GITOPS).unwrap().id = Some(77);
        story(seed, async |story| {
            let git = Git::of(story);
            story.apply(&updating("one", tag("v2"))).await;
            let mut two = updating("two", tag("v3"));
            two.0["spec"]["imageUpdates"][0]["project"] = spelled.clone();
            story.apply(&two).await;
            story.operator(&[]);
            for (name, other) in [("one", "two"), ("two", "one")] {
                let seen = until_updated(story, name).await;
                assert_eq!(state(&seen), "Refused", "{spelled}: {}", seen.yaml());
                let says = format!("is written by {}/{other} as well", story.namespace);
                assert!(seen.message().contains(&says), "{}", seen.message());
            }
            assert_eq!(git.commits(), 1);
        });
    }
}

/// A trigger whose pipeline is later than that of another, and ends before it.
fn overtaken(late: &str, state_of_late: &str, rivals: usize) {
    let mut play = long();
    play.when = pipekick_sandbox::gitlab::When::Nth(1);
    let mut seed = with_gitops(play, &[("values.yaml", VALUES)]);
    seed.projects[0].script.push(quick());
    story(seed, async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        story.apply(&shared("early", "v2")).await;
        story.until_phase("early", "Running").await;
        story.apply(&shared("late", late)).await;
        let seen = until_updated(story, "late").await;
        assert_eq!(state(&seen), state_of_late, "{}", seen.yaml());
        let mut wanted = git.show("values.yaml");
        for n in 0..rivals {
            wanted = format!("image:\n  tag: {late}\nn: {n}\n");
            story.gitlab.commit(GITOPS, "main", "rival", &[("values.yaml", &wanted)]).unwrap();
        }
        let commits = git.commits();
        story.end_pipelines();
        let early = until_updated(story, "early").await;
        assert_eq!((state(&early), early.truth("Ready")), ("Superseded", "True"), "{}", early.yaml());
        assert!(early.number("status.run.pipeline.id") < seen.number("status.run.pipeline.id"));
        assert_eq!((git.show("values.yaml"), git.commits()), (wanted, commits));
    });
}

#[test]
fn the_later_pipeline_wins_although_the_earlier_ends_last() {
    overtaken("v3", "Committed", 0);
}

#[test]
fn the_later_pipeline_wins_however_many_commits_came_after_it() {
    // More than are read of a file as a rule.
    overtaken("v3", "Committed", 120);
}

#[test]
fn the_later_pipeline_wins_although_it_had_nothing_to_write() {
    overtaken("v1", "UpToDate", 0);
}

#[test]
fn one_scalar_is_one_however_two_triggers_spell_it() {
    let marked = "image:\n  tag: v1 # pipekick: web:tag\n";
    story(with_gitops(quick(), &[("values.yaml", marked)]), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        story.apply(&updating("one", tag("v2"))).await;
        assert_eq!(state(&until_updated(story, "one").await), "Committed");
        let edits = json!([{"file": "values.yaml", "marker": "web:tag", "value": "v3"}]);
        let mut two = updating("two", edits);
        story.apply(&two).await;
        let seen = until_updated(story, "two").await;
        assert_eq!(state(&seen), "Refused", "{}", seen.yaml());
        let says = format!("`image.tag` is written by {}/one as well", story.namespace);
        assert!(seen.message().contains(&says), "{}", seen.message());
        // What would be written is in nobody's way.
        two.0["spec"]["imageUpdates"][0]["dryRun"] = true.into();
        story.apply(&two).await;
        story.apply(&updating("one", tag("v4")).variables(&[("AGAIN", "yes")])).await;
        let seen = story
            .until("one", "write again", |seen| {
                seen.number("status.run.seq") == 2 && state(seen) == "Committed"
            })
            .await;
        assert!(seen.is_current());
        assert_eq!((git.show("values.yaml"), git.commits()), (marked.replace("v1", "v4"), 3));
    });
}

/// `many` triggers, each with a file of its own, whose pipelines end at one time.
async fn end_together(story: &Story, many: usize) {
    let all = (0..many).map(|n| async move {
        let edits = json!([{"file": format!("apps/{n}.yaml"), "path": "image.tag", "value": format!("v{n}-{{{{ pipeline.id }}}}")}]);
        story.apply(&updating(&format!("t{n}"), edits)).await;
    });
    futures::stream::iter(all).buffer_unordered(20).count().await;
    story.until_all(WITHIN, "be Running", |seen| seen.phase() == "Running").await;
    story.end_pipelines();
}

async fn assert_each_written(story: &Story, many: usize) {
    let done = |seen: &Seen| state(seen) == "Committed";
    let all = story.until_all(WITHIN, "be written", done).await;
    assert_eq!(all.len(), many);
    let git = Git::of(story);
    for seen in &all {
        let n = seen.text("metadata.name").trim_start_matches('t');
        let wanted = format!("image: {{tag: v{n}-{}}} # {n}\n", seen.number("status.run.pipeline.id"));
        assert_eq!(git.show(&format!("apps/{n}.yaml")), wanted);
        let commit = seen.at("status.run.imageUpdates")[0]["commit"].as_str().unwrap();
        git.run(&["merge-base", "--is-ancestor", commit, "main"]);
    }
    assert_eq!(git.run(&["rev-list", "--min-parents=2", "main"]), "", "linear");
}

fn apps(many: usize) -> Vec<(String, String)> {
    (0..many).map(|n| (format!("apps/{n}.yaml"), format!("image: {{tag: v1}} # {n}\n"))).collect()
}

fn crowd(many: usize) -> pipekick_sandbox::gitlab::Seed {
    let files = apps(many);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    with_gitops(Play::jobs([JobPlay { lasts: LONG, ..JobPlay::new("build", 0) }]), &files)
}

fn ours(git: &Git) -> usize {
    git.run(&["log", "--grep=^Pipekick-Fire-Id:", "--format=%H", "main"]).lines().count()
}

#[test]
fn a_hundred_that_end_together_beside_a_rival_are_written_in_a_few_commits() {
    const MANY: usize = 100;
    story(crowd(MANY), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        end_together(story, MANY).await;
        let began = std::time::Instant::now();
        let rivals = async {
            for n in 0.. {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let text = format!("n: {n}\n");
                story.gitlab.commit(GITOPS, "main", "rival", &[("rival.yaml", &text)]).unwrap();
            }
        };
        tokio::select! {
            () = assert_each_written(story, MANY) => {}
            () = rivals => {}
        }
        let sent = story.ledger().calls_to("commit_create").len();
        println!("{MANY} updates in {} commits ({sent} sent), {:?}", ours(&git), began.elapsed());
        assert!(ours(&git) <= 3, "{} commits", ours(&git));
    });
}

#[test]
fn two_operators_write_each_once() {
    const MANY: usize = 20;
    story(crowd(MANY), async |story| {
        story.operator(&[]);
        story.operator(&[]);
        end_together(story, MANY).await;
        assert_each_written(story, MANY).await;
        let git = Git::of(story);
        let log = git.run(&["log", "--format=%B", "main"]);
        assert_eq!(log.matches("Pipekick-Fire-Id:").count(), MANY, "each run once:\n{log}");
    });
}

#[test]
fn killed_while_a_commit_is_in_the_air_it_is_looked_for() {
    // Longer than a killed operator lets anybody wait.
    let wait = SignedDuration::from_secs(60);
    for fault in [Fault::HangThenAnswer { wait }, Fault::HangThenReset { wait }] {
        let flags = ["--request-deadline", "3s", "--gitlab-request-limit", "2s"];
        story(with_gitops(quick(), &[("values.yaml", VALUES)]), async |story| {
            let git = Git::of(story);
            story.gitlab.fault(FaultRule::next("commit_create", fault.clone())).unwrap();
            story.operator(&flags);
            story.apply(&updating("checkout", tag("v2"))).await;
            story.until("checkout", "be committing", |seen| state(seen) == "Committing").await;
            story.until_ledger("have the request", |l| l.calls_to("commit_create").len() == 1).await;
            story.kill_operators();
            story.operator(&flags);
            let seen = until_updated(story, "checkout").await;
            assert_eq!(state(&seen), "Committed", "{fault:?}: {}", seen.yaml());
            assert_eq!((git.show("values.yaml").as_str(), git.commits()), ("image:\n  tag: v2\n", 2));
        });
    }
}
