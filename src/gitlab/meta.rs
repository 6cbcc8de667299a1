//! What the headers of an answer tell: the server's clock, and how much it still takes from us.
//!
//! Two traps, both GitLab's: `RateLimit-Limit` is scaled to a minute whatever the period is, while
//! `RateLimit-Remaining` counts in the real period, so the two are never compared; and `RateLimit-Reset` is a
//! point on GitLab's clock, so it is turned into a delay by the `Date` of the same answer.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// Longer waits are cut: self-managed GitLab counts by the hour at most, and asking once more costs little.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// What an answer tells beside its body. Empty when no answer came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseMeta {
    /// The HTTP status.
    pub status: Option<u16>,
    /// The server's clock, in whole seconds.
    pub date: Option<Timestamp>,
    /// How long to stay away, from `Retry-After`; at most an hour.
    pub retry_after: Option<Duration>,
    /// What is left of the rate limit.
    pub rate: Option<Rate>,
}

/// GitLab's own count of our requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests left in the running window.
    pub remaining: u64,
    /// Until the window ends, from the moment of the answer; at most an hour.
    pub resets_in: Duration,
}

impl ResponseMeta {
    /// Reads the headers; `now` stands in for the server's clock when it does not tell it.
    pub(super) fn read(status: u16, headers: &HeaderMap, now: Timestamp) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let date = text("date").and_then(http_date);
        let here = date.unwrap_or(now);
        let retry_after = text("retry-after").and_then(|value| {
            value.parse().map(Duration::from_secs).ok().or_else(|| Some(until(http_date(value)?, here)))
        });
        let rate = text("ratelimit-remaining").and_then(|value| value.parse().ok()).and_then(|remaining| {
            let reset = text("ratelimit-reset")?.parse().ok()?;
            // Both ends are cut to the second: one more keeps us from coming back just before the window ends.
            let resets_in = until(Timestamp::from_second(reset).ok()?, here) + Duration::from_secs(1);
            Some(Rate { remaining, resets_in: resets_in.min(MAX_WAIT) })
        });
        Self { status: Some(status), date, retry_after: retry_after.map(|wait| wait.min(MAX_WAIT)), rate }
    }

    /// How long a 429 or 503 asks us to stay away, if it says so.
    pub(super) fn asked_wait(&self) -> Option<Duration> {
        let rest_of_window = || self.rate.filter(|rate| rate.remaining == 0).map(|rate| rate.resets_in);
        self.retry_after.or_else(rest_of_window)
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    // An HTTP date is an RFC 2822 date whose zone is GMT. A wrong weekday is no reason to distrust the rest.
    const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    PARSER.parse_timestamp(text).ok()
}

fn until(end: Timestamp, here: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(here)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> ResponseMeta {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>();
        ResponseMeta::read(429, &headers, Timestamp::from_second(1_000_000).unwrap())
    }

    #[test]
    fn waits_are_counted_on_the_servers_clock() {
        // 1994-11-06T08:49:37Z
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let secs = |s| Some(Duration::from_secs(s));
        let cases = [
            ("seconds", read(&[("retry-after", "17")]), secs(17)),
            (
                "a date, by the server's own clock",
                read(&[date, ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")]),
                secs(10),
            ),
            (
                "a date in the past is no wait",
                read(&[date, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]),
                secs(0),
            ),
            ("nonsense is nothing", read(&[("retry-after", "soon")]), None),
            ("a day is cut to an hour", read(&[("retry-after", "86400")]), secs(3600)),
            (
                "the reset, by the server's clock and one second late",
                read(&[date, ("ratelimit-remaining", "0"), ("ratelimit-reset", "784111787")]),
                secs(11),
            ),
            (
                "the reset by our clock where the server's is not told",
                read(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "1000020")]),
                secs(21),
            ),
            (
                "a window that is not used up asks for no wait",
                read(&[date, ("ratelimit-remaining", "5"), ("ratelimit-reset", "784111787")]),
                None,
            ),
            ("without remaining there is no rate", read(&[date, ("ratelimit-reset", "784111787")]), None),
        ];
        for (sentence, meta, wait) in cases {
            assert_eq!(meta.asked_wait(), wait, "{sentence}");
        }
    }
}
