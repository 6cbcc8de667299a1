//! A credential goes only where it belongs: what a Secret says about itself, and whether that allows a use.
//!
//! The right to create a trigger must not be the right to read every Secret of the namespace, nor to carry
//! one to another host. So the Secret itself names what it is for.

use std::collections::BTreeMap;

use super::{GitLabUrl, ProjectRef, Reason};

/// The label that makes a Secret usable as a credential.
pub const CREDENTIAL_LABEL: &str = "pipekick.dev/credential";
/// The label that lets values of a Secret become pipeline variables.
pub const VARIABLES_LABEL: &str = "pipekick.dev/variables";
/// The annotation with the GitLab URL a Secret may be sent to, beside the operator's default.
pub const URL_ANNOTATION: &str = "pipekick.dev/gitlab-url";
/// The annotation with the projects a Secret may be used for: `shop/checkout, shop/*, 42`.
pub const PROJECTS_ANNOTATION: &str = "pipekick.dev/projects";

/// What a value of a Secret is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To authenticate.
    Credential,
    /// To become a pipeline variable, which people can read in GitLab.
    Variable,
}

/// What a use needs: where the value would be sent and for which project.
#[derive(Debug, Clone, Copy)]
pub struct CredentialUse<'a> {
    /// The GitLab it would be sent to.
    pub url: &'a GitLabUrl,
    /// The operator's own `--gitlab-url`.
    pub default_url: &'a GitLabUrl,
    /// The project it would be used for.
    pub project: &'a ProjectRef,
}

/// The labels and annotations of a Secret that bind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretBinding {
    credential: bool,
    variables: bool,
    url: Option<String>,
    projects: Option<String>,
}

