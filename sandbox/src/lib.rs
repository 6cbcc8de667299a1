//! What the demo and the tests stand on: a real Kubernetes control plane on loopback
//! ([`controlplane`]), a GitLab simulator over real HTTP ([`gitlab`]), a proxy that spoils calls to the API
//! server ([`apiproxy`]), and TLS to put in front of a plain server ([`tls`]).

pub mod apiproxy;
pub mod controlplane;
pub mod gitlab;
pub mod tls;
