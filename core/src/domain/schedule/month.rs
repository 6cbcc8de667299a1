//! The days of one month that a pattern names, as bits: bit n is day n.

use jiff::civil::Date;

use super::field::Field;

/// The two day fields of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) of_month: Field,
    pub(super) of_week: Field,
}

/// Bits 1, 8, 15, 22 and 29.
const WEEKLY: u32 = 1 << 1 | 1 << 8 | 1 << 15 | 1 << 22 | 1 << 29;

impl Days {
    /// The days of the month that begins on `first` which are named: by either field where both are restricted,
    /// else by the one that is.
    pub(super) fn in_month(&self, first: Date) -> u32 {
        let length = u32::from(first.days_in_month().unsigned_abs());
        let all = u32::MAX >> (31 - length) & !1;
        let (by_date, by_weekday) = (self.by_date(length), self.by_weekday(first, length));
        let either = !self.of_month.unrestricted && !self.of_week.unrestricted;
        all & if either { by_date | by_weekday } else { by_date & by_weekday }
    }

    fn by_date(&self, length: u32) -> u32 {
        // A day field has no value above 31.
        let mut days = u32::try_from(self.of_month.values & u64::from(u32::MAX)).unwrap_or(0);
        if self.of_month.from_end != 0 {
            for back in (1..=length).filter(|back| self.of_month.from_end >> back & 1 == 1) {
                days |= 1 << (length + 1 - back);
            }
        }
        days
    }

    fn by_weekday(&self, first: Date, length: u32) -> u32 {
        if self.of_week.unrestricted {
            return u32::MAX;
        }
        let begins_on = first.weekday().to_sunday_zero_offset().unsigned_abs();
        let mut days = 0;
        for weekday in 0..7u8 {
            // The first such day of the month is day 1 + after.
            let after = u32::from((weekday + 7 - begins_on) % 7);
            if self.of_week.values >> weekday & 1 == 1 {
                days |= WEEKLY << after;
            }
            let nth = u32::from(self.of_week.nth[usize::from(weekday)]);
            let times = (length - 1 - after) / 7 + 1;
            for n in (1..=times).filter(|_| nth != 0) {
                let from_end = times + 1 - n;
                if nth >> n & 1 == 1 || nth >> (8 + from_end) & 1 == 1 {
                    days |= 1 << (1 + after + 7 * (n - 1));
                }
            }
        }
        days
    }
}
