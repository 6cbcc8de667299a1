//! A project.

use super::Request;
use crate::gitlab::{auth, row::Answer, rows, state::World};

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let project = auth::project(world, request)?;
    Ok(rows::PROJECT_SHOWN.entity(&world.project_entity(project)))
}
