//! What becomes of a due tick: concurrencyPolicy, names that are taken, creates that are refused, and crashes.

use std::collections::BTreeMap;

use super::*;

/// A schedule every ten minutes whose runs take fifteen.
fn slow(policy: ConcurrencyPolicy) -> World {
    let mut world = world("*/10 * * * *", |spec| spec.concurrency = policy);
    world.run_takes = Span::from_secs(900);
    world
}

#[test]
fn allow_fires_beside_the_active_run() {
    let mut world = slow(ConcurrencyPolicy::Allow);
    world.run_until(at("09:31")).unwrap();
    assert_eq!(fired(&world), ["09:10", "09:20", "09:30"]);
    assert_eq!((status(&world).active.len(), status(&world).active_count), (2, Some(2)));
    edit(&mut world, |spec| spec.concurrency = ConcurrencyPolicy::Forbid);
    world.schedule.suspend = true;
    world.run_until(at("10:30")).unwrap();
    assert_eq!((status(&world).active.len(), status(&world).active_count), (0, None));
}

#[test]
fn forbid_drops_the_tick_and_counts_it_and_does_not_start_it_late() {
    let mut world = slow(ConcurrencyPolicy::Forbid);
    world.run_until(at("09:29")).unwrap();
    assert_eq!(fired(&world), ["09:10"], "the run ended at 09:25");
    assert_eq!((status(&world).missed.count, status(&world).missed.last), (1, Some(at("09:20"))));
    assert_eq!(told(&world, "StillActive"), 1);
    world.run_until(at("09:31")).unwrap();
    assert_eq!(fired(&world), ["09:10", "09:30"]);
}

#[test]
fn queue_fires_when_the_active_run_ends() {
    let mut world = slow(ConcurrencyPolicy::Queue);
    world.run_until(at("09:24")).unwrap();
    assert_eq!(status(&world).queued_tick, Some(at("09:20")));
    assert_eq!(fired(&world), ["09:10"]);
    world.run_until(at("09:25")).unwrap();
    assert_eq!(fired(&world), ["09:10", "09:20"]);
    assert_eq!((status(&world).queued_tick, status(&world).missed.count), (None, 0));
    assert_eq!(status(&world).last_schedule_time, Some(at("09:20")));
}

#[test]
fn at_most_one_tick_waits_and_the_newest_takes_the_place() {
    let mut world = slow(ConcurrencyPolicy::Queue);
    world.run_takes = Span::from_secs(2_100);
    world.run_until(at("09:46")).unwrap();
    assert_eq!(fired(&world), ["09:10", "09:40"]);
    assert_eq!((status(&world).missed.count, status(&world).missed.last), (2, Some(at("09:30"))));
}

#[test]
fn a_queued_tick_whose_deadline_has_passed_is_dropped() {
    let mut world = slow(ConcurrencyPolicy::Queue);
    edit(&mut world, |spec| spec.starting_deadline = Some(Span::from_secs(240)));
    world.run_until(at("09:25")).unwrap();
    assert_eq!(fired(&world), ["09:10"]);
    assert_eq!((status(&world).queued_tick, status(&world).missed.count), (None, 1));
}

#[test]
fn a_restart_forgets_no_queued_tick() {
    let mut world = slow(ConcurrencyPolicy::Queue);
    world.run_until(at("09:21")).unwrap();
    world.down_until(at("09:29"));
    world.run_until(at("2026-11-02T09:29:30Z")).unwrap();
    assert_eq!(fired(&world), ["09:10", "09:20"]);
}

#[test]
fn an_edit_or_a_suspension_drops_what_waits() {
    let mut world = slow(ConcurrencyPolicy::Queue);
    world.run_until(at("09:21")).unwrap();
    world.schedule.suspend = true;
    world.run_until(at("09:22")).unwrap();
    world.schedule.suspend = false;
    world.run_until(at("09:29")).unwrap();
    assert_eq!(fired(&world), ["09:10"]);
    assert_eq!(status(&world).missed.count, 1);
}

