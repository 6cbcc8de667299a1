//! Cron as GitLab reads it for pipeline schedules: five fields and a zone, by the rules of its cron library.
//! Written for the simulator alone, so that whoever else reads cron here is not checked against himself.
//!
//! Known: lists, ranges, steps, names, `L` for the month's last day, `MON#2` and `MON#-1`, `@daily` and its like.
//! Both kinds of day restricted: either may match. A time that the zone skips does not occur, one that it repeats
//! occurs twice.

use jiff::{
    SignedDuration, Timestamp,
    civil::Date,
    tz::{AmbiguousOffset, TimeZone},
};

/// Leap days on one weekday can be 40 years apart; what does not occur within them never does.
const MOST_DAYS: usize = 41 * 366;

#[derive(Debug, Clone)]
pub(crate) struct Cron {
    minutes: Vec<i8>,
    hours: Vec<i8>,
    month_days: Option<Vec<MonthDay>>,
    months: Vec<i8>,
    week_days: Option<Vec<WeekDay>>,
    zone: TimeZone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MonthDay {
    On(i8),
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WeekDay {
    /// From Sunday, 0.
    Every(i8),
    /// The n-th of the month; from its end if negative.
    Nth(i8, i8),
}

impl Cron {
    /// None if the expression is none, or names a time that never comes.
    pub(crate) fn parse(expression: &str, zone: TimeZone) -> Option<Self> {
        let expression = match expression.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let [minutes, hours, month_days, months, week_days] = fields[..] else { return None };
        let cron = Self {
            minutes: numbers(minutes, 0, 59, &[])?,
            hours: numbers(hours, 0, 23, &[])?,
            month_days: restricted(month_days, month_day)?,
            months: numbers(months, 1, 12, &MONTHS)?,
            week_days: restricted(week_days, week_day)?,
            zone,
        };
        cron.next(Timestamp::UNIX_EPOCH).is_some().then_some(cron)
    }

    /// The first time after this one.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        // A day earlier: what a zone repeats may lie behind the clock on its wall.
        let first = after.to_zoned(self.zone.clone()).date().yesterday().ok()?;
        first.series(jiff::Span::new().days(1)).take(MOST_DAYS).filter(|day| self.has_day(*day)).find_map(
            |day| {
                let times =
                    self.hours.iter().flat_map(|hour| self.minutes.iter().map(|minute| (*hour, *minute)));
                let instants = times.flat_map(|(hour, minute)| self.instants(day, hour, minute));
                instants.filter(|at| *at > after).min()
            },
        )
    }

    pub(crate) fn matches(&self, at: Timestamp) -> bool {
        self.next(at - SignedDuration::from_millis(1)) == Some(at)
    }

    fn has_day(&self, day: Date) -> bool {
        let in_month = |known: &MonthDay| match *known {
            MonthDay::On(number) => day.day() == number,
            MonthDay::Last => day == day.last_of_month(),
        };
        let in_week = |known: &WeekDay| {
            let (WeekDay::Every(number) | WeekDay::Nth(number, _)) = *known;
            let nth = match *known {
                WeekDay::Every(_) => true,
                WeekDay::Nth(_, n) if n > 0 => (day.day() - 1) / 7 + 1 == n,
                WeekDay::Nth(_, n) => (day.days_in_month() - day.day()) / 7 + 1 == -n,
            };
            day.weekday().to_sunday_zero_offset() == number && nth
        };
        self.months.contains(&day.month())
            && match (&self.month_days, &self.week_days) {
                (None, None) => true,
                (Some(days), None) => days.iter().any(in_month),
                (None, Some(days)) => days.iter().any(in_week),
                (Some(in_months), Some(in_weeks)) => {
                    in_months.iter().any(in_month) || in_weeks.iter().any(in_week)
                }
            }
    }

    /// None in a gap, two in a fold.
    fn instants(&self, day: Date, hour: i8, minute: i8) -> impl Iterator<Item = Timestamp> + use<> {
        let wall = day.at(hour, minute, 0, 0);
        let offsets = match self.zone.to_ambiguous_zoned(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
            AmbiguousOffset::Gap { .. } => [None, None],
            AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
        };
        offsets.into_iter().flatten().filter_map(move |offset| offset.to_timestamp(wall).ok())
    }
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A day field: `*` restricts nothing.
fn restricted<T>(field: &str, read: impl Fn(&str) -> Option<Vec<T>>) -> Option<Option<Vec<T>>> {
    if field == "*" {
        return Some(None);
    }
    let parts: Option<Vec<Vec<T>>> = field.split(',').map(read).collect();
    parts.map(|parts| Some(parts.into_iter().flatten().collect()))
}

fn month_day(part: &str) -> Option<Vec<MonthDay>> {
    if part.eq_ignore_ascii_case("l") {
        return Some(vec![MonthDay::Last]);
    }
    numbers(part, 1, 31, &[]).map(|days| days.into_iter().map(MonthDay::On).collect())
}

fn week_day(part: &str) -> Option<Vec<WeekDay>> {
    let Some((day, nth)) = part.split_once('#') else {
        let days = numbers(part, 0, 7, &DAYS)?;
        return Some(days.into_iter().map(|day| WeekDay::Every(day % 7)).collect());
    };
    let nth: i8 = if nth.eq_ignore_ascii_case("l") { -1 } else { nth.parse().ok()? };
    let day = number(day, 0, 7, &DAYS)? % 7;
    (nth != 0 && (-5..=5).contains(&nth)).then(|| vec![WeekDay::Nth(day, nth)])
}

/// A list of numbers, ranges and steps, sorted.
fn numbers(field: &str, least: i8, most: i8, names: &[&str]) -> Option<Vec<i8>> {
    let mut numbers = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (start, end) = match range.split_once('-') {
            _ if range == "*" => (least, if names.len() == 7 { 6 } else { most }),
            Some((start, end)) => (number(start, least, most, names)?, number(end, least, most, names)?),
            None => {
                let start = number(range, least, most, names)?;
                (start, if step.is_some() { most } else { start })
            }
        };
        if start > end {
            return None;
        }
        numbers.extend((start..=end).step_by(step.unwrap_or(1)));
    }
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

fn number(text: &str, least: i8, most: i8, names: &[&str]) -> Option<i8> {
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
    let first = if names.len() == 12 { 1 } else { 0 };
    let number = match named {
        Some(index) => i8::try_from(index).ok()? + first,
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        None => return None,
    };
    (least..=most).contains(&number).then_some(number)
}

/// A zone by its name, or by the name Rails shows people for it.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    let iana = SHOWN_BY_RAILS.iter().find(|(shown, _)| *shown == name).map_or(name, |(_, iana)| iana);
    // The database here finds names in any case; GitLab's does not.
    TimeZone::get(iana).ok().filter(|zone| zone.iana_name() == Some(iana))
}

/// A part of Rails' list, enough to show that such names are taken.
const SHOWN_BY_RAILS: [(&str, &str); 12] = [
    ("Pacific Time (US & Canada)", "America/Los_Angeles"),
    ("Mountain Time (US & Canada)", "America/Denver"),
    ("Central Time (US & Canada)", "America/Chicago"),
    ("Eastern Time (US & Canada)", "America/New_York"),
    ("Brasilia", "America/Sao_Paulo"),
    ("London", "Europe/London"),
    ("Berlin", "Europe/Berlin"),
    ("Paris", "Europe/Paris"),
    ("New Delhi", "Asia/Kolkata"),
    ("Beijing", "Asia/Shanghai"),
    ("Tokyo", "Asia/Tokyo"),
    ("Sydney", "Australia/Sydney"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The next two times after a Monday, 2 November 2026, 08:00 UTC.
    fn next_two(expression: &str, name: &str) -> Vec<String> {
        let cron = Cron::parse(expression, zone(name).unwrap()).unwrap();
        let first = cron.next(at("2026-11-02T08:00:00Z")).unwrap();
        [first, cron.next(first).unwrap()].map(|at| at.to_string()).into()
    }

    #[test]
    fn each_kind_of_field_is_read() {
        for (expression, zone, times) in [
            ("0 * * * *", "UTC", ["2026-11-02T09:00:00Z", "2026-11-02T10:00:00Z"]),
            ("@daily", "UTC", ["2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z"]),
            ("3-59/10 * * * *", "UTC", ["2026-11-02T08:03:00Z", "2026-11-02T08:13:00Z"]),
            ("30 2 * * *", "Europe/Berlin", ["2026-11-03T01:30:00Z", "2026-11-04T01:30:00Z"]),
            ("0 9 * * mon-fri", "Tokyo", ["2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z"]),
            ("0 0 * * 7", "UTC", ["2026-11-08T00:00:00Z", "2026-11-15T00:00:00Z"]),
            ("0 0 L * *", "UTC", ["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z"]),
            ("0 0 * * FRI#2", "UTC", ["2026-11-13T00:00:00Z", "2026-12-11T00:00:00Z"]),
            ("0 0 * * fri#-1", "UTC", ["2026-11-27T00:00:00Z", "2026-12-25T00:00:00Z"]),
            ("0 0 13 * 5", "UTC", ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z"]),
            ("0 0 29 2 *", "UTC", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ] {
            assert_eq!(next_two(expression, zone), times, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_or_never_comes_is_refused() {
        for wrong in [
            "",
            "* * * *",
            "* * * * * *",
            "\"* * * * *\"",
            "every 3h",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "0 0 31 2 *",
            "-1 * * * *",
            "* * * * mon#6",
            "1,,2 * * * *",
        ] {
            assert!(Cron::parse(wrong, TimeZone::UTC).is_none(), "{wrong}");
        }
        assert!(zone("Mars/Olympus").is_none() && zone("europe/berlin").is_none());
    }

    #[test]
    fn a_skipped_time_does_not_occur_and_a_repeated_one_does_twice() {
        let berlin = |after: &str| {
            let cron = Cron::parse("30 2 * * *", zone("Europe/Berlin").unwrap()).unwrap();
            cron.next(at(after)).unwrap().to_string()
        };
        assert_eq!(berlin("2026-03-28T12:00:00Z"), "2026-03-30T00:30:00Z");
        assert_eq!(berlin("2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(berlin("2026-10-25T00:30:00Z"), "2026-10-25T01:30:00Z");
    }

    #[test]
    fn only_its_own_times_match() {
        let worker = Cron::parse("3-59/10 * * * *", TimeZone::UTC).unwrap();
        assert!(worker.matches(at("2026-11-02T08:13:00Z")));
        assert!(!worker.matches(at("2026-11-02T08:13:01Z")) && !worker.matches(at("2026-11-02T08:14:00Z")));
    }
}
