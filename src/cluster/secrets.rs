//! Secrets: read by name when a value is needed, never listed, watched or kept. Triggers that need the same
//! Secret at the same time share one read of it ([`super::reads`]).
//!
//! What is missing or not bound as it should be is looked for again after 5 s growing to 60 s, once per
//! Secret however many objects wait for it: only the refusal is remembered, never a value.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};
use pipekick_core::domain::{CredentialUse, ObjectKey, Reason, SecretBinding, SecretKeyRef};
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::DEADLINE;
use super::reads::SharedReads;
use crate::clock;

/// First and longest wait before a Secret that was of no use is read again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Longest token: GitLab's are below 100 characters, job tokens (JWT) below 4 KiB.
const MAX_TOKEN: usize = 4096;
/// Refusals remembered at most; beyond it, those that have passed are forgotten.
const MAX_REFUSALS: usize = 4096;

/// A credential that cannot be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// Why.
    pub reason: Reason,
    /// Names Secret and key, and says what to do.
    pub message: String,
    /// How long until it is read again.
    pub look_again: Duration,
}

struct Refusal {
    reason: Reason,
    message: String,
    until: Instant,
    delay: Duration,
}

/// Where one Secret key stands; the lock is held while it is read, so that waiters share the answer.
type Slot = Arc<Mutex<Option<Refusal>>>;

/// Reads credentials.
pub struct Secrets {
    client: Client,
    reads: SharedReads<ObjectKey, Result<Option<Secret>, String>>,
    slots: std::sync::Mutex<HashMap<SlotKey, Slot>>,
}

/// What a refusal is remembered for: the key and the use it was refused for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SlotKey {
    secret: ObjectKey,
    key: String,
    url: String,
    project: String,
}

impl Secrets {
    /// A reader of Secrets.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, reads: SharedReads::new(), slots: std::sync::Mutex::default() }
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
        let key = SlotKey {
            secret: ObjectKey { namespace: namespace.to_owned(), name: wanted.name.clone() },
            key: wanted.key.clone(),
            url: to.url.to_string(),
            project: to.project.to_string(),
        };
        let slot = self.known_refusal(&key);
        let Some(slot) = slot else {
            // Nothing is known against it: no need to take turns.
            return match self.read(namespace, wanted, to).await {
                Ok(token) => Ok(token),
                Err((reason, message)) => Err(self.remember(key, None, reason, message)),
            };
        };
        let mut refusal = slot.lock().await;
        let now = clock::instant();
        if let Some(known) = refusal.as_ref().filter(|known| known.until > now) {
            return Err(Unavailable {
                reason: known.reason,
                message: known.message.clone(),
                look_again: known.until - now,
            });
        }
        match self.read(namespace, wanted, to).await {
            Ok(token) => {
                *refusal = None;
                self.slots.lock().expect("no panic while held").remove(&key);
                Ok(token)
            }
            Err((reason, message)) => {
                let before = refusal.as_ref().map(|known| known.delay);
                let unavailable = Unavailable { reason, message, look_again: next_delay(before) };
                *refusal = Some(Refusal {
                    reason,
                    message: unavailable.message.clone(),
                    until: clock::instant() + unavailable.look_again,
                    delay: unavailable.look_again,
                });
                Err(unavailable)
            }
        }
    }

    fn known_refusal(&self, key: &SlotKey) -> Option<Slot> {
        self.slots.lock().expect("no panic while held").get(key).cloned()
    }

    fn remember(
        &self,
        key: SlotKey,
        before: Option<Duration>,
        reason: Reason,
        message: String,
    ) -> Unavailable {
        let look_again = next_delay(before);
        let now = clock::instant();
        let mut slots = self.slots.lock().expect("no panic while held");
        if slots.len() >= MAX_REFUSALS {
            slots.retain(|_, slot| {
                slot.try_lock().map_or(true, |known| known.as_ref().is_some_and(|known| known.until > now))
            });
        }
        let refusal =
            Refusal { reason, message: message.clone(), until: now + look_again, delay: look_again };
        slots.entry(key).or_insert_with(|| Arc::new(Mutex::new(Some(refusal))));
        Unavailable { reason, message, look_again }
    }

    async fn read(
        &self,
        namespace: &str,
        wanted: &SecretKeyRef,
        to: CredentialUse<'_>,
    ) -> Result<SecretString, (Reason, String)> {
        let SecretKeyRef { name, key } = wanted;
        // The name becomes part of a path, and must not lead out of the namespace.
        if !is_name(name) {
            return Err((Reason::SecretMissing, format!("`{name}` cannot be the name of a Secret")));
        }
        let of = ObjectKey { namespace: namespace.to_owned(), name: name.clone() };
        let client = self.client.clone();
        let answer = self.reads.read(of.clone(), || fetch(client, of)).await;
        let secret = match answer.as_ref() {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                return Err((
                    Reason::SecretMissing,
                    format!("Secret {name} does not exist; its key {key} is needed"),
                ));
            }
            Err(why) => {
                return Err((Reason::SecretUnreadable, format!("Secret {name} could not be read: {why}")));
            }
        };
        let none = BTreeMap::new();
        let ObjectMeta { labels, annotations, .. } = &secret.metadata;
        SecretBinding::new(labels.as_ref().unwrap_or(&none), annotations.as_ref().unwrap_or(&none))
            .allows(name, to)?;
        let Some(value) = secret.data.as_ref().and_then(|data| data.get(key)) else {
            return Err((Reason::SecretMissing, format!("Secret {name} has no key {key}")));
        };
        token_of(&value.0)
            .map_err(|why| (Reason::SecretUnusable, format!("key {key} of Secret {name} {why}")))
    }
}

/// One read of one Secret; an error says why there is no answer.
async fn fetch(client: Client, of: ObjectKey) -> Result<Option<Secret>, String> {
    let api: Api<Secret> = Api::namespaced(client, &of.namespace);
    match tokio::time::timeout(DEADLINE, api.get_opt(&of.name)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err("the operator has no right to; see its RBAC".into())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

/// A DNS-1123 subdomain, as Kubernetes names Secrets.
fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (1..=253).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("..")
}

fn next_delay(before: Option<Duration>) -> Duration {
    before.map_or(BACKOFF.0, |delay| (delay * 2).min(BACKOFF.1))
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

    #[test]
    fn a_name_never_leads_out_of_its_namespace() {
        assert!(is_name("checkout-gitlab") && is_name("a.b-c1"));
        for bad in
            ["", "..", "a/../b", "../../other/secrets/x", "a%2Fb", "A", "-a", "a.", "a..b", "a?b", "a b"]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn looking_again_slows_down_to_once_a_minute() {
        let mut delay = None;
        let delays: Vec<u64> = (0..6)
            .map(|_| {
                delay = Some(next_delay(delay));
                delay.unwrap().as_secs()
            })
            .collect();
        assert_eq!(delays, [5, 10, 20, 40, 60, 60]);
    }
}
