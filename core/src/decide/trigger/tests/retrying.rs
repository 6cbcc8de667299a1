//! Failed jobs are started again: `spec.retry`, the annotation, and what is known when a reply is lost.

use super::scene::{DELAY, PATIENCE, Scene, accepted, failed, fires, pipeline, seen, told, wakes_in};
use crate::decide::trigger::{Effect, Plan, RETRY_TRIES};
use crate::domain::run::CauseKind;
use crate::domain::status::Answered;
use crate::domain::{
    Changed, ConcurrencyPolicy, FireOn, Phase, PipelineStatus, Reason, RetryPolicy, RetryState, Sighting,
    Span,
};

/// A run whose pipeline runs, with two retries a minute apart.
fn with_retries() -> Scene {
    let mut scene = Scene::running();
    scene.edit(|spec| spec.retry = Some(RetryPolicy { limit: 2, backoff: Span::from_secs(60) })).step();
    scene
}

/// One whose pipeline failed by job 1 and waits for its first retry.
fn waiting() -> Scene {
    let mut scene = with_retries();
    scene.sight(failed(&[1]));
    scene
}

/// One whose first retry was recorded and ordered.
fn sent() -> Scene {
    let mut scene = waiting();
    scene.wait(60).step();
    look(&mut scene, failed(&[1]));
    assert_eq!(scene.retries.len(), 1);
    scene
}

/// A look that was ordered brings this.
fn look(scene: &mut Scene, sighting: Sighting) -> Plan {
    scene.facts.looked_at = Some((700, sighting));
    let plan = scene.step();
    scene.facts.looked_at = None;
    plan
}

/// GitLab answers the request that is on its way.
fn reply(scene: &mut Scene, changed: Changed) -> Plan {
    scene.facts.retried = Some((scene.run().retry_key().unwrap(), changed));
    scene.step()
}

fn done(status: PipelineStatus) -> Changed {
    Changed::Done(Some(pipeline(status)))
}

fn state(scene: &Scene) -> (Phase, RetryState, u32) {
    let run = scene.run();
    let retry = run.retry.as_ref().unwrap();
    (run.phase, retry.state, retry.count)
}

fn looks(plan: &Plan) -> bool {
    matches!(plan.effect, Effect::LookAtOwn(_))
}

fn asked(scene: &Scene) -> Option<Answered> {
    scene.trigger.status.last_handled.retry.as_ref().map(|handled| handled.answer)
}

#[test]
fn a_failed_pipeline_is_retried_after_the_back_off_and_a_fresh_look() {
    let mut scene = with_retries();
    let plan = scene.sight(failed(&[1]));
    assert_eq!(state(&scene), (Phase::Retrying, RetryState::Waiting, 0));
    assert_eq!(told(&plan), ["!PipelineFailed", "PipelineRetrying"]);
    assert_eq!(wakes_in(&scene, &plan), Some(60));
    assert!(scene.run().message.as_ref().unwrap().contains("job unit (test) failed"), "{:?}", scene.run());
    assert!(plan.follow.is_some(), "a person may be quicker");

    let plan = scene.wait(59).step();
    assert!(!looks(&plan) && plan.status.is_none(), "{plan:?}");
    assert!(looks(&scene.wait(1).step()));
    let plan = look(&mut scene, failed(&[2, 1]));
    let Effect::Retry(order) = &plan.effect else { panic!("{plan:?}") };
    let run = scene.run();
    assert_eq!(Some(&order.key), run.retry_key().as_ref(), "the very request that is recorded");
    assert_eq!(run.retry.as_ref().unwrap().job_ids, [1, 2], "the jobs that have failed by now");
    assert_eq!(state(&scene), (Phase::Retrying, RetryState::Unknown, 0));

    reply(&mut scene, done(PipelineStatus::Running));
    assert_eq!(state(&scene), (Phase::Retrying, RetryState::Started, 1));
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!(scene.phase(), Phase::Succeeded);
    assert_eq!(scene.retries.len(), 1);
}

