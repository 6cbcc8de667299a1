//! What comes too late: a list whose reply was on its way for long, and a pipeline that GitLab makes after all.

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{Fault, FaultRule};

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Story, Trigger, story};

/// Until the story moves GitLab's clock.
const LATE: SignedDuration = SignedDuration::from_mins(20);

/// The next POST is answered with an error of a proxy, and takes effect when the story says so.
fn leave_a_request_in_the_queue(story: &Story) {
    story.gitlab.fault(FaultRule::next("trigger", Fault::LateEffect { after: LATE })).unwrap();
}

fn calls_to(story: &Story, route: &str) -> usize {
    story.gitlab.read_ledger(|ledger| ledger.calls_to(route).len())
}

#[test]
fn a_list_that_was_read_before_the_effect_and_replied_after_the_delay_proves_nothing() {
    // 16 s + 8 s is the resolution delay. Looks begin 0, 10 and 20 s after the intent; the third counts as what it
    // is, 20 s old, though its reply comes 35 s after the intent: later than 10 s and the delay.
    const FLAGS: [&str; 4] = ["--request-deadline", "16s", "--gitlab-request-limit", "8s"];
    let slow = Fault::HangThenAnswer { wait: SignedDuration::from_secs(15) };
    story(playing(quick()), async |story| {
        leave_a_request_in_the_queue(story);
        story.gitlab.fault(FaultRule::nth(3, "pipelines", slow)).unwrap();
        story.operator(&FLAGS);
        story.apply(&Trigger::new("checkout")).await;
        story.until_ledger("have the slow list call", |ledger| ledger.calls_to("pipelines").len() == 3).await;
        // The list was read, and tells of no pipeline. Now GitLab makes it.
        story.gitlab.advance(LATE);
        let seen = story.until_phase("checkout", "Succeeded").await;
        assert_eq!((story.fired("checkout"), calls_to(story, "trigger")), (1, 1), "{}", seen.yaml());
        assert!(calls_to(story, "pipelines") >= 4, "the pipeline was found by a later look");
    });
}

#[test]
fn a_pipeline_that_comes_after_the_run_was_sent_again_is_told() {
    const FLAGS: [&str; 4] = ["--request-deadline", "2s", "--gitlab-request-limit", "3s"];
    story(playing(quick()), async |story| {
        // What the protocol assumes does not hold here.
        story.allow_duplicates();
        leave_a_request_in_the_queue(story);
        story.operator(&FLAGS);
        story.apply(&Trigger::new("checkout")).await;
        let accepted = |story: &Story| story.fired("checkout") == 1;
        story.until("checkout", "be sent again", |_| accepted(story)).await;
        let seen =
            story.until("checkout", "be accepted", |seen| seen.text("status.run.attempt.last") == "Accepted");
        let seen = seen.await;
        assert_eq!(seen.number("status.run.attempt.count"), 2);
        assert!(!seen.text("status.run.attempt.checkAt").is_empty(), "{}", seen.yaml());
        let own = seen.number("status.run.pipeline.id");
        story.gitlab.advance(LATE);
        story.until_event("checkout", "DuplicatePipeline", "carries the name of run 1 too").await;
        let seen = story.until_phase("checkout", "Succeeded").await;
        let late = story.pipelines_of("checkout").into_iter().map(|made| made.id.cast_signed());
        let late: Vec<i64> = late.filter(|id| *id != own).collect();
        assert_eq!(seen.at("status.run.duplicates"), &serde_json::json!(late));
        assert_eq!((seen.number("status.run.pipeline.id"), late.len()), (own, 1), "it stays with its own");
        assert!(story.metrics().await.contains("pipekick_duplicate_pipelines_total 1"));

        // Told once: neither by the next look, nor by the next process.
        let looks = calls_to(story, "pipelines");
        story.kill_operators();
        story.operator(&FLAGS);
        story.let_pass().await;
        assert_eq!(calls_to(story, "pipelines"), looks);
        let told = story.events("checkout").await;
        assert_eq!(told.iter().filter(|(_, reason)| reason == "DuplicatePipeline").count(), 1, "{told:?}");
    });
}

#[test]
fn after_a_repeat_one_look_is_taken_and_nothing_more() {
    const FLAGS: [&str; 4] = ["--request-deadline", "2s", "--gitlab-request-limit", "1s"];
    story(playing(quick()), async |story| {
        story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
        story.operator(&FLAGS);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Succeeded").await;
        let checked = |seen: &crate::harness::Seen| seen.text("status.run.attempt.checkAt").is_empty();
        let seen = story.until("checkout", "be looked at once more", checked).await;
        let looks = calls_to(story, "pipelines");
        assert_eq!(looks, 2, "the one that found it, and the one that found no other");
        story.rest(std::time::Duration::from_secs(5)).await;
        assert_eq!((story.look("checkout").await, calls_to(story, "pipelines")), (seen, looks));
        assert!(story.metrics().await.contains("pipekick_duplicate_pipelines_total 0"));
    });
}
