//! Zones with odd rules. Every row is a zone, an expression, and what it ticks around a change of the offset.

use jiff::Timestamp;

use super::super::{Clock, Dst, Fold, Gap, Pattern, Zone};

const DEFAULT: Dst = Dst { gap: Gap::RunAfter, fold: Fold::First };
const SKIP: Dst = Dst { gap: Gap::Skip, fold: Fold::First };
const SECOND: Dst = Dst { gap: Gap::RunAfter, fold: Fold::Second };
const BOTH: Dst = Dst { gap: Gap::RunAfter, fold: Fold::Both };

fn clock(zone: &str, pattern: &str, dst: Dst) -> Clock {
    Clock {
        patterns: vec![Pattern::parse(pattern, None).unwrap()],
        zone: Zone::parse(zone).unwrap(),
        dst,
        anchor: Timestamp::UNIX_EPOCH,
    }
}

/// The ticks later than `from`, as the zone's clocks show them, found forwards and backwards.
#[track_caller]
fn ticks(zone: &str, pattern: &str, dst: Dst, from: &str, wanted: &[&str]) {
    let clock = clock(zone, pattern, dst);
    let from: Timestamp = from.parse().unwrap();
    let found: Vec<Timestamp> = clock.ticks_after(from).take(wanted.len()).collect();
    let shown: Vec<String> = found
        .iter()
        .map(|tick| {
            let offset = clock.zone.time_zone().to_offset(*tick);
            format!("{} {offset}", offset.to_datetime(*tick).strftime("%m-%d %H:%M"))
        })
        .collect();
    assert_eq!(shown, wanted, "{zone} {pattern}");
    let mut back: Vec<Timestamp> = std::iter::successors(found.last().copied(), |tick| {
        clock.last_upto(*tick - jiff::SignedDuration::from_nanos(1))
    })
    .take(wanted.len())
    .collect();
    back.reverse();
    assert_eq!(back, found, "{zone} {pattern}, backwards");
}

#[test]
fn what_falls_into_a_gap_runs_at_the_first_instant_after_it() {
    let from = "2026-03-27T12:00:00Z";
    ticks(
        "Europe/Berlin",
        "30 2 * * *",
        DEFAULT,
        from,
        &["03-28 02:30 +01", "03-29 03:00 +02", "03-30 02:30 +02"],
    );
    ticks(
        "America/New_York",
        "30 2 * * *",
        DEFAULT,
        "2026-03-07T12:00:00Z",
        &["03-08 03:00 -04", "03-09 02:30 -04"],
    );
}

#[test]
fn gap_skip_leaves_it_out() {
    let from = "2026-03-27T12:00:00Z";
    ticks("Europe/Berlin", "30 2 * * *", SKIP, from, &["03-28 02:30 +01", "03-30 02:30 +02"]);
}

#[test]
fn what_is_read_twice_runs_the_first_time() {
    let from = "2026-10-24T12:00:00Z";
    ticks("Europe/Berlin", "30 2 * * *", DEFAULT, from, &["10-25 02:30 +02", "10-26 02:30 +01"]);
}

#[test]
fn fold_second_and_both() {
    let from = "2026-10-24T12:00:00Z";
    ticks("Europe/Berlin", "30 2 * * *", SECOND, from, &["10-25 02:30 +01", "10-26 02:30 +01"]);
    ticks(
        "Europe/Berlin",
        "30 2 * * *",
        BOTH,
        from,
        &["10-25 02:30 +02", "10-25 02:30 +01", "10-26 02:30 +01"],
    );
}

#[test]
fn a_list_of_minutes_in_the_repeated_hour_runs_once_each() {
    let from = "2026-10-24T23:50:00Z";
    ticks(
        "Europe/Berlin",
        "0,30 2 * * *",
        DEFAULT,
        from,
        &["10-25 02:00 +02", "10-25 02:30 +02", "10-26 02:00 +01"],
    );
    ticks(
        "Europe/Berlin",
        "0,30 2 * * *",
        SECOND,
        from,
        &["10-25 02:00 +01", "10-25 02:30 +01", "10-26 02:00 +01"],
    );
}

#[test]
fn a_star_follows_the_clock_through_a_fold_twice() {
    let from = "2026-10-24T23:59:00Z";
    let hours = ["10-25 02:00 +02", "10-25 02:00 +01", "10-25 03:00 +01"];
    ticks("Europe/Berlin", "0 * * * *", DEFAULT, from, &hours);
    ticks("Europe/Berlin", "@hourly", SECOND, from, &hours);
    ticks(
        "Europe/Berlin",
        "*/30 2 * * *",
        DEFAULT,
        from,
        &["10-25 02:00 +02", "10-25 02:30 +02", "10-25 02:00 +01", "10-25 02:30 +01", "10-26 02:00 +01"],
    );
    ticks(
        "Europe/Berlin",
        "30 */2 * * *",
        DEFAULT,
        from,
        &["10-25 02:30 +02", "10-25 02:30 +01", "10-25 04:30 +01"],
    );
}

