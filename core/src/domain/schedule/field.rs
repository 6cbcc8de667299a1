//! One of the five fields of an expression, as a set of numbers.
//!
//! ```text
//! field = item { "," item }
//! item  = ( "*" | "?" ) [ "/" step ]            every value, every step-th
//!       | value [ "-" value ] [ "/" step ]      N/step is N-max/step
//!       | "H" [ "(" value "-" value ")" ] [ "/" step ]
//!       | day "#" nth                           day of week: nth is 1 to 5, -1 to -5, or L
//!       | "L" | "-" n [ "-" ( "L" | "-" n ) ]   day of month, counted from its end; L is -1
//! ```

use std::fmt;

use super::pattern::{HashKey, PatternError, shown};

/// Which field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek];

    /// Smallest and largest value of `*`.
    pub(super) const fn bounds(self) -> (u8, u8) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 6),
        }
    }

    /// What `H` chooses from: no day that some month lacks.
    const fn hashed(self) -> (u8, u8) {
        match self {
            Self::DayOfMonth => (1, 28),
            Self::Minute | Self::Hour | Self::Month | Self::DayOfWeek => self.bounds(),
        }
    }

    /// What may be written, in a few words.
    pub(super) const fn allowed(self) -> &'static str {
        match self {
            Self::Minute => "0-59",
            Self::Hour => "0-23",
            Self::DayOfMonth => "1-31, or L for the last day",
            Self::Month => "1-12 or JAN-DEC",
            Self::DayOfWeek => "0-7 or SUN-SAT (0 and 7 are Sunday), FRI#2 for the second Friday",
        }
    }

    /// The number of a value that was parsed before; 7 is Sunday, 0.
    pub(super) fn first(self, text: &str) -> u8 {
        let value = self.value(text).unwrap_or(self.bounds().0);
        if self == Self::DayOfWeek { value % 7 } else { value }
    }

    /// A number, or a name in any case. 7 stays 7: it may end a range.
    fn value(self, text: &str) -> Option<u8> {
        let names: &[&str] = match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &DAYS,
            Self::Minute | Self::Hour | Self::DayOfMonth => &[],
        };
        let (min, max) = self.bounds();
        if let Some(at) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return u8::try_from(at).ok().map(|at| at + min);
        }
        let number = number(text)?;
        let max = if self == Self::DayOfWeek { 7 } else { max };
        (min..=max).contains(&number).then_some(number)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day-of-month",
            Self::Month => "month",
            Self::DayOfWeek => "day-of-week",
        })
    }
}

/// Digits alone: no sign, no more than five of them.
fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn number(text: &str) -> Option<u8> {
    digits(text).and_then(|number| number.try_into().ok())
}

/// A parsed field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Field {
    /// Bit n: the value n.
    pub(super) values: u64,
    /// Day of month only. Bit n: the n-th day from the month's end, 1 being the last.
    pub(super) from_end: u32,
    /// Day of week only. For each day, bit n (1 to 5): its n-th in the month; bit 8+n: its n-th from the end.
    pub(super) nth: [u16; 7],
    /// Whether it leaves the choice to the other day field: it has an item `*` or `?` of every value.
    pub(super) unrestricted: bool,
    /// Whether it begins with `*` or `?`, as Vixie's cron asks.
    pub(super) starts_with_star: bool,
    /// As it reads with every `H` resolved.
    pub(super) resolved: String,
}

impl Field {
    pub(super) fn parse(kind: Kind, text: &str, key: Option<&HashKey>) -> Result<Self, PatternError> {
        let mut field = Self { starts_with_star: text.starts_with(['*', '?']), ..Self::default() };
        let mut resolved: Vec<String> = Vec::new();
        for item in text.split(',') {
            let refused = || refusal(kind, item);
            if item.is_empty() {
                return Err(PatternError::EmptyItem { field: kind.to_string(), value: shown(text) });
            }
            if item.starts_with(['H', 'h']) {
                resolved.push(field.hashed(kind, item, key)?);
                continue;
            }
            let known = match kind {
                Kind::DayOfWeek if item.contains('#') => field.nth_day(item),
                Kind::DayOfMonth if item.starts_with(['L', 'l', '-']) => field.days_from_end(item),
                Kind::Minute | Kind::Hour | Kind::DayOfMonth | Kind::Month | Kind::DayOfWeek => {
                    field.range(kind, item)?
                }
            };
            known.ok_or_else(refused)?;
            resolved.push(item.to_owned());
        }
        field.resolved = resolved.join(",");
        Ok(field)
    }

