//! A status may hold anything: an older or newer operator wrote it, or a person did. Nothing panics, and a
//! POST still needs its record.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::scene::{
    Scene, accepted, failed, image_update, merge_request, not_sent, pipeline, refused, seen, unknown,
};
use crate::decide::image_update::Verdict;
use crate::decide::trigger::{
    Credentials, Effect, FINALIZER, Facts, FirstSight, RequestSight, UpdateKey, UpdateSeen,
};
use crate::domain::UpdateRecord;
use crate::domain::image_update::When;
use crate::domain::run::{CancelCause, HistoryEntry};
use crate::domain::status::{Answered, Handled, LastHandled, Waiting};
use crate::domain::{
    Answer, Attempt, AttemptKey, Changed, ConcurrencyPolicy, Deletion, DeletionPolicy, Digest, FireOn,
    LastAttempt, MergeRequestRecord, MergeRequestState, Phase, PipelineStatus, Reason, Retry, RetryKey,
    RetryPolicy, RetryState, Run, Sighting, Span, Stretch, TriggerStatus, UpdateState,
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

/// On the heap, as what is made of it: a test's stack is small.
fn run() -> BoxedStrategy<Run> {
    let cancel = prop::option::of((
        time(),
        prop::sample::select(vec![CancelCause::Action, CancelCause::Replace, CancelCause::Timeout]),
    ));
    let times = (time(), prop::option::of(time()), prop::option::of(time()), cancel);
    let tries =
        (prop::option::of(attempt()), prop::option::of(retry()), prop::collection::vec(update(), 0..4));
    (phase(), number(), digest(), value(), tries, times, any::<bool>())
        .prop_map(
            |(
                phase,
                seq,
                digest,
                request,
                (attempt, retry, image_updates),
                (intended_at, fired_at, finished_at, cancel),
                piped,
            )| {
                let mut scene = Scene::running();
                let template = *scene.trigger.status.run.take().unwrap();
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
                    retry,
                    pipeline,
                    image_updates,
                    ..template
                }
            },
        )
        .boxed()
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

fn deletions() -> impl Strategy<Value = Vec<Deletion>> {
    let parts = (number(), prop_oneof![0..3_u32, Just(u32::MAX)], prop::option::of(time()));
    let deletion =
        (run(), parts).prop_filter_map("a run with a pipeline", |(run, (pipeline_id, tries, next_at))| {
            Some(Deletion { pipeline_id, place: run.to_history().place?, tries, next_at })
        });
    prop::collection::vec(deletion, 0..3)
}

fn retry() -> impl Strategy<Value = Retry> {
    let states = [RetryState::Waiting, RetryState::Unknown, RetryState::Started, RetryState::Refused];
    let count = || prop_oneof![0..3_u32, Just(u32::MAX)];
    let times = (prop::option::of(time()), prop::option::of(time()));
    let ids = prop::collection::vec(0..4_u64, 0..3);
    let states = prop::sample::select(states.to_vec());
    (count(), states, times, (count(), count()), value(), ids).prop_map(
        |(count, state, (next_at, at), (tries, put_off), asked, job_ids)| Retry {
            count,
            state,
            next_at,
            job_ids,
            at,
            by: at.map(|_| "x".into()),
            tries,
            put_off,
            asked,
        },
    )
}

fn update() -> impl Strategy<Value = UpdateRecord> {
    let states = [
        UpdateState::Pending,
        UpdateState::Committing,
        UpdateState::Committed,
        UpdateState::Open,
        UpdateState::Merged,
        UpdateState::Closed,
        UpdateState::UpToDate,
        UpdateState::Superseded,
        UpdateState::Refused,
        UpdateState::DryRun,
        UpdateState::Canceled,
    ];
    let states = prop::sample::select(states.to_vec());
    let when = prop::sample::select(vec![When::Success, When::Always]);
    (states, when, prop::option::of(time()), prop::option::of(time()), any::<bool>()).prop_map(
        |(state, when, at, since, own)| UpdateRecord {
            state,
            at,
            since,
            by: own.then(|| "first".into()),
            reason: own.then_some(Reason::UpdateDelayed),
            merge_request: since.map(|since| MergeRequestRecord {
                iid: 7,
                web_url: None,
                branch: "bump".into(),
                since,
                auto_merge: own,
                merge_commit: None,
            }),
            ..UpdateRecord::of(&image_update(when, "v1"))
        },
    )
}

fn changed() -> impl Strategy<Value = Changed> {
    let not_now =
        time().prop_map(|until| Changed::NotNow { reason: Reason::ReadOnly, message: "later".into(), until });
    prop_oneof![
        Just(Changed::Done(None)),
        Just(Changed::Done(Some(pipeline(PipelineStatus::Running)))),
        Just(Changed::Gone),
        Just(Changed::Refused { reason: Reason::Forbidden, message: "no".into() }),
        not_now,
        Just(Changed::Unknown { message: "reset".into() }),
    ]
}

fn status() -> BoxedStrategy<TriggerStatus> {
    let observed = prop::option::of(prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX]));
    let parts = (
        observed,
        prop::option::of(digest()),
        prop::option::of(phase()),
        value(),
        prop::option::of(run()),
        (history(), deletions()),
        prop::option::of(waiting()),
    );
    parts
        .prop_map(
            |(observed_generation, decided_digest, phase, handled, run, (history, deletions), waiting)| {
                TriggerStatus {
                    observed_generation,
                    decided_digest,
                    phase,
                    message: None,
                    last_handled: LastHandled {
                        fire: handled.map(|value| Handled { value, answer: Answered::Fired }),
                        resolve: None,
                        cancel: None,
                        retry: None,
                    },
                    run: run.map(Box::new),
                    waiting,
                    history,
                    deletions,
                    conditions: vec![],
                }
            },
        )
        .boxed()
}

