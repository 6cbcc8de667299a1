//! Trouble between the operator and the API server: writes that are lost, late or answered wrongly, watches that
//! freeze, break or are too old, and no API server at all. Whatever the operator is told, it fires once.

use std::time::{Duration, Instant};

use pipekick_sandbox::apiproxy::{Calls, Fault, Strike, Verb};
use serde_json::json;
use tokio::time::sleep;

use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{FIRE, Seen, Story, Trigger, story};

const TRIGGERS: &str = "pipelinetriggers";
/// Longer than any back-off that a story waits for.
const PATIENCE: Duration = Duration::from_secs(120);

fn status_writes() -> Calls {
    Calls::to(Verb::Update, "pipelinetriggers/*/status")
}

/// The write before the POST of this object.
fn intent_of(name: &str) -> Calls {
    Calls::to(Verb::Update, &format!("pipelinetriggers/{name}/status")).saying("\"phase\":\"Firing\"")
}

/// The write after a POST that was answered.
fn outcome_of(name: &str) -> Calls {
    Calls::to(Verb::Update, &format!("pipelinetriggers/{name}/status")).saying("\"phase\":\"Running\"")
}

fn watches() -> Calls {
    Calls::to(Verb::Watch, TRIGGERS)
}

/// Every object ends Succeeded; status and ledger speak of the same one pipeline.
async fn each_ends_with_one_pipeline(story: &Story) {
    let ended = |seen: &Seen| seen.is_current() && seen.phase() == "Succeeded";
    story.until_all(PATIENCE, "be Succeeded", ended).await;
    story.let_pass().await;
    for seen in story.all().await {
        let pipelines = story.pipelines_of(seen.text("metadata.name"));
        assert_eq!(pipelines.len(), 1, "{}", seen.yaml());
        assert_eq!(pipelines[0].fire_id.as_deref(), Some(seen.text("status.run.fireId")), "{}", seen.yaml());
        assert_eq!(seen.number("status.run.pipeline.id").unsigned_abs(), pipelines[0].id, "{}", seen.yaml());
    }
}

// ---- Writes --------------------------------------------------------------------------------------------------

#[test]
fn whatever_becomes_of_the_write_of_an_intent_there_is_one_pipeline() {
    let faults = [
        ("dropped", Fault::Drop),
        ("reply-lost", Fault::ApplyThenDrop),
        ("timeout-after", Fault::ApplyThenTimeout),
        // Before the operator has looked again, and after it has written another one.
        ("timeout-then-soon", Fault::ApplyLater { after: Duration::from_millis(400) }),
        ("timeout-then-late", Fault::ApplyLater { after: Duration::from_secs(4) }),
        // Confirmed, but too old to be acted on.
        ("slow", Fault::Slow { by: Duration::from_secs(11) }),
    ];
    story(playing(quick()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        for (name, fault) in &faults {
            proxy.fault(intent_of(name), Strike::Nth(1), fault.clone());
            story.apply(&Trigger::new(name)).await;
        }
        each_ends_with_one_pipeline(story).await;
        assert_eq!(proxy.calls().iter().filter(|call| call.fault.is_some()).count(), faults.len());
    });
}

#[test]
fn an_intent_whose_reply_was_lost_is_sent_even_where_nobody_could_look_for_its_pipeline() {
    story(playing(quick()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        proxy.fault(intent_of("blind"), Strike::Nth(1), Fault::ApplyThenDrop);
        story.apply(&Trigger::new("blind").without("spec.gitlab.accessTokenRef")).await;
        story.until_phase("blind", "Fired").await;
        story.let_pass().await;
        assert_eq!(story.fired("blind"), 1);
    });
}

#[test]
fn an_api_server_that_asks_to_slow_down_is_obeyed_and_the_run_comes_soon() {
    story(playing(quick()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        proxy.fault(status_writes(), Strike::Times(3), Fault::TooManyRequests { retry_after: 1 });
        story.apply(&Trigger::new("checkout")).await;
        story.until_run("checkout", 1, "Succeeded").await;
        each_ends_with_one_pipeline(story).await;
    });
}

