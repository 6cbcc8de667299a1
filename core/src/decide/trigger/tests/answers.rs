//! What each answer to a POST makes of the run, and what silence does.

use super::scene::{
    DEADLINE, PATIENCE, Scene, accepted, not_sent, pipeline, refused, told, unknown, wakes_in,
};
use crate::decide::trigger::{Effect, Follow};
use crate::domain::{
    Answer, AttemptKey, ConcurrencyPolicy, FireOn, LastAttempt, Phase, PipelineStatus, Reason,
};

fn firing() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene
}

fn fire_only() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.access_token = None).step();
    scene
}

#[test]
fn the_first_post_is_ordered_with_its_intent() {
    let mut scene = Scene::new(FireOn::Apply);
    let plan = scene.step();
    let Effect::Fire(order) = &plan.effect else { panic!("{plan:?}") };
    let attempt = scene.run().attempt.clone().unwrap();
    assert_eq!(Some(&order.key), scene.run().attempt_key().as_ref());
    assert_eq!((attempt.count, attempt.last, attempt.at), (1, LastAttempt::Unknown, scene.now));
    assert_eq!((attempt.by.as_str(), scene.phase()), ("first", Phase::Firing));
    assert!(order.read_beside, "credentials are read beside the write");
    assert_eq!(order.target, scene.run().target);
    assert_eq!(wakes_in(&scene, &plan), Some(PATIENCE.cast_signed()));
}

/// A crowd goes before the record of what anybody can find out again, and before nothing else.
#[test]
fn only_the_first_pipeline_of_a_run_that_can_be_looked_for_may_wait_to_be_recorded() {
    let sent_again = || {
        let mut scene = firing();
        scene.answer(not_sent());
        scene.wait(60).repeat();
        scene
    };
    let edited = || {
        let mut scene = firing();
        scene.edit(|spec| spec.concurrency_policy = ConcurrencyPolicy::Replace).git_ref("next");
        scene
    };
    let cases: [(&str, Scene, Answer, bool); 7] = [
        ("created", firing(), accepted(), true),
        ("nobody can look", fire_only(), accepted(), false),
        ("sent a second time", sent_again(), accepted(), false),
        ("ended at birth", firing(), Answer::Accepted(pipeline(PipelineStatus::Failed)), false),
        ("refused", firing(), refused(), false),
        ("unknown", firing(), unknown(), false),
        ("and is to be cancelled", edited(), accepted(), false),
    ];
    for (sentence, mut scene, answer, can_wait) in cases {
        let plan = scene.answer(answer);
        assert_eq!((plan.can_wait, plan.status.is_some()), (can_wait, true), "{sentence}");
    }
    let (mut told, nothing) = (firing(), Scene::new(FireOn::Apply));
    assert!(!nothing.decide().can_wait, "an intent never waits");
    told.answer(accepted());
    assert!(!told.decide().can_wait, "on record already");
}

struct Case {
    sentence: &'static str,
    given: fn() -> Scene,
    answer: fn(&Scene) -> Answer,
    expect: (Phase, Reason, LastAttempt),
    /// Seconds until the next turn.
    wakes: Option<i64>,
    told: &'static str,
}