#[test]
fn replace_cancels_the_active_run_and_fires_when_it_has_ended() {
    let mut world = slow(ConcurrencyPolicy::Replace);
    world.run_until(at("09:20")).unwrap();
    assert_eq!(status(&world).queued_tick, Some(at("09:20")), "written before anything is cancelled");
    assert_eq!(world.children()[0].cancel.as_deref(), Some("1"));
    assert_eq!(fired(&world), ["09:10"]);
    world.run_until(at("2026-11-02T09:20:10Z")).unwrap();
    assert_eq!(fired(&world), ["09:10", "09:20"]);
    assert_eq!(status(&world).missed.count, 0);
}

#[test]
fn a_child_that_is_being_deleted_is_not_asked_to_cancel() {
    let mut world = slow(ConcurrencyPolicy::Replace);
    world.run_until(at("09:19")).unwrap();
    for being_deleted in [false, true] {
        let mut children = world.children();
        children[0].being_deleted = being_deleted;
        let plan = look(&world.schedule, at("09:20"), &children, &heard(&children, "09:20"));
        let asked = plan.effects.iter().filter(|effect| matches!(effect, Effect::Cancel { .. })).count();
        assert_eq!(
            (asked, plan.status.unwrap().queued_tick),
            (usize::from(!being_deleted), Some(at("09:20")))
        );
    }
}

/// The first child was found under way then.
fn heard(children: &[Child], moment: &str) -> Facts {
    let seen_running = BTreeMap::from([(children[0].name.clone(), at(moment))]);
    Facts { seen_running, ..Facts::default() }
}

/// What is decided about `schedule` when the watch shows `children`.
fn look(schedule: &Schedule, now: Timestamp, children: &[Child], facts: &Facts) -> Plan {
    decide(&Observed { now, paused: false, schedule, children, facts })
}

#[test]
fn replace_waits_a_bounded_time_for_a_run_that_does_not_end() {
    let mut world = slow(ConcurrencyPolicy::Replace);
    world.run_until(at("09:20")).unwrap();
    let children = world.children();
    let plan = look(&world.schedule, at("09:24"), &children, &Facts::default());
    assert_eq!((plan.status, plan.effects), (None, vec![]), "asked once");
    assert_eq!(plan.wake, Some(at("09:25")));
    let plan = look(&world.schedule, at("09:25"), &children, &Facts::default());
    let status = plan.status.unwrap();
    assert_eq!((status.queued_tick, status.missed.count), (None, 1));
    assert_eq!(plan.events[0].note.reason, Reason::TicksMissed);
}

#[test]
fn a_child_that_cannot_be_followed_counts_as_ended() {
    for policy in [ConcurrencyPolicy::Forbid, ConcurrencyPolicy::Queue, ConcurrencyPolicy::Replace] {
        let mut world = slow(policy);
        world.run_until(at("09:10")).unwrap();
        let mut children = world.children();
        children[0].phase = Some(Phase::Fired);
        let plan = look(&world.schedule, at("09:20"), &children, &Facts::default());
        assert!(matches!(&plan.effects[..], [Effect::Create(_)]), "{policy:?}");
    }
}

fn tried(outcome: Creation, first_at: &str, last_at: &str, times: u32) -> Facts {
    Facts {
        fresh: true,
        creations: vec![Created {
            name: child_name("nightly", at("10:00")),
            tick: Some(at("10:00")),
            generation: 1,
            first_at: at(first_at),
            at: at(last_at),
            times,
            outcome,
        }],
        ..Facts::default()
    }
}

