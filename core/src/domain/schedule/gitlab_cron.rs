//! An expression as GitLab has to be given it. GitLab's cron library, Fugit, reads most of it the same way; what it
//! refuses or reads otherwise is written in words that both read alike.
//!
//! | here | to Fugit | sent |
//! | --- | --- | --- |
//! | `?` | refused | `*` |
//! | `@daily` and its like | refused beside a zone | the five fields |
//! | `10/1` | 10 alone | `10-59` |
//! | a star in a list, `*,5` | in the day of week: 5 alone | `*` |
//! | `*/1`, `1-5/1` | as without the step, mostly | without the step |
//! | `@every 90m` | refused | – |

use super::field::Kind;
use super::pattern::{Pattern, PatternKind};

impl Pattern {
    /// As GitLab reads it, every `H` resolved; none for `@every`, which GitLab does not have.
    #[must_use]
    pub fn for_gitlab(&self) -> Option<String> {
        match self.kind() {
            PatternKind::Every(_) => None,
            PatternKind::Calendar(_) => {
                let fields = self.resolved().split_whitespace().zip(Kind::ALL);
                Some(fields.map(|(text, kind)| field(kind, text)).collect::<Vec<_>>().join(" "))
            }
        }
    }
}

fn field(kind: Kind, text: &str) -> String {
    let items: Vec<String> = text.split(',').map(|text| item(kind, text)).collect();
    // Whatever stands beside it adds nothing.
    if items.iter().any(|item| item == "*") { "*".into() } else { items.join(",") }
}

fn item(kind: Kind, text: &str) -> String {
    let from_end = kind == Kind::DayOfMonth && text.starts_with(['L', 'l', '-']);
    if from_end || text.contains('#') {
        return text.to_ascii_uppercase().replace("LAST", "L").replace("#L", "#-1");
    }
    let (range, step) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
    let step = step.filter(|step| step.trim_start_matches('0') != "1");
    let range = match range {
        "*" | "?" => "*".to_owned(),
        range if range.contains('-') || !text.contains('/') => range.to_owned(),
        from => format!("{}-{}", kind.first(from), kind.bounds().1),
    };
    step.map_or_else(|| range.clone(), |step| format!("{range}/{step}"))
}

#[cfg(test)]
mod tests {
    use super::super::pattern::HashKey;
    use super::*;

    fn sent(text: &str) -> Option<String> {
        Pattern::parse(text, Some(&HashKey::new("shop", "nightly"))).unwrap().for_gitlab()
    }

    #[test]
    fn what_fugit_reads_alike_is_sent_as_it_is_and_the_rest_in_other_words() {
        for (written, expected) in [
            ("30 2 * * MON-FRI", "30 2 * * MON-FRI"),
            ("*/15 8-18/2 1,15 JAN-MAR *", "*/15 8-18/2 1,15 JAN-MAR *"),
            ("0 0 ? * *", "0 0 * * *"),
            ("@daily", "0 0 * * *"),
            ("10/1 5/3 * * 2/2", "10-59 5-23/3 * * 2-6/2"),
            ("0 0 * * 7/2", "0 0 * * 0-6/2"),
            ("*/1 0-5/01 * * *,5", "* 0-5 * * *"),
            ("0 0 last * FRI#L", "0 0 L * FRI#-1"),
            ("0 0 -3-l * fri#2", "0 0 -3-L * FRI#2"),
        ] {
            assert_eq!(sent(written).as_deref(), Some(expected), "{written}");
        }
        assert_eq!(sent("@every 90m"), None);
        let hashed = sent("H 2 * * *").unwrap();
        assert!(hashed.ends_with(" 2 * * *") && !hashed.contains('H'), "{hashed}");
    }

    #[test]
    fn it_names_the_same_minutes() {
        for text in ["7/1 */5 * * *", "0 0 * * 0,*", "0 0 13 * ?", "5 4 L,15 * SUN#-1", "H H(1-5)/2 * * 3/1"]
        {
            let pattern = Pattern::parse(text, Some(&HashKey::new("shop", "nightly"))).unwrap();
            let again = Pattern::parse(&pattern.for_gitlab().unwrap(), None).unwrap();
            let mut at = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
            for _ in 0..500 {
                let ticks = [&pattern, &again].map(|pattern| match pattern.kind() {
                    PatternKind::Calendar(calendar) => calendar.next(at).unwrap(),
                    PatternKind::Every(_) => panic!("a calendar"),
                });
                assert_eq!(ticks[0], ticks[1], "{text}");
                at = ticks[0].checked_add(jiff::Span::new().minutes(1)).unwrap();
            }
        }
    }
}
