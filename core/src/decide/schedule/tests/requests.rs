//! `pipekick.dev/fire` on a schedule.

use jiff::SignedDuration;

use super::*;
use crate::domain::status::Answered;

fn ask(world: &mut World, value: &str) {
    world.schedule.fire = Some(value.to_owned());
}

fn answered(world: &World) -> Option<(String, Answered)> {
    status(world).last_handled.fire.as_ref().map(|handled| (handled.value.clone(), handled.answer))
}

#[test]
fn a_request_runs_now_once_and_does_not_move_the_mark() {
    let mut world = world("0 * * * *", |_| {});
    ask(&mut world, "please");
    world.run_until(at("09:05")).unwrap();
    assert_eq!(fired(&world), ["asked"]);
    assert_eq!(world.ledger[0].1, request_name(&world.schedule.key.name, &world.schedule.uid, "please"));
    assert_eq!(answered(&world), Some(("please".into(), Answered::Fired)));
    assert_eq!((status(&world).last_handled_tick, status(&world).last_schedule_time), (None, None));
    world.down_until(at("09:50"));
    world.run_until(at("10:01")).unwrap();
    assert_eq!(fired(&world), ["asked", "10:00"]);
    ask(&mut world, "again");
    world.run_until(at("10:02")).unwrap();
    assert_eq!(fired(&world), ["asked", "10:00", "asked"]);
}

#[test]
fn a_request_that_stands_there_at_first_sight_is_recorded() {
    let mut schedule = schedule(spec("0 * * * *"));
    schedule.fire = Some("old".into());
    let mut world = World::new(schedule, at("09:00"), Span::from_secs(60));
    world.run_until(at("09:30")).unwrap();
    assert_eq!(fired(&world), [""; 0]);
    assert_eq!(answered(&world), Some(("old".into(), Answered::Recorded)));
}

#[test]
fn a_request_to_a_suspended_schedule_is_dropped() {
    let mut world = world("0 * * * *", |_| {});
    world.schedule.suspend = true;
    ask(&mut world, "please");
    world.run_until(at("09:05")).unwrap();
    world.schedule.suspend = false;
    world.run_until(at("09:06")).unwrap();
    assert_eq!(fired(&world), [""; 0]);
    assert_eq!(answered(&world), Some(("please".into(), Answered::Suspended)));
}

/// 09:20, and the run of 09:10 goes on until 09:40; then somebody asks.
fn busy(policy: ConcurrencyPolicy) -> World {
    let mut world = world("10 * * * *", |spec| spec.concurrency = policy);
    world.run_takes = Span::from_secs(1800);
    world.run_until(at("09:20")).unwrap();
    ask(&mut world, "please");
    world
}

#[test]
fn a_request_counts_for_the_concurrency_policy() {
    let mut world = busy(ConcurrencyPolicy::Allow);
    world.run_until(at("09:21")).unwrap();
    assert_eq!(fired(&world), ["09:10", "asked"]);

    let mut world = busy(ConcurrencyPolicy::Forbid);
    world.run_until(at("09:50")).unwrap();
    assert_eq!(fired(&world), ["09:10"]);
    assert_eq!(answered(&world), Some(("please".into(), Answered::Forbidden)));

    let mut world = busy(ConcurrencyPolicy::Queue);
    world.run_until(at("09:39")).unwrap();
    assert_eq!((fired(&world).len(), answered(&world)), (1, None));
    world.run_until(at("09:41")).unwrap();
    assert_eq!(fired(&world), ["09:10", "asked"]);

    let mut world = busy(ConcurrencyPolicy::Replace);
    world.run_until(at("09:21")).unwrap();
    assert_eq!(fired(&world), ["09:10", "asked"]);
    assert_eq!(answered(&world), Some(("please".into(), Answered::Fired)));
}

#[test]
fn a_run_that_was_asked_for_keeps_a_tick_waiting_like_any_other() {
    let mut world = world("10 * * * *", |spec| spec.concurrency = ConcurrencyPolicy::Forbid);
    ask(&mut world, "please");
    world.run_until(at("09:05")).unwrap();
    world.run_takes = Span::from_secs(60);
    ask(&mut world, "more");
    world.now = at("09:09");
    world.run_takes = Span::from_secs(300);
    world.run_until(at("09:11")).unwrap();
    assert_eq!(fired(&world), ["asked", "asked"]);
    assert_eq!(status(&world).missed.count, 1);
}

#[test]
fn a_request_is_fired_only_on_a_schedule_that_was_just_read() {
    let mut world = world("0 * * * *", |_| {});
    ask(&mut world, "please");
    let facts = Facts::default();
    let observed =
        Observed { now: world.now, paused: false, schedule: &world.schedule, children: &[], facts: &facts };
    assert_eq!(decide(&observed).effects, [Effect::Confirm]);
}

#[test]
fn a_tick_and_a_request_at_once_both_fire_where_both_may() {
    let mut world = world("0 * * * *", |_| {});
    world.now = at("10:00");
    ask(&mut world, "please");
    world.run_until(at("10:01")).unwrap();
    assert_eq!(fired(&world), ["10:00", "asked"]);
    assert_eq!(status(&world).last_handled_tick, Some(at("10:00")));
}

