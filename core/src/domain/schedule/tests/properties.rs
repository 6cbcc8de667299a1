//! What holds for every pattern in every zone.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::{Clock, Dst, Fold, Gap, HashKey, Pattern, Zone};

const ZONES: [&str; 14] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Antarctica/Troll",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Africa/Cairo",
    "America/St_Johns",
    "Pacific/Kwajalein",
];

fn item(min: u8, max: u8) -> impl Strategy<Value = String> {
    let value = move || min..=max;
    prop_oneof![
        4 => value().prop_map(|v| v.to_string()),
        1 => Just("*".to_owned()),
        1 => (2..20u8).prop_map(|step| format!("*/{step}")),
        1 => (value(), value()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (value(), 1..20u8).prop_map(|(from, step)| format!("{from}/{step}")),
        1 => (1..=(max - min)).prop_map(|step| format!("H/{step}")),
    ]
}

fn field(min: u8, max: u8) -> impl Strategy<Value = String> {
    proptest::collection::vec(item(min, max), 1..3).prop_map(|items| items.join(","))
}

fn star_or(text: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    prop_oneof![3 => Just("*".to_owned()), 2 => text]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let day = prop_oneof![4 => field(1, 28), 1 => Just("L".to_owned()), 1 => Just("-3-L".to_owned())];
    let weekday = prop_oneof![4 => field(0, 6), 1 => Just("FRI#2".to_owned()), 1 => Just("SUN#L".to_owned())];
    let fields = (field(0, 59), field(0, 23), star_or(day), star_or(field(1, 12)), star_or(weekday));
    fields.prop_filter_map("steps of H fit their field", |(minute, hour, day, month, weekday)| {
        let key = HashKey::new("shop", "nightly");
        Pattern::parse(&format!("{minute} {hour} {day} {month} {weekday}"), Some(&key)).ok()
    })
}

fn clock() -> impl Strategy<Value = Clock> {
    let gap = prop_oneof![Just(Gap::RunAfter), Just(Gap::Skip)];
    let fold = prop_oneof![Just(Fold::First), Just(Fold::Second), Just(Fold::Both)];
    (proptest::collection::vec(pattern(), 1..3), 0..ZONES.len(), gap, fold).prop_map(
        |(patterns, zone, gap, fold)| Clock {
            patterns,
            zone: Zone::parse(ZONES[zone]).unwrap(),
            dst: Dst { gap, fold },
            anchor: Timestamp::UNIX_EPOCH,
        },
    )
}

/// Between 1990 and 2040, near a change of the offset in one case of two.
fn instant() -> impl Strategy<Value = Timestamp> {
    (631_152_000_i64..2_208_988_800, 0..ZONES.len(), any::<bool>()).prop_map(|(seconds, zone, near)| {
        let at = Timestamp::from_second(seconds).unwrap();
        let zone = Zone::parse(ZONES[zone]).unwrap();
        let change = zone.time_zone().following(at).next().filter(|_| near);
        change.map_or(at, |change| change.timestamp() + SignedDuration::from_secs(seconds % 20_000 - 10_000))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_next_tick_is_strictly_later(clock in clock(), at in instant()) {
        if let Some(next) = clock.next_after(at) {
            prop_assert!(next > at);
        }
    }

    #[test]
    fn forwards_and_backwards_agree(clock in clock(), at in instant()) {
        let Some(next) = clock.next_after(at) else { return Ok(()) };
        prop_assert_eq!(clock.last_upto(next), Some(next));
        let just_before = next - SignedDuration::from_nanos(1);
        let last = clock.last_upto(just_before);
        prop_assert!(last.is_none_or(|last| last <= at), "{last:?} lies between {at} and {next}");
        if let Some(last) = last {
            prop_assert_eq!(clock.next_after(last), Some(next));
        }
    }

    /// Minute by minute, as the wall's clock shows them: the slow way to the same ticks.
    #[test]
    fn every_tick_is_what_the_wall_says(clock in clock(), at in instant()) {
        let zone = clock.zone.time_zone();
        let end = at + SignedDuration::from_hours(30);
        let fast: Vec<Timestamp> = clock.ticks_after(at).take_while(|tick| *tick <= end).collect();
        let mut slow: Vec<Timestamp> = Vec::new();
        for pattern in &clock.patterns {
            slow.extend(by_hand(pattern, zone, clock.dst, at, end));
        }
        slow.sort();
        slow.dedup();
        prop_assert_eq!(fast, slow);
    }
}

/// Every minute of the calendar around (at, end] that the pattern names, and the instants that jiff says it has.
fn by_hand(
    pattern: &Pattern,
    zone: &jiff::tz::TimeZone,
    dst: Dst,
    at: Timestamp,
    end: Timestamp,
) -> Vec<Timestamp> {
    use super::super::pattern::PatternKind;
    let PatternKind::Calendar(calendar) = pattern.kind() else { return Vec::new() };
    let days = SignedDuration::from_hours(50);
    let utc = jiff::tz::Offset::UTC;
    let mut wall = utc.to_datetime(at - days);
    let last = utc.to_datetime(end + days);
    let mut found = Vec::new();
    while let Some(named) = calendar.next(wall).filter(|named| *named <= last) {
        let ambiguous = zone.to_ambiguous_timestamp(named);
        let (earlier, later) = (ambiguous.earlier().unwrap(), ambiguous.later().unwrap());
        if ambiguous.offset().is_gap() {
            let after = zone.following(earlier.min(later)).next().unwrap().timestamp();
            if !calendar.follows_the_clock && dst.gap == Gap::RunAfter {
                found.push(after);
            }
        } else if earlier == later {
            found.push(earlier);
        } else {
            let fold = if calendar.follows_the_clock { Fold::Both } else { dst.fold };
            match fold {
                Fold::First => found.push(earlier),
                Fold::Second => found.push(later),
                Fold::Both => found.extend([earlier, later]),
            }
        }
        wall = named + SignedDuration::from_secs(60);
    }
    found.retain(|tick| *tick > at && *tick <= end);
    found
}

trait IsGap {
    fn is_gap(&self) -> bool;
}

impl IsGap for jiff::tz::AmbiguousOffset {
    fn is_gap(&self) -> bool {
        matches!(self, Self::Gap { .. })
    }
}
