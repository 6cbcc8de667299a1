//! Cancelling a run, by annotation and by `cancelOnTimeout`.

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{AccessTokenSeed, Fault, FaultRule, Play, Scope, Seed, Status};
use serde_json::json;

use crate::harness::gitlab::{long, playing};
use crate::harness::{Secret, Seen, Story, Trigger, story};

/// `kubectl annotate pipekick.dev/cancel=VALUE`
async fn cancel(story: &Story, value: &str) {
    story.merge("checkout", &json!({"metadata": {"annotations": {"pipekick.dev/cancel": value}}})).await;
}

fn answer(seen: &Seen) -> (&str, &str) {
    (seen.text("status.lastHandled.cancel.value"), seen.text("status.lastHandled.cancel.answer"))
}

async fn answered(story: &Story, value: &str) -> Seen {
    story.until("checkout", "answer", |seen| answer(seen).0 == value).await
}

/// How often GitLab was asked to cancel.
fn asked(story: &Story) -> usize {
    story.ledger().calls.iter().filter(|call| call.path.ends_with("/cancel")).count()
}

#[test]
fn a_running_pipeline_is_cancelled_by_annotation_and_its_end_is_waited_for() {
    let play = Play { canceling: SignedDuration::from_secs(3), ..long() };
    story(playing(play), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        let id = story.pipelines_of("checkout")[0].id;
        for (value, expected) in [("2", "Ignored"), ("stop", "Invalid")] {
            cancel(story, value).await;
            assert_eq!(answer(&answered(story, value).await), (value, expected));
        }
        assert_eq!(asked(story), 0);
        cancel(story, "1").await;
        let seen = answered(story, "1").await;
        assert_eq!((answer(&seen).1, seen.phase()), ("Canceling", "Running"));
        assert!(!seen.text("status.run.cancelRequestedAt").is_empty());
        let seen = story.until_phase("checkout", "Canceled").await;
        assert_eq!(story.gitlab.pipeline_status(id), Some(Status::Canceled), "canceling is no end");
        assert_eq!(seen.reason(), "PipelineCanceled");
        assert_eq!(seen.message(), format!("pipeline {id} was cancelled, as pipekick.dev/cancel asked"));
        assert_eq!(asked(story), 1);
        cancel(story, "1#more").await;
        assert_eq!(answer(&answered(story, "1#more").await).1, "Ignored", "it has ended");
        story.let_pass().await;
        assert_eq!((story.fired("checkout"), asked(story)), (1, 1));
    });
}

#[test]
fn a_run_that_waits_is_cancelled_and_nothing_is_sent() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.gitlab.triggerTokenRef.name", "absent")).await;
        story.until_phase("checkout", "Pending").await;
        cancel(story, "1").await;
        let seen = story.until_phase("checkout", "Canceled").await;
        assert_eq!((answer(&seen).1, seen.reason()), ("Canceled", "Canceled"));
        assert_eq!((seen.truth("Fired"), seen.truth("Succeeded")), ("False", "False"));
        story.secret(Secret::new("absent").key("trigger-token", Seed::TRIGGER_TOKEN)).await;
        // Longer than the first wait for a Secret.
        story.rest(std::time::Duration::from_secs(7)).await;
        assert_eq!((story.fired("checkout"), asked(story)), (0, 0));
    });
}

#[test]
fn a_refused_run_is_given_up() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.ref", "mian")).await;
        story.until_phase("checkout", "Rejected").await;
        cancel(story, "1").await;
        story.until_phase("checkout", "Canceled").await;
        // An edit that mends nothing would have sent a refused run again.
        story.apply(&Trigger::new("checkout").with("spec.ref", "mian").with("spec.timeout", "1h")).await;
        story.until_phase("checkout", "Canceled").await;
        story.let_pass().await;
        assert_eq!(story.ledger().calls_to("trigger").len(), 2, "its own, and the marker's");
    });
}

#[test]
fn a_run_whose_outcome_is_unknown_is_cancelled_once_its_pipeline_is_found() {
    story(playing(long()), async |story| {
        story.operator(&["--request-deadline", "2s"]);
        let hangs = SignedDuration::from_secs(60);
        story.gitlab.fault(FaultRule::next("trigger", Fault::HangThenAnswer { wait: hangs })).unwrap();
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Firing").await;
        cancel(story, "1").await;
        assert_eq!(answer(&answered(story, "1").await).1, "Canceling");
        let seen = story.until_phase("checkout", "Canceled").await;
        let pipelines = story.pipelines_of("checkout");
        assert_eq!(pipelines.len(), 1);
        assert_eq!(story.gitlab.pipeline_status(pipelines[0].id), Some(Status::Canceled));
        assert_eq!(seen.at("status.run.pipeline.id"), pipelines[0].id);
    });
}

#[test]
fn without_an_access_token_who_asks_is_told_so() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").without("spec.gitlab.accessTokenRef")).await;
        story.until_phase("checkout", "Fired").await;
        cancel(story, "1").await;
        let seen = answered(story, "1").await;
        assert_eq!((answer(&seen).1, seen.phase()), ("NotFollowed", "Fired"));
        assert_eq!(asked(story), 0);
    });
}

