//! What happens to tokens in mid-run: revoked, expired, rotated; found by name.

use super::{
    ledger::CredentialKind,
    state::{AccessToken, TriggerToken, World},
};

#[derive(Debug, thiserror::Error)]
#[error("no token is called `{0}`")]
pub struct UnknownToken(String);

impl World {
    /// An access token is refused from now on; a trigger token is gone.
    pub(crate) fn revoke_token(&mut self, name: &str) -> Result<(), UnknownToken> {
        if let Some(token) = self.access_token(name) {
            token.revoked = true;
            return Ok(());
        }
        let (project, value) = self.trigger_value(name)?;
        if let Some(project) = self.projects.get_mut(&project) {
            project.triggers.remove(&value);
        }
        Ok(())
    }

    pub(crate) fn expire_token(&mut self, name: &str) -> Result<(), UnknownToken> {
        let now = self.clock.now();
        if let Some(token) = self.access_token(name) {
            token.expires_at = Some(now);
            return Ok(());
        }
        let (project, value) = self.trigger_value(name)?;
        let project = self.projects.get_mut(&project);
        if let Some(token) = project.and_then(|project| project.triggers.get_mut(&value)) {
            token.expires_at = Some(now);
        }
        Ok(())
    }

    /// Revokes the token and hands out the value of a new one with its name and rights.
    pub(crate) fn rotate_token(&mut self, name: &str) -> Result<String, UnknownToken> {
        if let Some(token) = self.access_token(name) {
            token.revoked = true;
            let (user, scopes) = (token.user, token.scopes.clone());
            let credential = self.next_credential(CredentialKind::AccessToken, name);
            let value = format!("glpat-rotated-{:08}", credential.id);
            let token = AccessToken { credential, user, scopes, expires_at: None, revoked: false };
            self.access_tokens.insert(value.clone(), token);
            return Ok(value);
        }
        let (project, old) = self.trigger_value(name)?;
        let credential = self.next_credential(CredentialKind::TriggerToken, name);
        let value = format!("glptt-rotated-{:08}", credential.id);
        if let Some(project) = self.projects.get_mut(&project)
            && let Some(TriggerToken { owner, .. }) = project.triggers.remove(&old)
        {
            project.triggers.insert(value.clone(), TriggerToken { credential, owner, expires_at: None });
        }
        Ok(value)
    }

    fn access_token(&mut self, name: &str) -> Option<&mut AccessToken> {
        self.access_tokens.values_mut().find(|token| token.credential.name == name && !token.revoked)
    }

    fn trigger_value(&self, name: &str) -> Result<(u64, String), UnknownToken> {
        let mut tokens = self.projects.values().flat_map(|project| {
            project.triggers.iter().map(move |(value, token)| (project.id, value, &token.credential.name))
        });
        let found = tokens.find(|(_, _, known)| *known == name);
        found.map(|(id, value, _)| (id, value.clone())).ok_or_else(|| UnknownToken(name.to_owned()))
    }
}