#[test]
fn a_star_does_not_run_in_a_gap() {
    let from = "2026-03-29T00:29:00Z";
    ticks("Europe/Berlin", "*/30 2 * * *", DEFAULT, from, &["03-30 02:00 +02", "03-30 02:30 +02"]);
    ticks("Europe/Berlin", "0 * * * *", DEFAULT, from, &["03-29 03:00 +02", "03-29 04:00 +02"]);
}

#[test]
fn ticks_on_the_same_instant_are_one() {
    let from = "2026-03-28T23:00:00Z";
    let once = ["03-29 03:00 +02", "03-30 02:00 +02", "03-30 02:30 +02", "03-30 03:00 +02"];
    ticks(
        "Europe/Berlin",
        "0,30 2,3 * * *",
        DEFAULT,
        from,
        &["03-29 03:00 +02", "03-29 03:30 +02", "03-30 02:00 +02"],
    );
    ticks("Europe/Berlin", "0,30 2 * * *", DEFAULT, from, &once[..3]);
    let mut both = clock("Europe/Berlin", "30 2 * * *", DEFAULT);
    both.patterns.push(Pattern::parse("0 3 * * *", None).unwrap());
    both.patterns.push(Pattern::parse("0 3 * * SUN", None).unwrap());
    let found: Vec<_> = both.ticks_after(from.parse().unwrap()).take(3).map(|t| t.to_string()).collect();
    assert_eq!(found, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-30T01:00:00Z"]);
}

#[test]
fn lord_howe_moves_by_half_an_hour() {
    let zone = "Australia/Lord_Howe";
    // 2026-10-04 02:00 +10:30 → 02:30 +11.
    ticks(zone, "15 2 * * *", DEFAULT, "2026-10-03T10:00:00Z", &["10-04 02:30 +11", "10-05 02:15 +11"]);
    ticks(zone, "15 2 * * *", SKIP, "2026-10-03T10:00:00Z", &["10-05 02:15 +11"]);
    ticks(zone, "45 2 * * *", SKIP, "2026-10-03T10:00:00Z", &["10-04 02:45 +11"]);
    // 2026-04-05 02:00 +11 → 01:30 +10:30.
    ticks(
        zone,
        "45 1 * * *",
        BOTH,
        "2026-04-04T10:00:00Z",
        &["04-05 01:45 +11", "04-05 01:45 +10:30", "04-06 01:45 +10:30"],
    );
    ticks(zone, "15 1 * * *", BOTH, "2026-04-04T10:00:00Z", &["04-05 01:15 +11", "04-06 01:15 +10:30"]);
    ticks(
        zone,
        "*/15 1 * * *",
        DEFAULT,
        "2026-04-04T14:14:00Z",
        &[
            "04-05 01:15 +11",
            "04-05 01:30 +11",
            "04-05 01:45 +11",
            "04-05 01:30 +10:30",
            "04-05 01:45 +10:30",
            "04-06 01:00 +10:30",
        ],
    );
}

#[test]
fn casablanca_leaves_summer_time_for_ramadan() {
    // Ramadan of 2026: 02-15 03:00 +01 → 02:00 +00, and 03-22 02:00 +00 → 03:00 +01.
    let zone = "Africa/Casablanca";
    ticks(zone, "30 2 * * *", DEFAULT, "2026-02-14T12:00:00Z", &["02-15 02:30 +01", "02-16 02:30 +00"]);
    ticks(zone, "30 2 * * *", SECOND, "2026-02-14T12:00:00Z", &["02-15 02:30 +00", "02-16 02:30 +00"]);
    ticks(zone, "30 2 * * *", DEFAULT, "2026-03-21T12:00:00Z", &["03-22 03:00 +01", "03-23 02:30 +01"]);
    ticks(zone, "30 2 * * *", SKIP, "2026-03-21T12:00:00Z", &["03-23 02:30 +01"]);
}

#[test]
fn apia_had_no_thirtieth_of_december() {
    let zone = "Pacific/Apia";
    let from = "2011-12-29T20:00:00Z";
    ticks(zone, "0 12 * * *", DEFAULT, from, &["12-29 12:00 -10", "12-31 00:00 +14", "12-31 12:00 +14"]);
    ticks(zone, "0 12 * * *", SKIP, from, &["12-29 12:00 -10", "12-31 12:00 +14"]);
    ticks(zone, "0 12 30 12 *", SKIP, from, &["12-30 12:00 +14"]);
    ticks(zone, "0 12 30 12 *", DEFAULT, from, &["12-31 00:00 +14", "12-30 12:00 +14"]);
    ticks(zone, "0 */12 * * *", DEFAULT, from, &["12-29 12:00 -10", "12-31 00:00 +14", "12-31 12:00 +14"]);
}

#[test]
fn troll_moves_by_two_hours() {
    let zone = "Antarctica/Troll";
    ticks(zone, "30 1 * * *", DEFAULT, "2026-03-28T12:00:00Z", &["03-29 03:00 +02", "03-30 01:30 +02"]);
    ticks(zone, "0 2 * * *", SKIP, "2026-03-28T12:00:00Z", &["03-30 02:00 +02"]);
    ticks(
        zone,
        "30 1,2 * * *",
        DEFAULT,
        "2026-10-24T12:00:00Z",
        &["10-25 01:30 +02", "10-25 02:30 +02", "10-26 01:30 +00"],
    );
    ticks(
        zone,
        "30 1,2 * * *",
        BOTH,
        "2026-10-24T12:00:00Z",
        &["10-25 01:30 +02", "10-25 02:30 +02", "10-25 01:30 +00", "10-25 02:30 +00", "10-26 01:30 +00"],
    );
}

#[test]
fn havana_has_no_midnight_in_spring() {
    // As it was in 2023: 03-12 00:00 -05 → 01:00 -04, and 11-05 01:00 -04 → 00:00 -05.
    let zone = "America/Havana";
    ticks(zone, "0 0 * * *", DEFAULT, "2023-03-11T12:00:00Z", &["03-12 01:00 -04", "03-13 00:00 -04"]);
    ticks(zone, "0 0 * * SUN", DEFAULT, "2023-03-11T12:00:00Z", &["03-12 01:00 -04", "03-19 00:00 -04"]);
    ticks(zone, "0 0 * * *", SKIP, "2023-03-11T12:00:00Z", &["03-13 00:00 -04"]);
    ticks(zone, "0 0 * * *", DEFAULT, "2023-11-04T12:00:00Z", &["11-05 00:00 -04", "11-06 00:00 -05"]);
    ticks(
        zone,
        "0 0 * * *",
        BOTH,
        "2023-11-04T12:00:00Z",
        &["11-05 00:00 -04", "11-05 00:00 -05", "11-06 00:00 -05"],
    );
    ticks(
        zone,
        "@hourly",
        DEFAULT,
        "2023-11-05T03:30:00Z",
        &["11-05 00:00 -04", "11-05 00:00 -05", "11-05 01:00 -05"],
    );
}

#[test]
fn a_fold_over_midnight_repeats_the_day_before() {
    // America/Sao_Paulo until 2019: 02-17 00:00 -02 → 02-16 23:00 -03.
    let zone = "America/Sao_Paulo";
    ticks(zone, "30 23 * * *", DEFAULT, "2019-02-16T12:00:00Z", &["02-16 23:30 -02", "02-17 23:30 -03"]);
    ticks(zone, "30 23 * * *", SECOND, "2019-02-16T12:00:00Z", &["02-16 23:30 -03", "02-17 23:30 -03"]);
    ticks(zone, "30 23 17 2 *", DEFAULT, "2019-02-16T12:00:00Z", &["02-17 23:30 -03"]);
    ticks(zone, "0 0 * * *", DEFAULT, "2018-11-03T12:00:00Z", &["11-04 01:00 -02", "11-05 00:00 -02"]);
}

#[test]
fn a_clock_that_fires_once_in_28_years_keeps_its_zone() {
    ticks(
        "Europe/Berlin",
        "30 2 * 2 MON#5",
        DEFAULT,
        "2026-01-01T00:00:00Z",
        &["02-29 02:30 +01", "02-29 02:30 +01"],
    );
    // The last Sunday of March, which is always in the gap.
    ticks(
        "Europe/Berlin",
        "30 2 * 3 SUN#L",
        DEFAULT,
        "2026-01-01T00:00:00Z",
        &["03-29 03:00 +02", "03-28 03:00 +02"],
    );
    let never = clock("Europe/Berlin", "30 2 * 3 SUN#L", SKIP);
    assert_eq!(
        never.next_after("2026-01-01T00:00:00Z".parse().unwrap()),
        None,
        "bounded, though it never ticks"
    );
}

#[test]
fn the_zone_database_is_inside_and_unknown_zones_are_told() {
    for known in ["Europe/Berlin", "europe/berlin", "America/Argentina/Buenos_Aires", "UTC", "Etc/GMT+5"] {
        assert!(Zone::parse(known).is_ok(), "{known}");
    }
    for unknown in ["", "Europe/Berln", "Local", "+02:00", "../etc/passwd", &"x".repeat(1000)] {
        let text = Zone::parse(unknown).unwrap_err().to_string();
        assert!(
            text.contains("is no time zone: write a name of the IANA database, such as Europe/Berlin"),
            "{text}"
        );
    }
}
