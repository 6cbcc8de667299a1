//! Cancelling: who may ask, in which phase, and what each answer of GitLab's makes of the run.
#![allow(clippy::type_complexity, reason = "a table's columns are told by its cases")]

use super::scene::{
    DEADLINE, DELAY, PATIENCE, PATIENT, Scene, accepted, not_sent, refused, seen, taken, told, unknown,
    wakes_in,
};
use crate::decide::trigger::{CancelOrder, Credentials, Effect, Follow, Plan};
use crate::domain::run::CancelCause;
use crate::domain::status::Answered;
use crate::domain::{Cancelled, FireOn, Lookup, Phase, PipelineStatus, Reason, Report, Sighting, Span};

/// How `pipekick.dev/cancel` was answered last.
fn answered(scene: &Scene) -> Option<Answered> {
    scene.trigger.status.last_handled.cancel.as_ref().map(|handled| handled.answer)
}

fn order(plan: &Plan) -> Option<&CancelOrder> {
    match &plan.effect {
        Effect::Cancel(order) => Some(order),
        Effect::Nothing
        | Effect::ReadCredentials(_)
        | Effect::LookUp(_)
        | Effect::LookAt(_)
        | Effect::LookAtOwn(_)
        | Effect::LookInto(_)
        | Effect::Fire(_)
        | Effect::SetFinalizers(_)
        | Effect::Retry(_)
        | Effect::Name(_)
        | Effect::DeletePipeline(_)
        | Effect::DeleteObject
        | Effect::ReadOutputs(_)
        | Effect::Update(_)
        | Effect::LookAtRequests(_)
        | Effect::GiveUp(_) => None,
    }
}

fn said(scene: &Scene) -> (Phase, Reason, &str) {
    let run = scene.run();
    (run.phase, run.reason.unwrap(), run.message.as_deref().unwrap())
}

fn forbidden() -> Cancelled {
    Cancelled::Refused { reason: Reason::Forbidden, message: "403".into() }
}

fn down() -> Cancelled {
    Cancelled::Trouble { reason: Reason::Unreachable, message: "connection refused".into() }
}

fn firing() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene
}

fn lost() -> Scene {
    let mut scene = firing();
    scene.answer(unknown());
    scene
}

fn rejected() -> Scene {
    let mut scene = firing();
    scene.answer(refused());
    scene
}

fn ended(status: PipelineStatus) -> Scene {
    let mut scene = Scene::running();
    scene.sight(seen(status));
    scene
}

fn fire_only() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.access_token = None).step();
    scene
}

fn fired() -> Scene {
    let mut scene = fire_only();
    scene.answer(accepted());
    scene
}

#[test]
fn who_asks_is_answered_by_where_the_run_stands() {
    type Case = (&'static str, fn() -> Scene, &'static str, Option<Answered>, Phase);
    let cases: &[Case] = &[
        ("an empty value names no run", Scene::running, " ", Some(Answered::Invalid), Phase::Running),
        ("nonsense", Scene::running, "yes", Some(Answered::Invalid), Phase::Running),
        ("another run's number", Scene::running, "2", Some(Answered::Ignored), Phase::Running),
        (
            "what is pending ends, nothing is sent",
            Scene::pending,
            "1",
            Some(Answered::Canceled),
            Phase::Canceled,
        ),
        ("what was refused ends", rejected, "1", Some(Answered::Canceled), Phase::Canceled),
        ("what is on its way is kept", firing, "1", Some(Answered::Canceling), Phase::Firing),
        ("what is unknown is kept", lost, "1", Some(Answered::Canceling), Phase::Unknown),
        ("what runs is cancelled", Scene::running, "1#again", Some(Answered::Canceling), Phase::Running),
        (
            "what ended stays",
            || ended(PipelineStatus::Success),
            "1",
            Some(Answered::Ignored),
            Phase::Succeeded,
        ),
        ("what was fired blindly", fired, "1", Some(Answered::NotFollowed), Phase::Fired),
        ("what is fired blindly just now", fire_only, "1", Some(Answered::NotFollowed), Phase::Firing),
    ];
    for (sentence, scene, value, answer, phase) in cases {
        let mut scene = scene();
        let posts = scene.posts.len();
        scene.cancel(value).step();
        assert_eq!((answered(&scene), scene.run().phase), (*answer, *phase), "{sentence}");
        let kept = scene.run().cancel_request().map(|(_, by)| by);
        assert_eq!(kept.is_some(), *answer == Some(Answered::Canceling), "{sentence}");
        assert_eq!(scene.posts.len(), posts, "{sentence}");
        assert!(scene.decide().status.is_none(), "{sentence}: answered once");
    }
    let mut scene = Scene::new(FireOn::Request);
    scene.cancel("1").step();
    assert_eq!(answered(&scene), Some(Answered::Ignored), "there is no run");
}

