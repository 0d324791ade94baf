//! Checks of numbers that come from outside.
//!
//! Knows no network.

/// Why numbers were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidInput {
    /// Too few or too many.
    #[error("the {what} must hold {expected} numbers, not {found}")]
    Length {
        /// Which input.
        what: &'static str,
        /// How many the network takes.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// NaN or infinite.
    #[error("number {index} of the {what} is {value}: it must be finite")]
    NotFinite {
        /// Which input.
        what: &'static str,
        /// Its place, from 0.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// An action that no actor can propose.
    #[error("number {index} of the action is {value}: it must lie in [-1, 1]")]
    ActionOutOfRange {
        /// Its place, from 0.
        index: usize,
        /// What it is.
        value: f32,
    },
}

/// Whether there are `expected` numbers, all finite.
pub(crate) fn check(what: &'static str, expected: usize, values: &[f32]) -> Result<(), InvalidInput> {
    if values.len() != expected {
        return Err(InvalidInput::Length { what, expected, found: values.len() });
    }
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, &value)) => Err(InvalidInput::NotFinite { what, index, value }),
        None => Ok(()),
    }
}

/// Whether it is an action: `expected` numbers, each in [-1, 1].
pub(crate) fn check_action(expected: usize, values: &[f32]) -> Result<(), InvalidInput> {
    check("action", expected, values)?;
    match values.iter().enumerate().find(|(_, value)| value.abs() > 1.0) {
        Some((index, &value)) => Err(InvalidInput::ActionOutOfRange { index, value }),
        None => Ok(()),
    }
}
