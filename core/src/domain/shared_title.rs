//! The first line of a commit of several runs.

use std::collections::BTreeMap;
use std::str::FromStr;

use minijinja::Value;

use super::{Template, TemplateError};

/// A template in which `{{ runs }}` is how many runs there are; what it becomes is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedTitle(Template);

impl SharedTitle {
    /// What stands there if nobody says otherwise.
    pub const USUAL: &str = "Update images for {{ runs }} runs";

    /// The line for so many runs.
    #[must_use]
    pub fn fill(&self, runs: usize) -> String {
        // It could be filled in when it was parsed; one that depends on the number may fail later.
        self.try_fill(runs).unwrap_or_else(|_| format!("Update images for {runs} runs"))
    }

    fn try_fill(&self, runs: usize) -> Result<String, TemplateError> {
        let values = Value::from(BTreeMap::from([("runs", Value::from(runs))]));
        let undefined = |name: String| TemplateError::Undefined { name, hint: "there is runs".into() };
        let text = self.0.fill(&values, undefined)?;
        if text.trim().is_empty() { Err(TemplateError::Failed("it is empty".into())) } else { Ok(text) }
    }
}

impl FromStr for SharedTitle {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let title = Self(text.parse()?);
        title.try_fill(2).map(|_| title)
    }
}

impl Default for SharedTitle {
    fn default() -> Self {
        Self(Self::USUAL.parse().expect("the tests parse it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_runs_there_are() {
        assert_eq!(SharedTitle::default().fill(7), "Update images for 7 runs");
        let title: SharedTitle = "chore(deploy): {{ runs }} images [skip ci]".parse().unwrap();
        assert_eq!(title.fill(2), "chore(deploy): 2 images [skip ci]");
        for (bad, says) in [
            ("", "the template cannot be filled in: it is empty"),
            ("{{ \" \" }}", "the template cannot be filled in: it is empty"),
            ("{{ run }}", "`run` is not defined here; there is runs"),
            ("{{ pipeline.id }}", "`pipeline.id` is not defined here; there is runs"),
            ("{{ runs", "the template is not well-formed"),
            ("{% if runs %}", "the template has `{%`"),
        ] {
            let told = bad.parse::<SharedTitle>().unwrap_err().to_string();
            assert!(told.starts_with(says), "{bad}: {told}");
        }
        let odd: SharedTitle = "{{ \"two\" if runs == 2 else runs.x.y }}".parse().unwrap();
        assert_eq!((odd.fill(2).as_str(), odd.fill(3).as_str()), ("two", "Update images for 3 runs"));
    }
}
