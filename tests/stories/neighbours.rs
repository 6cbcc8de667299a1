//! What is wrong with one object, or with its GitLab, does not stop another.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use pipekick_sandbox::gitlab::{GitlabSim, Seed};
use serde_json::json;

use crate::harness::gitlab::{playing, project, quick};
use crate::harness::{POLL, Secret, Story, Trigger, story};

/// A Secret for another GitLab than the operator's, under the name `other`.
async fn secret_for(story: &Story, url: &str) {
    let secret = Secret::new("other").annotation("pipekick.dev/gitlab-url", url);
    let secret = secret.key("trigger-token", Seed::TRIGGER_TOKEN).key("access-token", Seed::ACCESS_TOKEN);
    story.secret(secret).await;
}

fn at(name: &str, url: &str) -> Trigger {
    let trigger = Trigger::new(name).with("spec.gitlab.url", url);
    let trigger = trigger.with("spec.gitlab.triggerTokenRef.name", "other");
    trigger.with("spec.gitlab.accessTokenRef.name", "other")
}

/// How long a slow GitLab takes for each answer.
const SLOW: SignedDuration = SignedDuration::from_secs(90);
/// How long the good one may take beside it, on a busy machine. Behind a slow one it would take as long as the
/// operator waits for an answer, 30 s.
const SOON: Duration = Duration::from_secs(15);

/// How long a trigger of the healthy GitLab takes to its end.
async fn time_of_a_good_one(story: &Story) -> Duration {
    let began = Instant::now();
    story.apply(&Trigger::new("good")).await;
    story.until_phase("good", "Succeeded").await;
    began.elapsed()
}

#[test]
fn an_unreachable_gitlab_is_waited_for_and_slows_nobody() {
    story(playing(quick()), async |story| {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("http://{address}");
        secret_for(story, &url).await;
        story.operator(&[]);
        for number in 0..30 {
            story.apply(&at(&format!("lost{number}"), &url)).await;
        }
        let waits = story.until("lost0", "be Pending", |seen| seen.reason() == "Unreachable").await;
        assert_eq!(
            (waits.phase(), waits.truth("Ready"), waits.truth("Reconciling")),
            ("Pending", "Unknown", "True")
        );
        assert_eq!(waits.text("status.run.attempt.last"), "NotSent");
        let took = time_of_a_good_one(story).await;
        assert!(took < SOON, "{took:?}");

        let back = GitlabSim::start_at(address, playing(quick())).unwrap();
        for number in 0..30 {
            story.until_run(&format!("lost{number}"), 1, "Succeeded").await;
        }
        assert_eq!(back.ledger().pipelines.len(), 30);
        assert_eq!(back.ledger().duplicate_fire_ids(), Vec::<&str>::new());
    });
}

#[test]
fn a_gitlab_that_answers_slowly_does_not_hold_up_another() {
    slow_answers(20, 256);
}

/// More than the operator works on at the same time, of which one GitLab may take a part.
#[test]
fn a_gitlab_that_answers_many_slowly_does_not_hold_up_another() {
    slow_answers(110, 96);
}

fn slow_answers(many: usize, concurrency: usize) {
    story(playing(quick()), async |story| {
        let slow = GitlabSim::start(playing(quick())).unwrap();
        slow.latency("trigger", SLOW).unwrap();
        secret_for(story, slow.url()).await;
        story.operator(&["--concurrency", &concurrency.to_string()]);
        for number in 0..many {
            story.apply(&at(&format!("slow{number}"), slow.url())).await;
        }
        story.until("slow0", "be Firing", |seen| seen.phase() == "Firing").await;
        let took = time_of_a_good_one(story).await;
        assert!(took < SOON, "{took:?}");
        assert_eq!(story.fired("good"), 1);
    });
}

#[test]
fn slow_looks_do_not_hold_up_those_at_another_gitlab() {
    slow_looks(4);
}

/// More than there are places for looks.
#[test]
fn slow_looks_at_many_projects_do_not_hold_up_those_at_another_gitlab() {
    slow_looks(40);
}

fn slow_looks(projects: usize) {
    let mut seed = playing(quick());
    seed.projects.extend((0..projects).map(|number| project(&format!("slow/p{number}"), quick())));
    story(playing(quick()), async |story| {
        let slow = GitlabSim::start(seed).unwrap();
        slow.latency("pipeline", SLOW).unwrap();
        secret_for(story, slow.url()).await;
        story.operator(&[]);
        for number in 0..projects {
            let trigger = at(&format!("slow{number}"), slow.url());
            story.apply(&trigger.with("spec.gitlab.project", format!("slow/p{number}"))).await;
        }
        let looks = || slow.ledger().calls_to("pipeline").len();
        while looks() < projects.min(8) {
            tokio::time::sleep(POLL).await;
        }
        let took = time_of_a_good_one(story).await;
        assert!(took < SOON, "{took:?}");
    });
}

/// A status that the schema lets through and this build cannot read: a newer operator may have written it.
#[test]
fn an_object_that_cannot_be_read_is_left_alone_and_stops_nobody() {
    story(playing(quick()), async |story| {
        story.apply(&Trigger::new("strange")).await;
        // Kubernetes takes any number of digits in a fraction of a second.
        let strange = json!({"status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "R", "message": "",
            "lastTransitionTime": "2026-11-05T10:00:00.123456789012Z",
        }]}});
        let params = PatchParams::default();
        story.triggers().patch_status("strange", &params, &Patch::Merge(&strange)).await.unwrap();
        let before = story.look("strange").await;
        story.operator(&[]);
        story.apply(&Trigger::new("good")).await;
        story.until_phase("good", "Succeeded").await;
        // In the watch, too, not only in the first list.
        story.apply(&Trigger::new("strange").with("metadata.labels", json!({"seen": "again"}))).await;
        story.ask("good", "again").await;
        story.until_run("good", 2, "Succeeded").await;
        assert_eq!(story.fired("strange"), 0, "deciding without its status could fire twice");
        assert_eq!(story.look("strange").await.at("status"), before.at("status"));
        assert!(story.log().contains("strange"), "somebody is told");
    });
}
