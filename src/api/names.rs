//! Names as Kubernetes has them.

/// Whether it is a DNS-1123 label, as namespaces are named.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether it is a DNS-1123 subdomain, as most objects are named: labels with dots between. As a part of a path it never
/// leads out of its namespace.
#[must_use]
pub fn is_subdomain(text: &str) -> bool {
    // A label of a longer name may be as long as the name.
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        })
}

/// Whether a label or an annotation may have this key: `[prefix/]name`.
#[must_use]
pub fn is_metadata_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !text.is_empty() && is_label_value(text),
    }
}

/// Whether a label may have this value.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || text.len() <= 63 && text.bytes().all(inner) && text.starts_with(ends) && text.ends_with(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_its_namespace() {
        assert!(is_subdomain("checkout-gitlab") && is_subdomain("a.b-c1"));
        for bad in [
            "",
            "..",
            "a/../b",
            "../../other/secrets/x",
            "a%2Fb",
            "A",
            "-a",
            "a.",
            "a..b",
            "a.-b",
            "a?b",
            "a b",
        ] {
            assert!(!is_subdomain(bad), "{bad}");
        }
        assert!(!is_subdomain(&"a".repeat(254)));
        assert!(is_label("shop") && !is_label("a.b") && !is_label(&"a".repeat(64)) && !is_label(""));
    }

    #[test]
    fn labels_are_as_the_api_server_takes_them() {
        for good in ["team", "example.com/team", "A_b.c-d"] {
            assert!(is_metadata_key(good), "{good}");
        }
        for bad in ["", "/team", "example.com/", "a/b/c", "Example.com/team", "-team", "two words"] {
            assert!(!is_metadata_key(bad), "{bad}");
        }
        assert!(is_label_value("") && is_label_value("v1.2_3") && !is_label_value("two words"));
        assert!(!is_label_value("-x") && !is_label_value(&"a".repeat(64)));
    }
}
