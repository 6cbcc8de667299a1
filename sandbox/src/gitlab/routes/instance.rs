//! The instance itself, and who is asking.

use serde_json::json;

use super::Request;
use crate::gitlab::{row::Answer, rows, state::World};

pub(super) fn version(world: &mut World, _: &Request<'_>) -> Result<Answer, Answer> {
    Ok(rows::VERSION_SHOWN
        .entity(&json!({ "version": world.version.to_string(), "revision": "0000000000a" })))
}

pub(super) fn metadata(world: &mut World, _: &Request<'_>) -> Result<Answer, Answer> {
    Ok(rows::METADATA_SHOWN.entity(&json!({
        "version": world.version.to_string(), "revision": "0000000000a", "enterprise": true,
        "kas": { "enabled": false, "externalUrl": null, "externalK8sProxyUrl": null, "version": null },
    })))
}

pub(super) fn user(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let user = request.user.ok_or_else(|| rows::UNAUTHORIZED.answer())?;
    Ok(rows::USER_SHOWN.entity(&world.user_entity(user)))
}
