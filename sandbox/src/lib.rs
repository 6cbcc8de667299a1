//! What the demo and the tests stand on: a real Kubernetes control plane on loopback
//! ([`controlplane`]), a GitLab simulator over real HTTP ([`gitlab`]), and a proxy that spoils calls to the API
//! server ([`apiproxy`]).

pub mod apiproxy;
pub mod controlplane;
pub mod gitlab;
