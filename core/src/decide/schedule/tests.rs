//! What becomes of a tick: sentences, each judged by the ledger of children that were ever created.

mod catching_up;
mod crowds;
mod history;
mod policies;
mod requests;
mod walk;

use jiff::Timestamp;

use super::*;
use crate::domain::schedule::{Clock, ConcurrencyPolicy, Dst, HashKey, MissedRuns, Pattern, Zone};
use crate::domain::{ObjectKey, Phase, Span, SpecProblem};
use crate::simulation::World;

fn at(text: &str) -> Timestamp {
    let text = if text.len() == 5 { format!("2026-11-02T{text}:00Z") } else { text.to_owned() };
    text.parse().unwrap()
}

fn spec(pattern: &str) -> ScheduleSpec {
    ScheduleSpec {
        clock: Clock {
            patterns: vec![Pattern::parse(pattern, Some(&HashKey::new("shop", "nightly"))).unwrap()],
            zone: Zone::utc(),
            dst: Dst::default(),
            anchor: at("09:00"),
        },
        jitter: Span::from_secs(0),
        starting_deadline: None,
        missed_runs: MissedRuns::Latest,
        concurrency: ConcurrencyPolicy::Allow,
        successful_limit: 3,
        failed_limit: 3,
    }
}

fn schedule(spec: ScheduleSpec) -> Schedule {
    Schedule {
        key: ObjectKey { namespace: "shop".into(), name: "nightly".into() },
        uid: "u1".into(),
        generation: 1,
        created: at("09:00"),
        being_deleted: false,
        fire: None,
        suspend: false,
        spec: Ok(spec),
        status: ScheduleStatus::default(),
    }
}

/// A schedule of this pattern, created and seen at 09:00; runs take five minutes.
fn world(pattern: &str, change: impl FnOnce(&mut ScheduleSpec)) -> World {
    let mut spec = spec(pattern);
    change(&mut spec);
    let mut world = World::new(schedule(spec), at("09:00"), Span::from_secs(300));
    world.turn().unwrap();
    world
}

/// The ticks that made a child, as hours and minutes of UTC.
fn fired(world: &World) -> Vec<String> {
    world
        .ledger
        .iter()
        .map(|(tick, _)| tick.map_or("asked".into(), |t| t.strftime("%H:%M").to_string()))
        .collect()
}

fn told(world: &World, what: &str) -> usize {
    world.log.iter().filter(|line| line.what == what).count()
}

fn status(world: &World) -> &ScheduleStatus {
    &world.schedule.status
}

fn ready(world: &World) -> (String, String) {
    let status = status(world);
    let ready = status.conditions.iter().find(|c| c.kind == "Ready").unwrap();
    (format!("{:?}", ready.status), ready.reason.clone())
}

fn edit(world: &mut World, change: impl FnOnce(&mut ScheduleSpec)) {
    change(world.schedule.spec.as_mut().unwrap());
    world.schedule.generation += 1;
}

#[test]
fn a_tick_makes_one_child_named_after_it() {
    let mut world = world("0 * * * *", |_| {});
    world.run_until(at("11:30")).unwrap();
    assert_eq!(fired(&world), ["10:00", "11:00"]);
    // 2026-11-02 10:00 UTC is minute 29,893,560.
    assert_eq!(world.ledger[0].1, "nightly-hsq0o");
    assert_eq!(child_name("nightly", at("10:00")), world.ledger[0].1);
}

#[test]
fn the_name_of_a_child_fits_a_label_and_no_two_ticks_share_one() {
    let long = "x".repeat(52);
    assert!(child_name(&long, at("9999-12-30T00:00:00Z")).len() <= 63);
    assert!(request_name("nightly", "uid", &"v".repeat(256)).len() == "nightly-".len() + 10);
    let names: std::collections::BTreeSet<_> = spec("* * * * *")
        .clock
        .ticks_after(at("09:00"))
        .take(5_000)
        .map(|tick| child_name("n", tick))
        .collect();
    assert_eq!(names.len(), 5_000);
}

#[test]
fn nothing_is_written_before_the_create_and_one_status_after_it() {
    let mut world = world("0 * * * *", |_| {});
    world.now = at("10:00");
    let children = Vec::new();
    let facts = Facts::default();
    let observed = Observed {
        now: world.now,
        paused: false,
        schedule: &world.schedule,
        children: &children,
        facts: &facts,
    };
    let plan = decide(&observed);
    assert_eq!((plan.status, plan.events), (None, vec![]));
    assert!(matches!(&plan.effects[..], [Effect::Create(_)]), "{:?}", plan.effects);
    world.dies_after = Some(2);
    assert!(world.turn().is_ok(), "one create and one status");
}

#[test]
fn the_plan_orders_what_the_child_must_carry() {
    let mut world = world("30 11 * * *", |spec| spec.clock.zone = Zone::parse("Europe/Berlin").unwrap());
    world.now = at("10:30");
    let facts = Facts::default();
    let observed =
        Observed { now: world.now, paused: false, schedule: &world.schedule, children: &[], facts: &facts };
    let cause = ChildCause::Tick {
        tick: at("10:30"),
        release: at("10:30"),
        scheduled_time: "2026-11-02T11:30:00+01:00".into(),
    };
    let order = ChildOrder { name: child_name("nightly", at("10:30")), cause };
    assert_eq!(decide(&observed).effects, [Effect::Create(order)]);
}

