//! A real etcd and kube-apiserver on loopback.
