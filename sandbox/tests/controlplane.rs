//! The control plane for real: each story starts its own. The first run on a machine installs the binaries, which
//! takes minutes and is told on standard error.

#![allow(clippy::unwrap_used, reason = "a test; the lint knows only those with an attribute")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error, Resource, ResourceExt};
use pipekick_sandbox::controlplane::{ControlPlane, Options, Printer};
use serde_json::json;

const CRD: &str = include_str!("controlplane/crd.yaml");
const RBAC: &str = include_str!("controlplane/rbac.yaml");

async fn start() -> ControlPlane {
    ControlPlane::start(Options::from_env(Printer::installs_only()).unwrap()).await.unwrap()
}

fn widgets(client: Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client, &widgets_kind())
}

fn widgets_kind() -> ApiResource {
    let kind = GroupVersionKind::gvk("sandbox.pipekick.dev", "v1", "Widget");
    ApiResource::from_gvk_with_plural(&kind, "widgets")
}

fn forbidden<T: std::fmt::Debug>(answer: Result<T, Error>) -> bool {
    matches!(answer.unwrap_err(), Error::Api(status) if status.is_forbidden())
}

#[tokio::test]
async fn a_crd_and_an_object_of_it_are_applied_and_its_cel_rule_refuses() {
    let plane = start().await;
    let widget =
        "{apiVersion: sandbox.pipekick.dev/v1, kind: Widget, metadata: {name: one}, spec: {size: 3}}";

    plane.apply(&format!("{CRD}---\n{widget}")).await.unwrap();
    plane.crd_established("widgets.sandbox.pipekick.dev").await.unwrap();

    let client = plane.admin().client().await.unwrap();
    let read = widgets(client).get("one").await.unwrap();
    assert_eq!(read.data["spec"], json!({"size": 3}));
    let refused = plane.apply(&widget.replace('3', "30")).await.unwrap_err().to_string();
    assert!(refused.contains("size is at most 10"), "{refused}");
    let unknown = plane.apply(&widget.replace("Widget", "Gadget")).await.unwrap_err().to_string();
    assert!(unknown.contains("Gadget"), "{unknown}");

    let dir = plane.dir().to_owned();
    plane.stop().await;
    assert!(!dir.exists());
    assert_eq!(processes_of(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn the_operator_has_the_rights_of_its_manifest_and_no_other() {
    let plane = start().await;
    plane.apply(CRD).await.unwrap();

    let operator = plane.operator_kubeconfig(RBAC).await.unwrap();

    let client = operator.client().await.unwrap();
    assert!(widgets(client.clone()).list(&ListParams::default()).await.unwrap().items.is_empty());
    let widget: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "sandbox.pipekick.dev/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {"size": 1},
    }))
    .unwrap();
    assert!(forbidden(widgets(client.clone()).create(&PostParams::default(), &widget).await));

    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    assert!(secrets.get_opt("any").await.unwrap().is_none(), "may get");
    assert!(forbidden(secrets.list(&ListParams::default()).await));

    let leader: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "leader"}})).unwrap();
    let own: Api<ConfigMap> = Api::namespaced(client.clone(), "pipekick-system");
    own.create(&PostParams::default(), &leader).await.unwrap();
    let elsewhere: Api<ConfigMap> = Api::default_namespaced(client);
    assert!(forbidden(elsewhere.create(&PostParams::default(), &leader).await));
}

#[tokio::test]
async fn two_stand_side_by_side_and_know_nothing_of_each_other() {
    let (one, other) = tokio::join!(start(), start());
    assert_ne!(one.url(), other.url());
    one.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}, data: {a: b}}").await.unwrap();

    let mine = async |plane: &ControlPlane| -> Vec<String> {
        let maps: Api<ConfigMap> = Api::default_namespaced(plane.admin().client().await.unwrap());
        let list = maps.list(&ListParams::default()).await.unwrap();
        list.iter().map(ResourceExt::name_any).filter(|name| name == "mine").collect()
    };
    assert_eq!(mine(&one).await, ["mine"]);
    assert!(mine(&other).await.is_empty());

    drop(one);
    assert!(mine(&other).await.is_empty(), "the other goes on");
}

#[tokio::test]
#[ignore = "builds kube-controller-manager with Go, some minutes once per machine"]
async fn the_garbage_collector_deletes_what_lost_its_owner() {
    let mut plane = start().await;
    plane.apply(CRD).await.unwrap();
    plane.start_controller_manager().await.unwrap();
    let widgets = widgets(plane.admin().client().await.unwrap());
    let widget = |name: &str, owners: serde_json::Value| -> DynamicObject {
        let metadata = json!({"name": name, "ownerReferences": owners});
        let (api_version, kind) = ("sandbox.pipekick.dev/v1", "Widget");
        let spec = json!({"size": 1});
        serde_json::from_value(
            json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}),
        )
        .unwrap()
    };
    let owner = widgets.create(&PostParams::default(), &widget("owner", json!([]))).await.unwrap();
    let owners = json!([owner.controller_owner_ref(&widgets_kind()).unwrap()]);
    widgets.create(&PostParams::default(), &widget("owned", owners)).await.unwrap();

    widgets.delete("owner", &DeleteParams::default()).await.unwrap();

    for _ in 0..100 {
        if widgets.get_opt("owned").await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("still there after 10 s");
}

/// Not a story of its own: what [`leaves_nothing_behind`] runs. It panics when it is told to.
#[tokio::test]
#[ignore = "run by the stories of its end"]
async fn hold_a_control_plane() {
    let plane = start().await;
    println!("\nholding {}", plane.dir().display());
    let told = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    told.await.unwrap().unwrap();
    panic!("as I was told");
}

#[test]
fn kill_nine_leaves_nothing_behind() {
    leaves_nothing_behind(|child| child.kill().unwrap());
}

/// As a terminal sends it: to the whole foreground process group.
#[test]
fn ctrl_c_leaves_nothing_behind() {
    leaves_nothing_behind(|child| {
        let group = format!("-{}", child.id());
        assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    });
}

#[test]
fn a_panic_leaves_nothing_behind() {
    leaves_nothing_behind(|child| child.stdin.as_mut().unwrap().write_all(b"now\n").unwrap());
}

fn leaves_nothing_behind(end: impl FnOnce(&mut Child)) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_control_plane", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let dir = lines.find_map(|line| line.strip_prefix("holding ").map(PathBuf::from));
    let dir = dir.expect("it started");
    let before = processes_of(&dir);
    for server in ["/etcd ", "/kube-apiserver "] {
        assert!(before.iter().any(|line| line.contains(server)), "{server} runs: {before:#?}");
    }

    end(&mut child);
    assert!(!child.wait().unwrap().success());

    for _ in 0..40 {
        if processes_of(&dir).is_empty() && !dir.exists() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("after 2 s: {:#?}, directory {}", processes_of(&dir), dir.exists());
}

/// The command lines of living processes that name `dir`: the servers and their guards. A zombie has none.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let all: Vec<String> = match fs::read_dir("/proc") {
        Ok(processes) => processes
            .flatten()
            .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .collect(),
        Err(_) => {
            let listed = Command::new("ps").args(["-A", "-ww", "-o", "args="]).output().unwrap();
            String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
        }
    };
    all.into_iter().filter(|line| line.contains(dir)).collect()
}
