//! `cargo xtask chart`: the Helm chart, checked by a real Helm on a real API server.
//!
//! ```text
//! lint → values that must be refused → deploy/install.yaml → install → pods by the rules of "restricted"
//!      → upgrade → uninstall
//! ```
//!
//! What the chart says twice is written by `cargo xtask generated` ([`files`]): the CRDs, the rules of the role, the
//! table of values. `deploy/install.yaml` is rendered here, for it needs Helm; `--write` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use pipekick_sandbox::controlplane::{ControlPlane, Options, Printer};
use serde_json::{Value, json};

use crate::controlplane::{read, root};
use crate::helm::Helm;

const CHART: &str = "charts/pipekick";
const NAMESPACE: &str = "pipekick-system";
const INSTALL: &str = "deploy/install.yaml";
/// Every value that is empty or off by default and needs no kind that the API server lacks. It refuses fields that a kind does not have.
const MORE: &str = "
image: {digest: sha256:0000000000000000000000000000000000000000000000000000000000000000}
imagePullSecrets: [{name: regcred}]
replicaCount: 2
gitlab: {url: http://gitlab.example.com, allowHttp: true}
watchNamespaces: [shop, billing]
clusterId: production-1
firstSight: Hold
pause: true
log: {level: 'pipekick=debug,kube=warn', format: text}
tracing:
  endpoint: https://collector.example.com:4318
  headersSecret: {name: collector}
  caConfigMap: {name: corp-ca}
extraArgs: [--concurrency=64]
extraEnv: [{name: HTTPS_PROXY, value: 'http://proxy:3128'}]
extraVolumes: [{name: scratch, emptyDir: {}}]
extraVolumeMounts: [{name: scratch, mountPath: /scratch}]
serviceAccount: {annotations: {example.com/role: pipekick}}
podAnnotations: {example.com/scrape: 'true'}
podLabels: {example.com/team: platform}
priorityClassName: system-cluster-critical
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Equal, value: platform, effect: NoSchedule}]
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
    - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app.kubernetes.io/name: pipekick}}}
topologySpreadConstraints:
- {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}
podDisruptionBudget: {enabled: true}
networkPolicy: {enabled: true, metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]}
metrics: {service: {annotations: {example.com/probe: 'true'}}, dashboard: {enabled: true}}
";

/// Files of the chart that say what stands elsewhere; `crds` are the CRDs, or that there is none of that name any more.
pub fn files(crds: &BTreeMap<PathBuf, Option<String>>) -> anyhow::Result<BTreeMap<PathBuf, Option<String>>> {
    let chart = root().join(CHART);
    let mut files = BTreeMap::new();
    for (path, text) in crds {
        let name = path.file_name().context("a file has a name")?;
        files.insert(chart.join("files/crds").join(name), text.clone());
    }
    files.insert(chart.join("files/rules.yaml"), Some(rules(&read(&root().join("deploy/rbac.yaml"))?)?));
    Ok(files)
}

/// The table of values for the chart's README, from the comments in values.yaml.
pub fn values_table() -> anyhow::Result<String> {
    table(&read(&root().join(CHART).join("values.yaml"))?)
}

/// The rules of the operator's role, with the comments that say why.
fn rules(rbac: &str) -> anyhow::Result<String> {
    let role = rbac
        .split("\n---\n")
        .find(|document| document.contains("\nkind: ClusterRole\n"))
        .context("deploy/rbac.yaml has a ClusterRole")?;
    let (_, rules) = role.split_once("\nrules:\n").context("the ClusterRole has rules")?;
    Ok(format!("{}\n", rules.trim_end()))
}

fn table(values: &str) -> anyhow::Result<String> {
    let parsed: Value = serde_saphyr::from_str(values)?;
    let mut table = String::from("| value | default | |\n| --- | --- | --- |\n");
    let (mut path, mut told): (Vec<(usize, &str)>, Option<&str>) = (Vec::new(), None);
    for line in values.lines() {
        let (indent, text) = (line.len() - line.trim_start().len(), line.trim_start());
        if let Some(comment) = text.strip_prefix("# -- ") {
            told = Some(comment);
            continue;
        }
        let Some((key, _)) = text.split_once(':').filter(|_| !text.starts_with('#')) else { continue };
        path.retain(|(at, _)| *at < indent);
        path.push((indent, key));
        let Some(comment) = told.take() else { continue };
        let pointer: String = path.iter().map(|(_, key)| format!("/{key}")).collect();
        let default = parsed.pointer(&pointer).with_context(|| format!("{pointer} is a value"))?;
        writeln!(table, "| `{}` | `{default}` | {comment} |", pointer[1..].replace('/', "."))?;
    }
    Ok(table)
}