impl SecretBinding {
    /// Reads what binds a Secret from its metadata.
    #[must_use]
    pub fn new(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Self {
        Self {
            credential: labels.get(CREDENTIAL_LABEL).is_some_and(|value| value == "true"),
            variables: labels.get(VARIABLES_LABEL).is_some_and(|value| value == "true"),
            url: annotations.get(URL_ANNOTATION).cloned(),
            projects: annotations.get(PROJECTS_ANNOTATION).cloned(),
        }
    }

    /// Whether the Secret `secret` may be used so.
    ///
    /// # Errors
    /// The reason and a sentence that says which label or annotation to set.
    pub fn allows(
        &self,
        secret: &str,
        purpose: Purpose,
        wanted: CredentialUse<'_>,
    ) -> Result<(), (Reason, String)> {
        let (labelled, label, what) = match purpose {
            Purpose::Credential => (self.credential, CREDENTIAL_LABEL, "a credential"),
            Purpose::Variable => (self.variables, VARIABLES_LABEL, "one whose values may become variables"),
        };
        if !labelled {
            let message = format!("Secret {secret} is not marked as {what}: label it {label}=true");
            return Err((Reason::SecretNotLabelled, message));
        }
        self.allows_url(secret, wanted)?;
        self.allows_project(secret, wanted.project)
    }

    fn allows_url(&self, secret: &str, wanted: CredentialUse<'_>) -> Result<(), (Reason, String)> {
        let bound = self.url.as_deref().map(str::parse::<GitLabUrl>);
        let allowed = match &bound {
            None => wanted.url == wanted.default_url,
            Some(Ok(url)) => url == wanted.url,
            Some(Err(_)) => false,
        };
        if allowed {
            return Ok(());
        }
        let bound_to = match bound {
            None => format!("only to the operator's GitLab {}", wanted.default_url),
            Some(Ok(url)) => format!("only to {url}"),
            Some(Err(_)) => format!("nowhere, for its annotation {URL_ANNOTATION} is no URL"),
        };
        Err((
            Reason::SecretNotForThisUrl,
            format!(
                "Secret {secret} may be sent {bound_to}, not to {}: set its annotation {URL_ANNOTATION}={} if it belongs there",
                wanted.url, wanted.url
            ),
        ))
    }

    fn allows_project(&self, secret: &str, project: &ProjectRef) -> Result<(), (Reason, String)> {
        let Some(list) = &self.projects else { return Ok(()) };
        // GitLab does not tell upper from lower case in paths.
        let name = project.to_string().to_ascii_lowercase();
        let matches = |pattern: &str| {
            let pattern = pattern.to_ascii_lowercase();
            match pattern.strip_suffix("/*") {
                Some(group) => name.strip_prefix(group).is_some_and(|rest| rest.starts_with('/')),
                None => pattern == name,
            }
        };
        if list.split(',').map(str::trim).filter(|p| !p.is_empty()).any(matches) {
            return Ok(());
        }
        Err((
            Reason::SecretNotForThisProject,
            format!(
                "Secret {secret} may not be used for project {project}: its annotation {PROJECTS_ANNOTATION} does not list it"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(label: Option<&str>, url: Option<&str>, projects: Option<&str>) -> SecretBinding {
        let map = |key: &str, value: Option<&str>| {
            value.map(|v| (key.to_owned(), v.to_owned())).into_iter().collect::<BTreeMap<_, _>>()
        };
        let mut annotations = map(URL_ANNOTATION, url);
        annotations.extend(map(PROJECTS_ANNOTATION, projects));
        SecretBinding::new(&map(CREDENTIAL_LABEL, label), &annotations)
    }

    #[test]
    fn a_credential_goes_only_where_its_secret_says() {
        let home: GitLabUrl = "https://gitlab.example.com".parse().unwrap();
        let away: GitLabUrl = "https://evil.example.net".parse().unwrap();
        let project: ProjectRef = "shop/sub/checkout".parse().unwrap();
        let yes = Some("true");
        let cases: &[(&str, SecretBinding, &GitLabUrl, Option<Reason>)] = &[
            ("a labelled secret goes to the operator's GitLab", binding(yes, None, None), &home, None),
            (
                "an unlabelled one goes nowhere",
                binding(None, None, None),
                &home,
                Some(Reason::SecretNotLabelled),
            ),
            (
                "a label other than true does not count",
                binding(Some("yes"), None, None),
                &home,
                Some(Reason::SecretNotLabelled),
            ),
            (
                "without annotation no other host gets it",
                binding(yes, None, None),
                &away,
                Some(Reason::SecretNotForThisUrl),
            ),
            (
                "its own annotation names another host",
                binding(yes, Some("https://evil.example.net/"), None),
                &away,
                None,
            ),
            (
                "bound elsewhere, the default does not get it",
                binding(yes, Some("https://evil.example.net"), None),
                &home,
                Some(Reason::SecretNotForThisUrl),
            ),
            (
                "a host that only begins alike is another host",
                binding(yes, Some("https://gitlab.example.com.evil.net"), None),
                &home,
                Some(Reason::SecretNotForThisUrl),
            ),
            (
                "nonsense in the annotation binds it to nowhere",
                binding(yes, Some("gitlab"), None),
                &home,
                Some(Reason::SecretNotForThisUrl),
            ),
            ("a listed project is allowed", binding(yes, None, Some("x/y, shop/sub/checkout")), &home, None),
            ("a group covers its projects, however deep", binding(yes, None, Some("shop/*")), &home, None),
            (
                "a group whose name only begins alike does not",
                binding(yes, None, Some("sho/*")),
                &home,
                Some(Reason::SecretNotForThisProject),
            ),
            (
                "a project that is not listed is refused",
                binding(yes, None, Some("x/y, shop/sub/other")),
                &home,
                Some(Reason::SecretNotForThisProject),
            ),
            ("upper and lower case are one", binding(yes, None, Some("Shop/Sub/*")), &home, None),
            (
                "an empty list allows none",
                binding(yes, None, Some("")),
                &home,
                Some(Reason::SecretNotForThisProject),
            ),
        ];
        for (sentence, binding, url, refused) in cases {
            let answer = binding.allows(
                "s",
                Purpose::Credential,
                CredentialUse { url, default_url: &home, project: &project },
            );
            assert_eq!(answer.err().map(|(reason, _)| reason), *refused, "{sentence}");
        }
    }

    #[test]
    fn a_secret_is_used_for_what_it_is_labelled_for_and_nothing_else() {
        let home: GitLabUrl = "https://gitlab.example.com".parse().unwrap();
        let project: ProjectRef = "shop/checkout".parse().unwrap();
        let wanted = CredentialUse { url: &home, default_url: &home, project: &project };
        let labelled = |labels: &[&str]| {
            let labels = labels.iter().map(|label| ((*label).to_owned(), "true".to_owned())).collect();
            SecretBinding::new(&labels, &BTreeMap::new())
        };
        let both = [CREDENTIAL_LABEL, VARIABLES_LABEL];
        for (labels, credential, variable) in [
            (&both[..0], false, false),
            (&both[..1], true, false),
            (&both[1..], false, true),
            (&both, true, true),
        ] {
            let binding = labelled(labels);
            assert_eq!(binding.allows("s", Purpose::Credential, wanted).is_ok(), credential, "{labels:?}");
            assert_eq!(binding.allows("s", Purpose::Variable, wanted).is_ok(), variable, "{labels:?}");
        }
        let (_, message) = labelled(&[]).allows("s", Purpose::Variable, wanted).unwrap_err();
        assert!(message.contains("label it pipekick.dev/variables=true"), "{message}");
    }
}
