//! Patterns in a zone: the instants at which they tick, forwards and backwards.
//!
//! Time in a zone is a row of stretches with one offset each. Inside a stretch the clock on the wall runs straight,
//! so a tick there is a minute of the calendar less the offset. Where two stretches meet, the wall's clock jumps:
//!
//! ```text
//! gap   offset grows:   wall  01:59 → 03:00    02:30 is read by nobody
//! fold  offset shrinks: wall  02:59 → 02:00    02:30 is read twice
//! ```
//!
//! A pattern whose minute or hour begins with a star *follows the clock*: it ticks whenever the wall reads so. Any
//! other ticks once where it says once: what falls into a gap ticks at the first instant after it ([`Gap`]), what
//! is read twice ticks as [`Fold`] says.
//!
//! Every search is bounded: it looks at no more stretches than lie around its answer, and at most at 400 years of
//! months, after which the calendar repeats.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern::{Calendar, Pattern, PatternKind};
use super::zone::{Stretch, Zone};

/// What becomes of a time that does not exist because clocks were put forward. RunAfter (when unset): it fires at the
/// first instant after the gap. Skip: it does not fire that day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Gap {
    /// It fires at the first instant after the gap.
    #[default]
    RunAfter,
    /// It does not fire that day.
    Skip,
}

/// What becomes of a time that exists twice because clocks were put back. First (when unset): it fires the first time.
/// Second: it fires the second time. Both: it fires twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Fold {
    /// It fires the first time.
    #[default]
    First,
    /// It fires the second time.
    Second,
    /// It fires twice.
    Both,
}

/// What becomes of times that do not exist, or exist twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Dst {
    /// Of those that do not exist.
    pub gap: Gap,
    /// Of those that exist twice.
    pub fold: Fold,
}

/// Patterns in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// It ticks when any of them does; an instant that several name is one tick.
    pub patterns: Vec<Pattern>,
    /// Where.
    pub zone: Zone,
    /// Around changes of the zone's offset.
    pub dst: Dst,
    /// What `@every` counts from: when the object was created.
    pub anchor: Timestamp,
}

