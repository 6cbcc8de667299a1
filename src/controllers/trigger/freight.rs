//! What a request needs beside its order: the token, the values of variables, whom to believe, and whether this GitLab
//! knows what is asked. Read for one POST and dropped after it.

use pipekick_core::decide::trigger::Credentials;
use pipekick_core::domain::{Answer, CredentialUse, Reason, Spec};
use secrecy::{ExposeSecret as _, SecretString};

use super::TriggerController;
use crate::clock;
use crate::cluster::secrets::Unavailable;
use crate::gitlab::{self, Endpoint, ReadError, ReadKind, SentVariable};

/// Without a wait of its own, what failed is tried again this soon.
const SOON: std::time::Duration = std::time::Duration::from_secs(5);

/// All that one POST takes.
pub(super) struct Freight {
    pub(super) endpoint: Endpoint,
    pub(super) token: SecretString,
    pub(super) variables: Vec<SentVariable>,
}

/// Why there is no freight.
pub(super) enum Short {
    /// Something is not there yet, or may not be used so.
    Missing(Unavailable),
    /// This GitLab could not do it.
    Refused { reason: Reason, message: String },
}

impl Short {
    /// As a POST that was not sent would have ended.
    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::Missing(Unavailable { reason, message, look_again: _ }) => {
                Answer::NotSent { reason, message }
            }
            Self::Refused { reason, message } => Answer::Refused { reason, message },
        }
    }

    /// As a decision sees it before anything was intended.
    pub(super) fn into_credentials(self) -> Credentials {
        match self {
            Self::Missing(Unavailable { reason, message, look_again }) => {
                Credentials::Missing { reason, message, look_again: clock::after(look_again) }
            }
            Self::Refused { reason, message } => Credentials::Refused { reason, message },
        }
    }
}

impl From<Unavailable> for Short {
    fn from(unavailable: Unavailable) -> Self {
        Self::Missing(unavailable)
    }
}

impl TriggerController {
    /// Reads it. Nothing of it stays anywhere but with the caller.
    pub(super) async fn load(&self, namespace: &str, spec: &Spec) -> Result<Freight, Short> {
        let to = self.credential_use(spec);
        let token = self.token(namespace, spec);
        let values = self.secrets.values(namespace, &spec.variables, to);
        let trust = self.secrets.trust(namespace, spec.ca_bundle.as_ref());
        let (token, values, trust) = tokio::try_join!(token, values, trust)?;
        let endpoint = Endpoint { url: spec.url.clone(), project: spec.project.clone(), trust };
        self.must_take_inputs(namespace, spec, &endpoint).await?;
        let variables = spec.variables.iter().zip(values).filter_map(|(variable, value)| {
            let value = value?;
            let value = variable.escaped(value.expose_secret()).map_or(value, SecretString::from);
            Some(SentVariable { name: variable.name.clone(), kind: variable.kind, value })
        });
        Ok(Freight { token, variables: variables.collect(), endpoint })
    }

    fn credential_use<'a>(&'a self, spec: &'a Spec) -> CredentialUse<'a> {
        CredentialUse { url: &spec.url, default_url: &self.config.gitlab_url, project: &spec.project }
    }

    /// The token that fires: the trigger token where one is named, else the access token.
    async fn token(&self, namespace: &str, spec: &Spec) -> Result<SecretString, Unavailable> {
        match (&spec.trigger_token, &spec.access_token) {
            (Some(trigger), _) => self.secrets.token(namespace, trigger, self.credential_use(spec)).await,
            (None, Some(_)) => self.access_token(namespace, spec).await,
            (None, None) => Err(no_credential()),
        }
    }

    async fn access_token(&self, namespace: &str, spec: &Spec) -> Result<SecretString, Unavailable> {
        let access = spec.access_token.as_ref().ok_or_else(no_credential)?;
        let token = self.secrets.token(namespace, access, self.credential_use(spec)).await?;
        self.follower.remember_fingerprint(namespace, access, self.gitlab.fingerprint(&token));
        Ok(token)
    }

    /// An old GitLab drops inputs without a word, and the pipeline would run with its defaults. Without an access token
    /// nobody can ask it; where it does not answer this token, it is fired as if there were none.
    async fn must_take_inputs(&self, namespace: &str, spec: &Spec, at: &Endpoint) -> Result<(), Short> {
        if spec.inputs.is_empty() || spec.access_token.is_none() {
            return Ok(());
        }
        let token = self.access_token(namespace, spec).await?;
        match self.gitlab.known_version(at, &token).await {
            Ok(Some(version)) if !version.takes_inputs() => {
                let (reason, message) = gitlab::too_old_for_inputs(&spec.url, version);
                Err(Short::Refused { reason, message })
            }
            Ok(Some(_) | None) => Ok(()),
            Err(ReadError { kind, reason, message, moved_to: _ }) => {
                let look_again = if let ReadKind::Throttled { wait } = kind { wait } else { SOON };
                let reason = if reason == Reason::CannotFollow { Reason::Unreachable } else { reason };
                let message = format!("cannot tell whether this GitLab takes inputs: {message}");
                Err(Unavailable { reason, message, look_again }.into())
            }
        }
    }
}

fn no_credential() -> Unavailable {
    Unavailable {
        reason: Reason::InvalidSpec,
        message: "no credential is named".into(),
        look_again: std::time::Duration::from_secs(60),
    }
}
