//! A refused run made nothing: it is tried again under the same fire id, or makes room for another.

use super::scene::{Move, Scene, fires, not_sent, refused, told};
use crate::decide::trigger::{Credentials, Effect};
use crate::domain::run::CauseKind;
use crate::domain::{FireOn, Phase, Reason};

fn rejected() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.answer(refused());
    scene
}

struct Case {
    sentence: &'static str,
    given: Move,
    /// The run that is sent then, and under which number.
    sends: Option<(u64, u32)>,
}

const CASES: &[Case] = &[
    Case { sentence: "nothing within 10 min", given: |s| s.wait(599), sends: None },
    Case { sentence: "the same run after 10 min", given: |s| s.wait(600), sends: Some((1, 2)) },
    Case {
        sentence: "the same run at once when another field was edited",
        given: |s| s.other_token(),
        sends: Some((1, 2)),
    },
    Case { sentence: "a new run for a fresh request", given: |s| s.ask("v"), sends: Some((2, 1)) },
    Case { sentence: "a new run for a firing field", given: |s| s.git_ref("B"), sends: Some((2, 1)) },
    Case { sentence: "nothing while the spec is broken", given: |s| s.break_spec().wait(3600), sends: None },
];

#[test]
fn what_a_refused_run_leads_to() {
    for Case { sentence, given, sends } in CASES {
        let mut scene = rejected();
        given(&mut scene);
        scene.credentials(Credentials::Ready).step();
        let sent = scene.posts.get(1).map(|post| (scene.run().seq, post.key.count));
        assert_eq!(sent, *sends, "{sentence}");
        if sends.is_some_and(|(seq, _)| seq == 1) {
            assert_eq!(scene.posts[0].key.fire_id, scene.posts[1].key.fire_id, "{sentence}");
            assert!(scene.run().finished_at.is_none(), "{sentence}: it is under way again");
        }
    }
}

#[test]
fn a_change_of_a_refused_request_is_fired_in_request_mode_too() {
    let mut scene = Scene::new(FireOn::Request);
    scene.settle().ask("v").step();
    scene.answer(refused());
    assert_eq!(fires(&scene.git_ref("mended").step()), Some(CauseKind::Request));
    assert_eq!((scene.run().request.as_deref(), scene.past()), (Some("v"), vec![(1, Phase::Superseded)]));
}

#[test]
fn the_secret_is_read_afresh_and_waited_for() {
    let mut scene = rejected();
    assert!(matches!(scene.wait(600).step().effect, Effect::ReadCredentials(_)));
    let look_again = scene.now + std::time::Duration::from_secs(30);
    let (reason, message) = (Reason::SecretMissing, "no Secret gitlab".to_owned());
    let plan = scene.credentials(Credentials::Missing { reason, message, look_again }).step();
    assert_eq!((plan.wake, scene.phase()), (Some(look_again), Phase::Rejected));
    assert_eq!(scene.run().reason, Some(Reason::SecretMissing));
}

#[test]
fn a_request_that_waits_for_a_repeat_begins_as_soon_as_that_is_refused() {
    // GitLab says so.
    let mut scene = rejected();
    scene.wait(600).repeat();
    scene.ask("v").step();
    assert_eq!(scene.trigger.status.waiting.as_ref().unwrap().request.as_deref(), Some("v"));
    assert_eq!(fires(&scene.answer(refused())), Some(CauseKind::Request));

    // Nobody asked GitLab, for it could not do it.
    let mut scene = Scene::pending();
    scene.ask("v").step();
    scene.wait(60);
    let (reason, message) = (Reason::GitLabTooOld, "needs 17.11".to_owned());
    let plan = scene.credentials(Credentials::Refused { reason, message }).step();
    assert_eq!(
        (scene.phase(), super::scene::wakes_in(&scene, &plan)),
        (Phase::Rejected, Some(0)),
        "{plan:?}"
    );
    assert_eq!(fires(&scene.credentials(Credentials::Unread).step()), Some(CauseKind::Request));
}

#[test]
fn each_refusal_sets_the_clock_anew() {
    let mut scene = rejected();
    for count in 2..5 {
        scene.wait(600).repeat();
        assert_eq!(scene.run().attempt.as_ref().unwrap().count, count);
        let plan = scene.answer(refused());
        assert_eq!(super::scene::wakes_in(&scene, &plan), Some(600));
    }
}

#[test]
fn refused_and_then_not_reachable_it_waits_as_any_other() {
    let mut scene = rejected();
    scene.wait(600).repeat();
    scene.answer(not_sent());
    assert_eq!((scene.phase(), scene.run().finished_at), (Phase::Pending, None));
}

#[test]
fn an_edit_sends_it_at_once_though_its_credentials_must_be_read_first() {
    let mut scene = rejected();
    scene.other_token();
    assert!(matches!(scene.repeat().effect, Effect::Fire(_)));
}

#[test]
fn an_edit_sends_it_when_the_budget_allows() {
    let mut scene = rejected();
    scene.budget(Some(30)).other_token().step();
    assert!(matches!(scene.budget(None).wait(30).repeat().effect, Effect::Fire(_)));
}

#[test]
fn the_same_refusal_is_told_once() {
    let mut scene = rejected();
    scene.wait(600).repeat();
    let plan = scene.answer(refused());
    assert_eq!(told(&plan), Vec::<String>::new());
}