#[test]
fn a_pipeline_that_fails_again_is_retried_up_to_the_limit_with_growing_waits() {
    let mut scene = with_retries();
    for (count, wait) in [(0, 60), (1, 120)] {
        let plan = scene.sight(failed(&[u64::from(count)]));
        assert_eq!(state(&scene), (Phase::Retrying, RetryState::Waiting, count));
        assert_eq!(wakes_in(&scene, &plan), Some(wait));
        scene.wait(wait.unsigned_abs()).step();
        look(&mut scene, failed(&[u64::from(count)]));
        reply(&mut scene, done(PipelineStatus::Pending));
    }
    let plan = scene.sight(failed(&[7]));
    assert_eq!((scene.phase(), scene.run().reason), (Phase::Failed, Some(Reason::PipelineFailed)));
    assert_eq!(told(&plan), ["!PipelineFailed"]);
    assert_eq!(scene.retries.len(), 2);
}

#[test]
fn what_is_never_retried() {
    let mut born = Scene::running();
    born.edit(|spec| spec.retry = Some(RetryPolicy { limit: 2, backoff: Span::from_secs(0) }));
    born.sight(failed(&[]));
    assert_eq!(born.phase(), Phase::Failed, "a pipeline without failed jobs");

    let mut canceled = with_retries();
    canceled.sight(seen(PipelineStatus::Canceled));
    assert_eq!(canceled.phase(), Phase::Canceled, "one that somebody cancelled");

    let mut late = with_retries();
    late.edit(|spec| spec.timeout = Some(Span::from_secs(60)));
    late.sight(failed(&[1]));
    assert_eq!(late.phase(), Phase::Failed, "one whose retry would come after the timeout");

    let mut leaving = with_retries();
    leaving.trigger.deleted_at = Some(leaving.now);
    leaving.sight(failed(&[1]));
    assert_eq!(leaving.run().phase, Phase::Failed, "one whose object is being deleted");

    let mut plain = Scene::running();
    plain.sight(failed(&[1]));
    assert_eq!(plain.phase(), Phase::Failed, "one without spec.retry");
}

#[test]
fn an_edit_that_breaks_the_spec_takes_no_wish_away() {
    let mut scene = waiting();
    scene.break_spec();
    let plan = scene.wait(60).step();
    assert!(!looks(&plan) && plan.follow.is_some(), "{plan:?}");
    assert_eq!(state(&scene), (Phase::Retrying, RetryState::Waiting, 0));
    let ready = scene.trigger.status.conditions.iter().find(|condition| condition.kind == "Ready").unwrap();
    assert_eq!(ready.reason, "InvalidSpec");
    assert!(looks(&scene.mend_spec().step()), "mended, it goes on");

    let mut taken_away = waiting();
    taken_away.edit(|spec| spec.retry = None).step();
    assert_eq!(taken_away.phase(), Phase::Failed);
}

#[test]
fn the_timeout_spans_retries() {
    let mut scene = with_retries();
    scene.edit(|spec| spec.timeout = Some(Span::from_secs(100)));
    scene.sight(failed(&[1]));
    scene.wait(60).step();
    look(&mut scene, failed(&[1]));
    reply(&mut scene, done(PipelineStatus::Running));
    scene.wait(40).step();
    assert_eq!(scene.phase(), Phase::TimedOut);
}

#[test]
fn whoever_runs_it_again_before_the_request_is_not_counted() {
    let mut by_follower = waiting();
    by_follower.sight(seen(PipelineStatus::Running));
    let mut by_look = waiting();
    by_look.wait(60).step();
    look(&mut by_look, seen(PipelineStatus::Running));
    for mut scene in [by_follower, by_look] {
        assert_eq!((scene.phase(), scene.run().retry.as_ref()), (Phase::Running, None));
        assert!(scene.retries.is_empty());
        scene.sight(failed(&[2]));
        assert_eq!(state(&scene), (Phase::Retrying, RetryState::Waiting, 0), "its own retries are all left");
    }
}

