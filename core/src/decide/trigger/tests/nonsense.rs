//! A status may hold anything: an older or newer operator wrote it, or a person did. Nothing panics, and a
//! POST still needs its record.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::scene::{Scene, accepted, not_sent, refused, seen, unknown};
use crate::decide::trigger::{Credentials, Effect, FINALIZER, Facts, FirstSight};
use crate::domain::run::{CancelCause, HistoryEntry};
use crate::domain::status::{Answered, Handled, LastHandled, Waiting};
use crate::domain::{
    Answer, Attempt, AttemptKey, ConcurrencyPolicy, DeletionPolicy, Digest, FireOn, LastAttempt, Phase,
    PipelineStatus, Reason, Run, Sighting, Span, TriggerStatus,
};

const PHASES: [Phase; 16] = [
    Phase::Pending,
    Phase::Firing,
    Phase::Unknown,
    Phase::Running,
    Phase::Retrying,
    Phase::Succeeded,
    Phase::Fired,
    Phase::Failed,
    Phase::Canceled,
    Phase::Skipped,
    Phase::Rejected,
    Phase::Held,
    Phase::TimedOut,
    Phase::Superseded,
    Phase::Suspended,
    Phase::Idle,
];

fn phase() -> impl Strategy<Value = Phase> {
    prop::sample::select(PHASES.to_vec())
}

fn time() -> impl Strategy<Value = Timestamp> {
    let now = Scene::new(FireOn::Apply).now;
    let near = (-700..700_i64).prop_map(move |s| Timestamp::from_second(now.as_second() + s).unwrap());
    prop_oneof![4 => near, 1 => prop::sample::select(vec![Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX])]
}

fn digest() -> impl Strategy<Value = Digest> {
    let same = Scene::new(FireOn::Apply).trigger.firing.digest();
    prop_oneof![
        2 => Just(same),
        1 => prop::sample::select(vec!["", "v1:", "v1:0000", "v9:0000", ":"]).prop_map(Digest::from),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, Just(u64::MAX)]
}

