//! An error in GitLab's words: in which of its ways it was told, and what may be quoted of it.

use serde_json::Value;

/// Quotes from GitLab end up in status, so they are kept short.
const MAX_QUOTE: usize = 300;

/// In which of its ways GitLab told an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{"message": "404 Project Not Found"}`: a helper of the API.
    Message,
    /// `{"message": {"base": ["…"]}}`: a model or the pipeline chain.
    Validation,
    /// `{"message": ["…"]}`.
    List,
    /// `{"error": "ref is missing"}`: the parameter check.
    Parameter,
    /// `{"error": "invalid_token", "error_description": "…"}`.
    OAuth,
    /// `{"message": {"error": "…"}}`: the application's rate limiter.
    Limiter,
}

/// An error in GitLab's words: at most 300 characters, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitLabSays {
    pub(super) shape: Shape,
    pub(super) text: String,
}

impl GitLabSays {
    /// `None`: not GitLab's, such as a proxy's page. That is never quoted.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let Value::Object(body) = serde_json::from_slice(body).ok()? else { return None };
        let (shape, text) = match (body.get("message"), body.get("error"), body.get("error_description")) {
            (_, Some(Value::String(error)), Some(Value::String(description))) => {
                (Shape::OAuth, format!("{error}: {description}"))
            }
            (Some(Value::String(message)), _, _) => (Shape::Message, message.clone()),
            (Some(Value::Array(items)), _, _) => {
                (Shape::List, items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
            }
            (Some(Value::Object(fields)), _, _) => match fields.get("error") {
                Some(Value::String(error)) if fields.len() == 1 => (Shape::Limiter, error.clone()),
                _ => (Shape::Validation, validation(fields)),
            },
            (_, Some(Value::String(error)), _) => (Shape::Parameter, error.clone()),
            _ => return None,
        };
        Some(Self { shape, text: printable(&text) })
    }
}

/// `base` speaks for itself; what is said of an attribute begins with its name.
fn validation(fields: &serde_json::Map<String, Value>) -> String {
    let mut texts = Vec::new();
    for (name, said) in fields {
        let prefix = if name == "base" { String::new() } else { format!("{name} ") };
        match said {
            Value::String(text) => texts.push(format!("{prefix}{text}")),
            Value::Array(items) => {
                texts.extend(items.iter().filter_map(Value::as_str).map(|text| format!("{prefix}{text}")));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
        }
    }
    texts.join("; ")
}

/// One line of at most 300 characters that cannot play tricks on a terminal.
pub(super) fn printable(text: &str) -> String {
    clean(text, MAX_QUOTE)
}

/// The same, of at most `max`.
pub(super) fn clean(text: &str, max: usize) -> String {
    // Controls, and the marks that turn the direction of writing around.
    let harmless =
        |c: char| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let spaced = text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|&c| harmless(c));
    let line = spaced.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(max) {
        None => line,
        Some(_) => line.chars().take(max - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_of_errors_is_read() {
        let cases = [
            (r#"{"message":"404 Project Not Found"}"#, Some((Shape::Message, "404 Project Not Found"))),
            (
                r#"{"message":{"base":["Reference not found"]}}"#,
                Some((Shape::Validation, "Reference not found")),
            ),
            (
                r#"{"message":{"cron":["is invalid syntax"]}}"#,
                Some((Shape::Validation, "cron is invalid syntax")),
            ),
            (
                r#"{"message":{"base":["a","b"],"ref":"is odd"}}"#,
                Some((Shape::Validation, "a; b; ref is odd")),
            ),
            (
                r#"{"message":["Another open merge request","x"]}"#,
                Some((Shape::List, "Another open merge request; x")),
            ),
            (
                r#"{"error":"ref is missing, token is missing"}"#,
                Some((Shape::Parameter, "ref is missing, token is missing")),
            ),
            (
                r#"{"error":"invalid_token","error_description":"Token was revoked."}"#,
                Some((Shape::OAuth, "invalid_token: Token was revoked.")),
            ),
            (r#"{"message":{"error":"Too often."}}"#, Some((Shape::Limiter, "Too often."))),
            (r#"{"message":"Invalid json","error":"Invalid json"}"#, Some((Shape::Message, "Invalid json"))),
            (r#"{"message":{}}"#, Some((Shape::Validation, ""))),
            (r#"{"status":500,"path":"/x"}"#, None),
            (r#"{"error":{"code":7}}"#, None),
            (r#""Forbidden""#, None),
            ("[]", None),
            ("Retry later", None),
            ("<html><body>502</body></html>", None),
            ("", None),
        ];
        for (body, expected) in cases {
            let said = GitLabSays::parse(body.as_bytes());
            assert_eq!(said, expected.map(|(shape, text)| GitLabSays { shape, text: text.into() }), "{body}");
        }
    }

    #[test]
    fn a_quote_is_one_short_line_without_tricks() {
        assert_eq!(printable("a\r\n\u{1b}[31mred\u{202e}\u{0}x"), "a [31mred x");
        let long = printable(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), 300);
        assert!(long.ends_with('…'));
        assert_eq!(printable(&"x".repeat(300)).len(), 300);
    }
}