fn answer() -> impl Strategy<Value = Answer> {
    let throttled = time().prop_map(|until| Answer::Throttled {
        reason: Reason::ReadOnly,
        message: "later".into(),
        until,
    });
    prop_oneof![Just(accepted()), Just(refused()), Just(not_sent()), Just(unknown()), throttled]
}

fn facts() -> BoxedStrategy<(Facts, Option<Answer>)> {
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
        failed(&[]),
        failed(&[1]),
    ]);
    let looked_at = prop::option::of(sighting.clone());
    let lookup = prop::option::of(prop::sample::select(super::unknown::lookups()));
    let look = (lookup, prop::option::of(time()), prop::option::of(time()), looked_at, changed());
    (credentials, age, prop::option::of(time()), prop::option::of(sighting), prop::option::of(answer()), look)
        .prop_map(
            |(
                credentials,
                intent_age,
                budget_until,
                sighting,
                answer,
                (lookup, look_again, look_date, looked_at, changed),
            )| {
                // Filed under the run's own stretch, too.
                let nowhere = Stretch {
                    pipeline_id: 700,
                    retries: 0,
                    next_at: None,
                    retry_at: None,
                    resumed_at: None,
                    finished_at: None,
                };
                let sighting = sighting.map(|sighting| (nowhere, sighting));
                let nothing = RetryKey { fire_id: "".into(), at: Timestamp::UNIX_EPOCH, by: String::new() };
                // Filed under the run's own key once there is one.
                let nobody =
                    AttemptKey { fire_id: "".into(), count: 0, at: Timestamp::UNIX_EPOCH, by: String::new() };
                let lookup = lookup.map(|lookup| (nobody, lookup));
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
                    named: None,
                    cancel: None,
                    finding: None,
                    looked_at: looked_at.map(|seen| (700, seen)),
                    retried: Some((nothing, changed.clone())),
                    naming: Some((700, "n".into(), changed.clone())),
                    deleted: (0..3).map(|id| (id, 0, changed.clone())).collect(),
                    outputs: None,
                    updates: vec![],
                    requests: vec![],
                    requests_look_age: intent_age,
                    contended: BTreeMap::new(),
                };
                (facts, answer)
            },
        )
        .boxed()
}