#[test]
fn whatever_becomes_of_the_write_of_an_outcome_it_is_written_in_the_end() {
    let faults = [
        ("dropped", Fault::Drop),
        ("reply-lost", Fault::ApplyThenDrop),
        ("timeout-after", Fault::ApplyThenTimeout),
        ("timeout-then-late", Fault::ApplyLater { after: Duration::from_secs(3) }),
    ];
    story(playing(quick()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        for (name, fault) in &faults {
            proxy.fault(outcome_of(name), Strike::Nth(1), fault.clone());
            story.apply(&Trigger::new(name)).await;
        }
        each_ends_with_one_pipeline(story).await;
        assert_eq!(proxy.calls().iter().filter(|call| call.fault.is_some()).count(), faults.len());
    });
}

#[test]
fn an_outcome_that_cannot_be_written_for_twenty_seconds_is_written_after_them() {
    story(playing(quick()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        proxy.fault(outcome_of("checkout"), Strike::Always, Fault::Drop);
        story.apply(&Trigger::new("checkout")).await;
        story.until_ledger("have the pipeline", |ledger| ledger.pipelines.len() == 1).await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!(story.look("checkout").await.phase(), "Firing");
        let tried = proxy.count(&outcome_of("checkout"));
        assert!((3..=25).contains(&tried), "tried {tried} times in 20 s");
        proxy.clear();
        each_ends_with_one_pipeline(story).await;
    });
}

#[test]
fn a_pipeline_that_goes_on_for_long_costs_the_api_server_nothing() {
    story(playing(long()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        for number in 0..5 {
            story.apply(&Trigger::new(&format!("t{number}"))).await;
        }
        story.until_all(PATIENCE, "be Running", |seen| seen.phase() == "Running").await;
        // Events are told behind.
        sleep(Duration::from_secs(2)).await;
        let looks = story.ledger().calls.len();
        let before = proxy.count(&status_writes());
        sleep(Duration::from_secs(15)).await;
        story.until_ledger("show that it is followed", |ledger| ledger.calls.len() > looks).await;
        assert_eq!(proxy.count(&status_writes()), before);
        story.end_pipelines();
        each_ends_with_one_pipeline(story).await;
    });
}

// ---- Watches -------------------------------------------------------------------------------------------------

#[test]
fn while_a_watch_is_frozen_runs_are_followed_and_the_next_write_sees_what_was_edited() {
    story(playing(long()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        for name in ["followed", "edited", "asked"] {
            story.apply(&Trigger::new(name)).await;
            story.until_phase(name, "Running").await;
        }
        assert_eq!(proxy.freeze_watches(TRIGGERS), 1);
        story.apply(&Trigger::new("edited").with("spec.ref", "next")).await;
        story.merge("asked", &json!({"metadata": {"annotations": {FIRE: "again"}}})).await;
        story.end_pipelines();
        story.until_run("followed", 1, "Succeeded").await;
        for name in ["edited", "asked"] {
            story.until_run(name, 2, "Running").await;
        }
        story.end_pipelines();
        for name in ["edited", "asked"] {
            story.until_run(name, 2, "Succeeded").await;
        }
        assert_eq!(proxy.count(&watches()), 1, "the frozen watch is still the only one");
        assert_eq!(["followed", "edited", "asked"].map(|name| story.fired(name)), [1, 2, 2]);

        // Nothing is under way, so nothing tells it of this one but another watch.
        story.apply(&Trigger::new("followed").with("spec.ref", "next")).await;
        sleep(Duration::from_secs(2)).await;
        assert_eq!(story.fired("followed"), 1);
        proxy.cut_watches(TRIGGERS);
        story.until_run("followed", 2, "Running").await;
        story.end_pipelines();
        story.until_run("followed", 2, "Succeeded").await;
        assert_eq!(story.fired("followed"), 2);
    });
}

/// The operator gives a watch 150 s of silence.
#[test]
#[ignore = "takes three minutes"]
fn a_frozen_watch_is_noticed_and_left() {
    story(playing(quick()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        story.apply(&Trigger::new("checkout")).await;
        story.until_run("checkout", 1, "Succeeded").await;
        proxy.freeze_watches(TRIGGERS);
        let frozen = Instant::now();
        story.apply(&Trigger::new("checkout").with("spec.ref", "next")).await;
        story
            .until_all(Duration::from_secs(200), "have seen the edit", |seen| {
                seen.phase() == "Succeeded" && seen.is_current()
            })
            .await;
        assert!(frozen.elapsed() > Duration::from_secs(100), "it was frozen");
        assert_eq!(story.fired("checkout"), 2);
    });
}