#[test]
fn a_cancelled_pending_run_says_so_and_the_next_cause_fires_as_ever() {
    let mut scene = Scene::pending();
    let plan = scene.cancel("1").step();
    let message = "run 1 was cancelled before it had a pipeline, as pipekick.dev/cancel asked";
    assert_eq!(said(&scene), (Phase::Canceled, Reason::Canceled, message));
    assert_eq!(told(&plan), ["Canceled"]);
    scene.wait(3600).credentials(Credentials::Ready).step();
    assert_eq!((scene.posts.len(), scene.phase()), (1, Phase::Canceled), "nothing is sent");
    scene.git_ref("B").step();
    assert_eq!((scene.posts.len(), scene.run().seq), (2, 2));
}

#[test]
fn the_wish_is_on_record_before_gitlab_is_asked_and_its_end_is_seen_by_following() {
    let mut scene = Scene::running();
    let plan = scene.cancel("1").step();
    let written = plan.status.as_ref().unwrap().run.as_deref().unwrap();
    assert_eq!(written.cancel_request(), Some((scene.now, CancelCause::Action)));
    let sent = order(&plan).unwrap();
    assert_eq!(
        (sent.pipeline_id, sent.project.as_str(), sent.access.token.key.as_str()),
        (700, "7", "access")
    );
    assert_eq!(said(&scene).1, Reason::CancelRequested);
    assert_eq!(said(&scene).2, "pipeline 700 is being cancelled, as pipekick.dev/cancel asked");
    assert_eq!(told(&plan), ["CancelRequested"]);

    let plan = scene.brought(taken(PipelineStatus::Canceling), 60);
    assert!(plan.status.is_none() && order(&plan).is_none(), "{plan:?}");
    assert_eq!(plan.follow.unwrap().since, scene.now, "looked at as often as a young one");
    let plan = scene.sight(seen(PipelineStatus::Canceling));
    assert!(plan.status.is_none(), "canceling is no end");
    let plan = scene.sight(seen(PipelineStatus::Canceled));
    let message = "pipeline 700 was cancelled, as pipekick.dev/cancel asked";
    assert_eq!(said(&scene), (Phase::Canceled, Reason::PipelineCanceled, message));
    assert_eq!(told(&plan), ["!PipelineCanceled"]);
    let under_way = |follow: &Follow| follow.stretch.finished_at.is_none();
    assert!(order(&plan).is_none() && !plan.follow.as_ref().is_some_and(under_way));
}

#[test]
fn what_a_request_to_cancel_brings() {
    type Case = (&'static str, fn() -> Cancelled, Phase, Reason, &'static str, &'static str);
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("taken", || taken(PipelineStatus::Running), Phase::Running, Reason::CancelRequested,
         "pipeline 700 is being cancelled, as pipekick.dev/cancel asked", ""),
        ("taken, and a manual job is all that is left", || taken(PipelineStatus::Manual), Phase::Canceled, Reason::PipelineCanceled,
         "pipeline 700 was cancelled, as pipekick.dev/cancel asked; what is left of it waits for a person to play a manual job", "!PipelineCanceled"),
        ("refused", forbidden, Phase::Running, Reason::CancelRefused,
         "pipeline 700 is to be cancelled, as pipekick.dev/cancel asked, and cannot be (Forbidden): 403", "!CancelRefused"),
        ("trouble", down, Phase::Running, Reason::CancelRequested,
         "pipeline 700 is to be cancelled, as pipekick.dev/cancel asked, and could not be yet (Unreachable): connection refused", ""),
        ("a Secret is gone", || Cancelled::Trouble { reason: Reason::SecretMissing, message: "gone".into() }, Phase::Running,
         Reason::SecretMissing, "pipeline 700 is to be cancelled, as pipekick.dev/cancel asked, and could not be yet (SecretMissing): gone", ""),
    ];
    for (sentence, brought, phase, reason, message, events) in cases {
        let mut scene = Scene::running();
        scene.cancel("1").step();
        let plan = scene.brought(brought(), 60);
        assert_eq!(said(&scene), (*phase, *reason, *message), "{sentence}");
        assert_eq!(told(&plan).join(" "), *events, "{sentence}");
        if *phase == Phase::Running {
            assert_eq!(wakes_in(&scene, &plan), Some(60), "{sentence}");
            let again = scene.wait(59).step();
            assert!(again.status.is_none() && order(&again).is_none(), "{sentence}: told once");
            assert!(order(&scene.wait(1).step()).is_some(), "{sentence}: asked again");
        }
    }
}

