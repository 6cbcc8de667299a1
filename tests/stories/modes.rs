//! fireOn, and the operator's own brakes: `--first-sight=Hold` and `--pause`.

use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{Trigger, story};

#[test]
fn fire_on_change_takes_the_first_sight_as_its_baseline() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.fireOn", "Change");
        story.apply(&trigger).await;
        let idle = story.until_phase("checkout", "Idle").await;
        assert_eq!(idle.reason(), "NothingAsked");
        assert_eq!(idle.condition("Fired"), None);
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 0);

        story.apply(&trigger.with("spec.ref", "next")).await;
        let ended = story.until_run("checkout", 1, "Succeeded").await;
        assert_eq!(ended.text("status.run.cause"), "Change");
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn fire_on_request_fires_neither_at_first_sight_nor_on_a_change() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.fireOn", "Request");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Idle").await;
        let edited = trigger.with("spec.ref", "next");
        story.apply(&edited).await;
        story.until_phase("checkout", "Idle").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 0);

        story.ask("checkout", "now").await;
        story.until_run("checkout", 1, "Succeeded").await;
        assert_eq!(story.pipelines_of("checkout")[0].git_ref, "next");

        // Every digest became the baseline: a change of mode fires nothing.
        story.apply(&edited.with("spec.fireOn", "Apply")).await;
        story.until_phase("checkout", "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn after_a_restore_first_sights_are_held_until_asked() {
    story(playing(quick()), async |story| {
        story.operator(&["--first-sight", "Hold"]);
        story.apply(&Trigger::new("held").asking("old")).await;
        story.apply(&Trigger::new("left")).await;
        let held = story.until_phase("held", "Held").await;
        story.until_phase("left", "Held").await;
        assert_eq!(held.reason(), "FirstSight");
        assert!(held.message().contains("pipekick.dev/fire"), "{}", held.message());
        assert_eq!(held.answer(), ("old", "Recorded"));
        let truths = ["Ready", "Reconciling", "Stalled", "Succeeded"].map(|kind| held.truth(kind));
        assert_eq!(truths, ["False", "", "True", "Unknown"]);
        assert_eq!(story.ledger().pipelines.len(), 0);

        // An operator without the flag does not fire them either: they were seen.
        story.kill_operators();
        story.operator(&[]);
        story.ask("held", "now").await;
        story.until_run("held", 2, "Succeeded").await;
        story.let_pass().await;
        assert_eq!((story.fired("held"), story.fired("left")), (1, 0));
        assert_eq!(story.look("left").await.phase(), "Held");
    });
}

#[test]
fn a_paused_operator_fires_nothing_and_afterwards_everything_fires_once() {
    story(playing(quick()), async |story| {
        let old = Trigger::new("old");
        story.operator(&[]);
        story.apply(&old).await;
        story.until_phase("old", "Succeeded").await;
        story.kill_operators();

        story.operator(&["--pause"]);
        story.apply(&Trigger::new("new")).await;
        for git_ref in ["next", "main", "next"] {
            story.apply(&old.clone().with("spec.ref", git_ref)).await;
        }
        story.apply(&Trigger::new("idle").with("spec.fireOn", "Change")).await;
        for name in ["new", "old", "idle"] {
            let paused = story.until_phase(name, "Suspended").await;
            assert_eq!(paused.reason(), "Paused", "{name}");
        }
        story.ask("new", "dropped").await;
        story.until("new", "answer", |seen| seen.answer() == ("dropped", "Suspended")).await;
        assert_eq!([story.fired("old"), story.fired("new"), story.fired("idle")], [1, 0, 0]);
        story.kill_operators();

        story.operator(&[]);
        story.until_run("new", 1, "Succeeded").await;
        story.until_run("old", 2, "Succeeded").await;
        story.until_phase("idle", "Idle").await;
        story.let_pass().await;
        assert_eq!([story.fired("old"), story.fired("new"), story.fired("idle")], [2, 1, 0]);
        assert_eq!(story.pipelines_of("old")[1].git_ref, "next");
    });
}

#[test]
fn a_paused_operator_follows_what_is_under_way() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.kill_operators();
        story.operator(&["--pause"]);
        story.apply(&Trigger::new("checkout").with("spec.ref", "next")).await;
        story.until_phase("checkout", "Running").await;
        story.end_pipelines();
        let seen = story.until_phase("checkout", "Suspended").await;
        assert_eq!(seen.text("status.run.phase"), "Succeeded");
        assert_eq!(story.fired("checkout"), 1);
    });
}
