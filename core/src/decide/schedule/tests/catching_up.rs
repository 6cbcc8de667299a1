//! Which ticks are due, after downtime, edits, suspensions and clocks that jump.

use jiff::SignedDuration;

use super::*;
use crate::domain::schedule::clock::SEARCHES;

#[test]
fn latest_fires_the_newest_missed_tick_and_counts_the_others_once() {
    let mut world = world("*/10 * * * *", |_| {});
    world.run_until(at("09:10")).unwrap();
    world.down_until(at("10:05"));
    world.run_until(at("10:06")).unwrap();
    assert_eq!(fired(&world), ["09:10", "10:00"]);
    assert_eq!((status(&world).missed.count, status(&world).missed.last), (4, Some(at("09:50"))));
    assert_eq!(told(&world, "TicksMissed"), 1);
    world.run_until(at("10:09")).unwrap();
    assert_eq!(told(&world, "TicksMissed"), 1, "not at every look");
}

#[test]
fn skip_fires_only_what_is_not_late() {
    let mut world = world("*/10 * * * *", |spec| spec.missed_runs = MissedRuns::Skip);
    world.down_until(at("2026-11-02T10:01:01Z"));
    world.run_until(at("10:05")).unwrap();
    assert_eq!(fired(&world), [""; 0]);
    assert_eq!(status(&world).missed.count, 6);
    world.down_until(at("2026-11-02T10:11:00Z"));
    world.run_until(at("10:15")).unwrap();
    assert_eq!(fired(&world), ["10:10"], "a minute is not late");
}

#[test]
fn all_fires_each_in_order_up_to_max_catch_up_and_counts_the_oldest() {
    let mut world = world("*/10 * * * *", |spec| spec.missed_runs = MissedRuns::All { max_catch_up: 3 });
    world.down_until(at("10:05"));
    world.run_until(at("10:06")).unwrap();
    assert_eq!(fired(&world), ["09:40", "09:50", "10:00"]);
    assert_eq!((status(&world).missed.count, status(&world).missed.last), (3, Some(at("09:30"))));
    assert_eq!(told(&world, "TicksMissed"), 1);
}

#[test]
fn an_irregular_schedule_loses_nothing_after_downtime() {
    // Thursday 10:30, now Friday 16:30: the newest missed tick is Friday 12:30.
    let mut spec = spec("30 10,11,12 * * 1-5");
    spec.clock.anchor = at("2026-11-05T00:00:00Z");
    let mut schedule = schedule(spec);
    schedule.created = at("2026-11-01T00:00:00Z");
    schedule.status.last_handled_tick = Some(at("2026-11-05T10:30:00Z"));
    let mut world = World::new(schedule, at("2026-11-06T16:30:00Z"), Span::from_secs(60));
    world.turn().unwrap();
    assert_eq!(world.ledger[0].0, Some(at("2026-11-06T12:30:00Z")));
    assert_eq!(status(&world).missed.count, 4);
}

#[test]
fn a_century_of_missed_minutes_is_counted_up_to_the_bound() {
    for missed_runs in [MissedRuns::Latest, MissedRuns::Skip, MissedRuns::All { max_catch_up: 10 }] {
        let mut world = world("* * * * *", |spec| spec.missed_runs = missed_runs);
        world.down_until(at("2126-11-02T09:00:00Z"));
        SEARCHES.set(0);
        world.turn().unwrap();
        // Nothing is told of ticks beyond the bound, and nothing looks at them: fifty million minutes have passed.
        let searches = SEARCHES.get();
        assert!((COUNT_MAX..2 * COUNT_MAX).contains(&searches), "{missed_runs:?}: {searches} searches");
        let most = match missed_runs {
            MissedRuns::Latest | MissedRuns::Skip => 1,
            MissedRuns::All { max_catch_up } => max_catch_up,
        };
        assert_eq!((fired(&world).len(), status(&world).missed.count), (most, COUNT_MAX), "{missed_runs:?}");
        assert_eq!(status(&world).last_handled_tick, Some(at("2126-11-02T09:00:00Z")));
    }
}

