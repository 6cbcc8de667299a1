//! Spans of time as users write them: `1h`, `30m`, `1h30m`, `90s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A whole number of seconds, at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// Longest span accepted: beyond it, arithmetic with timestamps could leave their range.
pub const MAX_SECONDS: u64 = 10 * 366 * 24 * 3600;

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no duration: write it like 90s, 30m or 1h30m (at most ten years)")]
pub struct SpanError(String);

impl Span {
    /// From a number of seconds, cut off at ten years.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(if seconds > MAX_SECONDS { MAX_SECONDS } else { seconds })
    }

    /// Its length in seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_secs(span.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || SpanError(text.chars().take(32).collect());
        let mut total: u64 = 0;
        let mut number: Option<u64> = None;
        for byte in text.bytes() {
            let unit = match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    let grown = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit));
                    // As the schema has it: seven digits.
                    number = Some(grown.filter(|n| *n < 10_000_000).ok_or_else(refused)?);
                    continue;
                }
                b'h' => 3600,
                b'm' => 60,
                b's' => 1,
                _ => return Err(refused()),
            };
            let part = number.take().and_then(|n| n.checked_mul(unit)).ok_or_else(refused)?;
            total = total.checked_add(part).ok_or_else(refused)?;
        }
        if number.is_some() || text.is_empty() || total > MAX_SECONDS {
            return Err(refused());
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (h, m, s) = (self.0 / 3600, self.0 / 60 % 60, self.0 % 60);
        if h > 0 {
            write!(f, "{h}h")?;
        }
        if m > 0 {
            write!(f, "{m}m")?;
        }
        if s > 0 || self.0 == 0 {
            write!(f, "{s}s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_numbers_with_units_are_spans() {
        assert_eq!("1h30m".parse(), Ok(Span(5400)));
        assert_eq!("90s".parse(), Ok(Span(90)));
        for bad in ["", "5", "h", "1d", "-1s", "1h30", "1 h", "99999999999999999999s", "4000000h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(seconds in 0..=MAX_SECONDS) {
            let span = Span::from_secs(seconds);
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Span>();
        }
    }
}