#[cfg(test)]
thread_local! {
    /// How often this thread searched backwards: what bounds the work of a decision.
    pub(crate) static SEARCHES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

const DAY: i64 = 86_400;
/// An offset changes by less than this: offsets lie within 26 hours of UTC, and no zone ever jumped by more than 25.
const JUMP: i64 = 2 * DAY;
/// More stretches than any search can meet: a zone has a few hundred on record and two a year after that.
const MAX_STRETCHES: u32 = 4_096;

impl Clock {
    /// The first tick later than `after`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = whole_seconds(after);
        let next = self.patterns.iter().filter_map(|pattern| match pattern.kind() {
            PatternKind::Calendar(calendar) => self.next_of(calendar, after),
            PatternKind::Every(span) => {
                let (anchor, span) = (whole_seconds(self.anchor), i64::try_from(span.as_secs()).ok()?);
                let nth = (after.checked_sub(anchor)?.div_euclid(span) + 1).max(1);
                anchor.checked_add(nth.checked_mul(span)?)
            }
        });
        Timestamp::from_second(next.min()?).ok()
    }

    /// The last tick not later than `upto`.
    #[must_use]
    pub fn last_upto(&self, upto: Timestamp) -> Option<Timestamp> {
        #[cfg(test)]
        SEARCHES.with(|searches| searches.set(searches.get() + 1));
        let upto = whole_seconds(upto);
        let last = self.patterns.iter().filter_map(|pattern| match pattern.kind() {
            PatternKind::Calendar(calendar) => self.last_of(calendar, upto),
            PatternKind::Every(span) => {
                let (anchor, span) = (whole_seconds(self.anchor), i64::try_from(span.as_secs()).ok()?);
                let nth = upto.checked_sub(anchor)?.div_euclid(span);
                (nth >= 1).then(|| anchor + nth * span)
            }
        });
        Timestamp::from_second(last.max()?).ok()
    }

    /// The ticks later than `after`, in order, for as long as they are asked for.
    pub fn ticks_after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_after(after), |tick| self.next_after(*tick))
    }

    fn next_of(&self, calendar: &Calendar, after: i64) -> Option<i64> {
        let mut at = after.checked_add(1)?;
        for _ in 0..MAX_STRETCHES {
            let stretch = self.zone.stretch(at)?;
            let offset = stretch.offset;
            if let Some(start) = self.after_gap(calendar, &stretch).filter(|start| *start >= at) {
                return Some(start);
            }
            let (first, last) = self.walls(calendar, &stretch);
            let from = first.map_or(at + offset, |first| first.max(at + offset));
            let named = to_seconds(calendar.next(to_civil(from)?)?);
            let Some((end, _)) = stretch.end else { return Some(named - offset) };
            if last.is_none_or(|last| named < last) {
                return Some(named - offset);
            }
            // Nothing before `end`. Where the next named minute is days away, so is every tick, unless a fold
            // ahead reads again what was read before `at`; such a fold is near.
            at = if end - at > JUMP { end.max(named - JUMP) } else { end };
        }
        None
    }

    fn last_of(&self, calendar: &Calendar, upto: i64) -> Option<i64> {
        let mut at = upto;
        for _ in 0..MAX_STRETCHES {
            let stretch = self.zone.stretch(at)?;
            let offset = stretch.offset;
            let (first, last) = self.walls(calendar, &stretch);
            let to = last.map_or(at + offset, |last| (last - 1).min(at + offset));
            let named = calendar.previous(to_civil(to)?).map(to_seconds);
            if let Some(named) = named.filter(|named| first.is_none_or(|first| *named >= first)) {
                return Some(named - offset);
            }
            if let Some(start) = self.after_gap(calendar, &stretch) {
                return Some(start);
            }
            let (start, named) = (stretch.start?.0, named?);
            at = if at - start > JUMP { (start - 1).min(named + JUMP) } else { start - 1 };
        }
        None
    }

    /// What the wall reads while `stretch` may tick: from the first on, before the second.
    fn walls(&self, calendar: &Calendar, stretch: &Stretch) -> (Option<i64>, Option<i64>) {
        let Stretch { start, offset, end } = *stretch;
        let (twice, once) = (calendar.follows_the_clock, self.dst.fold);
        let first = start.map(|(start, before)| {
            let skip = !twice && once == Fold::First;
            start + if skip { offset.max(before) } else { offset }
        });
        let last = end.map(|(end, after)| {
            let skip = !twice && once == Fold::Second;
            end + if skip { offset.min(after) } else { offset }
        });
        (first, last)
    }

    /// The start of `stretch`, if it stands for a named minute in the gap before it.
    fn after_gap(&self, calendar: &Calendar, stretch: &Stretch) -> Option<i64> {
        let (start, before) = stretch.start.filter(|(_, before)| *before < stretch.offset)?;
        if calendar.follows_the_clock || self.dst.gap == Gap::Skip {
            return None;
        }
        let named = to_seconds(calendar.next(to_civil(start + before)?)?);
        (named < start + stretch.offset).then_some(start)
    }
}

/// Whole seconds since 1970, rounded down.
fn whole_seconds(instant: Timestamp) -> i64 {
    instant.as_millisecond().div_euclid(1000)
}

/// What a wall reads that shows `seconds` since the start of 1970.
fn to_civil(seconds: i64) -> Option<DateTime> {
    Some(Offset::UTC.to_datetime(Timestamp::from_second(seconds).ok()?))
}

fn to_seconds(wall: DateTime) -> i64 {
    // Ends of the range that overlap a day of offsets are no tick of any zone.
    Offset::UTC.to_timestamp(wall).map_or(i64::MAX / 4, Timestamp::as_second)
}
