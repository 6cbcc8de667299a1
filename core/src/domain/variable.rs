//! CI/CD variables that travel with a pipeline.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ValueSource;

/// Longest value of one variable, in characters: what GitLab documents for stored variables.
pub const MAX_VALUE: usize = 10_000;
/// All values of one pipeline together, in characters.
pub const MAX_VALUES: usize = 128 * 1024;

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

/// How jobs get the variable. EnvVar (when unset): as an environment variable. File: as a file that holds the value, with
/// its path in the environment variable. GitLab takes File by access token only, so leave out gitlab.triggerTokenRef then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VariableType {
    /// As an environment variable.
    #[default]
    EnvVar,
    /// As a file; the variable holds its path.
    File,
}

/// One variable of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name in jobs.
    pub name: VariableName,
    /// How jobs get it.
    pub kind: VariableType,
    /// Whether the value is to arrive as it is, although GitLab expands `$NAME`.
    pub raw: bool,
    /// Where its value is.
    pub value: VariableValue,
}

/// Where the value of a variable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariableValue {
    /// In spec.
    Text(String),
    /// Somewhere else; read when it is needed.
    From {
        /// Where.
        source: ValueSource,
        /// Without a value the variable is left out, instead of waited for.
        optional: bool,
    },
}

impl Variable {
    /// Whether it travels whatever its source says.
    #[must_use]
    pub const fn is_certain(&self) -> bool {
        match &self.value {
            VariableValue::Text(_) => true,
            VariableValue::From { source: _, optional } => !*optional,
        }
    }

    /// A raw value as it has to be sent, if it has to be sent otherwise than it is: GitLab and its runners read `$$`
    /// as a dollar sign.
    #[must_use]
    pub fn escaped(&self, value: &str) -> Option<String> {
        (self.raw && value.contains('$')).then(|| value.replace('$', "$$"))
    }
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

    fn variable(raw: bool, value: VariableValue) -> Variable {
        Variable { name: "A".parse().unwrap(), kind: VariableType::default(), raw, value }
    }

    #[test]
    fn a_raw_value_survives_expansion() {
        let text = VariableValue::Text(String::new());
        for (value, raw) in [("a$B${C}", Some("a$$B$${C}")), ("$$", Some("$$$$")), ("100%", None), ("", None)]
        {
            assert_eq!(variable(true, text.clone()).escaped(value).as_deref(), raw);
            assert_eq!(variable(false, text.clone()).escaped(value), None);
        }
    }

    #[test]
    fn only_what_is_optional_may_stay_at_home() {
        let from = |optional| VariableValue::From {
            source: ValueSource::ConfigMap { name: "notes".into(), key: "text".into() },
            optional,
        };
        assert!(variable(false, VariableValue::Text(String::new())).is_certain());
        assert!(variable(false, from(false)).is_certain());
        assert!(!variable(false, from(true)).is_certain());
    }
}