#[test]
fn status_tells_what_was_resolved_and_what_comes_next() {
    let mut world = world("H 2 * * *", |_| {});
    assert_eq!(status(&world).resolved_schedules, ["54 2 * * *"]);
    assert_eq!(status(&world).next_schedule_time, Some(at("2026-11-03T02:54:00Z")));
    assert_eq!(status(&world).observed_generation, Some(1));
    assert_eq!(ready(&world), ("True".into(), "Scheduled".into()));
    assert_eq!(world.turn().unwrap(), Some(at("2026-11-03T02:54:00Z")), "it wakes exactly then");
}

#[test]
fn a_status_that_reads_the_same_is_not_written_again() {
    let mut world = world("0 * * * *", |_| {});
    world.run_until(at("10:30")).unwrap();
    world.dies_after = Some(0);
    assert!(world.turn().is_ok());
    world.now = at("10:40");
    assert!(world.turn().is_ok());
}

#[test]
fn the_last_tick_that_made_a_child_and_the_mark_are_two_things() {
    let mut world = world("0 * * * *", |spec| spec.concurrency = ConcurrencyPolicy::Forbid);
    world.run_takes = Span::from_secs(5400);
    world.run_until(at("11:10")).unwrap();
    assert_eq!(status(&world).last_schedule_time, Some(at("10:00")));
    assert_eq!(status(&world).last_handled_tick, Some(at("11:00")));
    assert_eq!(status(&world).active.len(), 1);
    world.run_until(at("11:40")).unwrap();
    assert_eq!(status(&world).active.len(), 0);
    assert_eq!(status(&world).last_successful_time, Some(at("11:30")));
}

#[test]
fn an_object_being_deleted_fires_nothing() {
    let mut world = world("0 * * * *", |_| {});
    world.schedule.being_deleted = true;
    world.run_until(at("12:00")).unwrap();
    assert_eq!(fired(&world), [""; 0]);
}

#[test]
fn a_spec_that_cannot_be_followed_is_stalled_and_says_why() {
    let mut world = world("0 * * * *", |_| {});
    world.run_until(at("10:10")).unwrap();
    let good = world.schedule.spec.clone();
    world.schedule.spec = Err(SpecProblem("timeZone: \"Mars\" is no time zone".into()));
    world.run_until(at("12:30")).unwrap();
    assert_eq!(ready(&world), ("False".into(), "InvalidSpec".into()));
    assert_eq!(status(&world).message.as_deref(), Some("timeZone: \"Mars\" is no time zone"));
    assert_eq!(status(&world).next_schedule_time, None);
    // Mending it is an edit: what was due meanwhile is past.
    world.schedule.spec = good;
    world.run_until(at("13:30")).unwrap();
    assert_eq!(fired(&world), ["10:00", "13:00"]);
    assert_eq!(ready(&world), ("True".into(), "Scheduled".into()));
}

#[test]
fn a_schedule_whose_times_are_all_skipped_is_stalled_and_says_so() {
    let world = world("30 2 * 3 SUN#L", |spec| {
        spec.clock.zone = Zone::parse("Europe/Berlin").unwrap();
        spec.clock.dst.gap = crate::domain::schedule::Gap::Skip;
    });
    assert_eq!(ready(&world), ("False".into(), "InvalidSpec".into()));
    assert!(status(&world).message.as_deref().unwrap().starts_with("schedule: never fires: each time"));
    assert_eq!(status(&world).next_schedule_time, None);
}

fn running(phase: Phase) -> Option<Phase> {
    Some(phase)
}

#[test]
fn every_phase_but_the_active_ones_is_an_end_for_a_schedule() {
    for (phase, course) in [
        (None, Course::Active),
        (running(Phase::Pending), Course::Active),
        (running(Phase::Firing), Course::Active),
        (running(Phase::Unknown), Course::Active),
        (running(Phase::Running), Course::Active),
        (running(Phase::Retrying), Course::Active),
        (running(Phase::Succeeded), Course::Succeeded),
        (running(Phase::Fired), Course::Succeeded),
        (running(Phase::Skipped), Course::Succeeded),
        (running(Phase::Failed), Course::Failed),
        (running(Phase::Canceled), Course::Failed),
        (running(Phase::Rejected), Course::Failed),
        (running(Phase::Held), Course::Held),
        (running(Phase::TimedOut), Course::Failed),
        (running(Phase::Superseded), Course::Failed),
        (running(Phase::Suspended), Course::Waiting),
        (running(Phase::Idle), Course::Waiting),
    ] {
        let mut child = unseen(
            &schedule(spec("@daily")),
            &Created {
                name: "nightly-1".into(),
                tick: None,
                generation: 1,
                first_at: at("10:00"),
                at: at("10:00"),
                times: 1,
                outcome: Creation::Earlier,
            },
            "c1",
        );
        child.phase = phase;
        assert_eq!(child.course(), course, "{phase:?}");
    }
}
