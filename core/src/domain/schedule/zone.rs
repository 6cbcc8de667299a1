//! A time zone, and the stretches of time in which its offset stays the same. The IANA database is compiled in:
//! what the machine or image has installed changes nothing.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use thiserror::Error;

/// A zone of the database that is compiled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// A name that no zone has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no time zone: write a name of the IANA database, such as Europe/Berlin or UTC")]
pub struct ZoneError(String);

/// A stretch of time with one offset, in seconds: from `start` (with its offset before) up to `end` (with its
/// offset after), which does not belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: Option<(i64, i64)>,
    pub(super) offset: i64,
    pub(super) end: Option<(i64, i64)>,
}

impl Zone {
    /// UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".into(), zone: TimeZone::UTC }
    }

    /// The zone of this IANA name, in any case.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let refused = || ZoneError(name.chars().take(64).collect());
        // Longer than any name there is; and the empty one is not taken for UTC.
        if name.is_empty() || name.len() > 64 {
            return Err(refused());
        }
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Self::utc());
        }
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| refused())?;
        Ok(Self { name: zone.iana_name().unwrap_or(name).to_owned(), zone })
    }

    /// The zone as jiff knows it.
    #[must_use]
    pub const fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// `instant` as RFC 3339 with the zone's offset then; UTC's is `Z`.
    #[must_use]
    pub fn rfc3339(&self, instant: Timestamp) -> String {
        if self.zone == TimeZone::UTC {
            return instant.to_string();
        }
        instant.display_with_offset(self.zone.to_offset(instant)).to_string()
    }

    /// The stretch that `at` (seconds since 1970) belongs to.
    pub(super) fn stretch(&self, at: i64) -> Option<Stretch> {
        let at = Timestamp::from_second(at).ok()?;
        if self.zone == TimeZone::UTC {
            return Some(Stretch { start: None, offset: 0, end: None });
        }
        let offset = i64::from(self.zone.to_offset(at).seconds());
        let end = self.zone.following(at).next().map(|t| (t.timestamp(), t.offset()));
        let just_after = at.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
        let start = self.zone.preceding(just_after).next().map(|t| {
            let start = t.timestamp();
            let before = start.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(start);
            (start, self.zone.to_offset(before))
        });
        let seconds =
            |(at, offset): (Timestamp, jiff::tz::Offset)| (at.as_second(), i64::from(offset.seconds()));
        Some(Stretch { start: start.map(seconds), offset, end: end.map(seconds) })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
