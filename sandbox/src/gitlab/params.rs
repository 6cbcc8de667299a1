//! Request parameters the way Rack and Grape make them: query and body merged into one nested map,
//! the body winning. Forms nest by brackets (`variables[KEY]=v`, `variables[][key]=K`).

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{call::Call, row::Row, rows};

pub(crate) type Params = Map<String, Value>;

/// The merged parameters of a call, or the row that refuses its body.
pub(crate) fn of(call: &Call) -> Result<Params, &'static Row> {
    let mut params = Params::new();
    for (key, value) in form_urlencoded::parse(call.query.as_bytes()) {
        insert(&mut params, &key, value.into_owned());
    }
    if call.body.is_empty() {
        return Ok(params);
    }
    let content_type = call.header("content-type").unwrap_or("application/x-www-form-urlencoded");
    let (kind, rest) = content_type.split_once(';').unwrap_or((content_type, ""));
    match kind.trim().to_ascii_lowercase().as_str() {
        "application/json" => match serde_json::from_slice(&call.body) {
            Ok(Value::Object(body)) => params.extend(body),
            // Grape keeps a body that is no object aside; nothing of it becomes a parameter.
            Ok(_) => {}
            Err(_) => return Err(&rows::BODY_NOT_JSON),
        },
        "application/x-www-form-urlencoded" => {
            for (key, value) in form_urlencoded::parse(&call.body) {
                insert(&mut params, &key, value.into_owned());
            }
        }
        "multipart/form-data" => {
            let boundary = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
            let boundary = boundary.unwrap_or_default().trim_matches('"');
            for (key, value) in multipart(&String::from_utf8_lossy(&call.body), boundary) {
                insert(&mut params, &key, value);
            }
        }
        _ => return Err(&rows::BODY_NOT_SUPPORTED),
    }
    Ok(params)
}

/// Percent-decodes one path segment.
pub(crate) fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// The plain fields of a multipart form; what is malformed is left out.
fn multipart(body: &str, boundary: &str) -> Vec<(String, String)> {
    let delimiter = format!("--{boundary}");
    body.split(&delimiter)
        .filter_map(|part| {
            let (head, value) = part.strip_prefix("\r\n")?.split_once("\r\n\r\n")?;
            let (_, name) = head.split_once("name=\"")?;
            let (name, _) = name.split_once('"')?;
            Some((name.to_owned(), value.strip_suffix("\r\n").unwrap_or(value).to_owned()))
        })
        .collect()
}

fn insert(params: &mut Params, key: &str, value: String) {
    let (name, rest) = key.find('[').map_or((key, ""), |at| key.split_at(at));
    let steps: Vec<&str> = rest.split_terminator(']').map(|step| step.trim_start_matches('[')).collect();
    put(params.entry(name).or_insert(Value::Null), &steps, value);
}

fn put(slot: &mut Value, steps: &[&str], value: String) {
    match steps {
        [] => *slot = Value::String(value),
        ["", rest @ ..] => {
            if !slot.is_array() {
                *slot = Value::Array(Vec::new());
            }
            let Value::Array(items) = slot else { return };
            // `a[][x]=1&a[][y]=2` is one item; a key that is already there starts the next.
            let open = rest.first().is_some_and(|next| {
                items.last().and_then(Value::as_object).is_some_and(|last| !last.contains_key(*next))
            });
            if !open {
                items.push(Value::Null);
            }
            if let Some(last) = items.last_mut() {
                put(last, rest, value);
            }
        }
        [name, rest @ ..] => {
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Value::Object(map) = slot {
                put(map.entry(*name).or_insert(Value::Null), rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(text: &str) -> Value {
        let mut params = Params::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            insert(&mut params, &key, value.into_owned());
        }
        Value::Object(params)
    }

    #[test]
    fn brackets_nest_and_empty_brackets_make_arrays() {
        assert_eq!(
            form("ref=main&variables[A]=1&variables[B]=x%20y&scope[]=failed&scope[]=success"),
            json!({"ref": "main", "variables": {"A": "1", "B": "x y"}, "scope": ["failed", "success"]})
        );
    }

    #[test]
    fn a_key_seen_twice_starts_the_next_item_of_an_array() {
        assert_eq!(
            form("v[][key]=A&v[][value]=1&v[][key]=B&v[][value]=2"),
            json!({"v": [{"key": "A", "value": "1"}, {"key": "B", "value": "2"}]})
        );
    }

    #[test]
    fn multipart_fields_are_read_as_curl_sends_them() {
        let body = "--xx\r\nContent-Disposition: form-data; name=\"ref\"\r\n\r\nmain\r\n--xx--\r\n";
        assert_eq!(multipart(body, "xx"), [("ref".to_owned(), "main".to_owned())]);
    }
}
