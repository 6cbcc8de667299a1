//! What the demo and the tests stand on: a real Kubernetes control plane on loopback
//! ([`controlplane`]) and a GitLab simulator over real HTTP ([`gitlab`]).

pub mod controlplane;
pub mod gitlab;
