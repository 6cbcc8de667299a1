//! A whole expression: which minutes of the calendar it names. It knows of no time zone; [`super::clock`] does.

use jiff::civil::{Date, DateTime};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::field::{Field, Kind};
use super::month::Days;
use crate::domain::Span;

/// Longest expression that is read, in bytes. Five fields with every value listed have about 400.
pub const MAX_LENGTH: usize = 512;
/// Shortest `@every`.
pub const EVERY_MIN: Span = Span::from_secs(60);
/// The Gregorian calendar repeats after this many years: a day that none of them has never comes.
const CALENDAR_MONTHS: u32 = 400 * 12;

/// What `H` is hashed from: the namespace and name of the object, so that it stays what it is after every
/// restart, and differs among objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashKey {
    hashed: [u8; 32],
}

impl HashKey {
    /// The key of one object.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { hashed: Sha256::digest(format!("pipekick schedule\n{namespace}/{name}")).into() }
    }

    /// One of `choices` numbers from 0, another one for each field.
    pub(super) fn choose(&self, field: u8, choices: u32) -> u32 {
        let mut bytes = [0; 4];
        let at = usize::from(field) * 4;
        bytes.copy_from_slice(&self.hashed[at..at + 4]);
        // 2^32 is so much larger than 60 that the remainder favours no choice by more than 2e-8.
        u32::from_be_bytes(bytes) % choices.max(1)
    }
}

/// An expression that cannot be followed, in a sentence that says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the sentence says it")]
pub enum PatternError {
    #[error(
        "the schedule is empty: write five fields (minute hour day-of-month month day-of-week), such as 30 2 * * *"
    )]
    Empty,
    #[error("the schedule has more than {MAX_LENGTH} characters")]
    TooLong,
    #[error("{0} in the schedule: write the zone into timeZone")]
    ZonePrefix(String),
    #[error("{0} fields: seconds are not supported; leave the first field out")]
    Seconds(usize),
    #[error(
        "{0} fields: seconds and years are not supported; write minute hour day-of-month month day-of-week"
    )]
    Years(usize),
    #[error("{0} of five fields: write minute hour day-of-month month day-of-week, such as 30 2 * * *")]
    TooFew(usize),
    #[error("{0} is not known: write @yearly, @monthly, @weekly, @daily, @hourly or @every 90m")]
    Macro(String),
    #[error("@every {0}: write a duration like 90m or 1h30m, from 1m to ten years")]
    Every(String),
    #[error("{value} in the {field} field: {allowed}")]
    Value { field: String, value: String, allowed: String },
    #[error(
        "{value} in the day-of-week field: after # write 1 to 5, -1 to -5 or L, such as {day}#2 or {day}#L"
    )]
    Nth { value: String, day: String },
    #[error("{value} in the day-of-week field: write {day}#L for the last one of the month")]
    LastDay { value: String, day: String },
    #[error("{value} in the {field} field: an item of the list is empty")]
    EmptyItem { field: String, value: String },
    #[error(
        "{value} in the {field} field: a range goes from the smaller to the larger; write the two parts as a list"
    )]
    Backwards { field: String, value: String },
    #[error("{value} in the {field} field: a step is a number from 1 after one slash")]
    Step { field: String, value: String },
    #[error(
        "{value} in the {field} field: write H, H(a-b) or H/n, within the field and n no larger than the range"
    )]
    Hash { field: String, value: String },
    #[error("H needs the name of the object that it is hashed from")]
    NoHashKey,
    #[error("{days} {months} never fires: none of these months has such a day")]
    Never { days: String, months: String },
}

/// What somebody typed, short and printable.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(32).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    kind: PatternKind,
    resolved: String,
}

/// The two sorts of expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PatternKind {
    Calendar(Box<Calendar>),
    /// Counted from the creation of its object.
    Every(Span),
}

/// The five fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calendar {
    /// Bit n: minute n.
    minutes: u64,
    /// Bit n: hour n.
    hours: u32,
    /// Bit n: month n, from 1.
    months: u16,
    days: Days,
    /// Minute or hour begin with a star: it ticks whenever the clock reads so, twice where hours come twice.
    pub(super) follows_the_clock: bool,
}

