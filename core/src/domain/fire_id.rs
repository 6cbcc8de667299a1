//! The name of a run, written before anything is sent.

use std::fmt;

use data_encoding::Encoding;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Cause, Digest};

/// 26 characters of base32 (Crockford's alphabet in lower case: no i, l, o, u), 128 bits of a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FireId(String);

impl FireId {
    /// Names the run number `seq` of the object `uid`. The time belongs to it because a restored etcd repeats
    /// uid and seq, but not the time.
    #[must_use]
    pub fn new(uid: &str, seq: u64, cause: &Cause, digest: &Digest, intended_at: Timestamp) -> Self {
        let (kind, request) = cause.parts();
        Self(Self::hash(&[
            uid,
            &seq.to_string(),
            kind,
            request.unwrap_or_default(),
            digest.as_str(),
            &intended_at.as_nanosecond().to_string(),
        ]))
    }

    /// 128 bits of the SHA-256 over `parts`, as 26 characters. Each part carries its length, so that no two
    /// different lists hash the same bytes.
    #[must_use]
    pub fn hash(parts: &[&str]) -> String {
        crockford().encode(&digest_of(parts)[..16])
    }

    /// The text as it travels to GitLab.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FireId {
    /// A fire id read back from GitLab or from status; it is only ever compared.
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for FireId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 over `parts`, each with its length.
pub(super) fn digest_of(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

fn crockford() -> Encoding {
    let mut spec = data_encoding::Specification::new();
    spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    spec.encoding().expect("32 distinct symbols are a base32 alphabet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FiringFields;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn anything_that_differs_makes_another_name() {
        let digest = FiringFields::example().digest();
        let id = |uid, seq, cause: Cause, t| FireId::new(uid, seq, &cause, &digest, at(t));
        let first = id("u", 1, Cause::Apply, 1);
        assert_eq!(first, id("u", 1, Cause::Apply, 1));
        assert_eq!(first.as_str().len(), 26);
        assert_eq!(first.to_string(), first.as_str());
        for other in [
            id("v", 1, Cause::Apply, 1),
            id("u", 2, Cause::Apply, 1),
            id("u", 1, Cause::Change, 1),
            id("u", 1, Cause::Request("x".into()), 1),
            id("u", 1, Cause::Apply, 2),
        ] {
            assert_ne!(first, other);
        }
    }
}
