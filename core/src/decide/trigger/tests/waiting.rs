//! Runs that wait: for GitLab, for a Secret, for the budget, for a spec; and what becomes of their cause when
//! the firing fields change meanwhile.

use std::time::Duration;

use super::scene::{MODES, Move, Scene, fires, not_sent, wakes_in};
use crate::decide::trigger::{Credentials, Effect};
use crate::domain::run::CauseKind;
use crate::domain::status::Truth;
use crate::domain::{Answer, FireOn, Phase, Reason};

fn ready(scene: &Scene) -> Truth {
    scene.trigger.status.conditions.iter().find(|c| c.kind == "Ready").unwrap().status
}

#[test]
fn a_repeat_reads_its_credentials_first_and_writes_only_when_they_are_there() {
    let mut scene = Scene::pending();
    scene.wait(5);
    let plan = scene.step();
    assert_eq!(plan.effect, Effect::ReadCredentials(Box::new(scene.run().target.clone())));
    assert!(plan.status.is_none());

    let look_again = scene.now + Duration::from_secs(9);
    let missing = Credentials::Missing { reason: Reason::SecretMissing, message: "gone".into(), look_again };
    let plan = scene.credentials(missing).step();
    assert_eq!((plan.effect, plan.wake), (Effect::Nothing, Some(look_again)));
    assert_eq!((scene.phase(), ready(&scene)), (Phase::Pending, Truth::False));
    assert_eq!(scene.run().attempt.as_ref().unwrap().count, 1);

    let plan = scene.credentials(Credentials::Ready).step();
    assert!(matches!(plan.effect, Effect::Fire(_)));
    assert_eq!((scene.run().attempt.as_ref().unwrap().count, ready(&scene)), (2, Truth::Unknown));
}

#[test]
fn a_repeat_goes_where_the_spec_says_today_and_is_signed_by_who_sends_it() {
    let mut scene = Scene::pending();
    scene.other_token().restart().wait(5).repeat();
    assert_eq!(scene.run().target.access.as_ref().unwrap().name, "other");
    assert_eq!(scene.run().attempt.as_ref().unwrap().by, scene.policy.writer);
    assert_eq!(scene.posts[1].target, scene.run().target);
}

#[test]
fn the_budget_is_waited_for_and_no_cause_is_lost() {
    let causes: &[(&str, Move, CauseKind)] = &[
        ("the first sight", |s| s, CauseKind::Apply),
        ("an edit", |s| s.settle().git_ref("B"), CauseKind::Change),
        ("a request", |s| s.settle().ask("v"), CauseKind::Request),
    ];
    for (sentence, given, cause) in causes {
        let mut scene = Scene::new(FireOn::Apply);
        given(&mut scene);
        let plan = scene.budget(Some(40)).step();
        assert_eq!((wakes_in(&scene, &plan), plan.effect), (Some(160), Effect::Nothing), "{sentence}");
        assert_eq!(scene.phase(), Phase::Pending, "{sentence}");
        let message = scene.trigger.status.message.clone().unwrap();
        assert!(message.contains("2027-01-15T08:00:41Z"), "{sentence} says until when: {message}");
        assert!(scene.step().status.is_none(), "{sentence}: and says it once");
        scene.wait(40).budget(None);
        assert_eq!(fires(&scene.step()), Some(*cause), "{sentence}");
    }
}

#[test]
fn a_repeat_waits_for_the_budget() {
    let mut scene = Scene::pending();
    scene.wait(5).budget(Some(40));
    let plan = scene.credentials(Credentials::Ready).step();
    assert_eq!((plan.effect, scene.run().reason), (Effect::Nothing, Some(Reason::RateLimited)));
    scene.wait(40).budget(None);
    assert!(fires(&scene.step()).is_some());
}

#[test]
fn a_run_that_was_never_sent_makes_room_for_changed_fields() {
    for asked in [None, Some("v")] {
        let mut scene = Scene::new(FireOn::Apply);
        scene.trigger.fire = asked.map(str::to_owned);
        scene.step();
        scene.answer(not_sent());
        let plan = scene.git_ref("B").step();
        let cause = if asked.is_some() { CauseKind::Request } else { CauseKind::Apply };
        assert_eq!(fires(&plan), Some(cause), "in the same write");
        assert_eq!(scene.past(), [(1, Phase::Superseded)]);
        let run = scene.run();
        assert_eq!((run.seq, run.request.as_deref(), run.target.git_ref.as_str()), (2, asked, "B"));
        assert_ne!(scene.posts[0].key.fire_id, scene.posts[1].key.fire_id);
        scene.settle();
        assert_eq!(scene.posts.len(), 2, "and asks for nothing more");
    }
}

#[test]
fn a_request_passes_on_in_request_mode_too() {
    let mut scene = Scene::new(FireOn::Request);
    scene.settle().ask("v").step();
    scene.answer(not_sent());
    assert_eq!(fires(&scene.git_ref("B").step()), Some(CauseKind::Request));
    assert_eq!(scene.run().request.as_deref(), Some("v"));
}

#[test]
fn a_newer_request_takes_the_place_of_the_one_that_was_superseded() {
    let mut scene = Scene::new(FireOn::Request);
    scene.settle().ask("old").step();
    scene.answer(not_sent());
    scene.git_ref("B").ask("new").settle();
    assert_eq!((scene.run().request.as_deref(), scene.posts.len()), (Some("new"), 2));
    assert_eq!(scene.trigger.status.history[0].request.as_deref(), Some("old"), "and history says so");
}

