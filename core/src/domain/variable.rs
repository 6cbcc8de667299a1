//! CI/CD variables that travel with a pipeline.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A name GitLab accepts for a pipeline variable and that is not ours to give: 1 to 255 of `A-Z a-z 0-9 _`,
/// not `TRIGGER_PAYLOAD`, not beginning `PIPEKICK_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariableName(String);

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VariableNameError {
    /// Characters or length GitLab refuses.
    #[error("`{0}` is no variable name: use 1 to 255 letters, digits and underscores")]
    Malformed(String),
    /// GitLab adds a variable of this name to every trigger call and fails the pipeline on a second one.
    #[error("TRIGGER_PAYLOAD is GitLab's own: choose another name")]
    TriggerPayload,
    /// Reserved for what Pipekick itself sends.
    #[error("names that begin with PIPEKICK_ are Pipekick's own: choose another name")]
    Reserved,
}

/// The variable that marks a pipeline made with an access token.
pub const FIRE_ID_VARIABLE: &str = "PIPEKICK_FIRE_ID";

impl VariableName {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariableName {
    type Err = VariableNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let well_formed =
            (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !well_formed {
            return Err(VariableNameError::Malformed(text.chars().take(64).collect()));
        }
        if text == "TRIGGER_PAYLOAD" {
            return Err(VariableNameError::TriggerPayload);
        }
        if text.starts_with("PIPEKICK_") {
            return Err(VariableNameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One variable, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name in jobs.
    pub name: VariableName,
    /// Its value; GitLab expands `$NAME` in it.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_gitlab_takes_and_that_are_the_users() {
        let long = "x".repeat(255);
        for good in ["A", "DEPLOY_ENV", "lower_1", "1", "MY_TRIGGER_PAYLOAD", "PIPEKICK", &long] {
            assert_eq!(good.parse::<VariableName>().unwrap().as_str(), good);
        }
        let too_long = "x".repeat(256);
        for bad in ["", "A-B", "A B", "Ä", "A\n", &too_long] {
            assert!(matches!(bad.parse::<VariableName>(), Err(VariableNameError::Malformed(_))), "{bad}");
        }
        assert_eq!("TRIGGER_PAYLOAD".parse::<VariableName>(), Err(VariableNameError::TriggerPayload));
        assert_eq!("PIPEKICK_X".parse::<VariableName>(), Err(VariableNameError::Reserved));
        assert_eq!(FIRE_ID_VARIABLE.parse::<VariableName>(), Err(VariableNameError::Reserved));
    }
}
