//! Texts with `{{ … }}` in them, filled in when a run has ended: the values and messages of image updates.
//!
//! The language is Jinja's, by minijinja, and only its expressions: `{{ pipeline.sha[:8] }}`,
//! `{{ outputs.tag | default("latest") }}`, `{{ pipeline.ref == "main" and "stable" or "edge" }}`. No statements, no
//! functions, no loader; the filters below. Nothing reaches outside of [`Context`], and both work and size are
//! bounded: whoever may create a trigger writes templates, and they run in the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use thiserror::Error;

use super::ObjectKey;

/// Longest template, in bytes.
pub const MAX_TEMPLATE: usize = 1024;
/// Longest text a template may become, in bytes.
pub const MAX_RENDERED: usize = 16 << 10;
/// Steps one template may take; an expression takes some ten.
const FUEL: u64 = 5_000;

/// A text with expressions in it, known to be well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// Why a template cannot be used, or filled in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Longer than [`MAX_TEMPLATE`].
    #[error("the template has {0} bytes, more than 1024")]
    TooLong(usize),
    /// `{% … %}` or `{# … #}`.
    #[error("the template has `{0}`: write expressions in {{{{ … }}}} only")]
    Statement(&'static str),
    /// `*` in an expression: a short text could become very long.
    #[error("the template multiplies: write the text out")]
    Multiplies,
    /// Not what Jinja calls an expression.
    #[error("the template is not well-formed: {0}")]
    Malformed(String),
    /// It names something that is not there.
    #[error("`{name}` is not defined here; {hint}")]
    Undefined {
        /// What it names.
        name: String,
        /// What there is.
        hint: String,
    },
    /// It names a variable whose value came from a Secret.
    #[error("`{0}` comes from a Secret: it is never written into a repository")]
    Secret(String),
    /// It cannot be filled in for another reason.
    #[error("the template cannot be filled in: {0}")]
    Failed(String),
    /// The text would be longer than [`MAX_RENDERED`].
    #[error("the template becomes more than 16 KiB")]
    TooLarge,
}

/// What templates may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// `pipeline.…`
    pub pipeline: PipelineFacts,
    /// `variables.X`: those of the run whose value is known and no secret.
    pub variables: BTreeMap<String, String>,
    /// Variables of the run whose values came from Secrets: naming one is an error that says so.
    pub secret_variables: BTreeSet<String>,
    /// `trigger.namespace`, `trigger.name`.
    pub trigger: ObjectKey,
    /// `run.…`
    pub run: RunFacts,
    /// `outputs.X`: what was read from jobs' artifacts.
    pub outputs: BTreeMap<String, String>,
}

/// What templates may name of the pipeline. What GitLab did not tell is not defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineFacts {
    /// `pipeline.id`
    pub id: u64,
    /// `pipeline.iid`
    pub iid: Option<u64>,
    /// `pipeline.projectId`
    pub project_id: Option<u64>,
    /// `pipeline.sha`
    pub sha: Option<String>,
    /// `pipeline.ref`
    pub git_ref: Option<String>,
    /// `pipeline.status`
    pub status: String,
    /// `pipeline.source`
    pub source: Option<String>,
    /// `pipeline.webUrl`
    pub web_url: Option<String>,
}

/// What templates may name of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// `run.fireId`
    pub fire_id: String,
    /// `run.seq`
    pub seq: u64,
    /// `run.firedAt`, RFC 3339 in UTC.
    pub fired_at: Option<String>,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEMPLATE {
            return Err(TemplateError::TooLong(text.len()));
        }
        for statement in ["{%", "{#"] {
            // Statements could double a text with every line.
            if text.contains(statement) {
                return Err(TemplateError::Statement(statement));
            }
        }
        // From the first expression on: where one ends is the parser's to know.
        if text.find("{{").is_some_and(|at| text[at..].contains('*')) {
            return Err(TemplateError::Multiplies);
        }
        environment().template_from_str(text).map_err(|error| TemplateError::Malformed(told(&error)))?;
        Ok(Self(text.to_owned()))
    }
}

impl Template {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text with every expression filled in.
    ///
    /// # Errors
    /// What is not defined is named; the rest is what minijinja says of it.
    pub fn render(&self, context: &Context) -> Result<String, TemplateError> {
        self.fill(&context.values(), |name| context.undefined(name))
    }

    /// The same with other values; `undefined` tells of a name that is none of them.
    pub(super) fn fill(
        &self,
        values: &Value,
        undefined: impl FnOnce(String) -> TemplateError,
    ) -> Result<String, TemplateError> {
        let environment = environment();
        let template =
            environment.template_from_str(&self.0).map_err(|error| TemplateError::Malformed(told(&error)))?;
        let mut out = Bounded(Vec::new());
        match template.render_captured_to(values.clone(), &mut out) {
            Ok(_) => String::from_utf8(out.0).map_err(|error| TemplateError::Failed(error.to_string())),
            Err(error) if out.0.len() >= MAX_RENDERED => {
                drop(error);
                Err(TemplateError::TooLarge)
            }
            Err(error) if error.kind() == ErrorKind::UndefinedError => {
                let mut named: Vec<String> = template.undeclared_variables(true).into_iter().collect();
                named.sort();
                // The analysis does not see through `x.y[:8]`.
                named.extend(dotted_names(&self.0));
                let name = named.into_iter().find(|name| !is_defined(values, name));
                Err(name.map_or_else(|| TemplateError::Failed(told(&error)), undefined))
            }
            Err(error) => Err(TemplateError::Failed(told(&error))),
        }
    }
}