#[test]
fn a_tick_older_than_its_starting_deadline_is_missed() {
    let late = |deadline: u64| {
        let mut world = world("0 * * * *", |spec| spec.starting_deadline = Some(Span::from_secs(deadline)));
        world.down_until(at("10:10"));
        world.run_until(at("10:11")).unwrap();
        (fired(&world).len(), status(&world).missed.count)
    };
    assert_eq!(late(601), (1, 0));
    assert_eq!(late(600), (0, 1));
}

#[test]
fn all_keeps_the_starting_deadline() {
    let mut world = world("*/10 * * * *", |spec| {
        spec.missed_runs = MissedRuns::All { max_catch_up: 10 };
        spec.starting_deadline = Some(Span::from_secs(1500));
    });
    world.down_until(at("10:05"));
    world.run_until(at("10:06")).unwrap();
    assert_eq!(fired(&world), ["09:50", "10:00"]);
    assert_eq!(status(&world).missed.count, 4);
}

#[test]
fn resuming_never_fires_the_past() {
    let mut world = world("*/10 * * * *", |_| {});
    world.schedule.suspend = true;
    world.run_until(at("10:05")).unwrap();
    assert_eq!(ready(&world), ("True".into(), "Suspended".into()));
    assert_eq!(status(&world).next_schedule_time, None);
    world.schedule.suspend = false;
    world.run_until(at("10:09")).unwrap();
    assert_eq!(fired(&world), [""; 0]);
    assert_eq!(status(&world).not_before, Some(at("10:05")));
    world.run_until(at("10:15")).unwrap();
    assert_eq!(fired(&world), ["10:10"]);
    assert_eq!(status(&world).missed.count, 0, "what was suspended was not missed");
}

#[test]
fn an_edit_of_schedule_or_zone_or_dst_never_fires_the_past() {
    let edits: [fn(&mut ScheduleSpec); 3] = [
        |spec| spec.clock.patterns = vec![Pattern::parse("*/7 * * * *", None).unwrap()],
        |spec| spec.clock.zone = Zone::parse("Asia/Kathmandu").unwrap(),
        |spec| spec.clock.dst.gap = crate::domain::schedule::Gap::Skip,
    ];
    for change in edits {
        let mut world = world("0 * * * *", |_| {});
        world.now = at("10:20");
        edit(&mut world, change);
        world.turn().unwrap();
        assert_eq!(fired(&world), [""; 0]);
        assert_eq!(status(&world).not_before, Some(at("10:20")));
    }
}

#[test]
fn an_edit_of_anything_else_is_no_edit_of_the_clock() {
    let mut world = world("0 * * * *", |_| {});
    world.now = at("10:20");
    edit(&mut world, |spec| spec.successful_limit = 1);
    world.turn().unwrap();
    assert_eq!(fired(&world), ["10:00"]);
    assert_eq!(status(&world).not_before, None);
}

#[test]
fn an_edit_made_while_the_operator_was_down_never_fires_the_past_either() {
    let mut world = world("0 * * * *", |_| {});
    world.run_until(at("10:10")).unwrap();
    edit(&mut world, |spec| spec.clock.patterns = vec![Pattern::parse("30 * * * *", None).unwrap()]);
    world.down_until(at("12:50"));
    world.run_until(at("13:40")).unwrap();
    assert_eq!(fired(&world), ["10:00", "13:30"]);
}

#[test]
fn after_a_pause_missed_runs_decides() {
    let mut world = world("*/10 * * * *", |_| {});
    world.paused = true;
    world.run_until(at("10:05")).unwrap();
    assert_eq!(fired(&world), [""; 0]);
    assert_eq!(ready(&world), ("True".into(), "Paused".into()));
    world.paused = false;
    world.run_until(at("10:06")).unwrap();
    assert_eq!(fired(&world), ["10:00"]);
    assert_eq!(status(&world).missed.count, 5);
}

#[test]
fn the_first_sight_looks_back_to_the_creation_and_no_further() {
    let mut world = World::new(schedule(spec("*/10 * * * *")), at("09:25"), Span::from_secs(60));
    world.turn().unwrap();
    assert_eq!(fired(&world), ["09:20"]);
    assert_eq!(status(&world).missed.count, 1);
}