fn stands(plan: &Plan) -> (String, Vec<(String, String)>) {
    let status = plan.status.as_ref().unwrap();
    let conditions = status.conditions.iter().map(|c| (c.kind.clone(), c.reason.clone())).collect();
    (status.message.clone().unwrap(), conditions)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn a_child_that_exists_and_is_ours_is_done() {
    let world = world("0 * * * *", |_| {});
    let facts = tried(Creation::Ours { uid: "c1".into() }, "10:00", "10:00", 1);
    let plan = look(&world.schedule, at("10:00"), &[], &facts);
    let status = plan.status.unwrap();
    assert_eq!(status.last_handled_tick, Some(at("10:00")));
    assert_eq!(plan.effects, []);
}

#[test]
fn a_child_of_an_earlier_schedule_is_waited_for_and_told() {
    let world = world("0 * * * *", |_| {});
    let facts = tried(Creation::Earlier, "10:00", "10:00", 1);
    let plan = look(&world.schedule, at("2026-11-02T10:00:01Z"), &[], &facts);
    let (message, conditions) = stands(&plan);
    assert!(
        message.starts_with("waits for nightly-hsq0o of an earlier schedule of this name to go"),
        "{message}"
    );
    assert_eq!(conditions, pairs(&[("Ready", "NameNotFree"), ("Reconciling", "NameNotFree")]));
    assert_eq!(plan.wake, Some(at("2026-11-02T10:00:05Z")));
    assert_eq!(plan.status.unwrap().last_handled_tick, None, "nothing is lost yet");
    let plan = look(&world.schedule, at("2026-11-02T10:00:05Z"), &[], &facts);
    assert!(matches!(&plan.effects[..], [Effect::Create(_)]), "tried again");
}

#[test]
fn the_wait_for_an_earlier_schedules_child_is_bounded() {
    let world = world("0 * * * *", |_| {});
    let facts = tried(Creation::Earlier, "10:00", "10:04", 40);
    let plan = look(&world.schedule, at("10:05"), &[], &facts);
    let status = plan.status.unwrap();
    assert_eq!((status.last_handled_tick, status.missed.count), (Some(at("10:00")), 1));
    assert_eq!(plan.events[0].note.reason, Reason::NameTaken);
}

#[test]
fn a_child_of_anything_else_is_never_adopted_and_stalls() {
    let world = world("0 * * * *", |_| {});
    let facts = tried(Creation::Stranger, "10:00", "10:00", 1);
    let plan = look(&world.schedule, at("2026-11-02T10:00:01Z"), &[], &facts);
    let (_, conditions) = stands(&plan);
    assert_eq!(conditions, pairs(&[("Ready", "NameTaken"), ("Stalled", "NameTaken")]));
    assert_eq!(plan.wake, Some(at("10:01")));
    // The next tick has another name.
    let plan = look(&world.schedule, at("11:00"), &[], &facts);
    let Effect::Create(order) = &plan.effects[0] else { panic!("{:?}", plan.effects) };
    assert_eq!(order.name, child_name("nightly", at("11:00")));
}

#[test]
fn a_foreign_object_with_our_label_is_no_child_of_ours() {
    let mut world = slow(ConcurrencyPolicy::Forbid);
    world.run_until(at("09:10")).unwrap();
    let mut children = world.children();
    children[0].owner = ChildOwner::Schedule { name: "nightly".into(), uid: "u0".into() };
    let plan = look(&world.schedule, at("09:20"), &children, &Facts::default());
    assert!(matches!(&plan.effects[..], [Effect::Create(_)]), "{:?}", plan.effects);
    children[0].owner = ChildOwner::Other;
    let plan = look(&world.schedule, at("09:20"), &children, &Facts::default());
    assert!(matches!(&plan.effects[..], [Effect::Create(_)]), "{:?}", plan.effects);
}

#[test]
fn a_create_that_is_refused_is_tried_again_ever_later() {
    let world = world("0 * * * *", |_| {});
    for (times, again) in [(1, "2026-11-02T10:00:05Z"), (2, "2026-11-02T10:00:10Z"), (9, "10:01")] {
        let refused = Creation::Refused { message: "exceeded quota".into() };
        let facts = tried(refused, "10:00", "10:00", times);
        let plan = look(&world.schedule, at("2026-11-02T10:00:01Z"), &[], &facts);
        let (message, conditions) = stands(&plan);
        assert_eq!(message, "the API server refused to create nightly-hsq0o: exceeded quota");
        assert_eq!(conditions, pairs(&[("Ready", "ChildRefused"), ("Reconciling", "ChildRefused")]));
        assert_eq!(plan.wake, Some(at(again)));
    }
}

#[test]
fn a_stretch_of_refusals_is_told_when_it_begins_and_gives_its_reason_when_it_ends() {
    let mut world = world("* * * * *", |_| {});
    world.refuses = Some("exceeded quota".into());
    world.run_until(at("2026-11-02T09:10:30Z")).unwrap();
    assert_eq!((fired(&world).len(), told(&world, "ChildRefused")), (0, 1), "once, and not for each try");
    let first = world.told.iter().find(|note| note.reason == Reason::ChildRefused).unwrap();
    assert!(first.warning && first.message.ends_with(": exceeded quota"), "{first:?}");
    world.refuses = None;
    world.run_until(at("09:12")).unwrap();
    let missed = world.log.iter().find(|line| line.what == "TicksMissed").unwrap();
    assert_eq!(
        missed.message,
        format!(
            "9 ticks were missed, the last at 2026-11-02T09:09:00Z: the API server refused to create {}: exceeded quota; missedRuns is Latest",
            child_name("nightly", at("09:09"))
        )
    );
    world.refuses = Some("exceeded quota".into());
    world.run_until(at("09:15")).unwrap();
    assert_eq!(told(&world, "ChildRefused"), 2, "another stretch");
    world.down_until(at("09:16"));
    world.run_until(at("09:20")).unwrap();
    assert_eq!(told(&world, "ChildRefused"), 2, "a restart begins none");
}

#[test]
fn a_refused_child_is_tried_again_as_soon_as_spec_is_edited() {
    let mut world = world("0 * * * *", |_| {});
    world.refuses = Some("labels: Invalid value".into());
    world.run_until(at("2026-11-02T10:10:01Z")).unwrap();
    world.refuses = None;
    world.turn().unwrap();
    assert_eq!(fired(&world), [""; 0], "not before its time");
    edit(&mut world, |_| {});
    world.turn().unwrap();
    assert_eq!(fired(&world), ["10:00"]);
}

#[test]
fn only_one_child_comes_of_a_tick_wherever_the_process_dies() {
    for policy in [
        ConcurrencyPolicy::Allow,
        ConcurrencyPolicy::Forbid,
        ConcurrencyPolicy::Queue,
        ConcurrencyPolicy::Replace,
    ] {
        let undisturbed = {
            let mut world = slow(policy);
            world.run_until(at("10:01")).unwrap();
            fired(&world)
        };
        for point in 0..12 {
            let mut world = slow(policy);
            for minute in 0..=60 {
                let now = at("09:00") + SignedDuration::from_mins(minute);
                world.run_until(now).unwrap();
                if minute == 9 {
                    world.dies_after = Some(point);
                    world.now = at("09:10");
                    while world.turn().is_ok() && world.dies_after.is_some() && world.now < at("09:30") {
                        world.now += SignedDuration::from_secs(10);
                    }
                    world.dies_after = None;
                }
            }
            world.run_until(at("10:01")).unwrap();
            assert_eq!(fired(&world), undisturbed, "{policy:?}, dies after {point}");
        }
    }
}

#[test]
fn a_tick_that_was_handled_does_not_fire_again_because_its_child_was_deleted() {
    let mut world = world("0 * * * *", |_| {});
    world.run_until(at("10:10")).unwrap();
    let name = world.children()[0].name.clone();
    world.delete(&name);
    world.down_until(at("10:20"));
    world.run_until(at("10:30")).unwrap();
    assert_eq!(fired(&world), ["10:00"]);
}

#[test]
fn a_late_tick_is_fired_only_on_a_schedule_that_was_just_read() {
    let world = world("0 * * * *", |_| {});
    let stale = Facts::default();
    let fresh = Facts { fresh: true, ..Facts::default() };
    let on_time = at("2026-11-02T10:00:10Z");
    let late = at("2026-11-02T10:00:11Z");
    assert!(matches!(&look(&world.schedule, on_time, &[], &stale).effects[..], [Effect::Create(_)]));
    assert_eq!(look(&world.schedule, late, &[], &stale).effects, [Effect::Confirm]);
    assert!(matches!(&look(&world.schedule, late, &[], &fresh).effects[..], [Effect::Create(_)]));
}

#[test]
fn a_child_that_the_watch_has_not_shown_yet_is_active_all_the_same() {
    let mut world = slow(ConcurrencyPolicy::Forbid);
    world.schedule.status.last_handled_tick = Some(at("10:00"));
    let facts = tried(Creation::Made { uid: "c1".into() }, "10:00", "10:00", 1);
    let plan = look(&world.schedule, at("10:10"), &[], &facts);
    let status = plan.status.unwrap();
    assert_eq!((status.missed.count, status.active.len()), (1, 1));
}

#[test]
fn a_name_that_is_taken_keeps_its_tick_waiting_until_the_next_has_come_and_no_other() {
    for missed_runs in [MissedRuns::Latest, MissedRuns::Skip, MissedRuns::All { max_catch_up: 10 }] {
        let world = world("0 * * * *", |spec| spec.missed_runs = missed_runs);
        let facts = tried(Creation::Stranger, "10:00", "10:59", 60);
        let plan = look(&world.schedule, at("11:00"), &[], &facts);
        let Effect::Create(order) = &plan.effects[0] else { panic!("{:?}", plan.effects) };
        assert_eq!(order.name, child_name("nightly", at("11:00")), "{missed_runs:?}");
        let mut facts = facts;
        facts.creations.push(Created {
            name: child_name("nightly", at("11:00")),
            tick: Some(at("11:00")),
            generation: 1,
            first_at: at("11:00"),
            at: at("11:00"),
            times: 1,
            outcome: Creation::Made { uid: "c2".into() },
        });
        let plan = look(&world.schedule, at("11:00"), &[], &facts);
        let reasons: Vec<Reason> = plan.events.iter().map(|event| event.note.reason).collect();
        assert!(
            plan.events[0].note.message.contains("no schedule of this name controls"),
            "{:?}",
            plan.events
        );
        assert_eq!(reasons, [Reason::NameTaken, Reason::ChildCreated], "{missed_runs:?}");
        let status = plan.status.unwrap();
        assert_eq!((status.last_handled_tick, status.missed.count), (Some(at("11:00")), 1));
        assert_eq!(status.missed.last, Some(at("10:00")));
    }
}

#[test]
fn the_run_that_is_cancelled_is_the_one_that_the_child_is_at() {
    let mut world = slow(ConcurrencyPolicy::Replace);
    world.run_until(at("09:19")).unwrap();
    let mut children = world.children();
    children[0].run_seq = Some(3);
    let plan = look(&world.schedule, at("09:20"), &children, &heard(&children, "09:20"));
    assert_eq!(plan.effects, [Effect::Cancel { name: children[0].name.clone(), value: "3".into() }]);
}

/// All of them fire in their order, so none before one that cannot yet.
#[test]
fn of_several_ticks_none_overtakes_one_whose_child_is_refused() {
    let world = world("*/10 * * * *", |spec| {
        spec.concurrency = ConcurrencyPolicy::Allow;
        spec.missed_runs = MissedRuns::All { max_catch_up: 10 };
    });
    let now = at("2026-11-02T09:31:00Z");
    let ordered = |facts: &Facts| look(&world.schedule, now, &[], facts).effects.len();
    assert_eq!(ordered(&Facts { fresh: true, ..Facts::default() }), 3);
    let mut refused = tried(
        Creation::Refused { message: "exceeded quota".into() },
        "2026-11-02T09:30:59Z",
        "2026-11-02T09:30:59Z",
        1,
    );
    let (name, tick) = (child_name("nightly", at("09:10")), Some(at("09:10")));
    refused.creations[0] = Created { name, tick, ..refused.creations[0].clone() };
    assert_eq!(ordered(&refused), 0);
}

#[test]
fn a_queued_tick_whose_child_is_refused_gives_its_place_to_the_next() {
    let mut world = slow(ConcurrencyPolicy::Queue);
    world.run_until(at("09:24")).unwrap();
    assert_eq!(status(&world).queued_tick, Some(at("09:20")));
    let facts = Facts {
        fresh: true,
        creations: vec![Created {
            name: child_name("nightly", at("09:20")),
            tick: Some(at("09:20")),
            generation: 1,
            first_at: at("09:25"),
            at: at("2026-11-02T09:29:30Z"),
            times: 9,
            outcome: Creation::Refused { message: "exceeded quota".into() },
        }],
        ..Facts::default()
    };
    let plan = look(&world.schedule, at("2026-11-02T09:30:01Z"), &[], &facts);
    let status = plan.status.unwrap();
    assert_eq!((status.queued_tick, status.missed.count), (Some(at("09:30")), 1), "one waits, the newest");
    assert_eq!(plan.effects, []);
}

#[test]
fn a_child_that_waited_does_not_set_the_last_tick_back() {
    let mut world = slow(ConcurrencyPolicy::Queue);
    world.run_until(at("09:24")).unwrap();
    world.schedule.status.last_schedule_time = Some(at("09:40"));
    world.run_until(at("09:26")).unwrap();
    assert_eq!(fired(&world), ["09:10", "09:20"]);
    assert_eq!(status(&world).last_schedule_time, Some(at("09:40")));
}

#[test]
fn a_child_of_a_tick_to_come_does_not_move_the_mark() {
    let mut world = world("0 * * * *", |_| {});
    world.run_until(at("10:01")).unwrap();
    // The clock went back, or it was ahead when the child was made.
    let children = world.children();
    world.schedule.status.last_handled_tick = None;
    let plan = look(&world.schedule, at("09:30"), &children, &Facts::default());
    assert_eq!(plan.status.and_then(|status| status.last_handled_tick), None);
}

/// As it is after a restart, and between two looks.
#[test]
fn a_run_that_ended_and_was_not_heard_of_keeps_no_tick_from_firing() {
    for policy in [ConcurrencyPolicy::Forbid, ConcurrencyPolicy::Queue, ConcurrencyPolicy::Replace] {
        let mut world = slow(policy);
        (world.hears_late, world.run_takes) = (true, Span::from_secs(540));
        world.run_until(at("09:21")).unwrap();
        assert_eq!(
            (fired(&world), status(&world).missed.count),
            (vec!["09:10".into(), "09:20".into()], 0),
            "{policy:?}"
        );
        assert_eq!(told(&world, "RunReplaced") + told(&world, "TickQueued"), 0, "{policy:?}");
    }
    let mut world = slow(ConcurrencyPolicy::Forbid);
    world.hears_late = true;
    world.run_until(at("09:11")).unwrap();
    world.down_until(at("09:27"));
    world.run_until(at("09:28")).unwrap();
    assert_eq!(fired(&world), ["09:10", "09:20"]);
    // One that is under way is looked at, and then the tick is dropped.
    world.run_until(at("09:31")).unwrap();
    assert_eq!((fired(&world).len(), status(&world).missed.count), (2, 1));
}

#[test]
fn a_tick_waits_half_a_minute_for_a_look_and_none_is_taken_for_what_is_known() {
    let mut world = slow(ConcurrencyPolicy::Forbid);
    world.run_until(at("09:19")).unwrap();
    let (schedule, children) = (&world.schedule, world.children());
    let nobody_looked = heard(&children, "2026-11-02T09:19:59Z");
    let plan = look(schedule, at("09:20"), &children, &nobody_looked);
    assert_eq!(plan.effects, [Effect::Look { name: children[0].name.clone() }]);
    assert_eq!((plan.status, plan.wake), (None, Some(at("2026-11-02T09:20:01Z"))));
    assert!(!plan.can_wait);

    let waits = Facts { looking_since: Some(at("09:20")), ..nobody_looked.clone() };
    let last = look(schedule, at("2026-11-02T09:20:29.5Z"), &children, &waits);
    assert_eq!((last.effects.len(), last.wake), (1, Some(at("2026-11-02T09:20:30Z"))));
    let over = look(schedule, at("2026-11-02T09:20:30Z"), &children, &waits);
    assert_eq!((over.effects.len(), over.status.unwrap().missed.count), (0, 1));

    assert_eq!(
        look(schedule, at("09:20"), &children, &heard(&children, "09:20")).status.unwrap().missed.count,
        1
    );
    // It has no pipeline yet: nothing could tell that it ended.
    for phase in [None, Some(Phase::Firing), Some(Phase::Unknown), Some(Phase::Retrying)] {
        let mut children = children.clone();
        children[0].phase = phase;
        let plan = look(schedule, at("09:20"), &children, &nobody_looked);
        assert_eq!(plan.status.unwrap().missed.count, 1, "{phase:?}");
    }
}