#[test]
fn a_lost_reply_is_resolved_by_the_jobs_and_never_by_asking_again_on_a_guess() {
    let lost = || {
        let mut scene = sent();
        let plan = reply(&mut scene, Changed::Unknown { message: "reset".into() });
        assert!(looks(&plan));
        scene
    };
    let mut active = lost();
    look(&mut active, seen(PipelineStatus::Running));
    assert_eq!(state(&active), (Phase::Retrying, RetryState::Started, 1), "it runs: it had an effect");

    let mut other_jobs = lost();
    look(&mut other_jobs, failed(&[2]));
    assert_eq!(state(&other_jobs), (Phase::Retrying, RetryState::Waiting, 1), "it failed again: counted");
    assert_eq!(other_jobs.retries.len(), 1);

    let mut ended = lost();
    look(&mut ended, seen(PipelineStatus::Success));
    assert_eq!((ended.phase(), ended.run().retry.as_ref().unwrap().count), (Phase::Succeeded, 1));

    let mut same = lost();
    let plan = look(&mut same, failed(&[1]));
    assert_eq!((wakes_in(&same, &plan), same.retries.len()), (Some(10), 1), "too early to tell");
    same.wait(DELAY + 9).step();
    look(&mut same, failed(&[1]));
    assert_eq!(same.retries.len(), 1, "still too early");
    same.wait(1).step();
    look(&mut same, failed(&[1]));
    assert_eq!(same.retries.len(), 2, "it is proven to have had no effect");
    assert_eq!(state(&same), (Phase::Retrying, RetryState::Unknown, 0));
    assert_eq!(same.run().retry.as_ref().unwrap().tries, 2);
}

#[test]
fn a_look_counts_from_when_it_began() {
    let mut scene = sent();
    reply(&mut scene, Changed::Unknown { message: "reset".into() });
    scene.wait(DELAY + 10);
    scene.facts.look_took = std::time::Duration::from_secs(1);
    look(&mut scene, failed(&[1]));
    assert_eq!(scene.retries.len(), 1);
}

#[test]
fn an_intent_whose_process_is_gone_is_left_alone_until_nothing_can_be_on_its_way() {
    let mut scene = sent();
    scene.restart();
    let plan = scene.wait(PATIENCE - 1).step();
    assert_eq!((looks(&plan), wakes_in(&scene, &plan)), (false, Some(1)));
    assert!(looks(&scene.wait(1).step()));
    look(&mut scene, failed(&[1]));
    assert_eq!(scene.retries.len(), 1, "looking is not asking");
    scene.sight(seen(PipelineStatus::Running));
    assert_eq!(state(&scene), (Phase::Retrying, RetryState::Started, 1), "new jobs, whoever made them");
}

#[test]
fn an_answer_to_another_request_says_nothing() {
    let mut scene = sent();
    let mut other = scene.run().retry_key().unwrap();
    other.by = "somebody else".into();
    scene.facts.retried = Some((other, Changed::Refused { reason: Reason::Forbidden, message: "no".into() }));
    scene.step();
    assert_eq!(state(&scene), (Phase::Retrying, RetryState::Unknown, 0));
}

#[test]
fn requests_without_effect_end_some_day() {
    let mut scene = sent();
    for _ in 0..RETRY_TRIES {
        reply(&mut scene, Changed::Unknown { message: "500".into() });
        scene.wait(DELAY + 10).step();
        look(&mut scene, failed(&[1]));
    }
    assert_eq!(scene.retries.len(), usize::try_from(RETRY_TRIES).unwrap());
    assert_eq!(state(&scene), (Phase::Failed, RetryState::Refused, 0));
}