    /// `*`, `?`, a value or a range, each with or without a step. The outer error is one that says more.
    fn range(&mut self, kind: Kind, item: &str) -> Result<Option<()>, PatternError> {
        let (min, max) = kind.bounds();
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(read_step(kind, item, step)?)),
            None => (item, None),
        };
        let (from, to) = if range == "*" || range == "?" {
            self.unrestricted |= step.unwrap_or(1) == 1;
            (min, max)
        } else if let Some((from, to)) = range.split_once('-') {
            let to_sunday = kind == Kind::DayOfWeek && to.eq_ignore_ascii_case("SUN");
            let ends = kind.value(from).zip(kind.value(to));
            let Some((from, to)) = ends else { return Ok(None) };
            // A week that is written to its Sunday: FRI-SUN.
            let to = if to_sunday && from > 0 { 7 } else { to };
            if from > to {
                return Err(PatternError::Backwards { field: kind.to_string(), value: shown(item) });
            }
            (from, to)
        } else {
            let Some(value) = kind.value(range) else { return Ok(None) };
            let value = if kind == Kind::DayOfWeek { value % 7 } else { value };
            (value, if step.is_some() { max } else { value })
        };
        self.add(kind, from, to, step.unwrap_or(1));
        Ok(Some(()))
    }

    fn add(&mut self, kind: Kind, from: u8, to: u8, step: u32) {
        for value in (u32::from(from)..=u32::from(to)).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let value = if kind == Kind::DayOfWeek { value % 7 } else { value };
            self.values |= 1 << value;
        }
    }

    /// `H`, `H(a-b)`, `H/n`, `H(a-b)/n`: chosen by the hash of the object's name. Returns how it reads resolved.
    fn hashed(&mut self, kind: Kind, item: &str, key: Option<&HashKey>) -> Result<String, PatternError> {
        let refused = || PatternError::Hash { field: kind.to_string(), value: shown(item) };
        let (head, step) = match item.split_once('/') {
            Some((head, step)) => (head, Some(read_step(kind, item, step)?)),
            None => (item, None),
        };
        let (from, to) = match &head[1..] {
            "" => kind.hashed(),
            range => {
                let inner = range.strip_prefix('(').and_then(|range| range.strip_suffix(')'));
                let (from, to) = inner.and_then(|inner| inner.split_once('-')).ok_or_else(refused)?;
                let ends = kind.value(from).zip(kind.value(to));
                let (from, to) = ends.filter(|(from, to)| from <= to).ok_or_else(refused)?;
                (from, to)
            }
        };
        let key = key.ok_or(PatternError::NoHashKey)?;
        let width = u32::from(to - from) + 1;
        let choices = step.unwrap_or(width);
        if choices > width {
            return Err(refused());
        }
        // Less than `width`, so it fits.
        let first = from + u8::try_from(key.choose(kind as u8, choices)).unwrap_or(0);
        match step {
            None => {
                self.add(kind, first, first, 1);
                Ok((if kind == Kind::DayOfWeek { first % 7 } else { first }).to_string())
            }
            Some(step) => {
                self.add(kind, first, to, step);
                Ok(format!("{first}-{to}/{step}"))
            }
        }
    }

    /// `FRI#2`, `5#-1`, `MON#L`.
    fn nth_day(&mut self, item: &str) -> Option<()> {
        let (day, nth) = item.split_once('#')?;
        let day = Kind::DayOfWeek.value(day)? % 7;
        let bit = if is_last(nth) {
            9
        } else if let Some(back) = nth.strip_prefix('-') {
            8 + number(back).filter(|nth| (1..=5).contains(nth))?
        } else {
            number(nth).filter(|nth| (1..=5).contains(nth))?
        };
        self.nth[usize::from(day)] |= 1 << bit;
        Some(())
    }

    /// `L`, `-3`, `-7-L`, `-7--2`.
    fn days_from_end(&mut self, item: &str) -> Option<()> {
        let back = |text: &str| {
            if is_last(text) {
                return Some(1);
            }
            number(text.strip_prefix('-')?).filter(|back| (1..=31).contains(back))
        };
        let split = item.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at);
        let (from, to) = match split {
            Some(at) => (back(&item[..at])?, back(&item[at + 1..])?),
            None => (back(item)?, back(item)?),
        };
        if from < to {
            return None;
        }
        for back in to..=from {
            self.from_end |= 1 << back;
        }
        Some(())
    }
}

/// Why `item` is nothing of this field: in its own terms where it was nearly right.
fn refusal(kind: Kind, item: &str) -> PatternError {
    let weekday = |text: &str| kind == Kind::DayOfWeek && kind.value(text).is_some();
    if let Some((day, _)) = item.split_once('#').filter(|(day, _)| weekday(day)) {
        return PatternError::Nth { value: shown(item), day: day.to_owned() };
    }
    // As Quartz writes it.
    if let Some(day) = item.strip_suffix(['L', 'l']).filter(|day| weekday(day)) {
        return PatternError::LastDay { value: shown(item), day: day.to_owned() };
    }
    PatternError::Value { field: kind.to_string(), value: shown(item), allowed: kind.allowed().to_owned() }
}

fn is_last(text: &str) -> bool {
    text.eq_ignore_ascii_case("L") || text.eq_ignore_ascii_case("LAST")
}

fn read_step(kind: Kind, item: &str, step: &str) -> Result<u32, PatternError> {
    let step = digits(step).filter(|step| *step > 0);
    step.ok_or_else(|| PatternError::Step { field: kind.to_string(), value: shown(item) })
}