fn value() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::sample::select(vec!["", "a", "b"]).prop_map(str::to_owned))
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let last = prop::sample::select(vec![
        LastAttempt::NotSent,
        LastAttempt::Refused,
        LastAttempt::Unknown,
        LastAttempt::Accepted,
    ]);
    let count = prop_oneof![0..70_u32, Just(u32::MAX)];
    let some_time = || prop::option::of(time());
    let times = (time(), some_time(), some_time(), some_time(), some_time());
    (count, last, times, any::<bool>(), any::<bool>()).prop_map(
        |(count, last, (at, next_at, absent_at, absent_at_gitlab, check_at), marked, unproven)| Attempt {
            count,
            last,
            at,
            by: "x".into(),
            next_at,
            absent_at,
            absent_at_gitlab,
            unproven,
            check_at,
            marked,
            trouble: None,
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    let cancel = prop::option::of((
        time(),
        prop::sample::select(vec![CancelCause::Action, CancelCause::Replace, CancelCause::Timeout]),
    ));
    let times = (time(), prop::option::of(time()), prop::option::of(time()), cancel);
    (phase(), number(), digest(), value(), prop::option::of(attempt()), times, any::<bool>()).prop_map(
        |(phase, seq, digest, request, attempt, (intended_at, fired_at, finished_at, cancel), piped)| {
            let mut scene = Scene::running();
            let template = scene.trigger.status.run.take().unwrap();
            let pipeline = template.pipeline.clone().filter(|_| piped);
            let (reason, message) = (None, None);
            Run {
                seq,
                digest,
                phase,
                request,
                reason,
                message,
                attempt,
                intended_at,
                fired_at,
                cancel_requested_at: cancel.map(|(at, _)| at),
                cancel_requested_by: cancel.map(|(_, by)| by),
                finished_at,
                pipeline,
                ..template
            }
        },
    )
}

fn history() -> impl Strategy<Value = Vec<HistoryEntry>> {
    let entry = run().prop_map(|run| run.to_history());
    prop::collection::vec(entry, 0..4)
}

fn waiting() -> impl Strategy<Value = Waiting> {
    let collapsed = prop::sample::select(vec![0, 1, u32::MAX]);
    (time(), prop::option::of(digest()), value(), collapsed)
        .prop_map(|(since, digest, request, collapsed)| Waiting { since, digest, request, collapsed })
}

fn status() -> impl Strategy<Value = TriggerStatus> {
    let observed = prop::option::of(prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX]));
    let parts = (
        observed,
        prop::option::of(digest()),
        prop::option::of(phase()),
        value(),
        prop::option::of(run()),
        history(),
        prop::option::of(waiting()),
    );
    parts.prop_map(|(observed_generation, decided_digest, phase, handled, run, history, waiting)| {
        TriggerStatus {
            observed_generation,
            decided_digest,
            phase,
            message: None,
            last_handled: LastHandled {
                fire: handled.map(|value| Handled { value, answer: Answered::Fired }),
                resolve: None,
                cancel: None,
            },
            run,
            waiting,
            history,
            conditions: vec![],
        }
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let throttled = time().prop_map(|until| Answer::Throttled {
        reason: Reason::ReadOnly,
        message: "later".into(),
        until,
    });
    prop_oneof![Just(accepted()), Just(refused()), Just(not_sent()), Just(unknown()), throttled]
}

fn facts() -> impl Strategy<Value = (Facts, Option<Answer>)> {
    let credentials = prop_oneof![
        Just(Credentials::Unread),
        Just(Credentials::Ready),
        Just(Credentials::Refused { reason: Reason::Refused, message: "too old".into() }),
        time().prop_map(|look_again| Credentials::Missing {
            reason: Reason::SecretMissing,
            message: "missing".into(),
            look_again
        }),
    ];
    let age = prop::option::of(prop::sample::select(vec![0, 29, 30, u64::MAX]).prop_map(Duration::from_secs));
    let sighting = prop::sample::select(vec![
        seen(PipelineStatus::Success),
        seen(PipelineStatus::Manual),
        Sighting::Gone,
    ]);
    let lookup = prop::option::of(prop::sample::select(super::unknown::lookups()));
    let look = (lookup, prop::option::of(time()), prop::option::of(time()));
    (credentials, age, prop::option::of(time()), prop::option::of(sighting), prop::option::of(answer()), look)
        .prop_map(
            |(credentials, intent_age, budget_until, sighting, answer, (lookup, look_again, look_date))| {
                let sighting = sighting.map(|sighting| (700, sighting));
                // Filed under the run's own key once there is one.
                let nobody =
                    AttemptKey { fire_id: "".into(), count: 0, at: Timestamp::UNIX_EPOCH, by: String::new() };
                let lookup = lookup.map(|lookup| (nobody, lookup));
                let named = None;
                let facts = Facts {
                    answers: vec![],
                    intent_age,
                    credentials,
                    budget_until,
                    sighting,
                    lookup,
                    look_again,
                    look_took: Duration::ZERO,
                    look_date,
                    gitlab_now: look_date,
                    named,
                    cancel: None,
                    finding: None,
                };
                (facts, answer)
            },
        )
}

fn scene() -> impl Strategy<Value = Scene> {
    let mode = prop::sample::select(super::scene::MODES.to_vec());
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (mode, status(), facts(), value(), switches, 0..3_usize, (time(), time())).prop_map(
        |(
            mode,
            status,
            (facts, answer),
            fire,
            (hold, paused, suspend, broken, deleted, cancels),
            limit,
            (now, deleted_at),
        )| {
            let mut scene = Scene::new(mode);
            scene.edit(|spec| {
                spec.history_limit = limit;
                spec.timeout = Some(Span::from_secs(if cancels { 1 } else { u64::MAX }));
                spec.cancel_on_timeout = cancels;
                if cancels {
                    spec.concurrency_policy = ConcurrencyPolicy::Replace;
                    spec.deletion_policy = DeletionPolicy::Cancel;
                }
            });
            scene.trigger.suspend = suspend;
            if broken {
                scene.break_spec();
            }
            scene.now = now;
            scene.policy.paused = paused;
            scene.policy.first_sight = if hold { FirstSight::Hold } else { FirstSight::Fire };
            scene.trigger.deleted_at = deleted.then_some(deleted_at);
            scene.trigger.finalizers = if cancels { vec![FINALIZER.into()] } else { vec![] };
            scene.trigger.cancel = fire.as_ref().map(|_| limit.to_string());
            scene.trigger.fire = fire;
            scene.trigger.status = status;
            scene.facts = facts;
            let key = scene.trigger.status.run.as_ref().and_then(Run::attempt_key);
            scene.facts.lookup =
                scene.facts.lookup.take().zip(key.clone()).map(|((_, lookup), key)| (key, lookup));
            scene.facts.answers = key.into_iter().zip(answer).collect::<Vec<(AttemptKey, Answer)>>();
            scene
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_no_post_goes_unrecorded(mut scene in scene()) {
        let before = scene.trigger.status.clone();
        let plan = scene.step();
        if let Effect::Fire(order) = plan.effect {
            let run = plan.status.as_ref().and_then(|status| status.run.clone()).unwrap();
            prop_assert_eq!(run.attempt_key(), Some(order.key));
            prop_assert_eq!((run.phase, run.attempt.unwrap().last), (Phase::Firing, LastAttempt::Unknown));
            let looked = scene.facts.lookup.is_some();
            let undecided = before.active_run().is_some_and(|run| {
                matches!(run.phase, Phase::Unknown | Phase::Firing) && scene.facts.answers.is_empty() && !looked
            });
            prop_assert!(!undecided, "fired beside an outcome that is not known");
        }
        if let Some(status) = &plan.status {
            let past = before.run.iter().map(|run| run.seq).chain(before.history.iter().map(|entry| entry.seq));
            let new = status.run.as_ref().filter(|new| before.run.as_ref().map(|b| &b.fire_id) != Some(&new.fire_id));
            prop_assert!(new.is_none_or(|new| past.max().is_none_or(|last| new.seq > last || last == u64::MAX)));
        }
    }
}