/// Checks the chart, or also writes what Helm renders.
pub fn chart(write: bool) -> anyhow::Result<()> {
    let helm = Helm::new()?;
    helm.run(&["lint", "--strict", CHART])?;
    refused_values(&helm)?;
    rendered(&helm, write)?;
    notes(&helm)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let plane = ControlPlane::start(Options::from_env(Printer::installs_only())?).await?;
        let walked = walk(&plane, helm.on(plane.admin().path())).await;
        plane.stop().await;
        walked
    })
}

/// A value that is unknown or of the wrong kind is refused, and the message names it.
fn refused_values(helm: &Helm) -> anyhow::Result<()> {
    for (value, named) in [
        ("replicas=2", "replicas"),
        ("gitlab.uri=https://x", "uri"),
        ("replicaCount=two", "replicaCount"),
        ("image.digest=latest", "digest"),
        ("gitlab.url=https://user@host", "url"),
        ("firstSight=hold", "firstSight"),
        ("extraArgs[0]=concurrency=3", "extraArgs"),
        ("watchNamespaces=shop", "watchNamespaces"),
        ("watchNamespaces={shop}", "clusterId"),
        ("tracing.endpoint=collector:4318", "endpoint"),
        ("tracing.headersSecret.name=collector", "tracing.endpoint"),
        ("fullnameOverride=Ops_Pipekick", "fullnameOverride"),
        ("gitlab.url=http://gitlab.example.com", "allowHttp: true"),
        ("podDisruptionBudget.enabled=true", "replicaCount: 2"),
        (
            "podDisruptionBudget.enabled=true,podDisruptionBudget.minAvailable=51%,replicaCount=2",
            "replicaCount",
        ),
        (
            "metrics.serviceMonitor.enabled=true,metrics.service.enabled=false",
            "metrics.service.enabled: true",
        ),
        (r"podLabels.app\.kubernetes\.io/name=other", "podLabels: app.kubernetes.io/name"),
    ] {
        let why = helm.refused(&["template", "pipekick", CHART, "--set", value])?;
        ensure!(why.contains(named), "--set {value} was refused without naming {named}: {why}");
    }
    // A rule without ports is one for every port.
    let none = "networkPolicy.egressPorts=[]";
    let why = helm.refused(&["template", "pipekick", CHART, "--set-json", none])?;
    ensure!(why.contains("egressPorts"), "--set-json {none} was refused without naming it: {why}");
    Ok(())
}

/// The manifest for those without Helm is what the chart renders.
fn rendered(helm: &Helm, write: bool) -> anyhow::Result<()> {
    let options = ["--set", "crds.keep=false"];
    let mut args = vec!["template", "pipekick", CHART, "--namespace", NAMESPACE];
    args.extend(options);
    let rendered = format!(
        "# Rendered from {CHART} by `cargo xtask chart --write`: for kubectl apply --server-side -f.\n---\n\
         apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
         pod-security.kubernetes.io/enforce: restricted\n{}",
        helm.run(&args)?
            .replace("app.kubernetes.io/managed-by: Helm", "app.kubernetes.io/managed-by: kubectl")
    );
    let path = root().join(INSTALL);
    if write {
        std::fs::write(&path, &rendered).with_context(|| format!("cannot write {INSTALL}"))?;
    }
    let committed = read(&path)?;
    ensure!(
        committed == rendered,
        "{INSTALL} differs from what the chart renders: `cargo xtask chart --write`"
    );
    traced(helm)?;
    // The longest name that Helm gives: a Service's may have 63 characters, and it has an ending.
    let long = "release-".repeat(6) + "abcde";
    let service = helm.run(&["template", &long, CHART, "--show-only", "templates/metrics.yaml"])?;
    let name =
        service.lines().find_map(|line| line.strip_prefix("  name: ")).context("a Service has a name")?;
    ensure!(name.len() <= 63, "no Service can be named {name}");
    // A GitLab that listens elsewhere is reached all the same.
    let elsewhere = "networkPolicy.enabled=true,gitlab.url=https://gitlab.example.com:8443/gitlab";
    let policy = helm.run(&["template", "pipekick", CHART, "--set", elsewhere])?;
    ensure!(policy.contains("- {port: 8443, protocol: TCP}"), "GitLab's port is not let out:\n{policy}");
    // What needs kinds of the Prometheus operator is rendered, and its alerts must be YAML.
    let monitored = helm.run(&[
        "template",
        "pipekick",
        CHART,
        "--set",
        "metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true",
    ])?;
    for kind in ["kind: ServiceMonitor", "kind: PrometheusRule", "- alert: PipekickDuplicatePipeline"] {
        ensure!(monitored.contains(kind), "{kind} is not rendered");
    }
    Ok(())
}

