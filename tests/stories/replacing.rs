//! `concurrencyPolicy`: a cause that comes while a run is under way waits for its end, or has it cancelled.

use jiff::{SignedDuration, Timestamp};
use pipekick_sandbox::gitlab::{Fault, FaultRule, JobPlay, Play, Status};
use serde_json::json;

use crate::harness::gitlab::{LONG, long, playing};
use crate::harness::{Seen, Story, Trigger, story};

fn replacing() -> Trigger {
    Trigger::new("checkout").with("spec.concurrencyPolicy", "Replace")
}

fn waiting(seen: &Seen) -> (&str, i64) {
    (seen.text("status.waiting.request"), seen.number("status.waiting.collapsed"))
}

/// How often GitLab was asked to cancel.
fn asked(story: &Story) -> usize {
    story.ledger().calls_to("cancel").len()
}

/// When the pipelines of the object were made, and where they stand.
fn pipelines(story: &Story) -> Vec<(Timestamp, Option<Status>)> {
    let of = story.pipelines_of("checkout");
    of.iter().map(|made| (made.at, story.gitlab.pipeline_status(made.id))).collect()
}

#[test]
fn replace_cancels_the_run_and_fires_the_new_cause_only_when_its_pipeline_has_ended() {
    let play = Play { canceling: SignedDuration::from_secs(3), ..long() };
    story(playing(play), async |story| {
        story.operator(&[]);
        story.apply(&replacing()).await;
        story.until_phase("checkout", "Running").await;
        story.apply(&replacing().with("spec.ref", "next")).await;
        let seen = story
            .until("checkout", "be cancelled", |seen| seen.text("status.run.cancelRequestedBy") == "Replace")
            .await;
        let requested: Timestamp = seen.text("status.run.cancelRequestedAt").parse().unwrap();
        let seen = story.until_run("checkout", 2, "Running").await;
        let (first, second) = (pipelines(story)[0], pipelines(story)[1]);
        assert_eq!((first.1, second.1), (Some(Status::Canceled), Some(Status::Running)));
        let waited = second.0.duration_since(requested);
        assert!(waited >= SignedDuration::from_millis(2500), "canceling is no end: {waited}");
        let past = &seen.at("status.history")[0];
        assert_eq!((&past["seq"], &past["phase"]), (&1.into(), &"Canceled".into()));
        story.end_pipelines();
        story.until_run("checkout", 2, "Succeeded").await;
        story.let_pass().await;
        assert_eq!((story.fired("checkout"), asked(story)), (2, 1));
    });
}

#[test]
fn causes_that_come_meanwhile_collapse_to_the_newest_and_status_counts_them() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Running").await;
        for edit in 1..=4 {
            story.apply(&trigger.clone().variables(&[("EDIT", &edit.to_string())])).await;
            story.until("checkout", "have seen the edit", Seen::is_current).await;
        }
        let seen = story.until("checkout", "count", |seen| waiting(seen).1 == 3).await;
        assert_eq!(seen.phase(), "Running");
        story.end_pipelines();
        let seen = story.until_run("checkout", 2, "Running").await;
        assert_eq!((seen.number("status.run.collapsed"), seen.at("status.waiting").is_null()), (3, true));
        let pipelines = story.pipelines_of("checkout");
        assert_eq!((pipelines.len(), &pipelines[1].params["variables"]), (2, &json!({"EDIT": "4"})));
        assert_eq!(asked(story), 0, "Wait is the default");
    });
}

/// The two waits of a script, for each of two requests; the success they see is never that of an earlier run.
#[test]
fn a_request_that_collapses_is_answered_and_never_told_an_earlier_success() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        let versions = story.record_versions().await;
        story.ask("checkout", "first").await;
        story.until("checkout", "wait", |seen| waiting(seen).0 == "first").await;
        story.ask("checkout", "second").await;
        let seen = story.until("checkout", "answer", |seen| seen.answer().0 == "first").await;
        assert_eq!((seen.answer().1, waiting(&seen)), ("Collapsed", ("second", 1)));
        assert_eq!(seen.truth("Succeeded"), "Unknown");
        story.end_pipelines();
        let seen = story.until_run("checkout", 2, "Running").await;
        assert_eq!((seen.answer(), seen.number("status.run.collapsed")), (("second", "Fired"), 1));
        story.end_pipelines();
        let last = story.until_run("checkout", 2, "Succeeded").await;
        for version in versions.up_to(&last).await {
            let answered = !version.answer().0.is_empty();
            let told = version.truth("Succeeded") == "True";
            assert!(!(answered && told) || version.number("status.run.seq") == 2, "{}", version.yaml());
        }
        assert_eq!(story.fired("checkout"), 2);
    });
}

