//! Values of variables that stand elsewhere: in Secrets that say they may be used so, in ConfigMaps, in the trigger
//! itself. Read anew for every request that carries them, each object once.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use pipekick_core::domain::variable::{MAX_VALUE, MAX_VALUES};
use pipekick_core::domain::{
    CredentialUse, ObjectKey, Purpose, Reason, SecretBinding, SecretKeyRef, ValueSource, Variable,
    VariableValue,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::refusals::Unavailable;
use super::secrets::{Secrets, Use, What};
use super::stored::{Kind, NotRead};

/// Objects read at the same time for one trigger.
const AT_ONCE: usize = 8;

/// One object, and the keys wanted of it, each with whether it may be missing.
type Wanted<'a> = BTreeMap<(Kind, &'a str), BTreeMap<&'a str, bool>>;
/// What was found, by kind, name and key.
type Found<'a> = BTreeMap<(Kind, &'a str, &'a str), SecretString>;

impl Secrets {
    /// The value of each variable, in their order; `None` where it is optional and there is none.
    ///
    /// # Errors
    /// When one is missing, not to be used so, or cannot be a variable.
    pub async fn values(
        &self,
        namespace: &str,
        variables: &[Variable],
        to: CredentialUse<'_>,
    ) -> Result<Vec<Option<SecretString>>, Unavailable> {
        let mut wanted = Wanted::new();
        for variable in variables {
            let VariableValue::From { source, optional } = &variable.value else { continue };
            let (object, key) = match source {
                ValueSource::Secret(SecretKeyRef { name, key }) => ((Kind::Secret, name.as_str()), key),
                ValueSource::ConfigMap { name, key } => ((Kind::ConfigMap, name.as_str()), key),
                ValueSource::Field { .. } => continue,
            };
            let may_be_missing = wanted.entry(object).or_default().entry(key).or_insert(true);
            *may_be_missing &= *optional;
        }
        // Boxed, for the compiler cannot yet see that a stream of borrowing futures may change threads.
        let mut reads = Vec::new();
        for ((kind, name), keys) in &wanted {
            reads.push(self.read_values(namespace, *kind, name, keys, to).boxed());
        }
        let found: Found<'_> = stream::iter(reads).buffered(AT_ONCE).try_concat().await?;
        let values =
            variables.iter().map(|variable| filled(variable, &found)).collect::<Result<Vec<_>, _>>()?;
        let together: usize = values.iter().flatten().map(|value| value.expose_secret().len()).sum();
        if together > MAX_VALUES {
            let message = format!(
                "the values of all variables together have {together} bytes; {MAX_VALUES} are allowed"
            );
            return Err(in_a_minute(Reason::ValueUnusable, message));
        }
        Ok(values)
    }

    /// The values of `keys` of one object, as far as they are there.
    async fn read_values<'a>(
        &self,
        namespace: &str,
        kind: Kind,
        name: &'a str,
        keys: &BTreeMap<&'a str, bool>,
        to: CredentialUse<'_>,
    ) -> Result<Found<'a>, Unavailable> {
        let told: Vec<String> =
            keys.iter().map(|(key, optional)| format!("{key}{}", if *optional { "?" } else { "" })).collect();
        let use_ = Use {
            what: What::Values,
            kind,
            object: ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() },
            keys: told.join(","),
            url: to.url.to_string(),
            project: to.project.to_string(),
        };
        let read = async {
            let required = keys.iter().find(|(_, optional)| !**optional).map(|(key, _)| *key);
            let read = self.objects.read(kind, namespace, name).await;
            let object = match read.as_ref() {
                Ok(object) => object,
                Err(not_read) => return nothing(kind, name, required, not_read),
            };
            if kind == Kind::Secret {
                let binding = SecretBinding::new(&object.labels, &object.annotations);
                binding.allows(name, Purpose::Variable, to)?;
            }
            let mut found = Found::new();
            for (key, optional) in keys {
                match object.data.get(*key) {
                    Some(value) => {
                        let text = text_of(value).map_err(|why| {
                            (Reason::ValueUnusable, format!("key {key} of {} {name} {why}", kind.as_str()))
                        })?;
                        found.insert((kind, name, *key), text);
                    }
                    None if *optional => {}
                    None => {
                        return Err((
                            Reason::ValueMissing,
                            format!("{} {name} has no key {key}", kind.as_str()),
                        ));
                    }
                }
            }
            Ok(found)
        };
        self.refusals.unless_refused(use_, read).await
    }
}

/// An object that was not read: no harm where all that is wanted of it is optional.
fn nothing<'a>(
    kind: Kind,
    name: &str,
    required: Option<&str>,
    why: &NotRead,
) -> Result<Found<'a>, (Reason, String)> {
    let kind = kind.as_str();
    match (why, required) {
        (NotRead::Unreadable(why), _) => {
            Err((Reason::ValueUnreadable, format!("{kind} {name} could not be read: {why}")))
        }
        (NotRead::Missing | NotRead::NoName, None) => Ok(Found::new()),
        (NotRead::Missing, Some(key)) => {
            Err((Reason::ValueMissing, format!("{kind} {name} does not exist; its key {key} is needed")))
        }
        (NotRead::NoName, Some(_)) => {
            Err((Reason::ValueMissing, format!("`{name}` cannot be the name of a {kind}")))
        }
    }
}

fn filled(variable: &Variable, found: &Found<'_>) -> Result<Option<SecretString>, Unavailable> {
    let (source, optional) = match &variable.value {
        VariableValue::Text(text) => return Ok(Some(SecretString::from(text.as_str()))),
        VariableValue::From { source, optional } => (source, *optional),
    };
    let value = match source {
        ValueSource::Secret(SecretKeyRef { name, key }) => {
            found.get(&(Kind::Secret, name.as_str(), key.as_str())).cloned()
        }
        ValueSource::ConfigMap { name, key } => {
            found.get(&(Kind::ConfigMap, name.as_str(), key.as_str())).cloned()
        }
        ValueSource::Field { path: _, value } => value
            .as_deref()
            .map(|value| text_of(value.as_bytes()))
            .transpose()
            .map_err(|why| in_a_minute(Reason::ValueUnusable, format!("{source} {why}")))?,
    };
    if value.is_none() && !optional {
        return Err(in_a_minute(
            Reason::ValueMissing,
            format!("{source} is not set; variable {} needs it", variable.name),
        ));
    }
    Ok(value)
}

/// What most likely an edit of the trigger itself will mend; that is seen at once.
fn in_a_minute(reason: Reason, message: String) -> Unavailable {
    Unavailable { reason, message, look_again: Duration::from_secs(60) }
}

/// A value as GitLab can store it.
fn text_of(value: &[u8]) -> Result<SecretString, String> {
    let text =
        std::str::from_utf8(value).map_err(|_| "is not UTF-8 text, and a variable can be nothing else")?;
    let length = text.chars().count();
    if length > MAX_VALUE {
        return Err(format!("has {length} characters; a variable may have {MAX_VALUE}"));
    }
    if text.contains('\0') {
        return Err("has a zero byte, which GitLab cannot store".into());
    }
    Ok(SecretString::from(text))
}