/// A collector is told of by name, and may be reached; without one there is no word of it.
fn traced(helm: &Helm) -> anyhow::Result<()> {
    let plain = ["template", "pipekick", CHART, "--set", "networkPolicy.enabled=true", "--set"];
    let with = |values: &str| helm.run(&[&plain[..], &[values]].concat());
    let (without, traced) = (
        with("pause=false")?,
        with(
            "tracing.endpoint=http://collector:4318,tracing.headersSecret.name=s,tracing.caConfigMap.name=c",
        )?,
    );
    for said in [
        "- --otlp-endpoint=http://collector:4318\n",
        "- --otlp-headers-file=/etc/pipekick/otlp/headers\n",
        "- --otlp-ca-file=/etc/pipekick/otlp/ca.crt\n",
        "mountPath: /etc/pipekick/otlp\n",
        "items: [{key: headers, path: headers}]\n",
        "items: [{key: ca.crt, path: ca.crt}]\n",
        "- {port: 4318, protocol: TCP}\n",
    ] {
        ensure!(traced.contains(said), "{said:?} is not rendered:\n{traced}");
        ensure!(!without.contains(said), "{said:?} is always rendered");
    }
    for (endpoint, port) in [("http://collector", 80), ("https://collector/otlp", 443)] {
        let rendered = with(&format!("tracing.endpoint={endpoint}"))?;
        let named = rendered.matches(&format!("- {{port: {port}, protocol: TCP}}\n")).count();
        ensure!(named == 1, "port {port} of {endpoint} is named {named} times");
    }
    Ok(())
}

/// What Helm says after an installation names this release's own Lease, and tells that nothing fires by itself.
fn notes(helm: &Helm) -> anyhow::Result<()> {
    let mut install = vec!["install", "ops", CHART, "--namespace", NAMESPACE, "--dry-run=client"];
    let plain = helm.run(&install)?;
    install.extend(["--set", "firstSight=Hold,pause=true,crds.keep=false"]);
    let braked = helm.run(&install)?;
    let release = format!("`pipekick release --all --lease-namespace {NAMESPACE} --lease-name ops-pipekick`");
    for (said, by, elsewhere) in [
        ("- --lease-name=ops-pipekick\n", &plain, None),
        (release.as_str(), &plain, None),
        ("- --first-sight=Fire\n", &plain, Some(&braked)),
        ("- --first-sight=Hold\n", &braked, Some(&plain)),
        ("first time are HELD", &braked, Some(&plain)),
        ("- --pause\n", &braked, Some(&plain)),
        ("It is PAUSED", &braked, Some(&plain)),
        ("deletes the CustomResourceDefinitions", &braked, Some(&plain)),
    ] {
        ensure!(by.contains(said), "Helm does not say {said:?}:\n{by}");
        ensure!(elsewhere.is_none_or(|other| !other.contains(said)), "Helm always says {said:?}");
    }
    Ok(())
}