#[test]
fn gitlab_says_yes_and_starts_nothing() {
    let mut scene = sent();
    assert!(looks(&reply(&mut scene, done(PipelineStatus::Failed))), "its status may lag");
    scene.wait(DELAY + 10).step();
    let plan = look(&mut scene, failed(&[1]));
    assert_eq!(state(&scene), (Phase::Failed, RetryState::Refused, 0));
    assert_eq!(told(&plan), ["!RetryRefused"]);
    assert!(scene.run().message.as_ref().unwrap().contains("started no job"));
}

#[test]
fn a_refusal_ends_the_run_as_its_pipeline_did() {
    let mut scene = sent();
    let plan = reply(&mut scene, Changed::Refused { reason: Reason::Forbidden, message: "403".into() });
    assert_eq!(state(&scene), (Phase::Failed, RetryState::Refused, 0));
    assert_eq!(told(&plan), ["!RetryRefused"]);
    let message = scene.run().message.clone().unwrap();
    assert!(message.contains("job unit (test) failed") && message.contains("403 (Forbidden)"), "{message}");
    assert!(scene.step().status.is_none(), "told once");
}

#[test]
fn what_was_not_sent_waits_and_is_not_counted() {
    let mut scene = sent();
    let until = scene.now + std::time::Duration::from_secs(30);
    let (reason, message) = (Reason::RateLimited, "429".to_owned());
    let plan = reply(&mut scene, Changed::NotNow { reason, message, until });
    assert_eq!(state(&scene), (Phase::Retrying, RetryState::Waiting, 0));
    assert_eq!(wakes_in(&scene, &plan), Some(30));
    scene.wait(30).step();
    look(&mut scene, failed(&[1]));
    assert_eq!(scene.retries.len(), 2);
}

#[test]
fn what_gitlab_puts_off_uses_up_no_request_however_often() {
    let put_off = |scene: &mut Scene| {
        let (reason, message, until) = (Reason::RateLimited, "429".to_owned(), scene.now);
        reply(scene, Changed::NotNow { reason, message, until })
    };
    let mut scene = sent();
    let mut waits = Vec::new();
    for _ in 0..3 * RETRY_TRIES {
        let plan = put_off(&mut scene);
        assert_eq!(state(&scene), (Phase::Retrying, RetryState::Waiting, 0));
        let wait = wakes_in(&scene, &plan).unwrap();
        waits.push(wait);
        scene.wait(wait.try_into().unwrap()).step();
        look(&mut scene, failed(&[1]));
    }
    assert_eq!(waits[..6], [5, 10, 20, 40, 60, 60], "asked again at growing intervals");
    reply(&mut scene, Changed::Unknown { message: "reset".into() });
    let sent = scene.retries.len();
    scene.wait(DELAY + 10).step();
    look(&mut scene, failed(&[1]));
    assert_eq!(
        scene.retries.len(),
        sent + 1,
        "one request was lost, none of the five is used up by the others"
    );
}

#[test]
fn while_suspended_nothing_is_started_again() {
    let mut scene = waiting();
    scene.suspend(true).step();
    let plan = scene.wait(60).step();
    assert!(!looks(&plan) && scene.phase() == Phase::Retrying, "{plan:?}");
    assert_eq!(scene.trigger.status.conditions[0].reason, "Suspended");
    scene.suspend(false);
    assert!(looks(&scene.step()));
}

#[test]
fn a_wish_that_is_taken_back_ends_the_run() {
    let mut scene = waiting();
    scene.edit(|spec| spec.retry = None).step();
    assert_eq!(scene.phase(), Phase::Failed);
}

#[test]
fn trouble_while_looking_is_waited_out() {
    let mut scene = waiting();
    scene.wait(60).step();
    let plan = look(&mut scene, Sighting::Trouble { reason: Reason::Unauthorized, message: "401".into() });
    assert_eq!((scene.run().reason, wakes_in(&scene, &plan)), (Some(Reason::CannotFollow), Some(10)));
    scene.facts.look_again = Some(scene.now + std::time::Duration::from_secs(10));
    assert!(!looks(&scene.step()));
    assert!(looks(&scene.wait(10).step()));
}

