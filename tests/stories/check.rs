//! `pipekick check`: it finds nothing missing where the other stories succeed, and names what they would fail for.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use pipekick_sandbox::gitlab::Seed;
use serde_json::json;

use crate::harness::gitlab::{playing, quick};
use crate::harness::typed::Answer;
use crate::harness::{Secret, Story, story, story_of_all_namespaces};

const OPERATOR: &str = "system:serviceaccount:pipekick-system:pipekick";

impl Story {
    async fn check(&self, more: &[&str]) -> Answer {
        let url = self.gitlab.url().to_owned();
        let answer = self.answer(&[&["check", "--gitlab-url", &url, "--allow-http"], more].concat()).await;
        for token in self.tokens.borrow().iter() {
            assert!(!answer.out.contains(token) && !answer.err.contains(token), "{answer:?}");
        }
        answer
    }
}

/// The lines that say what is missing.
fn missing(answer: &Answer) -> Vec<&str> {
    answer.out.lines().filter_map(|line| line.strip_prefix("✗ ")).collect()
}

#[test]
fn nothing_is_missing_where_all_other_stories_succeed() {
    story(playing(quick()), async |story| {
        let secret = format!("{}/gitlab", story.namespace);
        let tokens = ["--secret", &secret, "--project", "shop/checkout"];
        let answer = story.check(&[&["--as", OPERATOR, "--leader-elect"], &tokens[..]].concat()).await;
        assert_eq!((answer.code, missing(&answer)), (0, vec![]), "{answer:?}");
        let says =
            |line: &str| assert!(answer.out.lines().any(|said| said == line), "{line}: {}", answer.out);
        says("✔ pipelinetriggers.pipekick.dev: as this version has it");
        says("✔ pipelinetriggers.pipekick.dev: get, list, watch, patch, create, delete");
        says("✔ secrets: get");
        says("✔ leases.coordination.k8s.io pipekick: get, update");
        says(&format!("✔ {} answers as a GitLab does", story.gitlab.url()));
        says(&format!(
            "✔ key access-token of Secret {secret}: an access token of alice, which sees project shop/checkout"
        ));
        let trigger = format!("! key trigger-token of Secret {secret}: a trigger token");
        assert!(answer.out.contains(&trigger), "{}", answer.out);
        assert!(story.ledger().pipelines.is_empty(), "nothing is fired");

        // The operator's own account may not see definitions, and need not.
        let own = story.types_with(
            story.operator_kubeconfig(),
            &["check", "--allow-http", "--gitlab-url", story.gitlab.url()],
        );
        let own = own.answer().await;
        assert!(own.code == 0 && own.out.contains("! pipelinetriggers.pipekick.dev is there"), "{own:?}");
    });
}

#[test]
fn tokens_that_gitlab_does_not_accept_and_secrets_that_may_not_be_sent_are_named() {
    story(playing(quick()), async |story| {
        story.secret(Secret::new("old").key("token", "glpat-of-long-ago-0123456789")).await;
        story.secret(Secret::unmarked("private").key("token", Seed::ACCESS_TOKEN)).await;
        story.secret(Secret::new("notes").key("text", "no token at all")).await;
        for (name, project, code, says) in [
            ("old", "shop/checkout", 1, "✗ key token of Secret "),
            ("private", "shop/checkout", 1, "label it pipekick.dev/credential=true"),
            ("absent", "shop/checkout", 1, "is not there"),
            ("notes", "shop/checkout", 0, "! key text of Secret notes is no token"),
            ("gitlab", "shop/nowhere", 1, "an access token of alice, and "),
        ] {
            let secret = format!("{}/{name}", story.namespace);
            let answer = story.check(&["--secret", &secret, "--project", project]).await;
            assert!(answer.code == code && answer.out.contains(says), "{name}: {answer:?}");
        }
        assert_eq!(
            story.ledger().calls.iter().filter(|call| call.path.contains("shop%2Fcheckout")).count(),
            0
        );
        let answer = story.answer(&["check", "--gitlab-url", "http://127.0.0.1:1", "--allow-http"]).await;
        assert!(answer.code == 1 && missing(&answer)[0].contains("127.0.0.1:1"), "{answer:?}");
        let answer = story.answer(&["check", "--gitlab-url", "http://gitlab"]).await;
        assert!(answer.code == 2 && answer.err.contains("use https"), "{answer:?}");
    });
}

#[test]
fn each_right_that_is_missing_is_named() {
    story(playing(quick()), async |story| {
        let rbac = include_str!("../../deploy/rbac.yaml");
        let document =
            rbac.split("\n---\n").find(|document| document.contains("kind: ClusterRole\n")).unwrap();
        let mut role: ClusterRole = serde_saphyr::from_str(document).unwrap();
        let name = story.namespace.clone();
        role.metadata.name = Some(name.clone());
        for rule in role.rules.iter_mut().flatten() {
            rule.verbs.retain(|verb| verb != "watch");
            rule.resources.as_mut().unwrap().retain(|resource| resource != "secrets");
        }
        let roles: Api<ClusterRole> = Api::all(story.client.clone());
        roles.create(&PostParams::default(), &role).await.unwrap();
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        }))
        .unwrap();
        let bindings: Api<ClusterRoleBinding> = Api::all(story.client.clone());
        bindings.create(&PostParams::default(), &binding).await.unwrap();
        let expected = [
            "pipelinetriggers.pipekick.dev: may not watch",
            "pipelineschedules.pipekick.dev: may not watch",
            "secrets: may not get",
            "something is missing",
        ];
        // A right takes effect a moment after it was given.
        story
            .until_true("the rights taken away should be missing, and no others", async || {
                let answer = story.check(&["--as", &name]).await;
                if answer.code == 1 && missing(&answer) == expected { Ok(()) } else { Err(answer.out) }
            })
            .await;
    });
}

#[test]
fn a_kind_that_is_missing_or_another_versions_is_named() {
    story_of_all_namespaces(playing(quick()), async |story| {
        assert_eq!(story.check(&[]).await.code, 0);
        let crds: Api<CustomResourceDefinition> = Api::all(story.client.clone());
        let mut older = crds.get("pipelinetriggers.pipekick.dev").await.unwrap();
        let schema = older.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        let spec = schema.properties.as_mut().unwrap().get_mut("spec").unwrap();
        spec.properties.as_mut().unwrap().get_mut("ref").unwrap().description = Some("older".into());
        crds.replace("pipelinetriggers.pipekick.dev", &PostParams::default(), &older).await.unwrap();
        crds.delete("pipelineschedules.pipekick.dev", &DeleteParams::default()).await.unwrap();
        story
            .until_true("both kinds should be named", async || {
                let answer = story.check(&[]).await;
                let missing = missing(&answer);
                let named = missing
                    .iter()
                    .any(|line| line.starts_with("pipelineschedules.pipekick.dev is not there"))
                    && missing.iter().any(|line| {
                        line.starts_with("pipelinetriggers.pipekick.dev: version v1alpha1 differs")
                            && line.contains("spec.properties.ref.description")
                    });
                if answer.code == 1 && named { Ok(()) } else { Err(answer.out.clone()) }
            })
            .await;
    });
}
