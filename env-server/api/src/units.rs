//! Quantities with their unit in the type: finite, never negative, plain numbers on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number that no quantity can have: negative, infinite or not a number.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{value} is not a quantity of {unit}: it must be finite and not negative")]
pub struct InvalidQuantity {
    /// The number that was refused.
    pub value: f64,
    /// The unit it was offered as.
    pub unit: &'static str,
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(minimum = 0))]
        pub struct $name(f64);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0.0);

            /// Takes a number of
            #[doc = $unit]
            /// .
            ///
            /// # Errors
            /// When `value` is negative, infinite or not a number.
            pub fn new(value: f64) -> Result<Self, InvalidQuantity> {
                if value.is_finite() && value >= 0.0 {
                    Ok(Self(value))
                } else {
                    Err(InvalidQuantity { value, unit: $unit })
                }
            }

            /// The quantity nearest to `value`: zero for negative and undefined numbers, the largest finite one above.
            #[must_use]
            pub fn saturating(value: f64) -> Self {
                // `max` answers its other operand for NaN, so this is finite and not negative whatever comes in.
                Self(value.max(0.0).min(f64::MAX))
            }

            /// The plain number.
            #[must_use]
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = InvalidQuantity;
            fn try_from(value: f64) -> Result<Self, InvalidQuantity> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(quantity: $name) -> f64 {
                quantity.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match f.precision() {
                    Some(digits) => write!(f, "{:.digits$} {}", self.0, $unit),
                    None => write!(f, "{} {}", self.0, $unit),
                }
            }
        }
    };
}

quantity!(
    /// CPU time per wall-clock time: 1 is one core kept busy.
    Cores,
    "cores"
);
quantity!(
    /// An amount of memory or cache.
    Bytes,
    "bytes"
);
quantity!(
    /// A memory or disk bandwidth.
    BytesPerSecond,
    "bytes/s"
);
quantity!(
    /// Requests to a disk.
    OperationsPerSecond,
    "operations/s"
);
quantity!(
    /// A network bandwidth.
    BitsPerSecond,
    "bits/s"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_no_quantity() {
        for bad in [-1.0, -f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Cores::new(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Cores>("-0.5").unwrap_err().to_string().contains("not a quantity"));
    }

    #[test]
    fn is_a_plain_number_on_the_wire() {
        assert_eq!(serde_json::to_string(&Cores::new(0.25).unwrap()).unwrap(), "0.25");
    }

    proptest! {
        #[test]
        fn saturating_always_gives_a_valid_quantity(value in proptest::num::f64::ANY) {
            prop_assert!(Cores::new(Cores::saturating(value).get()).is_ok());
        }
    }
}