// ---- pipekick.dev/retry ----------------------------------------------------------------------------------------

struct Asked {
    sentence: &'static str,
    given: fn() -> Scene,
    value: &'static str,
    look: Option<fn() -> Sighting>,
    answer: Answered,
}

fn ended_failed() -> Scene {
    let mut scene = Scene::running();
    scene.sight(failed(&[1]));
    scene
}

fn succeeded() -> Scene {
    let mut scene = Scene::running();
    scene.sight(seen(PipelineStatus::Success));
    scene
}

const ASKED: &[Asked] = &[
    Asked {
        sentence: "a failed run, long after its end",
        given: || {
            let mut scene = ended_failed();
            scene.wait(100_000).step();
            scene
        },
        value: "1",
        look: Some(|| failed(&[1])),
        answer: Answered::Retried,
    },
    Asked {
        sentence: "one that waits for its retry is not waited for",
        given: waiting,
        value: " 1 #now",
        look: Some(|| failed(&[1])),
        answer: Answered::Retried,
    },
    Asked { sentence: "another run", given: ended_failed, value: "2", look: None, answer: Answered::Ignored },
    Asked {
        sentence: "before there is any run",
        given: || Scene::new(FireOn::Request),
        value: "1",
        look: None,
        answer: Answered::Ignored,
    },
    Asked {
        sentence: "nonsense",
        given: ended_failed,
        value: "please",
        look: None,
        answer: Answered::Invalid,
    },
    Asked {
        sentence: "a run that succeeded",
        given: succeeded,
        value: "1",
        look: Some(|| seen(PipelineStatus::Success)),
        answer: Answered::NothingFailed,
    },
    Asked {
        sentence: "a pipeline that runs",
        given: Scene::running,
        value: "1",
        look: Some(|| seen(PipelineStatus::Running)),
        answer: Answered::NothingFailed,
    },
    Asked {
        sentence: "a pipeline that failed at birth",
        given: ended_failed,
        value: "1",
        look: Some(|| failed(&[])),
        answer: Answered::NothingFailed,
    },
    Asked {
        sentence: "a pipeline that was deleted",
        given: ended_failed,
        value: "1",
        look: Some(|| Sighting::Gone),
        answer: Answered::NothingFailed,
    },
    Asked {
        sentence: "a run that has no pipeline",
        given: Scene::pending,
        value: "1",
        look: None,
        answer: Answered::NothingFailed,
    },
    Asked {
        sentence: "without an access token",
        given: || {
            let mut scene = Scene::new(FireOn::Apply);
            scene.edit(|spec| spec.access_token = None).step();
            scene.answer(accepted());
            scene
        },
        value: "1",
        look: None,
        answer: Answered::NotFollowed,
    },
    Asked {
        sentence: "a run that is being cancelled",
        given: || {
            let mut scene = Scene::running();
            scene.cancel("1").step();
            scene
        },
        value: "1",
        look: None,
        answer: Answered::Canceling,
    },
    Asked {
        sentence: "one whose last retry may be on its way, and which is being cancelled",
        given: || {
            let mut scene = sent();
            scene.cancel("1").step();
            scene
        },
        value: "1",
        look: None,
        answer: Answered::Canceling,
    },
    Asked {
        sentence: "a run that was cancelled, and whose pipeline failed meanwhile",
        given: || {
            let mut scene = Scene::running();
            scene.cancel("1").step();
            scene.sight(failed(&[1]));
            scene
        },
        value: "1",
        look: Some(|| failed(&[1])),
        answer: Answered::Retried,
    },
    Asked {
        sentence: "while suspended",
        given: || {
            let mut scene = ended_failed();
            scene.suspend(true).step();
            scene
        },
        value: "1",
        look: None,
        answer: Answered::Suspended,
    },
];

