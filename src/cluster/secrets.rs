//! Credentials: read by name when one is needed, never listed, watched or kept.

use kube::Client;
use pipekick_core::domain::{CredentialUse, ObjectKey, Purpose, Reason, SecretBinding, SecretKeyRef};
use secrecy::SecretString;

use super::refusals::Refusals;
pub use super::refusals::Unavailable;
use super::stored::{Kind, NotRead, StoredObjects};

/// Longest token: GitLab's are below 100 characters, job tokens (JWT) below 4 KiB.
const MAX_TOKEN: usize = 4096;

/// Reads Secrets, and what ConfigMaps hold beside them: tokens here, values of variables in `values.rs`, CA bundles in
/// `bundles.rs`.
pub struct Secrets {
    pub(super) objects: StoredObjects,
    pub(super) refusals: Refusals<Use>,
}

/// What a refusal is remembered for: what was read, and the use it was refused for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Use {
    pub(super) what: What,
    pub(super) kind: Kind,
    pub(super) object: ObjectKey,
    /// The key, or a list of keys.
    pub(super) keys: String,
    pub(super) url: String,
    pub(super) project: String,
}

/// What something was read as.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum What {
    Token,
    Values,
    Bundle,
}

impl Secrets {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { objects: StoredObjects::new(client), refusals: Refusals::default() }
    }

    /// The token in `wanted`, if the Secret says it may be used so.
    ///
    /// # Errors
    /// When it is missing, not bound to this use, or no token.
    pub async fn token(
        &self,
        namespace: &str,
        wanted: &SecretKeyRef,
        to: CredentialUse<'_>,
    ) -> Result<SecretString, Unavailable> {
        let use_ = Use {
            what: What::Token,
            kind: Kind::Secret,
            object: ObjectKey { namespace: namespace.to_owned(), name: wanted.name.clone() },
            keys: wanted.key.clone(),
            url: to.url.to_string(),
            project: to.project.to_string(),
        };
        self.refusals.unless_refused(use_, self.read_token(namespace, wanted, to)).await
    }

    async fn read_token(
        &self,
        namespace: &str,
        wanted: &SecretKeyRef,
        to: CredentialUse<'_>,
    ) -> Result<SecretString, (Reason, String)> {
        let SecretKeyRef { name, key } = wanted;
        let read = self.objects.read(Kind::Secret, namespace, name).await;
        let secret = read.as_ref().as_ref().map_err(|not_read| match not_read {
            NotRead::NoName => (Reason::SecretMissing, format!("`{name}` cannot be the name of a Secret")),
            NotRead::Missing => {
                (Reason::SecretMissing, format!("Secret {name} does not exist; its key {key} is needed"))
            }
            NotRead::Unreadable(why) => {
                (Reason::SecretUnreadable, format!("Secret {name} could not be read: {why}"))
            }
        })?;
        let binding = SecretBinding::new(&secret.labels, &secret.annotations);
        binding.allows(name, Purpose::Credential, to)?;
        let Some(value) = secret.data.get(key) else {
            return Err((Reason::SecretMissing, format!("Secret {name} has no key {key}")));
        };
        token_of(value).map_err(|why| (Reason::SecretUnusable, format!("key {key} of Secret {name} {why}")))
    }
}

/// A token as it can stand in a header. The line end that `echo` leaves behind is taken off.
fn token_of(value: &[u8]) -> Result<SecretString, &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| "is not text")?;
    let token = text.trim();
    if token.is_empty() {
        return Err("is empty");
    }
    if token.len() > MAX_TOKEN {
        return Err("is too long for a token");
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("is no token: it has blanks or characters outside ASCII");
    }
    Ok(SecretString::from(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn a_token_is_taken_without_its_line_end_and_nonsense_is_refused() {
        assert_eq!(token_of(b"glptt-abc\n").unwrap().expose_secret(), "glptt-abc");
        for (bad, why) in [
            (b"".to_vec(), "is empty"),
            (b" \n".to_vec(), "is empty"),
            (vec![0xff, 0xfe], "is not text"),
            (b"a b".to_vec(), "is no token: it has blanks or characters outside ASCII"),
            (vec![b'x'; 5000], "is too long for a token"),
        ] {
            assert_eq!(token_of(&bad).unwrap_err(), why);
        }
    }
}