const CASES: &[Case] = &[
    Case {
        sentence: "201: the pipeline runs and is followed",
        given: firing,
        answer: |_| accepted(),
        expect: (Phase::Running, Reason::PipelineRunning, LastAttempt::Accepted),
        wakes: None,
        told: "PipelineCreated",
    },
    Case {
        sentence: "201 and at once blocked: it waits for a person",
        given: firing,
        answer: |_| Answer::Accepted(pipeline(PipelineStatus::Manual)),
        expect: (Phase::Running, Reason::PipelineManual, LastAttempt::Accepted),
        wakes: None,
        told: "PipelineCreated",
    },
    Case {
        sentence: "201 without an access token: fired, and that is all we know",
        given: fire_only,
        answer: |_| accepted(),
        expect: (Phase::Fired, Reason::NotFollowed, LastAttempt::Accepted),
        wakes: None,
        told: "PipelineCreated",
    },
    Case {
        sentence: "201 with status failed: that pipeline exists",
        given: firing,
        answer: |_| Answer::Accepted(pipeline(PipelineStatus::Failed)),
        expect: (Phase::Failed, Reason::PipelineFailed, LastAttempt::Accepted),
        wakes: None,
        told: "!PipelineFailed",
    },
    Case {
        sentence: "201 with status skipped, fire-only",
        given: fire_only,
        answer: |_| Answer::Accepted(pipeline(PipelineStatus::Skipped)),
        expect: (Phase::Skipped, Reason::PipelineSkipped, LastAttempt::Accepted),
        wakes: None,
        told: "PipelineCreated",
    },
    Case {
        sentence: "422: a pipeline exists and has failed",
        given: firing,
        answer: |_| Answer::FailedAtBirth { message: "invalid yaml".into() },
        expect: (Phase::Failed, Reason::PipelineFailedAtBirth, LastAttempt::Accepted),
        wakes: Some(0),
        told: "!PipelineFailedAtBirth",
    },
    Case {
        sentence: "refused: nothing exists, tried again after 10 min",
        given: firing,
        answer: |_| refused(),
        expect: (Phase::Rejected, Reason::RefNotFound, LastAttempt::Refused),
        wakes: Some(600),
        told: "!RefNotFound",
    },
    Case {
        sentence: "throttled: goes on when GitLab said",
        given: firing,
        answer: |scene| Answer::Throttled {
            reason: Reason::RateLimited,
            message: "slow down".into(),
            until: scene.now + std::time::Duration::from_secs(77),
        },
        expect: (Phase::Pending, Reason::RateLimited, LastAttempt::Refused),
        wakes: Some(77),
        told: "",
    },
    Case {
        sentence: "never sent: goes on after 5 s",
        given: firing,
        answer: |_| not_sent(),
        expect: (Phase::Pending, Reason::Unreachable, LastAttempt::NotSent),
        wakes: Some(5),
        told: "!Unreachable",
    },
    Case {
        sentence: "never sent for want of a Secret",
        given: firing,
        answer: |_| Answer::NotSent { reason: Reason::SecretMissing, message: "no Secret gitlab".into() },
        expect: (Phase::Pending, Reason::SecretMissing, LastAttempt::NotSent),
        wakes: Some(5),
        told: "!SecretMissing",
    },
    Case {
        sentence: "anything else: the outcome is unknown, and is looked for at once",
        given: firing,
        answer: |_| unknown(),
        expect: (Phase::Unknown, Reason::OutcomeUnknown, LastAttempt::Unknown),
        wakes: Some(0),
        told: "!OutcomeUnknown",
    },
];

#[test]
fn what_follows_from_each_answer() {
    for Case { sentence, given, answer, expect, wakes, told: events } in CASES {
        let mut scene = given();
        let plan = scene.answer(answer(&scene));
        let run = scene.run();
        let got = (run.phase, run.reason.unwrap(), run.attempt.as_ref().unwrap().last);
        assert_eq!(got, *expect, "{sentence}");
        assert_eq!(scene.phase(), expect.0, "{sentence}");
        assert_eq!(plan.effect, Effect::Nothing, "{sentence}");
        assert_eq!(wakes_in(&scene, &plan), *wakes, "{sentence}");
        assert_eq!(told(&plan).join(" "), *events, "{sentence}");
        let (exists, ended) = (expect.2 == LastAttempt::Accepted, !expect.0.is_active());
        assert_eq!((run.fired_at.is_some(), run.finished_at.is_some()), (exists, ended), "{sentence}");
        let under_way = |follow: &Follow| follow.stretch.finished_at.is_none();
        assert_eq!(plan.follow.as_ref().is_some_and(under_way), expect.0 == Phase::Running, "{sentence}");
        let again = scene.step();
        assert!(again.status.is_none() && again.events.is_empty(), "{sentence}: told and written once");
    }
}

