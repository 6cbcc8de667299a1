//! What is derived from a tick and nothing else: the name of its child, and when it fires.

use data_encoding::BASE32HEX_NOPAD;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::domain::schedule::{Schedule, ScheduleSpec};

/// The name of the child of a tick: the schedule's name and the tick's minutes since 1970 in base 36. Two ticks of a
/// schedule are at least a minute apart, so no two share a name.
#[must_use]
pub fn child_name(schedule: &str, tick: Timestamp) -> String {
    let minutes = tick.as_second().div_euclid(60);
    let sign = if minutes < 0 { "n" } else { "" };
    format!("{schedule}-{sign}{}", base36(minutes.unsigned_abs()))
}

/// The name of the child of a request: the schedule's name and ten characters hashed from its uid and the value. A tick
/// has no name as long in the next 190 million years.
#[must_use]
pub fn request_name(schedule: &str, uid: &str, value: &str) -> String {
    let hashed = Sha256::digest(format!("pipekick fire\n{uid}\n{value}"));
    let text = BASE32HEX_NOPAD.encode(&hashed[..7]).to_ascii_lowercase();
    format!("{schedule}-{}", &text[..10])
}

fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::new();
    loop {
        text.push(char::from(DIGITS[usize::try_from(number % 36).unwrap_or(0)]));
        number /= 36;
        if number == 0 {
            return text.into_iter().rev().collect();
        }
    }
}

/// When `tick` fires: itself, or later by its jitter, which is the same whenever it is asked for, and ends before the
/// next tick, so that ticks stay in their order. In milliseconds: by whole seconds, of ten thousand spread over ten
/// minutes some twenty would fire at one instant and wait for each other.
pub(super) fn release(schedule: &Schedule, spec: &ScheduleSpec, tick: Timestamp) -> Timestamp {
    let longest = spec.jitter.as_secs().saturating_mul(1000);
    if longest == 0 {
        return tick;
    }
    let room = spec
        .clock
        .next_after(tick)
        .and_then(|next| u64::try_from(next.duration_since(tick).as_millis()).ok())
        .map_or(u64::MAX, |room| room.max(1));
    let hashed = Sha256::digest(format!("pipekick jitter\n{}\n{}", schedule.key, tick.as_second()));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hashed[..8]);
    let millis = u64::from_be_bytes(bytes) % room.min(longest + 1);
    let wait = SignedDuration::from_millis(i64::try_from(millis).unwrap_or(0));
    tick.checked_add(wait).unwrap_or(tick)
}
