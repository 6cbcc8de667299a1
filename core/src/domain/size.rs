//! How much room an object takes up where the API server keeps it. etcd takes 1.5 MiB in one request, and whoever
//! fills that with a spec leaves none for the status.

use serde::Serialize;

/// A spec that takes up more is not fired.
pub const SPEC_MAX: usize = 352 * 1024;
/// No status takes up more: what it repeats of spec, of annotations and of GitLab's answers is cut.
pub const STATUS_MAX: usize = 336 * 1024;
/// Of all annotations together, by the API server's own rule.
pub const ANNOTATIONS_MAX: usize = 256 * 1024;
/// Characters of a message in status; the rest is cut.
pub const MESSAGE_MAX: usize = 768;

/// Bytes of `value` as the API server stores it: JSON without blanks, with `<`, `>`, `&` and the two separators of
/// Unicode (U+2028, U+2029) in six bytes each, as Go writes them.
#[must_use]
pub fn stored_bytes(value: &impl Serialize) -> usize {
    let Ok(json) = serde_json::to_string(value) else { return usize::MAX };
    let more = |c: char| match c {
        '<' | '>' | '&' => 5,
        '\u{2028}' | '\u{2029}' => 3,
        _ => 0,
    };
    json.chars().map(more).fold(json.len(), usize::saturating_add)
}

/// Cuts a message for a status.
pub fn shorten(message: &mut String) {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_MAX) {
        let (last, _) = message.char_indices().nth(MESSAGE_MAX - 1).unwrap_or((end, ' '));
        message.truncate(last);
        message.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_escapes_takes_six_bytes() {
        for (text, bytes) in
            [("ab", 4), ("ä🚀", 8), ("<&>", 20), ("\"\\", 6), ("\u{1}\n", 10), ("\u{2028}\u{2029}", 14)]
        {
            assert_eq!(stored_bytes(&text), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_message_is_cut_once() {
        for length in [0, 1, MESSAGE_MAX, MESSAGE_MAX + 1, 5 * MESSAGE_MAX] {
            let mut message = "ä".repeat(length);
            shorten(&mut message);
            assert_eq!(message.chars().count(), length.min(MESSAGE_MAX));
            let mut again = message.clone();
            shorten(&mut again);
            assert_eq!(again, message);
            assert_eq!(message.ends_with('…'), length > MESSAGE_MAX);
        }
    }
}
