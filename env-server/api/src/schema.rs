//! What the wire types look like where their JSON is not what their fields say, for an OpenAPI document.
//!
//! Descriptions only; nothing is made of these types.

use utoipa::ToSchema;

/// So much, or the word `max`: as much as there is.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Limit {
    /// No limit but the node's capacity.
    Word(Max),
    /// At most this much.
    Amount(Amount),
}

/// So much, in the unit of the resource; finite and not negative.
#[derive(ToSchema)]
#[schema(minimum = 0)]
pub struct Amount(pub f64);

/// The word.
#[derive(ToSchema)]
pub enum Max {
    /// No limit.
    #[serde(rename = "max")]
    Max,
}