#[test]
fn a_clock_that_went_back_fires_nothing_twice() {
    let mut world = world("*/10 * * * *", |_| {});
    world.run_until(at("10:01")).unwrap();
    let before = fired(&world);
    world.now = at("09:15");
    world.run_until(at("10:01")).unwrap();
    assert_eq!(fired(&world), before);
    world.run_until(at("10:11")).unwrap();
    assert_eq!(fired(&world).last().map(String::as_str), Some("10:10"));
}

#[test]
fn a_clock_that_jumped_forward_fires_the_newest_tick_once() {
    let mut world = world("* * * * *", |_| {});
    world.now = at("2126-11-02T09:00:30Z");
    world.turn().unwrap();
    assert_eq!(world.ledger.len(), 1);
    assert_eq!(world.ledger[0].0, Some(at("2126-11-02T09:00:00Z")));
    assert_eq!(status(&world).missed.count, COUNT_MAX);
    let told: Vec<_> = world.log.iter().filter(|line| line.what == "TicksMissed").collect();
    assert!(told[0].message.starts_with("at least 1000 ticks were missed"), "{}", told[0].message);
}

#[test]
fn jitter_is_the_same_for_a_tick_and_ends_before_the_next() {
    let mut spec = spec("*/5 * * * *");
    spec.jitter = Span::from_secs(3600);
    let schedule = schedule(spec.clone());
    let mut seen = std::collections::BTreeSet::new();
    let mut before = at("09:00");
    for tick in spec.clock.ticks_after(at("09:00")).take(200) {
        let fires = release(&schedule, &spec, tick);
        assert_eq!(fires, release(&schedule, &spec, tick));
        assert!(tick <= fires && fires < tick + SignedDuration::from_mins(5) && fires > before);
        seen.insert(fires.duration_since(tick).as_millis());
        before = fires;
    }
    assert!(seen.len() > 190, "those of one second wait for each other: {seen:?}");
}

#[test]
fn a_jittered_tick_fires_at_its_own_time_and_carries_its_tick() {
    let mut world = world("0 * * * *", |spec| spec.jitter = Span::from_secs(1800));
    let spec = world.schedule.spec.clone().unwrap();
    let fires = release(&world.schedule, &spec, at("10:00"));
    assert!(fires > at("10:00"), "pick another name, this one has no jitter");
    assert_eq!(status(&world).next_schedule_time, Some(fires));
    world.run_until(fires - SignedDuration::from_secs(1)).unwrap();
    assert_eq!(fired(&world), [""; 0]);
    world.run_until(fires).unwrap();
    assert_eq!(fired(&world), ["10:00"]);
}

#[test]
fn jitter_does_not_eat_the_starting_deadline() {
    let mut world = world("0 * * * *", |spec| {
        spec.jitter = Span::from_secs(1800);
        spec.starting_deadline = Some(Span::from_secs(1));
    });
    world.run_until(at("12:59")).unwrap();
    assert_eq!(fired(&world), ["10:00", "11:00", "12:00"]);
}

#[test]
fn two_schedules_on_one_instant_make_one_child() {
    let mut world = world("0 * * * *", |spec| {
        spec.clock.patterns.push(Pattern::parse("0,30 * * * *", None).unwrap());
        spec.clock.patterns.push(Pattern::parse("@every 60m", None).unwrap());
    });
    world.run_until(at("11:00")).unwrap();
    assert_eq!(fired(&world), ["09:30", "10:00", "10:30", "11:00"]);
}

#[test]
fn two_ticks_in_one_minute_make_one_child() {
    let mut world = world("* * * * *", |spec| {
        spec.clock.patterns.push(Pattern::parse("@every 90s", None).unwrap());
    });
    world.run_until(at("09:04")).unwrap();
    assert_eq!(fired(&world), ["09:01", "09:02", "09:03", "09:04"]);
    assert_eq!(status(&world).missed.count, 0);
}
