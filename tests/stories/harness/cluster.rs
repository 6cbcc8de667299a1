//! The control plane that all stories share. It ends with the process, however that ends.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use pipekick_sandbox::controlplane::{ControlPlane, Kubeconfig, Options, Printer};

use crate::AT_ONCE;

/// A running control plane that knows Pipekick's kinds.
pub struct Cluster {
    _plane: ControlPlane,
    pub admin: Kubeconfig,
    /// The operator's own: exactly the rights that users give it.
    pub operator: PathBuf,
}

/// Starts it for the first story; the others wait for it.
pub fn shared() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

/// Starts one for a story whose operator sees all namespaces: on the shared one it would work on other stories.
pub fn start() -> Cluster {
    start_with(false)
}

/// Starts one with kube-controller-manager, which is built with Go once on each machine.
pub fn start_with_garbage_collector() -> Cluster {
    start_with(true)
}

fn start_with(garbage_collector: bool) -> Cluster {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = Options::from_env(Printer::installs_only()).unwrap();
        let mut plane = ControlPlane::start(options).await.unwrap();
        plane.apply(include_str!("../../../crds/pipekick.dev_pipelinetriggers.yaml")).await.unwrap();
        plane.apply(include_str!("../../../crds/pipekick.dev_pipelineschedules.yaml")).await.unwrap();
        if garbage_collector {
            // It knows the kinds that are there when it starts.
            plane.start_controller_manager().await.unwrap();
        }
        let operator = plane.operator_kubeconfig(include_str!("../../../deploy/rbac.yaml")).await.unwrap();
        let admin = plane.admin().clone();
        Cluster { _plane: plane, admin, operator: operator.path().to_owned() }
    })
}

/// One of the places for stories that run at the same time; free again when dropped.
pub struct Place;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Place {
    pub fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = FREED.wait_while(taken, |taken| *taken >= AT_ONCE).unwrap();
        *taken += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}