#[test]
fn a_watch_that_breaks_or_is_too_old_hides_no_edit_and_fires_nothing_twice() {
    story(playing(quick()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        story.apply(&Trigger::new("checkout")).await;
        story.until_run("checkout", 1, "Succeeded").await;
        let faults = [None, Some(Fault::Gone), Some(Fault::GoneEvent), Some(Fault::Drop), None];
        for (number, fault) in faults.into_iter().enumerate() {
            proxy.clear();
            if let Some(fault) = fault {
                proxy.fault(watches(), Strike::Times(1), fault);
            }
            proxy.cut_watches(TRIGGERS);
            story.apply(&Trigger::new("checkout").variables(&[("NUMBER", &number.to_string())])).await;
            story.until_run("checkout", i64::try_from(number).unwrap() + 2, "Succeeded").await;
        }
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 6);
    });
}

/// An API server behind the others, or one that was restored for a moment: it shows the object as it was before it
/// was ever fired.
#[test]
fn an_old_list_fires_nothing_again_and_later_edits_are_seen() {
    story(playing(long()), async |story| {
        story.apply(&Trigger::new("under-way")).await;
        let proxy = story.operator_behind_proxy(&[]).await;
        story.until_phase("under-way", "Running").await;
        story.apply(&Trigger::new("unlisted")).await;
        story.until_phase("unlisted", "Running").await;
        for nth in [1, 1] {
            proxy.fault(Calls::to(Verb::List, TRIGGERS), Strike::Times(1), Fault::OldList { nth });
            proxy.fault(watches(), Strike::Times(1), Fault::Gone);
            proxy.cut_watches(TRIGGERS);
            story.let_pass().await;
            proxy.clear();
        }
        assert!(proxy.calls().iter().any(|call| call.fault == Some("old_list")));
        assert_eq!((story.fired("under-way"), story.fired("unlisted")), (1, 1));
        story.end_pipelines();
        each_ends_with_one_pipeline(story).await;
        story.apply(&Trigger::new("under-way").with("spec.ref", "next")).await;
        story.until_run("under-way", 2, "Running").await;
        assert_eq!(story.fired("under-way"), 2);
    });
}

// ---- No API server -------------------------------------------------------------------------------------------

#[test]
fn while_the_api_server_is_away_runs_go_on_and_afterwards_all_is_told_and_fired() {
    story(playing(long()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        for number in 0..5 {
            story.apply(&Trigger::new(&format!("t{number}"))).await;
        }
        story.until_all(PATIENCE, "be Running", |seen| seen.phase() == "Running").await;
        proxy.down();
        story.apply(&Trigger::new("meanwhile")).await;
        story.end_pipelines();
        sleep(Duration::from_secs(20)).await;
        assert_eq!(story.fired("meanwhile"), 0);
        proxy.up();
        story.until_phase("meanwhile", "Running").await;
        story.end_pipelines();
        each_ends_with_one_pipeline(story).await;
    });
}

#[test]
fn an_api_server_that_answers_nothing_is_not_asked_in_a_loop() {
    const OBJECTS: usize = 10;
    const SECONDS: usize = 20;
    story(playing(long()), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        for number in 0..OBJECTS {
            story.apply(&Trigger::new(&format!("t{number}"))).await;
        }
        story.until_all(PATIENCE, "be Running", |seen| seen.phase() == "Running").await;
        proxy.fault(Calls::all(), Strike::Always, Fault::Drop);
        proxy.cut_watches(TRIGGERS);
        // Each of them now has something to write.
        story.end_pipelines();
        let before = proxy.count(&Calls::all());
        sleep(Duration::from_secs(SECONDS as u64)).await;
        let calls = proxy.count(&Calls::all()) - before;
        // A write and a look at the object each second, an Event now and then, and the watch's own back-off.
        assert!(calls <= OBJECTS * SECONDS * 2 + 60, "{calls} calls");
        assert!(proxy.count(&watches()) <= 15, "the watch backs off");
        proxy.clear();
        each_ends_with_one_pipeline(story).await;
    });
}
