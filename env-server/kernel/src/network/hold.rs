//! What the two ways of a container are held to, and by whom.
//!
//! A lender and an injection hold a way by the same means, one in place of the other, and the kernel remembers which: so a
//! lender knows that its limit comes back, and whoever takes an injection back knows whether it is still there. Must not
//! know how that is said to the kernel.

use ballast_api::{BitsPerSecond, EgressIngress, Limit};

use super::rate::Rate;

/// Whose a rate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Whoever lends limits.
    Lender,
    /// An injection, for a while.
    Injection,
}

/// One way is held to a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) rate: Rate,
    pub(super) by: Holder,
}

/// Both ways; absent where one is not held.
pub(super) type Holds = EgressIngress<Option<Hold>>;

/// A limit of Ballast on one way of a container's network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkLimit {
    /// What is in force: [`Limit::Max`] where there is none, whatever others have there.
    pub limit: Limit<BitsPerSecond>,
    /// Whether an injection has put it in force, for a while.
    pub is_injected: bool,
}

impl NetworkLimit {
    /// A lender's.
    #[must_use]
    pub fn lent(limit: Limit<BitsPerSecond>) -> Self {
        Self { limit, is_injected: false }
    }

    /// An injection's.
    #[must_use]
    pub fn injected(limit: Limit<BitsPerSecond>) -> Self {
        Self { limit, is_injected: true }
    }

    pub(super) fn of(hold: Option<Hold>) -> Self {
        Self {
            limit: Rate::limit(hold.map(|hold| hold.rate)),
            is_injected: hold.is_some_and(|hold| hold.by == Holder::Injection),
        }
    }

    /// As the kernel is to hold it.
    ///
    /// # Errors
    /// The smallest limit when this one is less.
    pub(super) fn hold(self) -> Result<Option<Hold>, BitsPerSecond> {
        let by = if self.is_injected { Holder::Injection } else { Holder::Lender };
        Ok(Rate::of(self.limit)?.map(|rate| Hold { rate, by }))
    }
}
