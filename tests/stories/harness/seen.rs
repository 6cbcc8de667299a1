//! An object as the API server shows it, untyped: a story must not read it with the operator's own eyes.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub struct Seen(pub Value);

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition<'a> {
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
}

impl Seen {
    /// A field by its path: `status.run.seq`; null where it is not.
    pub fn at(&self, path: &str) -> &Value {
        path.split('.').fold(&self.0, |at, key| &at[key])
    }

    /// A text field; empty where it is not.
    pub fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    /// A number; 0 where it is not.
    pub fn number(&self, path: &str) -> i64 {
        self.at(path).as_i64().unwrap_or_default()
    }

    pub fn phase(&self) -> &str {
        self.text("status.phase")
    }

    /// Whether status speaks of the newest spec.
    pub fn is_current(&self) -> bool {
        self.number("status.observedGeneration") == self.number("metadata.generation")
    }

    pub fn conditions(&self) -> Vec<(&str, Condition<'_>)> {
        let all = self.at("status.conditions").as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().map(|c| (word(c, "type"), read(c))).collect()
    }

    pub fn condition(&self, kind: &str) -> Option<Condition<'_>> {
        self.conditions().into_iter().find(|(known, _)| *known == kind).map(|(_, condition)| condition)
    }

    /// The status of a condition; empty where there is none.
    pub fn truth(&self, kind: &str) -> &str {
        self.condition(kind).map(|condition| condition.status).unwrap_or_default()
    }

    /// The reason of condition Ready.
    pub fn reason(&self) -> &str {
        self.reason_of("Ready")
    }

    pub fn reason_of(&self, kind: &str) -> &str {
        self.condition(kind).map(|condition| condition.reason).unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.text("status.message")
    }

    /// How the value of the annotation `pipekick.dev/fire` that was handled last was answered.
    pub fn answer(&self) -> (&str, &str) {
        (self.text("status.lastHandled.fire.value"), self.text("status.lastHandled.fire.answer"))
    }

    pub fn yaml(&self) -> String {
        let mut value = self.0.clone();
        if let Some(metadata) = value["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        serde_saphyr::to_string(&value).unwrap()
    }
}

fn word<'a>(condition: &'a Value, key: &str) -> &'a str {
    condition[key].as_str().unwrap_or_default()
}

fn read(condition: &Value) -> Condition<'_> {
    Condition {
        status: word(condition, "status"),
        reason: word(condition, "reason"),
        message: word(condition, "message"),
    }
}