/// Takes bytes up to [`MAX_RENDERED`].
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = MAX_RENDERED - self.0.len();
        if bytes.len() > room {
            self.0.extend_from_slice(&bytes[..room]);
            return Err(std::io::Error::other("full"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An environment with nothing in it but a few filters of text.
fn environment<'t>() -> Environment<'t> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("lower", |text: String| text.to_lowercase());
    environment.add_filter("upper", |text: String| text.to_uppercase());
    environment.add_filter("trim", |text: String| text.trim().to_owned());
    environment.add_filter("replace", |text: String, from: String, to: String| replace(&text, &from, &to));
    environment.add_filter(
        "default",
        |value: Value, other: Value| {
            if value.is_undefined() { other } else { value }
        },
    );
    environment
}

/// Refuses to grow a text: replacing a letter by a page, several times over, would.
fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let times = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
    if text.len() + times * to.len() > MAX_RENDERED {
        return Err(Error::new(ErrorKind::InvalidOperation, "replace would make more than 16 KiB"));
    }
    Ok(text.replace(from, to))
}

/// Whatever in a template looks like a name with dots in it.
fn dotted_names(text: &str) -> Vec<String> {
    let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    names.map(|name| name.trim_matches('.')).filter(|name| name.contains('.')).map(str::to_owned).collect()
}

/// What minijinja says, on one line.
fn told(error: &Error) -> String {
    let text = error
        .detail()
        .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn is_defined(values: &Value, name: &str) -> bool {
    let mut at = values.clone();
    for part in name.split('.') {
        match at.get_attr(part) {
            Ok(next) if !next.is_undefined() => at = next,
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

impl Context {
    fn values(&self) -> Value {
        let Self { pipeline, variables, secret_variables: _, trigger, run, outputs } = self;
        let PipelineFacts { id, iid, project_id, sha, git_ref, status, source, web_url } = pipeline;
        let RunFacts { fire_id, seq, fired_at } = run;
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let known = |fields: Vec<(&'static str, Option<Value>)>| -> Value {
            fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect::<BTreeMap<_, _>>()
                .into()
        };
        let texts = |map: &BTreeMap<String, String>| -> Value {
            map.iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
                .collect::<BTreeMap<_, _>>()
                .into()
        };
        let pipeline = known(vec![
            ("id", Some(Value::from(*id))),
            ("iid", iid.map(Value::from)),
            ("projectId", project_id.map(Value::from)),
            ("sha", text(sha)),
            ("ref", text(git_ref)),
            ("status", Some(Value::from(status.as_str()))),
            ("source", text(source)),
            ("webUrl", text(web_url)),
        ]);
        let trigger = known(vec![
            ("namespace", Some(Value::from(trigger.namespace.as_str()))),
            ("name", Some(Value::from(trigger.name.as_str()))),
        ]);
        let run = known(vec![
            ("fireId", Some(Value::from(fire_id.as_str()))),
            ("seq", Some(Value::from(*seq))),
            ("firedAt", text(fired_at)),
        ]);
        known(vec![
            ("pipeline", Some(pipeline)),
            ("variables", Some(texts(variables))),
            ("trigger", Some(trigger)),
            ("run", Some(run)),
            ("outputs", Some(texts(outputs))),
        ])
    }

    fn undefined(&self, name: String) -> TemplateError {
        if let Some(variable) = name.strip_prefix("variables.")
            && self.secret_variables.contains(variable)
        {
            return TemplateError::Secret(name);
        }
        let listed = |map: &BTreeMap<String, String>| {
            let names: Vec<&str> = map.keys().take(8).map(String::as_str).collect();
            if names.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are {}", names.join(", "))
            }
        };
        let hint = match name.split('.').next() {
            Some("outputs") => listed(&self.outputs),
            Some("variables") => listed(&self.variables),
            Some("pipeline") => "of a pipeline there are id, iid, projectId, sha, ref, status, source, webUrl, where GitLab told them".into(),
            Some("trigger") => "of a trigger there are namespace and name".into(),
            Some("run") => "of a run there are fireId, seq and firedAt".into(),
            Some(_) | None => "there are pipeline, variables, trigger, run and outputs".into(),
        };
        TemplateError::Undefined { name, hint }
    }

    /// A small example for tests of other modules.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            pipeline: PipelineFacts {
                id: 705,
                iid: Some(12),
                project_id: Some(42),
                sha: Some("a1b2c3d4e5f60718293a4b5c6d7e8f9001122334".into()),
                git_ref: Some("main".into()),
                status: "success".into(),
                source: Some("trigger".into()),
                web_url: None,
            },
            variables: BTreeMap::from([("DEPLOY_ENV".into(), "production".into())]),
            secret_variables: BTreeSet::from(["PASSWORD".to_owned()]),
            trigger: ObjectKey { namespace: "shop".into(), name: "checkout".into() },
            run: RunFacts {
                fire_id: "7hq2m0v6x5t1c9".into(),
                seq: 3,
                fired_at: Some("2026-11-25T10:00:00Z".into()),
            },
            outputs: BTreeMap::from([("tag".into(), "v1.4.0".into())]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(text: &str) -> Result<String, TemplateError> {
        text.parse::<Template>()?.render(&Context::example())
    }

    #[test]
    fn expressions_are_filled_in() {
        for (template, text) in [
            ("plain * text", "plain * text"),
            ("{{ outputs.tag }}", "v1.4.0"),
            ("{{ pipeline.sha[:8] }}", "a1b2c3d4"),
            ("{{ pipeline.iid }}-{{ pipeline.id }}", "12-705"),
            (
                "{{ pipeline.ref }}@{{ pipeline.status }}/{{ pipeline.source }}/{{ pipeline.projectId }}",
                "main@success/trigger/42",
            ),
            ("{{ trigger.namespace }}/{{ trigger.name }}", "shop/checkout"),
            ("{{ run.seq }} {{ run.fireId }} {{ run.firedAt[:10] }}", "3 7hq2m0v6x5t1c9 2026-11-25"),
            ("{{ variables.DEPLOY_ENV | upper }}", "PRODUCTION"),
            ("{{ variables[\"DEPLOY_ENV\"] }}", "production"),
            ("{{ outputs.none | default(\"v0\") }}", "v0"),
            ("{{ pipeline.ref | replace(\"a\", \"-\") | trim | lower }}", "m-in"),
            ("{{ \"stable\" if pipeline.ref == \"main\" else \"edge\" }}", "stable"),
            ("{{ outputs.tag ~ \"-\" ~ run.seq }}", "v1.4.0-3"),
            ("<&\"{{ \"<&'\" }}", "<&\"<&'"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_is_not_defined_is_named() {
        for (template, told) in [
            ("{{ outputs.sha }}", "`outputs.sha` is not defined here; there are tag"),
            ("{{ pipeline.webUrl }}", "`pipeline.webUrl` is not defined here; of a pipeline"),
            ("{{ pipeline.nope[:8] }}", "`pipeline.nope` is not defined"),
            ("{{ outputs.tag }}{{ outputz.tag }}", "`outputz.tag` is not defined here; there are pipeline"),
            ("{{ variables.X }}", "`variables.X` is not defined here; there are DEPLOY_ENV"),
            ("{{ variables.PASSWORD }}", "`variables.PASSWORD` comes from a Secret"),
        ] {
            let error = render(template).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn nothing_but_bounded_expressions_is_taken() {
        assert_eq!("{% set a = 1 %}".parse::<Template>(), Err(TemplateError::Statement("{%")));
        assert_eq!("{# a #}".parse::<Template>(), Err(TemplateError::Statement("{#")));
        assert_eq!("{{ \"}}\" * 9 }}".parse::<Template>(), Err(TemplateError::Multiplies));
        assert_eq!("x".repeat(1025).parse::<Template>(), Err(TemplateError::TooLong(1025)));
        for malformed in ["{{", "{{ }}", "{{ a b }}", "{{ 1 + }}"] {
            assert!(matches!(malformed.parse::<Template>(), Err(TemplateError::Malformed(_))), "{malformed}");
        }
        for failing in [
            "{{ range(10) }}",
            "{{ outputs.tag | nope }}",
            "{{ outputs.tag() }}",
            "{{ 1 / 0 }}",
            "{{ outputs.tag | replace(\"\", 1) | int }}",
        ] {
            let error = render(failing).unwrap_err();
            assert!(!error.to_string().is_empty());
        }
        let mut context = Context::example();
        context.variables.insert("LONG".into(), "x".repeat(10_000));
        let grows: Template = "{{ variables.LONG }}{{ variables.LONG }}".parse().unwrap();
        assert_eq!(grows.render(&context), Err(TemplateError::TooLarge));
        let grows: Template = "{{ variables.LONG | replace(\"x\", variables.LONG) }}".parse().unwrap();
        assert!(matches!(grows.render(&context), Err(TemplateError::Failed(_))));
    }

    proptest! {
        #[test]
        fn no_template_is_too_odd_to_be_refused(text in "(\\{\\{|\\}\\}|outputs|pipeline|\\.|tag|sha|[\\[\\]():|~+/ \"'0-9a-z-]){0,24}") {
            if let Ok(template) = text.parse::<Template>() {
                let _ = template.render(&Context::example());
            }
        }
    }
}