#[test]
fn a_refusal_to_cancel_is_told_and_a_mended_token_cancels_when_asked_anew() {
    let mut seed = playing(long());
    let reporter = "glpat-may-read-alone-1";
    let narrow = AccessTokenSeed {
        token: reporter.into(),
        scopes: vec![Scope::ReadApi],
        ..seed.access_tokens[0].clone()
    };
    seed.access_tokens.push(narrow);
    story(seed, async |story| {
        story.secret(Secret::new("reader").key("token", reporter)).await;
        story.operator(&[]);
        let trigger = Trigger::new("checkout")
            .with("spec.gitlab.accessTokenRef", json!({"name": "reader", "key": "token"}));
        story.apply(&trigger).await;
        story.until_phase("checkout", "Running").await;
        cancel(story, "1").await;
        let seen = story.until("checkout", "tell the refusal", |seen| seen.reason() == "CancelRefused").await;
        assert_eq!((seen.phase(), answer(&seen).1), ("Running", "Canceling"));
        assert!(seen.message().contains("scope api"), "{}", seen.message());
        story.until_event("checkout", "CancelRefused", "scope api").await;
        story.let_pass().await;
        assert_eq!(asked(story), 1, "not asked again and again");

        story.secret(Secret::new("reader").key("token", Seed::ACCESS_TOKEN)).await;
        cancel(story, "1#mended").await;
        story.until_phase("checkout", "Canceled").await;
        assert_eq!((story.fired("checkout"), asked(story)), (1, 2));
    });
}

#[test]
fn a_request_to_cancel_whose_reply_is_lost_is_sent_again() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.gitlab.fault(FaultRule::next("cancel", Fault::Reset)).unwrap();
        cancel(story, "1").await;
        story.until_phase("checkout", "Canceled").await;
        assert_eq!((story.fired("checkout"), asked(story)), (1, 2));
    });
}

#[test]
fn cancelling_works_while_suspended_and_with_a_paused_operator() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.kill_operators();
        story.operator(&["--pause"]);
        story.apply(&Trigger::new("checkout").with("spec.suspend", true)).await;
        cancel(story, "1").await;
        let seen =
            story.until("checkout", "be cancelled", |seen| seen.text("status.run.phase") == "Canceled").await;
        assert_eq!(answer(&seen), ("1", "Canceling"));
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn killed_after_the_wish_was_recorded_the_next_operator_cancels() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story
            .gitlab
            .fault(FaultRule::next("cancel", Fault::HangThenReset { wait: SignedDuration::from_secs(60) }))
            .unwrap();
        cancel(story, "1").await;
        story.until_ledger("have the call", |_| asked(story) == 1).await;
        story.kill_operators();
        let id = story.pipelines_of("checkout")[0].id;
        assert_eq!(story.gitlab.pipeline_status(id), Some(Status::Running));
        story.operator(&[]);
        story.until_phase("checkout", "Canceled").await;
        assert_eq!(story.gitlab.pipeline_status(id), Some(Status::Canceled));
    });
}

#[test]
fn two_operators_cancel_together_and_tell_one_end() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        cancel(story, "1").await;
        story.until_phase("checkout", "Canceled").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
        assert!((1..=2).contains(&asked(story)), "{}", asked(story));
    });
}

// ---- cancelOnTimeout

#[test]
fn a_run_that_takes_too_long_has_its_pipeline_cancelled_and_ends_timed_out() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.timeout", "2s").with("spec.cancelOnTimeout", true);
        story.apply(&trigger).await;
        let seen = story.until_phase("checkout", "TimedOut").await;
        let id = story.pipelines_of("checkout")[0].id;
        assert_eq!(story.gitlab.pipeline_status(id), Some(Status::Canceled));
        let message = format!(
            "the run took longer than its timeout; pipeline {id} was cancelled, as cancelOnTimeout says"
        );
        assert_eq!((seen.reason(), seen.message()), ("TimedOut", message.as_str()));
        assert_eq!(seen.text("status.run.cancelRequestedBy"), "Timeout");
        story.let_pass().await;
        assert_eq!((story.fired("checkout"), asked(story)), (1, 1));
    });
}

#[test]
fn a_run_whose_pipeline_cannot_be_cancelled_in_time_ends_timed_out_and_says_so() {
    story(playing(long()), async |story| {
        story.operator(&["--cancel-patience", "4s"]);
        story.gitlab.fault(FaultRule::always("cancel", Fault::BadGateway { effect: false })).unwrap();
        let trigger = Trigger::new("checkout").with("spec.timeout", "1s").with("spec.cancelOnTimeout", true);
        story.apply(&trigger).await;
        let seen = story.until_phase("checkout", "TimedOut").await;
        assert!(
            seen.message().contains("goes on in GitLab, for it could not be cancelled"),
            "{}",
            seen.message()
        );
        let id = story.pipelines_of("checkout")[0].id;
        assert_eq!(story.gitlab.pipeline_status(id), Some(Status::Running));
        let sent = asked(story);
        story.let_pass().await;
        assert_eq!(asked(story), sent, "bounded");
    });
}
