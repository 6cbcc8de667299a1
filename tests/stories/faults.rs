//! Trouble on the wire: what a request did may stay unknown, but it is never sent blindly again.

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{Fault, FaultRule, GitlabSim};

use crate::DEADLINE;
use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{Seen, Trigger, story};

#[test]
fn whatever_becomes_of_the_answer_there_is_one_pipeline() {
    let elsewhere = GitlabSim::start(playing(quick())).unwrap();
    let faults = [
        Fault::Reset,
        Fault::EffectThenReset,
        Fault::HangThenAnswer { wait: SignedDuration::from_secs(6) },
        Fault::HangThenReset { wait: SignedDuration::from_secs(6) },
        Fault::LateEffect { after: SignedDuration::from_secs(1) },
        Fault::TruncatedBody,
        Fault::BadGateway { effect: true },
        Fault::BadGateway { effect: false },
        Fault::ServerError { effect: true },
        Fault::ServerError { effect: false },
        Fault::Unavailable { retry_after: 1 },
        Fault::Redirect { location: format!("{}/api/v4/projects/1/trigger/pipeline", elsewhere.url()) },
    ];
    story(playing(quick()), async |story| {
        story.operator(&["--request-deadline", "2s", "--gitlab-request-limit", "1s"]);
        for (number, fault) in faults.iter().enumerate() {
            story.gitlab.fault(FaultRule::nth(1 + number as u64, "trigger", fault.clone())).unwrap();
        }
        for number in 0..faults.len() {
            story.apply(&Trigger::new(&format!("t{number}"))).await;
        }
        let known = |seen: &Seen| ["Unknown", "Running", "Succeeded"].contains(&seen.phase());
        let all = story.until_all(DEADLINE, "be known or Unknown", known).await;
        for seen in all.iter().filter(|seen| seen.phase() == "Unknown") {
            let truths = ["Ready", "Reconciling", "Fired", "Succeeded"].map(|kind| seen.truth(kind));
            assert_eq!(truths, ["Unknown", "True", "Unknown", "Unknown"], "{}", seen.yaml());
            assert_eq!(seen.reason(), "OutcomeUnknown");
        }
        let ended = |seen: &Seen| seen.phase() == "Succeeded";
        let all = story.until_all(DEADLINE, "be Succeeded", ended).await;
        story.let_pass().await;
        for seen in &all {
            let name = seen.text("metadata.name");
            assert_eq!(story.fired(name), 1, "{name}");
            let fire_id = seen.text("status.run.fireId");
            assert_eq!(story.ledger().pipelines_with_fire_id(fire_id).len(), 1, "{name}");
        }
        assert_eq!(
            elsewhere.ledger().calls.len(),
            0,
            "a redirect is not followed: it would carry the token away"
        );
    });
}

#[test]
fn a_change_while_the_outcome_is_unknown_does_not_fire_beside_it() {
    story(playing(quick()), async |story| {
        story.operator(&["--request-deadline", "1s"]);
        story.gitlab.fault(FaultRule::next("trigger", Fault::ServerError { effect: true })).unwrap();
        story.apply(&Trigger::new("checkout")).await;
        let known = |seen: &Seen| ["Unknown", "Running", "Succeeded"].contains(&seen.phase());
        story.until("checkout", "be known or Unknown", known).await;
        story.apply(&Trigger::new("checkout").with("spec.ref", "next")).await;
        story.until("checkout", "have seen the edit", Seen::is_current).await;
        story.let_pass().await;
        let of_main = story.pipelines_of("checkout").into_iter().filter(|p| p.git_ref == "main").count();
        assert_eq!(of_main, 1);
        let seen = story.look("checkout").await;
        assert!(seen.phase() != "Unknown" || story.fired("checkout") == 1);
    });
}

#[test]
fn trouble_while_following_is_told_and_following_goes_on() {
    story(playing(long()), async |story| {
        story.operator(&["--request-deadline", "1s"]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        let faults = [
            Fault::Reset,
            Fault::ServerError { effect: true },
            Fault::TruncatedBody,
            Fault::HangThenReset { wait: SignedDuration::from_secs(3) },
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            story.gitlab.fault(FaultRule::nth(1 + number as u64, "pipeline", fault)).unwrap();
        }
        story.until("checkout", "tell the trouble", |seen| seen.reason() == "CannotFollow").await;
        assert_eq!(story.look("checkout").await.phase(), "Running");
        story.end_pipelines();
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}