impl Pattern {
    /// Parses `text`; `key` is what `H` is hashed from.
    ///
    /// # Errors
    /// Names field and value, and says what to write instead.
    pub fn parse(text: &str, key: Option<&HashKey>) -> Result<Self, PatternError> {
        if text.len() > MAX_LENGTH {
            return Err(PatternError::TooLong);
        }
        let text = text.trim();
        let begins_with =
            |prefix: &&str| text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
        if let Some(prefix) = ["TZ=", "CRON_TZ="].into_iter().find(begins_with) {
            return Err(PatternError::ZonePrefix(prefix.to_owned()));
        }
        if text.starts_with('@') {
            return Self::parse_macro(text, key);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(match fields.len() {
                0 => PatternError::Empty,
                few @ 1..=4 => PatternError::TooFew(few),
                6 => PatternError::Seconds(6),
                many => PatternError::Years(many),
            });
        };
        let texts = [minute, hour, day, month, weekday];
        let mut parsed = Vec::with_capacity(5);
        for (kind, text) in Kind::ALL.into_iter().zip(texts) {
            parsed.push(Field::parse(kind, text, key)?);
        }
        let resolved = parsed.iter().map(|field| field.resolved.as_str()).collect::<Vec<_>>().join(" ");
        let [minute, hour, of_month, month, of_week] =
            <[Field; 5]>::try_from(parsed).expect("five fields were pushed");
        let (days_text, months_text) = (of_month.resolved.clone(), month.resolved.clone());
        let calendar = Calendar {
            minutes: minute.values,
            // Neither field has a value as large as 32.
            hours: u32::try_from(hour.values).unwrap_or(0),
            months: u16::try_from(month.values).unwrap_or(0),
            days: Days { of_month, of_week },
            follows_the_clock: minute.starts_with_star || hour.starts_with_star,
        };
        if calendar.next(Date::constant(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
            return Err(PatternError::Never { days: shown(&days_text), months: shown(&months_text) });
        }
        Ok(Self { kind: PatternKind::Calendar(Box::new(calendar)), resolved })
    }

    fn parse_macro(text: &str, key: Option<&HashKey>) -> Result<Self, PatternError> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        let rest = words.collect::<Vec<_>>().join(" ");
        if name == "@every" {
            let span: Span = rest.parse().map_err(|_| PatternError::Every(shown(&rest)))?;
            if span < EVERY_MIN {
                return Err(PatternError::Every(shown(&rest)));
            }
            return Ok(Self { kind: PatternKind::Every(span), resolved: format!("@every {span}") });
        }
        let fields = match name.as_str() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ => return Err(PatternError::Macro(shown(text))),
        };
        if !rest.is_empty() {
            return Err(PatternError::Macro(shown(text)));
        }
        Self::parse(fields, key)
    }

    /// As it reads with every `H` and macro resolved: `17 2 * * *` for `H 2 * * *`.
    #[must_use]
    pub fn resolved(&self) -> &str {
        &self.resolved
    }

    pub(super) const fn kind(&self) -> &PatternKind {
        &self.kind
    }
}

impl Calendar {
    /// The first named minute at or after `from`.
    pub(super) fn next(&self, from: DateTime) -> Option<DateTime> {
        let mut earliest = if from.second() == 0 && from.subsec_nanosecond() == 0 {
            from
        } else {
            let whole = from.date().at(from.hour(), from.minute(), 0, 0);
            whole.checked_add(jiff::Span::new().minutes(1)).ok()?
        };
        // One month more than the calendar has: the first may be looked at from its middle.
        for _ in 0..=CALENDAR_MONTHS {
            let first = earliest.date().first_of_month();
            let mut days = if self.has_month(first) { self.days.in_month(first) } else { 0 };
            days &= u32::MAX << earliest.day();
            while days != 0 {
                let day = i8::try_from(days.trailing_zeros()).ok()?;
                let from_minute =
                    if day == earliest.day() { (earliest.hour(), earliest.minute()) } else { (0, 0) };
                if let Some((hour, minute)) = self.time_from(from_minute) {
                    return Some(Date::new(first.year(), first.month(), day).ok()?.at(hour, minute, 0, 0));
                }
                days &= days - 1;
            }
            earliest = next_month(first)?.at(0, 0, 0, 0);
        }
        None
    }

    /// The last named minute at or before `upto`.
    pub(super) fn previous(&self, upto: DateTime) -> Option<DateTime> {
        let mut latest = upto;
        for _ in 0..=CALENDAR_MONTHS {
            let first = latest.date().first_of_month();
            let mut days = if self.has_month(first) { self.days.in_month(first) } else { 0 };
            days &= u32::MAX >> (31 - u32::from(latest.day().unsigned_abs()));
            while days != 0 {
                let bit = 31 - days.leading_zeros();
                let day = i8::try_from(bit).ok()?;
                let upto_minute =
                    if day == latest.day() { (latest.hour(), latest.minute()) } else { (23, 59) };
                if let Some((hour, minute)) = self.time_upto(upto_minute) {
                    return Some(Date::new(first.year(), first.month(), day).ok()?.at(hour, minute, 0, 0));
                }
                days &= !(1 << bit);
            }
            latest = first.yesterday().ok()?.at(23, 59, 59, 0);
        }
        None
    }

    fn has_month(&self, first: Date) -> bool {
        self.months >> first.month() & 1 == 1
    }

    fn time_from(&self, (hour, minute): (i8, i8)) -> Option<(i8, i8)> {
        let this_hour = self.minutes & (u64::MAX << minute);
        if self.hours >> hour & 1 == 1 && this_hour != 0 {
            return Some((hour, i8::try_from(this_hour.trailing_zeros()).ok()?));
        }
        let later = self.hours & (u32::MAX << (hour + 1));
        let hour = (later != 0).then(|| later.trailing_zeros())?;
        Some((i8::try_from(hour).ok()?, i8::try_from(self.minutes.trailing_zeros()).ok()?))
    }

    fn time_upto(&self, (hour, minute): (i8, i8)) -> Option<(i8, i8)> {
        let this_hour = self.minutes & (u64::MAX >> (63 - minute));
        if self.hours >> hour & 1 == 1 && this_hour != 0 {
            return Some((hour, i8::try_from(63 - this_hour.leading_zeros()).ok()?));
        }
        let earlier = self.hours & !(u32::MAX << hour);
        let hour = (earlier != 0).then(|| 31 - earlier.leading_zeros())?;
        Some((i8::try_from(hour).ok()?, i8::try_from(63 - self.minutes.leading_zeros()).ok()?))
    }
}

fn next_month(first: Date) -> Option<Date> {
    let (year, month) =
        if first.month() == 12 { (first.year() + 1, 1) } else { (first.year(), first.month() + 1) };
    Date::new(year, month, 1).ok()
}
