//! The GitLab client.
