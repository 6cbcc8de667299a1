//! Container images as repositories name them: tag, digest, name, and the reference that joins them.
//!
//! The grammar is that of the OCI distribution specification and of docker's reference package, which is what
//! registries and kubelets take. A value that parses here can be written into any scalar without a line break.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A tag: 1 to 128 of `A-Z a-z 0-9 _ . -`, not beginning with a dot or hyphen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageTag(String);

/// A digest: `sha256:` and 64 lower-case hex digits (`sha384:` 96, `sha512:` 128).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageDigest(String);

/// An image's name without tag and digest: `registry.example.com:5000/shop/checkout`, at most 255 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageName(String);

/// A whole reference: `name[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef {
    /// Registry and repository.
    pub name: ImageName,
    /// The tag, if one is written.
    pub tag: Option<ImageTag>,
    /// The digest, if one is written. Where it stands, it decides what runs; the tag beside it is a remark.
    pub digest: Option<ImageDigest>,
}

/// A text that is no part of an image reference; each says what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// Not a tag.
    #[error(
        "`{0}` is no image tag: use 1 to 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`"
    )]
    Tag(String),
    /// Not a digest.
    #[error("`{0}` is no image digest: write sha256: and 64 lower-case hex digits")]
    Digest(String),
    /// Not a name.
    #[error(
        "`{0}` is no image name: write it like registry.example.com/group/app, lower case, without tag and digest"
    )]
    Name(String),
}

/// What an error quotes of a text: enough to recognise it, and no control characters.
fn quoted(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl FromStr for ImageTag {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let ok = (1..=128).contains(&text.len())
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if ok { Ok(Self(text.to_owned())) } else { Err(ImageError::Tag(quoted(text))) }
    }
}

impl FromStr for ImageDigest {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = |algorithm: &str| match algorithm {
            "sha256" => Some(64),
            "sha384" => Some(96),
            "sha512" => Some(128),
            _ => None,
        };
        let ok = text.split_once(':').is_some_and(|(algorithm, hex)| {
            length(algorithm) == Some(hex.len())
                && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if ok { Ok(Self(text.to_owned())) } else { Err(ImageError::Digest(quoted(text))) }
    }
}

impl FromStr for ImageName {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut components = text.split('/');
        let first = components.next().unwrap_or_default();
        let rest: Vec<&str> = components.collect();
        // With a slash behind it, the first component may be a registry: upper case, dots and a port.
        let first_ok = is_repository(first) || (!rest.is_empty() && is_registry(first));
        let ok = text.len() <= 255 && first_ok && rest.iter().all(|component| is_repository(component));
        if ok { Ok(Self(text.to_owned())) } else { Err(ImageError::Name(quoted(text))) }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_repository(component: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    plain(first)
        && plain(last)
        && bytes.iter().all(|&b| plain(b) || b"._-".contains(&b))
        && bytes.split(|&b| plain(b)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-')
        })
}

/// `host[:port]`; the host by DNS names, IPv4, or IPv6 in brackets.
fn is_registry(component: &str) -> bool {
    let (host, port) = match component.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (component, None),
    };
    let port_ok =
        port.is_none_or(|port| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()));
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_ok = match v6 {
        Some(address) => !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => host.split('.').all(|label| {
            let alnum = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
            alnum(label.bytes().next())
                && alnum(label.bytes().last())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    port_ok && host_ok
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[last..].find(':') {
            Some(colon) => (&rest[..last + colon], Some(rest[last + colon + 1..].parse()?)),
            None => (rest, None),
        };
        Ok(Self { name: name.parse()?, tag, digest })
    }
}

macro_rules! text {
    ($($name:ident),+) => {$(
        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

text!(ImageTag, ImageDigest, ImageName);

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, tag, digest } = self;
        write!(f, "{name}")?;
        if let Some(tag) = tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn tags_are_what_a_registry_takes() {
        let long = "x".repeat(128);
        for good in ["1", "v1.2.3", "_x", "2026.11-rc_1", "latest", &long] {
            assert_eq!(good.parse::<ImageTag>().unwrap().as_str(), good);
        }
        let too_long = "x".repeat(129);
        for bad in ["", ".1", "-1", "a b", "a/b", "a:b", "a+b", "ä", "a\n", "\u{0}", &too_long] {
            assert!(matches!(bad.parse::<ImageTag>(), Err(ImageError::Tag(_))), "{bad}");
        }
    }

    #[test]
    fn digests_have_an_algorithm_and_its_length() {
        assert!(format!("sha256:{HEX}").parse::<ImageDigest>().is_ok());
        assert!(format!("sha512:{HEX}{HEX}").parse::<ImageDigest>().is_ok());
        for bad in [
            HEX.into(),
            format!("sha256:{}", &HEX[1..]),
            format!("sha256:{}G", &HEX[1..]),
            format!("md5:{HEX}"),
            format!("sha256:{}", HEX.to_uppercase()),
            format!("sha512:{HEX}"),
            String::new(),
        ] {
            assert!(bad.parse::<ImageDigest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reference_comes_apart_and_together_again() {
        let digest = format!("sha256:{HEX}");
        for (text, name, tag, pinned) in [
            ("nginx".to_owned(), "nginx", None, false),
            ("nginx:1.27".into(), "nginx", Some("1.27"), false),
            ("localhost:5000/app".into(), "localhost:5000/app", None, false),
            (
                "Registry.Example.com:5000/a/b__c:v1".into(),
                "Registry.Example.com:5000/a/b__c",
                Some("v1"),
                false,
            ),
            (format!("ghcr.io/a/b@{digest}"), "ghcr.io/a/b", None, true),
            (format!("ghcr.io/a/b:v1@{digest}"), "ghcr.io/a/b", Some("v1"), true),
            ("[2001:db8::1]:5000/app:1".into(), "[2001:db8::1]:5000/app", Some("1"), false),
        ] {
            let parsed: ImageRef = text.parse().unwrap();
            assert_eq!(parsed.name.as_str(), name);
            assert_eq!(parsed.tag.as_ref().map(ImageTag::as_str), tag);
            assert_eq!(parsed.digest.is_some(), pinned);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn what_no_registry_serves_is_no_reference() {
        for bad in [
            "",
            "App",
            "app:",
            "app@",
            "a//b",
            "/app",
            "app/",
            "app:v 1",
            "a..b",
            "a___b/c",
            "-a/b",
            "https://x/y",
            "x:port/y:1",
            "a/B",
            "app:v1:v2",
            "host:/x",
            "host:123456/x",
            "[]/x",
            "a._b",
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_quotes_no_control_characters() {
        let error = "a\nb".parse::<ImageTag>().unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
    }
}
