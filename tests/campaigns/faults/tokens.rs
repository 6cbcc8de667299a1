//! A token is revoked in the middle of a run.

use pipekick_sandbox::gitlab::{Fault, FaultRule, Seed};
use serde_json::json;

use crate::FLAGS;
use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{Secret, Story, Trigger, story};
use crate::plan::settled;

#[test]
fn a_token_revoked_while_the_pipeline_runs_is_told_and_following_goes_on_with_the_next() {
    story(playing(long()), async |story| {
        story.operator(&FLAGS);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        let next = story.gitlab.rotate_token("bot").unwrap();
        story.until("checkout", "tell the trouble", |seen| seen.reason() == "CannotFollow").await;
        store(story, &next).await;
        story.end_pipelines();
        assert_eq!(settled(story, "checkout").await.phase(), "Succeeded");
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_token_revoked_before_a_lost_reply_is_looked_for_leaves_the_run_undecided_until_it_is_adopted() {
    story(playing(quick()), async |story| {
        story.operator(&FLAGS);
        let next = story.gitlab.rotate_token("bot").unwrap();
        story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
        story.apply(&Trigger::new("checkout")).await;
        let held = settled(story, "checkout").await;
        assert_eq!((held.phase(), held.reason()), ("Held", "Undecided"), "{}", held.yaml());
        store(story, &next).await;
        let order = format!("1:adopt={}", story.pipelines_of("checkout")[0].id);
        story.merge("checkout", &json!({"metadata": {"annotations": {"pipekick.dev/resolve": order}}})).await;
        assert_eq!(settled(story, "checkout").await.phase(), "Succeeded");
        assert_eq!(story.fired("checkout"), 1);
    });
}

async fn store(story: &Story, access_token: &str) {
    let secret = Secret::new("gitlab").key("trigger-token", Seed::TRIGGER_TOKEN);
    story.secret(secret.key("access-token", access_token)).await;
}