#[test]
fn how_a_request_to_retry_is_answered() {
    for Asked { sentence, given, value, look: brought, answer } in ASKED {
        let mut scene = given();
        scene.trigger.retry = Some((*value).into());
        let mut plan = scene.step();
        assert_eq!(looks(&plan), brought.is_some(), "{sentence}");
        if let Some(brought) = brought {
            plan = look(&mut scene, brought());
        }
        assert_eq!(asked(&scene), Some(*answer), "{sentence}");
        assert_eq!(matches!(plan.effect, Effect::Retry(_)), *answer == Answered::Retried, "{sentence}");
        let again = scene.decide();
        assert!(!looks(&again) && !matches!(again.effect, Effect::Retry(_)), "{sentence}: answered once");
    }
}

#[test]
fn a_run_that_was_ended_goes_on_when_it_is_retried_and_its_timeout_begins_anew() {
    let mut scene = ended_failed();
    scene.edit(|spec| spec.timeout = Some(Span::from_secs(600)));
    scene.wait(100_000);
    scene.trigger.retry = Some("1".into());
    scene.step();
    look(&mut scene, failed(&[1]));
    assert_eq!((scene.phase(), scene.run().finished_at), (Phase::Retrying, None));
    let plan = reply(&mut scene, done(PipelineStatus::Running));
    assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Retrying, Some(600)));
    scene.git_ref("B").step();
    assert_eq!(scene.run().seq, 1, "a new cause waits for it");
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!((scene.run().seq, scene.phase()), (2, Phase::Firing));
}

#[test]
fn a_request_that_gitlab_refuses_is_answered_so() {
    let mut scene = ended_failed();
    scene.trigger.retry = Some("1".into());
    scene.step();
    look(&mut scene, failed(&[1]));
    assert_eq!(asked(&scene), Some(Answered::Retried));
    reply(&mut scene, Changed::Refused { reason: Reason::InsufficientScope, message: "403".into() });
    assert_eq!((asked(&scene), scene.phase()), (Some(Answered::Refused), Phase::Failed));
}

// ---- A pipeline that runs again after its end ------------------------------------------------------------------

#[test]
fn a_pipeline_that_a_person_runs_again_is_followed_again() {
    for mut scene in [ended_failed(), succeeded()] {
        let plan = scene.sight(seen(PipelineStatus::Running));
        assert_eq!((scene.phase(), told(&plan)), (Phase::Running, vec!["PipelineRunsAgain".to_owned()]));
        assert_eq!((scene.run().finished_at, scene.run().failed_jobs.len()), (None, 0));
        assert!(plan.follow.unwrap().stretch.finished_at.is_none());
        scene.sight(seen(PipelineStatus::Success));
        assert_eq!(scene.phase(), Phase::Succeeded);
    }
}

#[test]
fn one_that_ended_anew_between_two_looks_is_told_as_it_ended() {
    let mut scene = ended_failed();
    let plan = scene.sight(seen(PipelineStatus::Success));
    assert_eq!((scene.phase(), told(&plan)), (Phase::Succeeded, vec!["PipelineSucceeded".to_owned()]));
}

#[test]
fn what_was_seen_before_the_end_does_not_open_it_again() {
    let mut scene = Scene::running();
    let before = scene.run().stretch().unwrap();
    scene.sight(seen(PipelineStatus::Success));
    scene.facts.sighting = Some((before, seen(PipelineStatus::Running)));
    assert!(scene.step().status.is_none(), "another process looked a while ago");
}

#[test]
fn an_ended_pipeline_is_followed_for_six_hours_and_costs_no_memory() {
    let mut scene = succeeded();
    let plan = scene.step();
    let ended = scene.run().finished_at;
    assert!(plan.follow.as_ref().is_some_and(|follow| follow.stretch.finished_at == ended));
    assert!(plan.is_settled());
    assert!(scene.wait(6 * 3600 - 1).step().follow.is_some());
    assert!(scene.wait(1).step().follow.is_none());

    let mut timed_out = Scene::running();
    timed_out.edit(|spec| spec.timeout = Some(Span::from_secs(1))).wait(2).step();
    assert!(timed_out.step().follow.is_none(), "what timed out stays so");
}