/// Install, upgrade and uninstall, as a user would, with objects that must live on.
async fn walk(plane: &ControlPlane, helm: Helm) -> anyhow::Result<()> {
    let client = plane.admin().client().await?;
    for namespace in ["shop", "billing"] {
        plane.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).await?;
    }
    let restricted = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    plane.apply(&restricted.to_string()).await?;

    // An older chart: its CRD has no columns, and the upgrade must bring them.
    let older = older_chart()?;
    helm.run(&["install", "pipekick", &older.path().to_string_lossy(), "--namespace", NAMESPACE])?;
    plane.crd_established("pipelinetriggers.pipekick.dev").await?;
    pods_are_admitted(&client).await?;
    let trigger = json!({
        "apiVersion": "pipekick.dev/v1alpha1", "kind": "PipelineTrigger",
        "metadata": {"name": "lives-on", "namespace": "shop"},
        "spec": {"gitlab": {"project": "shop/checkout", "triggerTokenRef": {"name": "s", "key": "k"}}, "ref": "main"},
    });
    plane.apply(&trigger.to_string()).await?;

    let more = tempfile::NamedTempFile::new()?;
    std::fs::write(more.path(), MORE)?;
    let values = more.path().to_string_lossy();
    helm.run(&["upgrade", "pipekick", CHART, "--namespace", NAMESPACE, "--values", &values])?;
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let columns = crds
        .get("pipelinetriggers.pipekick.dev")
        .await?
        .spec
        .versions
        .swap_remove(0)
        .additional_printer_columns;
    ensure!(columns.is_some_and(|columns| !columns.is_empty()), "helm upgrade did not upgrade the CRD");
    lives(&client, "helm upgrade").await?;
    pods_are_admitted(&client).await?;
    rights_are_in("shop billing", &client).await?;

    helm.run(&["uninstall", "pipekick", "--namespace", NAMESPACE])?;
    lives(&client, "helm uninstall").await?;
    // And the way without Helm, into the same cluster.
    plane.apply(&read(&root().join(INSTALL))?).await?;
    lives(&client, INSTALL).await?;
    pods_are_admitted(&client).await
}

/// A copy of the chart as an older one was: with kinds that `kubectl get` shows by name and age alone.
fn older_chart() -> anyhow::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    copy(&root().join(CHART), dir.path())?;
    for entry in std::fs::read_dir(dir.path().join("files/crds"))? {
        let path = entry?.path();
        let mut crd: Value = serde_saphyr::from_str(&read(&path)?)?;
        let version = crd["spec"]["versions"][0].as_object_mut().context("a CRD has a version")?;
        version.remove("additionalPrinterColumns");
        std::fs::write(&path, crd.to_string())?;
    }
    Ok(dir)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let into = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &into)?;
        } else {
            std::fs::copy(entry.path(), into)?;
        }
    }
    Ok(())
}

/// With `watchNamespaces` the operator has a Role in each, and none in the cluster.
async fn rights_are_in(namespaces: &str, client: &Client) -> anyhow::Result<()> {
    for namespace in namespaces.split(' ') {
        let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
        let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        roles.get("pipekick").await.with_context(|| format!("no Role in {namespace}"))?;
        bindings.get("pipekick").await.with_context(|| format!("no RoleBinding in {namespace}"))?;
    }
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let (account, all) = ("pipekick", bindings.list(&ListParams::default()).await?);
    let bound = all.items.iter().find(|binding| {
        let subjects = binding.subjects.iter().flatten();
        subjects.into_iter().any(|s| s.kind == "ServiceAccount" && s.name == account)
    });
    ensure!(bound.is_none(), "with watchNamespaces the operator still has rights in the cluster: {bound:?}");
    Ok(())
}

async fn lives(client: &Client, after: &str) -> anyhow::Result<()> {
    let kind = GroupVersionKind::gvk("pipekick.dev", "v1alpha1", "PipelineTrigger");
    let triggers: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "shop", &ApiResource::from_gvk(&kind));
    triggers.get("lives-on").await.with_context(|| format!("{after} took the object away"))?;
    Ok(())
}

