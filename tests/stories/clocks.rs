//! Clocks that differ, and processes that do not live long enough to see one go on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pipekick_sandbox::gitlab::{Fault, FaultRule};
use serde_json::json;

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Story, Trigger, story};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn lose_a_reply(story: &Story) {
    story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
}

#[test]
fn a_gitlab_whose_clock_is_an_hour_off_hides_no_pipeline() {
    const FLAGS: [&str; 4] = ["--request-deadline", "2s", "--gitlab-request-limit", "1s"];
    for off in [HOUR, -HOUR] {
        story(playing(quick()), async |story| {
            story.gitlab.advance(off);
            lose_a_reply(story);
            story.operator(&FLAGS);
            story.apply(&Trigger::new("checkout")).await;
            story.until_phase("checkout", "Succeeded").await;
            let calls = story.ledger().calls_to("trigger").len();
            assert_eq!((story.fired("checkout"), calls), (1, 1), "{off:?}");
        });
    }
}

#[test]
fn an_intent_written_by_a_clock_that_was_an_hour_ahead_hides_no_pipeline() {
    const FLAGS: [&str; 4] = ["--request-deadline", "2s", "--gitlab-request-limit", "1s"];
    story(playing(quick()), async |story| {
        story.operator(&FLAGS);
        // From its answer the operator knows what time it is at GitLab.
        story.apply(&Trigger::new("first")).await;
        story.until_phase("first", "Succeeded").await;
        // The lists are down until the operator is gone.
        story.gitlab.fault(FaultRule::always("pipelines", Fault::BadGateway { effect: false })).unwrap();
        lose_a_reply(story);
        story.apply(&Trigger::new("checkout")).await;
        let seen = story.until_phase("checkout", "Unknown").await;
        story.kill_operators();
        let at = |path: &str| seen.text(path).parse::<Timestamp>().unwrap();
        let by_gitlab = at("status.run.intendedAtGitlab");
        assert!(by_gitlab.duration_since(at("status.run.intendedAt")).abs() < SignedDuration::from_secs(60));
        let ahead = json!({"run": {
            "intendedAt": (at("status.run.intendedAt") + HOUR).to_string(),
            "attempt": {"at": (at("status.run.attempt.at") + HOUR).to_string()},
        }});
        story.merge_status("checkout", &ahead).await;
        story.gitlab.clear_faults();
        story.operator(&FLAGS);
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!((story.fired("checkout"), story.ledger().calls_to("trigger").len()), (1, 2));
    });
}

#[test]
fn an_orphan_of_long_ago_is_found_by_a_process_that_lives_for_a_moment() {
    story(playing(quick()), async |story| {
        let hang = Fault::HangThenAnswer { wait: SignedDuration::from_secs(60) };
        story.gitlab.fault(FaultRule::next("trigger", hang)).unwrap();
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_ledger("have the pipeline", |ledger| ledger.pipelines.len() == 1).await;
        let seen = story.until_phase("checkout", "Firing").await;
        story.kill_operators();

        // Young, it is left alone: its writer may be about to send.
        story.operator(&[]);
        story.rest(Duration::from_secs(3)).await;
        assert_eq!(story.look("checkout").await.phase(), "Firing");
        story.kill_operators();

        let at: Timestamp = seen.text("status.run.attempt.at").parse().unwrap();
        let old = json!({"run": {"attempt": {"at": (at - HOUR).to_string()}}});
        story.merge_status("checkout", &old).await;
        let began = std::time::Instant::now();
        story.operator(&["--request-deadline", "2m"]);
        story.until_phase("checkout", "Succeeded").await;
        assert!(
            began.elapsed() < Duration::from_secs(100),
            "10 s and the deadline of 2 min were not waited for"
        );
        assert_eq!((story.fired("checkout"), story.ledger().calls_to("trigger").len()), (1, 1));
    });
}