#[test]
fn never_sent_is_tried_again_after_5_s_growing_to_60() {
    let mut scene = firing();
    for wait in [5, 10, 20, 40, 60, 60, 60] {
        let plan = scene.answer(not_sent());
        assert_eq!(wakes_in(&scene, &plan), Some(wait.try_into().unwrap()));
        scene.wait(wait - 1);
        assert_eq!(scene.step().effect, Effect::Nothing, "one second before {wait} s");
        let plan = scene.wait(1).repeat();
        let Effect::Fire(order) = plan.effect else { panic!("after {wait} s: {:?}", plan.effect) };
        assert!(!order.read_beside, "a repeat has read its credentials");
    }
    let keys: Vec<_> = scene.posts.iter().map(|post| (&post.key.fire_id, post.key.count)).collect();
    assert!(keys.iter().all(|(id, _)| *id == keys[0].0), "one run, one fire id");
    assert_eq!(keys.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn an_answer_counts_only_for_its_own_post() {
    let mut scene = firing();
    let key = scene.run().attempt_key().unwrap();
    let strangers =
        [AttemptKey { count: 7, ..key.clone() }, AttemptKey { fire_id: "another".into(), ..key.clone() }];
    scene.facts.answers = strangers.into_iter().map(|key| (key, accepted())).collect();
    assert!(scene.step().status.is_none());
    assert_eq!(scene.phase(), Phase::Firing);
    scene.answer(not_sent());
    assert_eq!(scene.phase(), Phase::Pending, "its own is found among them");

    scene.wait(5).repeat();
    assert!(scene.step().status.is_none(), "the answer to the first POST is none to the second");
}

#[test]
fn an_intent_without_an_answer_becomes_unknown_when_its_time_is_over() {
    for takes_over in [false, true] {
        let mut scene = firing();
        if takes_over {
            // Ages count from the moment this process saw the intent, not from the writer's clock: it may be
            // wrong by ten minutes.
            scene.wait(600).restart();
        }
        let plan = scene.wait(PATIENCE - 1).step();
        assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Firing, Some(1)));
        scene.wait(1).step();
        assert_eq!((scene.phase(), scene.run().reason), (Phase::Unknown, Some(Reason::OutcomeUnknown)));
        assert_eq!(scene.posts.len(), 1);
    }
}

#[test]
fn what_another_process_intended_longer_ago_than_clocks_differ_is_unknown_at_once() {
    let mut scene = firing();
    scene.wait(600 + PATIENCE - 1).restart().step();
    assert_eq!(scene.phase(), Phase::Firing, "a second before");
    scene.wait(1).restart().step();
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Unknown, 1));

    let mut own = firing();
    own.wait(100_000).facts.intent_age = Some(std::time::Duration::ZERO);
    own.step();
    assert_eq!(own.phase(), Phase::Firing, "a process knows its own intents by its own clock");
}

#[test]
fn an_intent_just_seen_has_all_of_its_time() {
    let mut scene = firing();
    scene.facts.intent_age = None;
    let plan = scene.step();
    assert_eq!(wakes_in(&scene, &plan), Some((10 + DEADLINE).cast_signed()));
}

#[test]
fn an_unknown_outcome_is_never_sent_again_and_lets_nothing_pass() {
    let mut scene = firing();
    scene.answer(unknown());
    scene.git_ref("B").ask("now").wait(100_000).step();
    scene.restart().wait(100_000).step();
    assert_eq!((scene.phase(), scene.posts.len(), scene.answered()), (Phase::Unknown, 1, None));
}

#[test]
fn a_late_answer_settles_an_unknown_outcome() {
    let mut scene = firing();
    scene.wait(PATIENCE).step();
    scene.answer(accepted());
    assert_eq!(scene.phase(), Phase::Running);
}