#[test]
fn a_run_again_of_an_ended_pipeline_can_be_retried_too() {
    let mut scene = with_retries();
    scene.sight(seen(PipelineStatus::Success));
    scene.sight(seen(PipelineStatus::Running));
    scene.sight(failed(&[3]));
    assert_eq!(state(&scene), (Phase::Retrying, RetryState::Waiting, 0));
}

// ---- With cancelling -------------------------------------------------------------------------------------------

#[test]
fn a_run_that_is_to_be_cancelled_is_not_retried() {
    let mut waits = waiting();
    waits.cancel("1").step();
    assert_eq!((waits.phase(), waits.retries.len()), (Phase::Failed, 0));
    let mut runs = with_retries();
    runs.cancel("1").step();
    runs.sight(failed(&[1]));
    assert_eq!((runs.phase(), runs.retries.len()), (Phase::Failed, 0));
    let mut lost = sent();
    reply(&mut lost, Changed::Unknown { message: "reset".into() });
    lost.cancel("1").step();
    lost.wait(DELAY + 10).step();
    look(&mut lost, failed(&[1]));
    assert_eq!((lost.phase(), lost.retries.len()), (Phase::Failed, 1), "without effect, and not asked again");
}

#[test]
fn a_retry_that_was_asked_for_and_waits_when_the_run_is_cancelled_is_answered_anew() {
    let mut scene = ended_failed();
    scene.trigger.retry = Some("1".into());
    scene.step();
    look(&mut scene, failed(&[1]));
    let (reason, message, until) = (Reason::RateLimited, "429".to_owned(), scene.now);
    reply(&mut scene, Changed::NotNow { reason, message, until });
    assert_eq!((asked(&scene), scene.phase()), (Some(Answered::Retried), Phase::Retrying));
    scene.cancel("1").step();
    assert_eq!((asked(&scene), scene.phase()), (Some(Answered::Canceling), Phase::Failed));
}

#[test]
fn a_cancelled_pipeline_that_a_person_runs_again_is_not_cancelled_again() {
    let mut scene = Scene::running();
    scene.cancel("1").step();
    scene.sight(seen(PipelineStatus::Canceled));
    assert_eq!(scene.phase(), Phase::Canceled);
    let plan = scene.sight(seen(PipelineStatus::Running));
    assert_eq!((scene.phase(), scene.run().cancel_request()), (Phase::Running, None));
    assert!(!matches!(plan.effect, Effect::Cancel(_)), "{plan:?}");
}

#[test]
fn a_run_that_is_given_up_while_it_waits_to_be_retried_leaves_nobody_waiting() {
    // A change that replaces it.
    let mut scene = waiting();
    scene.edit(|spec| spec.concurrency_policy = ConcurrencyPolicy::Replace).step();
    let plan = scene.git_ref("develop").step();
    assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Failed, Some(0)), "{plan:?}");
    assert_eq!(fires(&scene.step()), Some(CauseKind::Change));

    // One that waits for its end, which the look before the retry shows.
    let mut scene = waiting();
    scene.git_ref("develop").step();
    scene.wait(60).step();
    let plan = look(&mut scene, seen(PipelineStatus::Success));
    assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Succeeded, Some(0)), "{plan:?}");
    assert_eq!(fires(&scene.step()), Some(CauseKind::Change));
}

#[test]
fn a_run_whose_timeout_passes_while_it_waits_to_be_retried_has_timed_out() {
    let mut scene = waiting();
    scene.edit(|spec| {
        spec.timeout = Some(Span::from_secs(30));
        spec.cancel_on_timeout = true;
    });
    scene.wait(30).step();
    assert_eq!(scene.phase(), Phase::TimedOut, "{:?}", scene.run());
}
