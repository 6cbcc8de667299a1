//! How much room an object takes up where the API server keeps it. etcd takes 1.5 MiB in one request, and whoever
//! fills that with a spec leaves none for the status.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A spec that takes up more is not fired.
pub const SPEC_MAX: usize = 352 * 1024;
/// Spec and metadata together: labels, annotations, and `managedFields`, which name again what stands in them and in spec.
/// An object whose own part takes up more is not fired.
pub const OWN_MAX: usize = 624 * 1024;
/// No status takes up more: what it repeats of spec, of annotations and of GitLab's answers is cut.
pub const STATUS_MAX: usize = 336 * 1024;
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

/// How many bytes a value takes up as [`stored_bytes`] counts them, found while it is read and not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight(pub usize);

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Weighing)
    }
}

struct Weighing;

impl<'de> Visitor<'de> for Weighing {
    type Value = Weight;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Weight, E> {
        Ok(Weight("null".len()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Weight, E> {
        Ok(Weight(stored_bytes(&value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Weight, E> {
        Ok(Weight(stored_bytes(&value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Weight, E> {
        Ok(Weight(stored_bytes(&value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Weight, E> {
        Ok(Weight(stored_bytes(&value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Weight, E> {
        Ok(Weight(stored_bytes(&value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Weight, A::Error> {
        let mut bytes = 1_usize;
        while let Some(Weight(item)) = items.next_element()? {
            // With the comma, or the bracket at the end.
            bytes = bytes.saturating_add(item).saturating_add(1);
        }
        Ok(Weight(bytes.max(2)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Weight, A::Error> {
        let mut bytes = 1_usize;
        while let Some((Weight(key), Weight(value))) = entries.next_entry()? {
            bytes = bytes.saturating_add(key).saturating_add(value).saturating_add(2);
        }
        Ok(Weight(bytes.max(2)))
    }
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
    fn what_is_weighed_while_it_is_read_weighs_what_is_stored() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            "[1,-2,0.5,18446744073709551615]",
            r#"{"a":{"b":[{}],"<&>":"\"\u2028ä"},"c":null}"#,
        ] {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let Weight(bytes) = serde_json::from_str(text).unwrap();
            assert_eq!(bytes, stored_bytes(&value), "{text}");
            let Weight(buffered) = serde_json::from_value(value).unwrap();
            assert_eq!(buffered, bytes, "{text}");
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