#[test]
fn where_gitlab_does_not_cancel_the_new_cause_goes_on_waiting_and_says_so() {
    story(playing(long()), async |story| {
        story.operator(&["--cancel-patience", "3s"]);
        story.gitlab.fault(FaultRule::always("cancel", Fault::ServerError { effect: false })).unwrap();
        story.apply(&replacing()).await;
        story.until_phase("checkout", "Running").await;
        story.ask("checkout", "newer").await;
        let seen = story.until("checkout", "be blocked", |seen| seen.reason() == "ReplaceBlocked").await;
        assert_eq!((seen.phase(), seen.truth("Reconciling")), ("Running", "True"));
        assert!(seen.message().starts_with("a newer cause waits: "), "{}", seen.message());
        assert_eq!(story.fired("checkout"), 1);
        story.end_pipelines();
        story.until_run("checkout", 2, "Running").await;
        assert_eq!(story.look("checkout").await.answer(), ("newer", "Fired"));
        assert_eq!(story.fired("checkout"), 2);
    });
}

#[test]
fn a_request_on_its_way_is_waited_for_then_cancelled() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.gitlab.latency("trigger", SignedDuration::from_secs(2)).unwrap();
        story.apply(&replacing()).await;
        story.until_phase("checkout", "Firing").await;
        story.apply(&replacing().with("spec.ref", "next")).await;
        story.until_run("checkout", 2, "Running").await;
        let made = pipelines(story);
        assert_eq!((made.len(), made[0].1), (2, Some(Status::Canceled)));
    });
}

/// Nobody knows whether there is something to cancel; when it is known, it is.
#[test]
fn a_run_whose_outcome_is_unknown_blocks_the_new_cause_until_it_is_known() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
        story.gitlab.fault(FaultRule::always("pipelines", Fault::Unavailable { retry_after: 1 })).unwrap();
        story.apply(&replacing()).await;
        story.until_phase("checkout", "Unknown").await;
        story.apply(&replacing().with("spec.ref", "next")).await;
        let seen = story.until("checkout", "wait", |seen| !seen.at("status.waiting").is_null()).await;
        assert_eq!((seen.phase(), seen.number("status.run.seq")), ("Unknown", 1));
        assert!(seen.message().contains("a newer cause waits"), "{}", seen.message());
        let looks = story.ledger().calls_to("pipelines").len();
        story.until_ledger("show one more look", |l| l.calls_to("pipelines").len() > looks).await;
        assert_eq!((story.fired("checkout"), asked(story)), (1, 0), "neither cancelled nor fired beside it");

        story.gitlab.clear_faults();
        story.until_run("checkout", 2, "Running").await;
        let made = pipelines(story);
        assert_eq!((made.len(), made[0].1, made[1].1), (2, Some(Status::Canceled), Some(Status::Running)));
        assert_eq!(asked(story), 1);
    });
}

#[test]
fn while_suspended_nothing_is_replaced() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&replacing()).await;
        story.until_phase("checkout", "Running").await;
        let suspended = replacing().with("spec.ref", "next").with("spec.suspend", true);
        story.apply(&suspended).await;
        story.until_phase("checkout", "Running").await;
        story.let_pass().await;
        assert_eq!((asked(story), story.fired("checkout")), (0, 1));
        story.apply(&replacing().with("spec.ref", "next")).await;
        story.until_run("checkout", 2, "Running").await;
        assert_eq!((asked(story), story.fired("checkout")), (1, 2));
    });
}

#[test]
fn killed_while_it_replaces_the_next_operator_replaces_and_fires_once() {
    let play = Play {
        canceling: SignedDuration::from_secs(2),
        ..Play::jobs([JobPlay { lasts: LONG, ..JobPlay::new("build", 0) }])
    };
    story(playing(play), async |story| {
        story.operator(&[]);
        story.apply(&replacing()).await;
        story.until_phase("checkout", "Running").await;
        story.apply(&replacing().with("spec.ref", "next")).await;
        story.until_ledger("have the call", |ledger| !ledger.calls_to("cancel").is_empty()).await;
        story.kill_operators();
        story.operator(&[]);
        story.operator(&[]);
        story.until_run("checkout", 2, "Running").await;
        story.let_pass().await;
        let made = pipelines(story);
        assert_eq!((made.len(), made[0].1, made[1].1), (2, Some(Status::Canceled), Some(Status::Running)));
    });
}