#[test]
fn a_passing_cause_survives_whatever_comes_between() {
    struct Obstacle {
        sentence: &'static str,
        set: Move,
        clear: Move,
    }
    let obstacles = [
        Obstacle { sentence: "a broken spec", set: |s| s.break_spec(), clear: |s| s.mend_spec() },
        Obstacle { sentence: "the budget", set: |s| s.budget(Some(60)), clear: |s| s.budget(None) },
        Obstacle { sentence: "suspend", set: |s| s.suspend(true), clear: |s| s.suspend(false) },
    ];
    for Obstacle { sentence, set, clear } in obstacles {
        for mode in MODES {
            for back in [false, true] {
                let mut scene = Scene::new(mode);
                scene.settle().ask("v").step();
                scene.answer(not_sent());
                scene.posts.clear();
                set(&mut scene);
                scene.git_ref("B").wait(40).step();
                assert_eq!((scene.run().seq, scene.phase()), (scene.run().seq, Phase::Pending), "{sentence}");
                if back {
                    scene.git_ref("A").step();
                }
                clear(&mut scene);
                scene.credentials(Credentials::Ready).settle();
                let sentence = format!("{sentence}, fireOn {mode:?}, back to A: {back}");
                assert_eq!(scene.run().request.as_deref(), Some("v"), "{sentence}");
                assert_eq!((scene.phase(), scene.posts.len()), (Phase::Succeeded, 1), "{sentence}");
                let wanted = if back { "A" } else { "B" };
                assert_eq!(scene.run().target.git_ref, wanted, "{sentence}");
            }
        }
    }
}

#[test]
fn a_broken_spec_is_told_and_its_causes_wait() {
    let mut scene = Scene::new(FireOn::Apply);
    let plan = scene.break_spec().step();
    assert!(plan.is_settled());
    let status = &scene.trigger.status;
    assert_eq!((scene.phase(), status.observed_generation), (Phase::Rejected, Some(2)));
    assert_eq!(status.message.as_deref(), Some("ref is empty: name a branch or tag"));
    assert_eq!(fires(&scene.mend_spec().step()), Some(CauseKind::Apply));

    scene.settle().ask("v").break_spec().git_ref("B").step();
    assert_eq!(scene.phase(), Phase::Rejected);
    assert_eq!(fires(&scene.mend_spec().step()), Some(CauseKind::Request));
}

#[test]
fn a_pending_run_of_a_broken_spec_says_what_is_wrong() {
    let mut scene = Scene::pending();
    let plan = scene.break_spec().wait(60).step();
    assert_eq!((plan.effect, scene.phase(), ready(&scene)), (Effect::Nothing, Phase::Pending, Truth::False));
}

#[test]
fn an_edit_that_fires_nothing_is_observed_all_the_same() {
    for mut scene in [Scene::running(), Scene::pending()] {
        scene.other_token().step();
        assert_eq!(scene.trigger.status.observed_generation, Some(2));
        assert!(scene.trigger.status.conditions.iter().all(|c| c.observed_generation == Some(2)));
    }
}

#[test]
fn a_changed_run_waits_as_long_as_gitlab_asked() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    let until = scene.now + Duration::from_secs(60);
    scene.answer(Answer::Throttled { reason: Reason::ReadOnly, message: "maintenance".into(), until });
    assert_eq!(scene.git_ref("B").step().effect, Effect::Nothing);
    assert!(fires(&scene.wait(60).step()).is_some());
}

#[test]
fn a_budget_that_is_free_again_is_not_waited_for() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.budget(Some(0));
    assert!(fires(&scene.step()).is_some());
}

#[test]
fn a_request_made_after_a_broken_first_sight_is_fired() {
    let mut scene = Scene::new(FireOn::Change);
    scene.break_spec().step();
    scene.ask("v").step();
    assert_eq!(fires(&scene.mend_spec().step()), Some(CauseKind::Request));
}

#[test]
fn what_this_gitlab_cannot_do_is_rejected_without_a_post_and_tried_again_as_any_refusal() {
    let too_old =
        || Credentials::Refused { reason: Reason::GitLabTooOld, message: "inputs take 17.11".into() };
    let mut scene = Scene::pending();
    scene.wait(5).credentials(too_old());
    let plan = scene.step();
    assert_eq!((wakes_in(&scene, &plan), plan.effect), (Some(600), Effect::Nothing));
    assert_eq!((scene.phase(), scene.run().reason), (Phase::Rejected, Some(Reason::GitLabTooOld)));
    assert_eq!((scene.run().attempt.as_ref().unwrap().count, scene.posts.len()), (1, 1), "nothing was sent");
    assert!(scene.credentials(Credentials::Unread).step().status.is_none(), "and it is told once");

    scene.wait(600);
    assert!(matches!(scene.step().effect, Effect::ReadCredentials(_)));
    assert!(scene.credentials(too_old()).step().events.is_empty(), "told before");
    assert_eq!(scene.phase(), Phase::Rejected);
    scene.wait(600);
    assert!(
        matches!(scene.credentials(Credentials::Ready).step().effect, Effect::Fire(_)),
        "it was upgraded"
    );
}