#[test]
fn what_was_on_its_way_is_cancelled_once_its_pipeline_is_known() {
    let mut scene = firing();
    let plan = scene.cancel("1").step();
    assert!(order(&plan).is_none(), "there is nothing to cancel yet");
    let plan = scene.answer(accepted());
    assert!(order(&plan).is_some(), "one write, and GitLab is asked: {plan:?}");
    assert_eq!(said(&scene).1, Reason::CancelRequested);

    let mut scene = lost();
    scene.cancel("1").step();
    let found = Lookup::Found {
        pipeline: super::scene::pipeline(PipelineStatus::Running),
        report: Report::default(),
        duplicates: vec![],
    };
    assert!(order(&scene.look(found)).is_some(), "found, and cancelled");
}

#[test]
fn what_was_on_its_way_and_made_nothing_ends_canceled_and_is_not_sent_again() {
    for answer in [not_sent(), refused()] {
        let mut scene = firing();
        scene.cancel("1").step();
        scene.answer(answer);
        assert_eq!((said(&scene).0, said(&scene).1), (Phase::Canceled, Reason::Canceled));
        scene.wait(3600).credentials(Credentials::Ready).step();
        assert_eq!(scene.posts.len(), 1);
    }
    let mut scene = lost();
    scene.cancel("1").step();
    scene.wait(10).look(Lookup::NoCandidate);
    scene.wait(DELAY).look(Lookup::NoCandidate);
    assert_eq!(said(&scene).0, Phase::Canceled, "proven absent");
}

#[test]
fn silence_is_still_unknown_and_the_wish_is_kept() {
    let mut scene = firing();
    scene.cancel("1").step();
    scene.restart().wait(PATIENCE).step();
    assert_eq!((scene.phase(), scene.run().cancel_request().is_some()), (Phase::Unknown, true));
    assert_eq!(PATIENCE, DEADLINE + 10);
}

#[test]
fn the_next_process_asks_again_and_says_nothing_new() {
    let mut scene = Scene::running();
    scene.cancel("1").step();
    scene.brought(forbidden(), 600);
    let plan = scene.restart().step();
    assert!(order(&plan).is_some() && plan.status.is_none(), "{plan:?}");
    let plan = scene.brought(forbidden(), 600);
    assert!(plan.status.is_none(), "{plan:?}");
}

#[test]
fn a_new_value_asks_anew_at_once() {
    let mut scene = Scene::running();
    scene.cancel("1").step();
    scene.brought(forbidden(), 600);
    let plan = scene.wait(1).cancel("1#mended").step();
    assert!(order(&plan).is_some(), "{plan:?}");
    assert_eq!(scene.run().cancel_requested_at, Some(scene.now));
}

#[test]
fn a_pipeline_that_does_not_end_is_told_of_and_asked_again() {
    let mut scene = Scene::running();
    scene.cancel("1").step();
    scene.wait(PATIENT - 1);
    let plan = scene.brought(taken(PipelineStatus::Running), 60);
    assert_eq!(wakes_in(&scene, &plan), Some(1));
    scene.wait(1).step();
    let message = "pipeline 700 was to be cancelled, as pipekick.dev/cancel asked, and has not ended in 5m";
    assert_eq!(said(&scene), (Phase::Running, Reason::CancelRequested, message));
    assert!(scene.decide().status.is_none());
}

#[test]
fn a_pipeline_that_ended_otherwise_ends_as_it_ended() {
    for (status, phase) in
        [(PipelineStatus::Success, Phase::Succeeded), (PipelineStatus::Failed, Phase::Failed)]
    {
        let mut scene = Scene::running();
        scene.cancel("1").step();
        scene.sight(seen(status));
        assert_eq!(scene.phase(), phase);
    }
}

#[test]
fn trouble_with_looking_is_told_beside_it() {
    let mut scene = Scene::running();
    scene.cancel("1").step();
    scene.brought(taken(PipelineStatus::Running), 600);
    scene.sight(Sighting::Trouble { reason: Reason::Unauthorized, message: "401".into() });
    let message = "pipeline 700 is being cancelled, as pipekick.dev/cancel asked; it cannot be followed (Unauthorized): 401";
    assert_eq!(said(&scene).2, message);
    assert!(scene.decide().status.is_none());
}

#[test]
fn cancelling_works_while_suspended_and_paused() {
    for paused in [false, true] {
        let mut scene = Scene::running();
        scene.policy.paused = paused;
        scene.suspend(!paused).step();
        let plan = scene.cancel("1").step();
        assert!(order(&plan).is_some(), "paused: {paused}");
        assert_eq!(answered(&scene), Some(Answered::Canceling));
        let mut scene = Scene::pending();
        scene.policy.paused = paused;
        scene.suspend(!paused).cancel("1").step();
        assert_eq!(scene.run().phase, Phase::Canceled, "paused: {paused}");
    }
}

