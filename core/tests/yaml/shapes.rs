//! Files as they stand in people's repositories, written for this test.

macro_rules! shapes {
    ($($name:literal),+ $(,)?) => {
        /// Name and text.
        pub const ALL: &[(&str, &str)] = &[$(($name, include_str!(concat!("shapes/", $name))),)+];
    };
}

shapes! {
    "all-in-one.yaml",
    "anchors.yaml",
    "app.json",
    "argo-application.yaml",
    "argo-applicationset.yaml",
    "cluster-list.yaml",
    "comments-everywhere.yaml",
    "compact-nesting.yaml",
    "compose.yaml",
    "crd-like.yaml",
    "deployment-crlf.yaml",
    "deployment.yaml",
    "directives.yaml",
    "duplicates.yaml",
    "flow-spread.yaml",
    "flux-helmrelease.yaml",
    "flux-kustomization.yaml",
    "github-workflow.yaml",
    "gitlab-ci.yaml",
    "helm-values-prometheus.yaml",
    "helm-values-two-charts.yaml",
    "helm-values.yaml",
    "json-like.yaml",
    "keys.yaml",
    "kustomization-flow.yaml",
    "kustomization-patches.yaml",
    "kustomization.yaml",
    "minified.json",
    "multi-line.yaml",
    "no-final-newline.yaml",
    "odd-indentation.yaml",
    "only-scalar-list.yaml",
    "sops.yaml",
    "tabs.json",
    "tabs.yaml",
    "trailing-blanks.yaml",
    "typed.yaml",
    "unicode-bom.yaml",
    "unicode.yaml",
    "windows.yaml",
}
