//! What the clock costs: `cargo bench -p pipekick-core`. The figures stand in `docs/schedules.md`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use pipekick_core::decide::schedule::{Facts, Observed, decide};
use pipekick_core::domain::schedule::{
    Clock, ConcurrencyPolicy, Dst, HashKey, MissedRuns, Pattern, Schedule, ScheduleSpec, ScheduleStatus, Zone,
};
use pipekick_core::domain::{ObjectKey, Span};

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn clock(pattern: &str, zone: &str) -> Clock {
    Clock {
        patterns: vec![Pattern::parse(pattern, None).expect("a pattern")],
        zone: Zone::parse(zone).expect("a zone"),
        dst: Dst::default(),
        anchor: at("2026-01-01T00:00:00Z"),
    }
}

fn schedule(pattern: &str, zone: &str, missed_runs: MissedRuns) -> Schedule {
    Schedule {
        key: ObjectKey { namespace: "shop".into(), name: "nightly".into() },
        uid: "u1".into(),
        generation: 1,
        created: at("2026-01-01T00:00:00Z"),
        being_deleted: false,
        fire: None,
        suspend: false,
        spec: Ok(ScheduleSpec {
            clock: clock(pattern, zone),
            jitter: Span::from_secs(0),
            starting_deadline: None,
            missed_runs,
            concurrency: ConcurrencyPolicy::Allow,
            successful_limit: 3,
            failed_limit: 3,
        }),
        status: ScheduleStatus::default(),
    }
}

fn parse(c: &mut Criterion) {
    let key = HashKey::new("shop", "nightly");
    c.bench_function("parse H 2 * * MON-FRI", |b| {
        b.iter(|| Pattern::parse(black_box("H 2 * * MON-FRI"), Some(&key)));
    });
    c.bench_function("parse 31 2, which never fires", |b| {
        b.iter(|| Pattern::parse(black_box("0 0 31 2 *"), None));
    });
}

fn next(c: &mut Criterion) {
    let now = at("2026-06-15T12:34:56Z");
    for (name, pattern, zone) in [
        ("next, every minute, UTC", "* * * * *", "UTC"),
        ("next, daily, UTC", "30 2 * * *", "UTC"),
        ("next, daily, Europe/Berlin", "30 2 * * *", "Europe/Berlin"),
        ("next, 29 February on a Monday, 18 years ahead, Europe/Berlin", "0 0 * 2 MON#5", "Europe/Berlin"),
    ] {
        let clock = clock(pattern, zone);
        c.bench_function(name, |b| b.iter(|| clock.next_after(black_box(now))));
    }
    let mut never = clock("30 2 * 3 SUN#L", "Europe/Berlin");
    never.dst.gap = pipekick_core::domain::schedule::Gap::Skip;
    c.bench_function("next, none in all the centuries to come, Europe/Berlin", |b| {
        b.iter(|| never.next_after(black_box(now)));
    });
}

fn decisions(c: &mut Criterion) {
    let facts = Facts { fresh: true, ..Facts::default() };
    for (name, zone, missed, now) in [
        ("decide, nothing due", "Europe/Berlin", MissedRuns::Latest, "2026-01-01T00:00:30Z"),
        ("decide, a tick due", "Europe/Berlin", MissedRuns::Latest, "2026-01-01T00:01:00Z"),
        (
            "decide, a century of missed minutes, Latest",
            "Europe/Berlin",
            MissedRuns::Latest,
            "2126-01-01T00:00:30Z",
        ),
        (
            "decide, a century of missed minutes, all but the newest 10 dropped",
            "UTC",
            MissedRuns::All { max_catch_up: 10 },
            "2126-01-01T00:00:30Z",
        ),
        (
            "decide, a century of missed minutes, Skip: counted",
            "UTC",
            MissedRuns::Skip,
            "2126-01-01T00:01:59Z",
        ),
    ] {
        let mut schedule = schedule("* * * * *", zone, missed);
        if let (MissedRuns::Skip, Ok(spec)) = (missed, &mut schedule.spec) {
            // All of them too late.
            spec.starting_deadline = Some(Span::from_secs(1));
        }
        c.bench_function(name, |b| {
            b.iter(|| {
                decide(black_box(&Observed {
                    now: at(now),
                    paused: false,
                    schedule: &schedule,
                    children: &[],
                    facts: &facts,
                }))
            });
        });
    }
}

criterion_group!(benches, parse, next, decisions);
criterion_main!(benches);