/// There is no kubelet here, so no pod starts; whether the namespace's policy admits one can be asked.
async fn pods_are_admitted(client: &Client) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let spec = deployments.get("pipekick").await?.spec.context("a Deployment has a spec")?;
    let mut template = spec.template;
    let mut metadata = template.metadata.take().unwrap_or_default();
    metadata.name = Some("admitted".into());
    let pod = Pod { metadata, spec: template.spec, status: None };
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    pods.create(&dry, &pod).await.context("the namespace's policy `restricted` refuses the pod")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_with_its_path_and_its_default() {
        let values = "# a file\n\n# -- First.\na: 1\nb:\n  # -- Second.\n  c: {}\n  d:\n    # -- Third.\n    e: \"x\"\n";
        let table = table(values).unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            ["| `a` | `1` | First. |", "| `b.c` | `{}` | Second. |", "| `b.d.e` | `\"x\"` | Third. |"]
        );
    }

    #[test]
    fn the_schema_knows_the_values_and_no_others() {
        let chart = root().join(CHART);
        let values: Value = serde_saphyr::from_str(&read(&chart.join("values.yaml")).unwrap()).unwrap();
        let schema: Value = serde_json::from_str(&read(&chart.join("values.schema.json")).unwrap()).unwrap();
        compare("", &values, &schema);
    }

    /// What is empty or off by default is rendered nowhere else.
    #[test]
    fn every_value_that_is_empty_by_default_is_tried() {
        // Names of objects, which later checks ask for; kinds that the API server lacks; and what is on by default.
        const NOT: [&str; 8] = [
            "/nameOverride",
            "/fullnameOverride",
            "/image/tag",
            "/serviceAccount/name",
            "/metrics/serviceMonitor/enabled",
            "/metrics/serviceMonitor/labels",
            "/metrics/prometheusRule/enabled",
            "/metrics/prometheusRule/labels",
        ];
        let values: Value =
            serde_saphyr::from_str(&read(&root().join(CHART).join("values.yaml")).unwrap()).unwrap();
        let more: Value = serde_saphyr::from_str(MORE).unwrap();
        let mut empty = Vec::new();
        find_empty("", &values, &mut empty);
        empty.retain(|path| !NOT.contains(&path.as_str()) && more.pointer(path).is_none());
        assert_eq!(empty, [""; 0]);
    }

    fn find_empty(path: &str, value: &Value, found: &mut Vec<String>) {
        let is_empty = match value {
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(on) => !on,
            Value::Null | Value::Number(_) => false,
        };
        if is_empty {
            found.push(path.to_owned());
        }
        for (key, below) in value.as_object().into_iter().flatten() {
            find_empty(&format!("{path}/{key}"), below, found);
        }
    }

    fn compare(path: &str, values: &Value, schema: &Value) {
        let (Some(values), Some(known)) = (values.as_object(), schema["properties"].as_object()) else {
            return;
        };
        assert_eq!(schema["additionalProperties"], false, "{path} is closed");
        for (key, value) in values {
            let schema = known.get(key).unwrap_or_else(|| panic!("{path}.{key} is not in the schema"));
            compare(&format!("{path}.{key}"), value, schema);
        }
        for key in known.keys().filter(|key| !["global", "claims"].contains(&key.as_str())) {
            assert!(values.contains_key(key), "{path}.{key} is in the schema alone");
        }
    }

    /// What every story runs under is what an installation has; only labels differ.
    #[test]
    fn the_rights_of_the_stories_are_those_that_the_chart_renders() {
        let rights = |file: &str| -> BTreeMap<String, Value> {
            let text = read(&root().join(file)).unwrap();
            let objects =
                text.split("\n---\n").map(|object| serde_saphyr::from_str::<Value>(object).unwrap());
            objects
                .filter_map(|object| {
                    let text =
                        |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                    let (kind, name, space) =
                        (text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
                    // Roles for people are the chart's alone.
                    let ours = text("/apiVersion").starts_with("rbac.")
                        && object
                            .pointer("/metadata/labels")
                            .is_none_or(|labels| !labels.to_string().contains("aggregate-to"));
                    ours.then(|| {
                        (
                            format!("{kind} {space}/{name}"),
                            json!([object["rules"], object["roleRef"], object["subjects"]]),
                        )
                    })
                })
                .collect()
        };
        let (stories, rendered) = (rights("deploy/rbac.yaml"), rights(INSTALL));
        assert_eq!(stories.len(), 4, "{stories:#?}");
        assert_eq!(stories, rendered);
    }

    #[test]
    fn the_rules_are_taken_with_their_reasons() {
        let rbac = "kind: Namespace\n---\napiVersion: x\nkind: ClusterRole\nrules:\n# Why.\n- apiGroups: [a]\n---\nkind: B\n";
        assert_eq!(rules(rbac).unwrap(), "# Why.\n- apiGroups: [a]\n");
    }
}
