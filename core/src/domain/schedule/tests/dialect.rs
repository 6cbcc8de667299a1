//! The dialect, sentence by sentence.

use jiff::Timestamp;
use jiff::civil::date;
use proptest::prelude::*;

use super::super::pattern::PatternKind;
use super::super::{Clock, Dst, HashKey, Pattern, PatternError, Zone};

fn key() -> HashKey {
    HashKey::new("shop", "nightly")
}

fn parse(text: &str) -> Result<Pattern, PatternError> {
    Pattern::parse(text, Some(&key()))
}

fn clock(text: &str) -> Clock {
    Clock {
        patterns: vec![parse(text).unwrap()],
        zone: Zone::utc(),
        dst: Dst::default(),
        anchor: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

/// The first `count` ticks of 2026 in UTC.
fn ticks(text: &str, count: usize) -> Vec<String> {
    let from: Timestamp = "2025-12-31T23:59:59Z".parse().unwrap();
    clock(text).ticks_after(from).take(count).map(|tick| tick.strftime("%m-%d %H:%M").to_string()).collect()
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// Two ways to write the same.
fn same(one: &str, other: &str) {
    let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let (one_clock, other_clock) = (clock(one), clock(other));
    let (a, b) = (one_clock.ticks_after(from).take(500), other_clock.ticks_after(from).take(500));
    assert!(a.eq(b), "{one} and {other} differ");
}

#[test]
fn five_fields_with_their_bounds() {
    for good in ["0 0 1 1 0", "59 23 31 12 7", "0-59 0-23 1-31 1-12 0-7", "  5\t4 * *   * "] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for (bad, says) in [
        ("61 * * * *", "61 in the minute field: 0-59"),
        ("60 * * * *", "60 in the minute field: 0-59"),
        ("0 24 * * *", "24 in the hour field: 0-23"),
        ("0 0 32 * *", "32 in the day-of-month field: 1-31, or L for the last day"),
        ("0 0 0 * *", "0 in the day-of-month field: 1-31, or L for the last day"),
        ("0 0 * 13 *", "13 in the month field: 1-12 or JAN-DEC"),
        ("0 0 * 0 *", "0 in the month field: 1-12 or JAN-DEC"),
        (
            "0 0 * * 8",
            "8 in the day-of-week field: 0-7 or SUN-SAT (0 and 7 are Sunday), FRI#2 for the second Friday",
        ),
        ("0 0 * JANUARY *", "JANUARY in the month field: 1-12 or JAN-DEC"),
        ("x * * * *", "x in the minute field: 0-59"),
        ("+5 * * * *", "+5 in the minute field: 0-59"),
        ("-5 * * * *", "-5 in the minute field: 0-59"),
        ("5-70 * * * *", "5-70 in the minute field: 0-59"),
        ("1-2-3 * * * *", "1-2-3 in the minute field: 0-59"),
        ("99999999999999999999 * * * *", "99999999999999999999 in the minute field: 0-59"),
    ] {
        assert_eq!(error(bad), says);
    }
}

#[test]
fn both_zero_and_seven_are_sunday() {
    same("0 0 * * 0", "0 0 * * 7");
    same("0 0 * * SUN", "0 0 * * 7");
    same("0 0 * * 5-7", "0 0 * * 0,5,6");
    same("0 0 * * FRI-SUN", "0 0 * * 0,5,6");
    same("0 0 * * 0-7", "0 0 * * *");
}

#[test]
fn names_are_read_in_any_case() {
    same("0 0 * jan-Mar MON,wEd", "0 0 * 1-3 1,3");
    same("@DAILY", "@daily");
}

#[test]
fn lists_ranges_and_steps() {
    assert_eq!(ticks("*/20 0 * * *", 4), ["01-01 00:00", "01-01 00:20", "01-01 00:40", "01-02 00:00"]);
    assert_eq!(ticks("5,10-12 3 * * *", 4), ["01-01 03:05", "01-01 03:10", "01-01 03:11", "01-01 03:12"]);
    assert_eq!(ticks("0 8-18/4 * * *", 4), ["01-01 08:00", "01-01 12:00", "01-01 16:00", "01-02 08:00"]);
    for (bad, says) in [
        (
            "5-1 * * * *",
            "5-1 in the minute field: a range goes from the smaller to the larger; write the two parts as a list",
        ),
        (
            "0 0 * * 5-0",
            "5-0 in the day-of-week field: a range goes from the smaller to the larger; write the two parts as a list",
        ),
        ("*/0 * * * *", "*/0 in the minute field: a step is a number from 1 after one slash"),
        ("*/ * * * *", "*/ in the minute field: a step is a number from 1 after one slash"),
        ("*/2/3 * * * *", "*/2/3 in the minute field: a step is a number from 1 after one slash"),
        ("1,,2 * * * *", "1,,2 in the minute field: an item of the list is empty"),
        (", * * * *", ", in the minute field: an item of the list is empty"),
        ("*-5 * * * *", "*-5 in the minute field: 0-59"),
        (
            "0 0 * * FRI#6",
            "FRI#6 in the day-of-week field: after # write 1 to 5, -1 to -5 or L, such as FRI#2 or FRI#L",
        ),
        ("0 0 * * FRIL", "FRIL in the day-of-week field: write FRI#L for the last one of the month"),
        ("0 0 * * 5l", "5l in the day-of-week field: write 5#L for the last one of the month"),
    ] {
        assert_eq!(error(bad), says);
    }
}

#[test]
fn a_number_with_a_step_goes_to_the_largest() {
    same("10/20 * * * *", "10,30,50 * * * *");
    same("0 0 * * 2/2", "0 0 * * 2,4,6");
    same("0 0 20/5 * *", "0 0 20,25,30 * *");
}

#[test]
fn where_both_day_fields_are_restricted_either_matches() {
    // 2026-01-02 is the first Friday.
    assert_eq!(ticks("0 0 13 * FRI", 3), ["01-02 00:00", "01-09 00:00", "01-13 00:00"]);
}

#[test]
fn a_plain_star_or_question_mark_leaves_the_choice_to_the_other_day_field() {
    assert_eq!(ticks("0 0 ? * FRI", 2), ["01-02 00:00", "01-09 00:00"]);
    assert_eq!(ticks("0 0 13 * ?", 2), ["01-13 00:00", "02-13 00:00"]);
    same("0 0 13 * */1", "0 0 13 * *");
    same("? ? ? ? ?", "* * * * *");
}

#[test]
fn a_star_with_a_step_counts_as_restricted() {
    // Odd days of the month, or Fridays.
    assert_eq!(ticks("0 0 */2 * FRI", 4), ["01-01 00:00", "01-02 00:00", "01-03 00:00", "01-05 00:00"]);
}

#[test]
fn macros_stand_for_fields() {
    for (name, fields) in [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ] {
        same(name, fields);
        assert_eq!(parse(name).unwrap().resolved(), fields);
    }
    let says = "is not known: write @yearly, @monthly, @weekly, @daily, @hourly or @every 90m";
    assert_eq!(error("@reboot"), format!("@reboot {says}"));
    assert_eq!(error("@daily 5"), format!("@daily 5 {says}"));
}

#[test]
fn every_counts_from_the_creation() {
    let mut clock = clock("@every 90m");
    clock.anchor = "2026-01-01T00:10:30Z".parse().unwrap();
    let ticks: Vec<String> = clock.ticks_after(clock.anchor).take(3).map(|tick| tick.to_string()).collect();
    assert_eq!(ticks, ["2026-01-01T01:40:30Z", "2026-01-01T03:10:30Z", "2026-01-01T04:40:30Z"]);
    assert_eq!(clock.last_upto(clock.anchor), None);
    assert_eq!(clock.next_after(Timestamp::MIN).unwrap().to_string(), ticks[0]);
}

#[test]
fn every_is_a_minute_at_least() {
    assert!(parse("@every 60s").is_ok());
    for short in ["59s", "0m", "", "soon", "1d"] {
        assert_eq!(
            error(&format!("@every {short}")),
            format!("@every {short}: write a duration like 90m or 1h30m, from 1m to ten years")
        );
    }
}

#[test]
fn h_is_the_same_for_the_same_name_and_within_the_field() {
    assert_eq!(parse("H H H H H").unwrap(), parse("H H H H H").unwrap());
    let resolved = |text: &str| parse(text).unwrap().resolved().to_owned();
    // What the name shop/nightly has got it keeps: other values would move everybody's runs.
    assert_eq!(resolved("H H * * *"), PINNED_DAILY);
    assert_eq!(resolved("H(0-9) H(2-4) * * MON-FRI").split(' ').nth(4), Some("MON-FRI"));
    for n in 0..500 {
        let key = HashKey::new("shop", &format!("s{n}"));
        let text = Pattern::parse("H(10-19) H(2-4) H H H", Some(&key)).unwrap().resolved().to_owned();
        let values: Vec<u8> = text.split(' ').map(|value| value.parse().unwrap()).collect();
        let bounds = [10..=19, 2..=4, 1..=28, 1..=12, 0..=6];
        assert!(values.iter().zip(bounds).all(|(value, bounds)| bounds.contains(value)), "{text}");
    }
}

const PINNED_DAILY: &str = "54 14 * * *";

#[test]
fn h_is_spread_evenly_over_objects() {
    let mut minutes = [0_u32; 60];
    for n in 0..6_000 {
        let key = HashKey::new("shop", &format!("nightly-{n}"));
        let pattern = Pattern::parse("H * * * *", Some(&key)).unwrap();
        let minute: usize = pattern.resolved().split(' ').next().unwrap().parse().unwrap();
        minutes[minute] += 1;
    }
    // 100 each on average; five standard deviations.
    assert!(minutes.iter().all(|count| (50..=150).contains(count)), "{minutes:?}");
}

#[test]
fn h_with_a_step_is_hashed_within_the_step() {
    let resolved = parse("H/15 * * * *").unwrap().resolved().to_owned();
    let first: u8 = resolved.split('-').next().unwrap().parse().unwrap();
    assert!(first < 15 && resolved == format!("{first}-59/15 * * * *"), "{resolved}");
    assert_eq!(ticks("H/15 * * * *", 60).len(), 60);
    let resolved = parse("H(10-40)/10 * * * *").unwrap().resolved().to_owned();
    let first: u8 = resolved.split('-').next().unwrap().parse().unwrap();
    assert!((10..20).contains(&first) && resolved.contains("-40/10"), "{resolved}");
    for bad in ["H/61", "H/0", "H(5-1)", "H(5)", "H(", "H5", "H(0-60)", "H(0-3)/5"] {
        assert!(parse(&format!("{bad} * * * *")).is_err(), "{bad}");
    }
    assert_eq!(Pattern::parse("H * * * *", None), Err(PatternError::NoHashKey));
}

#[test]
fn what_was_resolved_can_be_written_again() {
    for text in ["H 2 * * *", "H/7 H(2-9)/3 H jan FRI#2", "0 0 L * *", "H H H H H", "@daily", "@every 90m"] {
        let resolved = parse(text).unwrap().resolved().to_owned();
        assert_eq!(Pattern::parse(&resolved, None).unwrap().resolved(), resolved, "{text}");
    }
}

#[test]
fn l_is_the_last_day_of_the_month() {
    assert_eq!(ticks("0 0 L * *", 3), ["01-31 00:00", "02-28 00:00", "03-31 00:00"]);
    same("0 0 last * *", "0 0 L * *");
    same("0 0 -1 * *", "0 0 L * *");
    assert_eq!(ticks("0 0 -2 * *", 2), ["01-30 00:00", "02-27 00:00"]);
    assert_eq!(ticks("0 0 -2-L * *", 3), ["01-30 00:00", "01-31 00:00", "02-27 00:00"]);
    assert_eq!(ticks("0 0 15,L * *", 3), ["01-15 00:00", "01-31 00:00", "02-15 00:00"]);
    assert_eq!(ticks("0 0 -31 * *", 2), ["01-01 00:00", "03-01 00:00"]);
    for bad in ["L-3", "-32", "-0", "L/2", "-1-L-2", "LL", "-L"] {
        assert!(parse(&format!("0 0 {bad} * *")).is_err(), "{bad}");
    }
    assert!(parse("0 L * * *").is_err());
}

#[test]
fn a_weekday_with_a_hash_is_its_nth_in_the_month() {
    assert_eq!(ticks("0 0 * * FRI#2", 3), ["01-09 00:00", "02-13 00:00", "03-13 00:00"]);
    assert_eq!(ticks("0 0 * * 5#-1", 3), ["01-30 00:00", "02-27 00:00", "03-27 00:00"]);
    same("0 0 * * FRI#L", "0 0 * * FRI#-1");
    same("0 0 * * 7#1", "0 0 * * SUN#1");
    assert_eq!(ticks("0 0 * * MON#1,MON#3", 3), ["01-05 00:00", "01-19 00:00", "02-02 00:00"]);
    assert_eq!(ticks("0 0 * * MON#5", 2), ["03-30 00:00", "06-29 00:00"]);
    assert_eq!(ticks("0 0 1 * MON#1", 3), ["01-01 00:00", "01-05 00:00", "02-01 00:00"]);
    for bad in ["FRI#0", "FRI#6", "FRI#-6", "FRI#", "#2", "FRI#2#3", "MON-FRI#2"] {
        assert!(parse(&format!("0 0 * * {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn seconds_years_and_a_zone_prefix_are_refused_and_say_why() {
    assert_eq!(error("0 0 2 * * *"), "6 fields: seconds are not supported; leave the first field out");
    assert!(error("0 0 2 * * * 2026").starts_with("7 fields: seconds and years are not supported"));
    assert!(error("2 * *").starts_with("3 of five fields"));
    assert!(error("  ").starts_with("the schedule is empty"));
    assert_eq!(error("TZ=UTC 0 2 * * *"), "TZ= in the schedule: write the zone into timeZone");
    assert_eq!(error("tz=UTC 0 2 * * *"), "TZ= in the schedule: write the zone into timeZone");
    assert_eq!(error("CRON_TZ=UTC 0 2 * * *"), "CRON_TZ= in the schedule: write the zone into timeZone");
}

#[test]
fn what_can_never_fire_is_refused() {
    assert_eq!(error("0 0 31 2 *"), "31 2 never fires: none of these months has such a day");
    assert_eq!(
        error("0 0 31 feb,apr,jun *"),
        "31 feb,apr,jun never fires: none of these months has such a day"
    );
    assert!(parse("0 0 30-31 2 *").is_err());
    assert!(parse("0 0 -30 2 *").is_err());
    // Either day field may match, so a weekday saves it.
    assert!(parse("0 0 31 2 MON").is_ok());
    assert!(parse("0 0 29 2 *").is_ok());
}

#[test]
fn what_fires_once_in_28_years_is_found() {
    let clock = clock("0 0 29 2 *");
    let at = clock.next_after("2097-01-01T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(at.to_string(), "2104-02-29T00:00:00Z");
    let clock = self::clock("0 0 * 2 MON#5");
    let mondays: Vec<String> =
        clock.ticks_after("2026-01-01T00:00:00Z".parse().unwrap()).take(3).map(|t| t.to_string()).collect();
    assert_eq!(mondays, ["2044-02-29T00:00:00Z", "2072-02-29T00:00:00Z", "2112-02-29T00:00:00Z"]);
}

#[test]
fn the_end_of_time_is_no_tick_and_no_panic() {
    let clock = clock("*/5 * * * *");
    assert_eq!(clock.next_after(Timestamp::MAX), None);
    assert_eq!(clock.last_upto(Timestamp::MIN), None);
    assert!(clock.last_upto(Timestamp::MAX).is_some());
    assert!(clock.next_after(Timestamp::MIN).is_some());
}

/// What a pattern means, written as plainly as possible.
fn named_by_hand(pattern: &Pattern, day: jiff::civil::Date) -> bool {
    let PatternKind::Calendar(calendar) = pattern.kind() else { return false };
    calendar.next(day.at(0, 0, 0, 0)).is_some_and(|next| next.date() == day)
}

#[test]
fn every_day_of_a_month_is_named_by_its_number_or_weekday() {
    let pattern = parse("0 0 1-7,L * MON#-1,WED").unwrap();
    let mut day = date(2024, 1, 1);
    while day.year() < 2029 {
        let last_monday =
            day.weekday() == jiff::civil::Weekday::Monday && day.days_in_month() - day.day() < 7;
        let wanted = day.day() <= 7
            || day.day() == day.days_in_month()
            || last_monday
            || day.weekday() == jiff::civil::Weekday::Wednesday;
        assert_eq!(named_by_hand(&pattern, day), wanted, "{day}");
        day = day.tomorrow().unwrap();
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_text_of_the_alphabet_panics_or_loops(text in "[0-9*?/,#LHhlMONFRIJA()@ -]{0,40}") {
        if let Ok(pattern) = parse(&text) {
            let clock = Clock { patterns: vec![pattern], ..clock("@daily") };
            prop_assert!(clock.next_after(Timestamp::UNIX_EPOCH).is_some());
        }
    }
}