#[test]
fn sending_it_again_takes_the_wish_back() {
    let mut scene = lost();
    scene.cancel("1").step();
    scene.wait(DELAY).look(Lookup::CannotTell { reason: Reason::Forbidden, message: "403".into() });
    assert_eq!((scene.phase(), scene.run().cancel_request().is_some()), (Phase::Held, true));
    scene.resolve("1:refire").credentials(Credentials::Ready).step();
    assert_eq!((scene.run().cancel_request(), scene.posts.len()), (None, 2));
}

// ---- cancelOnTimeout

fn slow() -> Scene {
    let mut scene = Scene::running();
    scene.edit(|spec| (spec.timeout, spec.cancel_on_timeout) = (Some(Span::from_secs(60)), true)).step();
    scene.wait(60);
    scene
}

#[test]
fn a_run_that_takes_too_long_is_cancelled_and_ends_timed_out() {
    let mut scene = slow();
    let plan = scene.step();
    assert!(order(&plan).is_some(), "{plan:?}");
    let message = "pipeline 700 is being cancelled, as cancelOnTimeout says";
    assert_eq!(said(&scene), (Phase::Running, Reason::CancelRequested, message));
    scene.brought(taken(PipelineStatus::Canceling), 60);
    scene.wait(5).sight(seen(PipelineStatus::Canceled));
    let message = "the run took longer than its timeout; pipeline 700 was cancelled, as cancelOnTimeout says";
    assert_eq!(said(&scene), (Phase::TimedOut, Reason::TimedOut, message));
}

#[test]
fn whatever_the_end_that_comes_after_the_time_was_over() {
    let ends = [seen(PipelineStatus::Success), seen(PipelineStatus::Failed), Sighting::Gone];
    for end in ends {
        let mut scene = slow();
        scene.step();
        scene.sight(end);
        assert_eq!(scene.phase(), Phase::TimedOut);
    }
    let mut scene = slow();
    scene.step();
    scene.brought(taken(PipelineStatus::Manual), 60);
    assert_eq!(scene.phase(), Phase::TimedOut);
}

#[test]
fn where_it_cannot_be_cancelled_it_ends_timed_out_all_the_same() {
    #[rustfmt::skip]
    let cases: &[(&str, fn() -> Cancelled, u64, &str)] = &[
        ("refused: at once", forbidden, 0,
         "the run took longer than 1m; its pipeline goes on in GitLab, for it could not be cancelled (Forbidden): 403"),
        ("trouble: in bounded time", down, PATIENT,
         "the run took longer than 1m; its pipeline goes on in GitLab, for it could not be cancelled (Unreachable): connection refused"),
        ("taken, and no end: in bounded time", || taken(PipelineStatus::Canceling), PATIENT,
         "the run took longer than 1m; its pipeline was to be cancelled, and has not ended in GitLab"),
    ];
    for (sentence, brought, after, message) in cases {
        let mut scene = slow();
        scene.step();
        scene.brought(brought(), 10_000);
        if *after > 0 {
            scene.wait(after - 1).step();
            assert_eq!(said(&scene).0, Phase::Running, "{sentence}");
            scene.wait(1).step();
        }
        assert_eq!(said(&scene), (Phase::TimedOut, Reason::TimedOut, *message), "{sentence}");
    }
    let mut scene = slow();
    scene.step();
    scene.restart().wait(PATIENT).step();
    assert!(said(&scene).2.ends_with("could not be cancelled in time and may go on in GitLab"));
}

#[test]
fn a_run_that_somebody_cancels_has_time_to_end_so() {
    let mut scene = Scene::running();
    scene.edit(|spec| spec.timeout = Some(Span::from_secs(60))).step();
    scene.wait(50).cancel("1").step();
    scene.brought(taken(PipelineStatus::Canceling), 10_000);
    scene.wait(PATIENT - 1).step();
    assert_eq!(scene.phase(), Phase::Running);
    scene.wait(1).step();
    assert_eq!(scene.phase(), Phase::TimedOut);
}

#[test]
fn where_a_persons_wish_was_refused_the_timeout_asks_once_more() {
    let mut scene = Scene::running();
    scene.edit(|spec| (spec.timeout, spec.cancel_on_timeout) = (Some(Span::from_secs(60)), true)).step();
    scene.cancel("1").step();
    scene.brought(forbidden(), 600);
    let plan = scene.wait(60).step();
    assert!(order(&plan).is_some(), "{plan:?}");
    assert_eq!(scene.run().cancel_requested_by, Some(CancelCause::Timeout));
}