#[test]
fn the_process_may_die_anywhere_and_a_request_fires_once() {
    for point in 0..6 {
        let mut world = world("0 * * * *", |_| {});
        ask(&mut world, "please");
        world.dies_after = Some(point);
        let _ = world.turn();
        world.run_until(at("09:30")).unwrap();
        assert_eq!(fired(&world), ["asked"], "dies after {point}");
    }
}

/// A schedule whose runs take longer than it is from tick to tick, so that one always waits; then somebody asks.
fn crowded(policy: ConcurrencyPolicy) -> World {
    let mut world = world("*/10 * * * *", |spec| spec.concurrency = policy);
    world.run_takes = Span::from_secs(900);
    world.run_until(at("09:21")).unwrap();
    assert_eq!((fired(&world), status(&world).queued_tick), (vec!["09:10".to_owned()], Some(at("09:20"))));
    ask(&mut world, "please");
    world
}

#[test]
fn a_request_goes_before_the_tick_that_waits() {
    let mut world = crowded(ConcurrencyPolicy::Queue);
    world.run_until(at("09:24")).unwrap();
    assert_eq!(
        status(&world).message.as_deref(),
        Some("the run that pipekick.dev/fire asked for waits until the active run has ended")
    );
    world.run_until(at("09:26")).unwrap();
    assert_eq!(
        (fired(&world), answered(&world).unwrap().1),
        (vec!["09:10".to_owned(), "asked".into()], Answered::Fired)
    );
    assert_eq!(status(&world).queued_tick, Some(at("09:20")), "which waits on");
    world.run_until(at("09:41")).unwrap();
    assert_eq!(fired(&world), ["09:10", "asked", "09:30"], "the newer one took its place");
}

#[test]
fn under_replace_a_request_takes_the_place_of_the_tick_that_waits_and_is_not_replaced_by_it() {
    let mut world = world("*/10 * * * *", |spec| spec.concurrency = ConcurrencyPolicy::Replace);
    world.run_takes = Span::from_secs(900);
    world.run_until(at("09:19")).unwrap();
    world.now = at("09:20");
    world.turn().unwrap();
    assert_eq!(status(&world).queued_tick, Some(at("09:20")));
    ask(&mut world, "please");
    world.run_until(at("09:29")).unwrap();
    assert_eq!(
        (fired(&world), answered(&world).unwrap().1),
        (vec!["09:10".to_owned(), "asked".into()], Answered::Fired)
    );
    assert_eq!((status(&world).queued_tick, status(&world).missed.count), (None, 1));
    assert_eq!(world.children()[1].cancel, None);
    world.run_until(at("09:31")).unwrap();
    assert_eq!(fired(&world), ["09:10", "asked", "09:30"], "the next tick replaces it like any run");
}

#[test]
fn a_request_that_waits_is_answered_wherever_the_process_dies() {
    for policy in [ConcurrencyPolicy::Queue, ConcurrencyPolicy::Replace] {
        for point in 0..12 {
            let mut world = crowded_or_replacing(policy);
            world.dies_after = Some(point);
            for _ in 0..60 {
                world.now += SignedDuration::from_secs(10);
                let _ = world.turn();
            }
            world.run_until(at("09:59")).unwrap();
            assert_eq!(
                fired(&world).iter().filter(|what| *what == "asked").count(),
                1,
                "{policy:?}, {point}"
            );
            assert_eq!(answered(&world).unwrap().1, Answered::Fired, "{policy:?}, {point}");
        }
    }
}

fn crowded_or_replacing(policy: ConcurrencyPolicy) -> World {
    let mut world = world("*/10 * * * *", |spec| spec.concurrency = policy);
    world.run_takes = Span::from_secs(900);
    world.run_until(at("09:19")).unwrap();
    world.now = at("09:20");
    ask(&mut world, "please");
    world
}

#[test]
fn a_value_that_comes_back_says_that_its_run_was_before() {
    let mut world = world("0 * * * *", |_| {});
    for (time, value) in [("09:05", "one"), ("09:10", "two"), ("09:15", "one")] {
        ask(&mut world, value);
        world.run_until(at(time)).unwrap();
    }
    assert_eq!(fired(&world), ["asked", "asked"]);
    assert_eq!(answered(&world), Some(("one".into(), Answered::AlreadyRun)));
    assert_eq!(told(&world, "AlreadyRun"), 1);
    ask(&mut world, "three");
    world.run_until(at("09:20")).unwrap();
    assert_eq!((fired(&world).len(), answered(&world).unwrap().1), (3, Answered::Fired));
}