fn queue() -> impl Strategy<Value = UpdateSeen> {
    prop::sample::select(vec![
        UpdateSeen::Held { given_up: false, trouble: None },
        UpdateSeen::Held { given_up: true, trouble: Some((Reason::SecretMissing, "missing".into())) },
        UpdateSeen::Settled(Verdict::Committed { commit: "c".into() }),
        UpdateSeen::Settled(Verdict::Refused { message: "no".into() }),
        UpdateSeen::Settled(Verdict::Absent),
        UpdateSeen::Settled(Verdict::Proposed {
            request: Box::new(merge_request(MergeRequestState::Opened)),
            source: "bump".parse().unwrap(),
            commit: None,
            auto_merge: true,
        }),
    ])
}

fn scene() -> impl Strategy<Value = Scene> {
    let mode = prop::sample::select(super::scene::MODES.to_vec());
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let queue = (queue(), queue());
    let states = [MergeRequestState::Opened, MergeRequestState::Merged, MergeRequestState::Closed];
    let request = prop::option::of(prop::sample::select(states.to_vec()));
    (mode, status(), facts(), value(), switches, 0..3_usize, (time(), time(), queue, request)).prop_map(
        |(
            mode,
            status,
            (facts, answer),
            fire,
            (hold, paused, suspend, broken, deleted, cancels),
            limit,
            (now, deleted_at, (first, second), request),
        )| {
            let seen_of_updates = [first, second];
            let mut scene = Scene::new(mode);
            scene.edit(|spec| {
                spec.history_limit = limit;
                spec.timeout = Some(Span::from_secs(if cancels { 1 } else { u64::MAX }));
                spec.cancel_on_timeout = cancels;
                if cancels {
                    spec.concurrency_policy = ConcurrencyPolicy::Replace;
                    spec.deletion_policy = DeletionPolicy::Cancel;
                }
                spec.retry = Some(RetryPolicy { limit: 2, backoff: Span::from_secs(u64::MAX) });
                spec.ttl_after_finished = Some(Span::from_secs(10));
                spec.history_deletes_pipelines = hold;
                let whens = [When::Always, When::Success];
                spec.image_updates =
                    whens.into_iter().take(limit).map(|when| image_update(when, "v1")).collect();
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
            scene.trigger.generated = true;
            scene.trigger.retry = Some(format!("{limit}"));
            scene.trigger.fire = fire;
            scene.trigger.status = status;
            scene.facts = facts;
            let run = scene.trigger.status.run.clone();
            let key = run.as_deref().and_then(Run::attempt_key);
            let stretch = run.as_deref().and_then(Run::stretch);
            scene.facts.sighting = scene.facts.sighting.take().zip(stretch).map(|((_, seen), of)| (of, seen));
            scene.facts.updates = (0..2)
                .filter_map(|entry| {
                    let at = run.as_deref()?.image_updates.get(entry)?.at?;
                    let key = UpdateKey { fire_id: run.as_deref()?.fire_id.clone(), entry, at };
                    Some((key, seen_of_updates[entry].clone()))
                })
                .collect();
            scene.facts.requests = request
                .map(|state| {
                    let request = Box::new(merge_request(state));
                    (0, 7, RequestSight::Seen { request, unarmed: Some("no".into()) })
                })
                .into_iter()
                .collect();
            let retry_key = run.as_deref().and_then(Run::retry_key);
            scene.facts.retried = scene.facts.retried.take().zip(retry_key).map(|((_, c), key)| (key, c));
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
        if let Effect::Retry(order) = &plan.effect {
            let run = plan.status.as_ref().and_then(|status| status.run.clone()).unwrap();
            prop_assert_eq!(run.retry_key(), Some(order.key.clone()));
            prop_assert_eq!((run.phase, run.retry.unwrap().state), (Phase::Retrying, RetryState::Unknown));
        }
        if let Effect::Update(order) = &plan.effect {
            let run = plan.status.as_ref().and_then(|status| status.run.clone()).unwrap();
            for entry in &order.entries {
                let record = &run.image_updates[entry.key.entry];
                prop_assert_eq!((record.state, record.at), (UpdateState::Committing, Some(entry.key.at)));
            }
        }
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
            let new = status.run.as_deref().filter(|new| before.run.as_deref().map(|b| &b.fire_id) != Some(&new.fire_id));
            prop_assert!(new.is_none_or(|new| past.max().is_none_or(|last| new.seq > last || last == u64::MAX)));
        }
    }
}
