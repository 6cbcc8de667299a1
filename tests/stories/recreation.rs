//! Deleted, and created again under the same name: another object, with a run of its own.

use crate::harness::gitlab::{long, playing};
use crate::harness::{Trigger, story};

#[test]
fn an_object_recreated_while_a_run_is_on_fires_its_own_and_adopts_nothing() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").asking("same");
        story.apply(&trigger).await;
        let first = story.until_phase("checkout", "Running").await;
        story.delete("checkout").await;
        story.apply(&trigger).await;
        let second = story.until_phase("checkout", "Running").await;
        assert_ne!(first.text("metadata.uid"), second.text("metadata.uid"));
        assert_ne!(first.text("status.run.fireId"), second.text("status.run.fireId"));
        assert_eq!(second.at("status").get("history"), None);
        let pipelines = story.pipelines_of("checkout");
        assert_eq!(pipelines.len(), 2);
        assert_eq!(second.at("status.run.pipeline.id"), pipelines[1].id);

        // The end of the first is nobody's business any more.
        story.at_gitlab("POST", &format!("{}/cancel", pipelines[0].id)).await;
        story.let_pass().await;
        assert_eq!(story.look("checkout").await.phase(), "Running");
        story.end_pipelines();
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 2);
    });
}

#[test]
fn an_object_recreated_while_no_operator_ran_fires_its_own() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.kill_operators();
        story.delete("checkout").await;
        story.apply(&Trigger::new("checkout")).await;
        story.operator(&[]);
        let second = story.until_phase("checkout", "Running").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 2);
        assert_eq!(second.at("status.run.pipeline.id"), story.pipelines_of("checkout")[1].id);
    });
}

#[test]
fn a_deleted_object_is_not_followed_any_more_and_its_pipeline_goes_on() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.until_ledger("show a look", |ledger| !ledger.calls_to("pipeline").is_empty()).await;
        story.delete("checkout").await;
        story.let_pass().await;
        let looks = story.ledger().calls_to("pipeline").len();
        story.let_pass().await;
        let ledger = story.ledger();
        assert_eq!(ledger.calls_to("pipeline").len(), looks);
        assert!(ledger.calls_to("cancel").is_empty());
    });
}
