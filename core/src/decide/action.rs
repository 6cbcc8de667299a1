//! Annotations that ask for something. Each value is answered once, in `status.lastHandled`.

use crate::domain::status::Handled;

/// Longest value that is told apart: status repeats it.
const VALUE_MAX: usize = 256;

/// The value of an annotation as it is told apart from others.
pub(super) fn told_apart(asked: &str) -> String {
    asked.chars().take(VALUE_MAX).collect()
}

/// The value of an annotation that names a run, unless it was answered.
pub(super) fn unanswered(asked: Option<&String>, handled: Option<&Handled>) -> Option<String> {
    let value = told_apart(asked?);
    let answered = handled.is_some_and(|handled| handled.value == value);
    (!answered).then_some(value)
}

/// What a value says; `#anything` at the end only makes it new.
pub(super) fn said(value: &str) -> &str {
    value.split_once('#').map_or(value, |(said, _)| said).trim()
}

/// The run that a value names by its number: `12`, `12#anything`.
pub(super) fn seq_of(value: &str) -> Option<u64> {
    said(value).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::status::Answered;

    #[test]
    fn a_value_names_a_run_and_nonsense_names_none() {
        for (value, expected) in [("12", Some(12)), (" 3 #again", Some(3)), ("1#", Some(1)), ("0", Some(0))] {
            assert_eq!(seq_of(value), expected, "{value}");
        }
        for nonsense in ["", "#", "#1", "x", "12:refire", "-1", "1.0", "true"] {
            assert_eq!(seq_of(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_value_is_answered_once_and_as_far_as_status_can_repeat_it() {
        let long = "x".repeat(VALUE_MAX);
        let handled = |value: &str| Some(Handled { value: value.into(), answer: Answered::Ignored });
        let cases = [
            (None, None, None),
            (Some("1"), None, Some("1")),
            (Some("1"), handled("1"), None),
            (Some("1#again"), handled("1"), Some("1#again")),
            (Some(" "), None, Some(" ")),
            (Some(""), None, Some("")),
            (Some(""), handled(""), None),
            (Some(&*format!("{long}yz")), None, Some(&*long)),
            (Some(&*format!("{long}yz")), handled(&long), None),
        ];
        for (asked, handled, expected) in cases {
            let asked = asked.map(str::to_owned);
            assert_eq!(unanswered(asked.as_ref(), handled.as_ref()).as_deref(), expected, "{asked:?}");
        }
    }
}