#[test]
fn a_request_that_came_with_a_spec_that_cannot_be_followed_is_recorded_and_one_asked_meanwhile_waits_for_the_mending()
 {
    let mut schedule = schedule(spec("0 * * * *"));
    let spec = std::mem::replace(&mut schedule.spec, Err(SpecProblem("schedule: no".into())));
    schedule.fire = Some("old".into());
    let mut world = World::new(schedule, at("09:00"), Span::from_secs(60));
    world.run_until(at("09:10")).unwrap();
    assert_eq!(answered(&world), Some(("old".into(), Answered::Recorded)));
    ask(&mut world, "new");
    world.run_until(at("09:20")).unwrap();
    world.schedule.spec = spec;
    world.schedule.generation += 1;
    world.run_until(at("09:30")).unwrap();
    assert_eq!(fired(&world), ["asked"]);
    assert_eq!(answered(&world), Some(("new".into(), Answered::Fired)));
}

/// Asks for `value` and lives on for a minute, or dies and lives on in another process.
fn asks(world: &mut World, value: &str, restart: bool) -> Answered {
    ask(world, value);
    let later = world.now + SignedDuration::from_secs(60);
    if restart {
        world.down_until(world.now);
    }
    world.run_until(later).unwrap();
    answered(world).unwrap().1
}

fn told_as_created(world: &World) -> usize {
    world.told.iter().filter(|note| note.reason == Reason::ChildCreated).count()
}

#[test]
fn a_value_that_comes_back_after_one_that_made_no_run_is_told_no_second_time() {
    for restart in [false, true] {
        let mut world = world("0 0 1 1 *", |spec| spec.concurrency = ConcurrencyPolicy::Forbid);
        assert_eq!(asks(&mut world, "one", restart), Answered::Fired);
        assert_eq!(asks(&mut world, "two", restart), Answered::Forbidden);
        assert_eq!(asks(&mut world, "one", restart), Answered::AlreadyRun);
        assert_eq!((fired(&world).len(), told_as_created(&world)), (1, 1), "restart: {restart}");
    }
}

#[test]
fn values_that_take_turns_are_told_once_each() {
    for restart in [false, true] {
        let mut world = world("0 0 1 1 *", |_| {});
        for value in ["now", "x2"] {
            assert_eq!(asks(&mut world, value, restart), Answered::Fired);
        }
        for value in ["now", "x2", "now", "x2"] {
            assert_eq!(asks(&mut world, value, restart), Answered::AlreadyRun, "{value}, restart: {restart}");
        }
        assert_eq!((fired(&world).len(), told_as_created(&world)), (2, 2), "restart: {restart}");
        assert_eq!(told(&world, "AlreadyRun"), 4);
    }
}

#[test]
fn a_used_value_on_a_suspended_schedule_is_told_no_second_time() {
    for restart in [false, true] {
        let mut world = world("0 0 1 1 *", |_| {});
        assert_eq!(asks(&mut world, "one", restart), Answered::Fired);
        world.schedule.suspend = true;
        assert_eq!(asks(&mut world, "two", restart), Answered::Suspended);
        assert_eq!(asks(&mut world, "one", restart), Answered::AlreadyRun);
        assert_eq!((fired(&world).len(), told_as_created(&world)), (1, 1), "restart: {restart}");
    }
}

#[test]
fn a_request_is_told_though_the_clock_went_back() {
    let mut world = world("0 0 1 1 *", |_| {});
    assert_eq!(asks(&mut world, "one", false), Answered::Fired);
    world.now = at("08:00");
    assert_eq!(asks(&mut world, "two", false), Answered::Fired);
    assert_eq!(asks(&mut world, "one", true), Answered::AlreadyRun);
    assert_eq!((fired(&world).len(), told_as_created(&world)), (2, 2));
}

#[test]
fn a_status_from_before_told_children_were_kept_goes_by_the_value_that_was_answered_last() {
    let mut world = world("0 0 1 1 *", |_| {});
    for value in ["one", "two"] {
        assert_eq!(asks(&mut world, value, false), Answered::Fired);
    }
    world.schedule.status.last_handled.asked = None;
    assert_eq!(asks(&mut world, "one", true), Answered::AlreadyRun);
    assert_eq!(asks(&mut world, "two", true), Answered::AlreadyRun);
    assert_eq!(asks(&mut world, "three", true), Answered::Fired);
}

#[test]
fn a_value_whose_child_is_gone_runs_again() {
    let mut world = world("0 0 1 1 *", |_| {});
    for value in ["one", "two"] {
        assert_eq!(asks(&mut world, value, false), Answered::Fired);
    }
    let name = world.ledger[0].1.clone();
    world.delete(&name);
    assert_eq!(asks(&mut world, "one", false), Answered::Fired);
    assert_eq!((fired(&world).len(), told_as_created(&world)), (3, 3));
}

#[test]
fn a_request_is_not_dropped_for_a_run_that_ended_and_was_not_heard_of() {
    let mut world = busy(ConcurrencyPolicy::Forbid);
    (world.hears_late, world.now) = (true, at("09:45"));
    world.facts.seen_running.clear();
    world.run_until(at("09:46")).unwrap();
    assert_eq!(fired(&world), ["09:10", "asked"]);
    assert_eq!(answered(&world), Some(("please".into(), Answered::Fired)));
}
