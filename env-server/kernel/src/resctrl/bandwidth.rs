//! Memory bandwidth as the `MB` line says it: percent (Intel), eighths of a GB/s (AMD) or MiB/s (mounted `mba_MBps`).
//!
//! Pure; must not know where values are written. Sections "Memory bandwidth Allocation and monitoring" and
//! "Reading/writing the schemata file (on AMD systems)". A limit is the node's: it is divided evenly over the cache
//! domains, each of which gets the same value.

use ballast_api::{BytesPerSecond, Limit};

/// One eighth of a GB/s.
const EIGHTH_OF_GB: f64 = 125_000_000.0;
/// One MiB/s.
const MIB: f64 = 1_048_576.0;

/// What a number on the `MB` line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Percent of the domain's bandwidth. A throttle for each core: the same percentage is more for more threads.
    Percent,
    /// Eighths of a GB/s (10^9 bytes), for all tasks of the group together.
    EighthsOfGigabyte,
    /// MiB/s, kept by the kernel's own feedback loop, for all tasks of the group together.
    Mebibytes,
}

/// Which values the `MB` line takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The unit of a value.
    pub unit: Unit,
    /// The smallest value accepted.
    pub minimum: u32,
    /// Values are the minimum and whole steps above it.
    pub step: u32,
    /// The value that limits nothing.
    pub full: u32,
}

/// What a value is relative to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// How many cache domains share a limit.
    pub domains: u32,
    /// The most that the node's memory can deliver, when known.
    pub peak: Option<BytesPerSecond>,
}

/// Why a percentage cannot be told in bytes.
pub const NO_PEAK: &str = "this machine limits memory bandwidth in percent, and its peak bandwidth is not known: \
                           configure it to have limits in bytes per second";

impl Scale {
    /// The value to write, for each domain: rounded up to the next step, at least the minimum; [`Self::full`] for no limit
    /// and for what is more than can be said.
    ///
    /// # Errors
    /// [`NO_PEAK`] when the unit is percent and the peak is not known (or zero).
    pub fn value(&self, limit: Limit<BytesPerSecond>, machine: Machine) -> Result<u32, &'static str> {
        let Limit::At(wanted) = limit else { return Ok(self.full) };
        let units = wanted.get() / self.bytes_per_unit(machine)?;
        Ok(self.round_up(units))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float-to-integer cast saturates, and the answer is held between two values"
    )]
    fn round_up(&self, units: f64) -> u32 {
        // A value that was read must give itself again, however its bytes were rounded. A value of nothing would stop the
        // container.
        let whole = ((units * (1.0 - 1e-12)).ceil() as u32).max(1);
        let above = whole.saturating_sub(self.minimum);
        let steps = above.div_ceil(self.step.max(1));
        self.minimum.saturating_add(steps.saturating_mul(self.step.max(1))).min(self.full)
    }

    /// The limit that a value stands for, over all domains: none from [`Self::full`] on.
    ///
    /// # Errors
    /// [`NO_PEAK`] when the unit is percent and the peak is not known (or zero).
    pub fn limit(&self, value: u32, machine: Machine) -> Result<Limit<BytesPerSecond>, &'static str> {
        if value >= self.full {
            return Ok(Limit::Max);
        }
        Ok(Limit::At(BytesPerSecond::saturating(f64::from(value) * self.bytes_per_unit(machine)?)))
    }

    /// The limit that the values of all domains stand for together: none only where no domain has one.
    ///
    /// # Errors
    /// As [`Self::limit`].
    pub fn limit_over(
        &self,
        values: &[u32],
        machine: Machine,
    ) -> Result<Limit<BytesPerSecond>, &'static str> {
        let Some((first, others)) = values.split_first() else { return Ok(Limit::Max) };
        // Ballast writes the same everywhere, and must read exactly what it wrote.
        if others.iter().all(|value| value.min(&self.full) == first.min(&self.full)) {
            return self.limit(*first, machine);
        }
        // A domain without a limit moves what its memory delivers.
        let whole = self.whole(machine);
        let sum: f64 =
            values.iter().map(|value| f64::from(if *value >= self.full { whole } else { *value })).sum();
        let count = f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
        Ok(Limit::At(BytesPerSecond::saturating(sum / count * self.bytes_per_unit(machine)?)))
    }

    /// The value of all that the memory delivers: [`Self::full`] where that is not known.
    #[must_use]
    pub fn whole(&self, machine: Machine) -> u32 {
        let peak = machine.peak.filter(|peak| *peak > BytesPerSecond::ZERO);
        peak.and_then(|peak| self.value(Limit::At(peak), machine).ok()).unwrap_or(self.full)
    }

    /// Bytes per second of the whole node for one unit in each domain.
    fn bytes_per_unit(&self, machine: Machine) -> Result<f64, &'static str> {
        let domains = f64::from(machine.domains.max(1));
        match self.unit {
            Unit::EighthsOfGigabyte => Ok(EIGHTH_OF_GB * domains),
            Unit::Mebibytes => Ok(MIB * domains),
            Unit::Percent => match machine.peak {
                Some(peak) if peak > BytesPerSecond::ZERO => Ok(peak.get() / 100.0),
                _ => Err(NO_PEAK),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTEL: Scale = Scale { unit: Unit::Percent, minimum: 10, step: 10, full: 100 };
    const AMD: Scale = Scale { unit: Unit::EighthsOfGigabyte, minimum: 0, step: 1, full: 2048 };
    const SOFTWARE: Scale = Scale { unit: Unit::Mebibytes, minimum: 1, step: 1, full: u32::MAX };

    fn at(bytes: f64) -> Limit<BytesPerSecond> {
        Limit::At(BytesPerSecond::new(bytes).unwrap())
    }

    fn machine(peak: f64) -> Machine {
        Machine { domains: 2, peak: Some(BytesPerSecond::new(peak).unwrap()) }
    }

    #[test]
    fn percent_is_of_the_peak_and_rounded_up_to_the_step() {
        let machine = machine(100e9);
        for (bytes, value) in
            [(0.0, 10), (9e9, 10), (10e9, 10), (10.1e9, 20), (55e9, 60), (99e9, 100), (1e15, 100)]
        {
            assert_eq!(INTEL.value(at(bytes), machine), Ok(value), "{bytes}");
        }
        assert_eq!(INTEL.limit(60, machine), Ok(at(60e9)));
        assert_eq!(INTEL.limit(100, machine), Ok(Limit::Max));
    }

    #[test]
    fn percent_without_a_peak_is_refused_but_no_limit_is_not() {
        let unknown = Machine { domains: 2, peak: None };
        assert_eq!(INTEL.value(at(1e9), unknown), Err(NO_PEAK));
        assert_eq!(INTEL.limit(50, unknown), Err(NO_PEAK));
        assert_eq!(INTEL.value(Limit::Max, unknown), Ok(100));
        assert_eq!(INTEL.limit(100, unknown), Ok(Limit::Max));
        assert!(INTEL.value(at(1e9), machine(0.0)).is_err());
    }

    #[test]
    fn absolute_units_are_divided_over_the_domains() {
        let machine = Machine { domains: 4, peak: None };
        // 2 GB/s for each of four domains is 16 eighths.
        assert_eq!(AMD.value(at(8e9), machine), Ok(16));
        assert_eq!(AMD.value(at(8e9 + 1.0), machine), Ok(17));
        assert_eq!(AMD.value(at(0.0), machine), Ok(1), "a value of nothing would stop the container");
        assert_eq!(AMD.limit(16, machine), Ok(at(8e9)));
        assert_eq!(AMD.limit(2048, machine), Ok(Limit::Max));
        assert_eq!(SOFTWARE.value(at(4.0 * 1024.0 * MIB), machine), Ok(1024));
        assert_eq!(SOFTWARE.value(Limit::Max, machine), Ok(u32::MAX));
    }

    #[test]
    fn the_smallest_value_is_a_whole_step_where_the_minimum_is_nothing() {
        let (scale, machine) = (Scale { step: 5, ..AMD }, Machine { domains: 1, peak: None });
        assert_eq!(scale.value(at(0.0), machine), Ok(5));
        assert_eq!(scale.value(at(5.0 * EIGHTH_OF_GB), machine), Ok(5));
    }

    #[test]
    fn domains_that_differ_are_told_by_what_they_allow_together() {
        let percent = |values: &[u32]| INTEL.limit_over(values, machine(100e9));
        assert_eq!(percent(&[10, 50]), Ok(at(30e9)));
        assert_eq!(percent(&[100, 50]), Ok(at(75e9)));
        assert_eq!((percent(&[50, 50]), percent(&[100, 100])), (Ok(at(50e9)), Ok(Limit::Max)));
        let absolute = Machine { domains: 2, peak: None };
        assert_eq!(AMD.limit_over(&[8, 24], absolute), Ok(at(4e9)));
        // A domain without a limit moves half of the peak, not what can be written.
        let known = Machine { domains: 2, peak: Some(BytesPerSecond::new(2000.0 * MIB).unwrap()) };
        assert_eq!(SOFTWARE.limit_over(&[500, u32::MAX], known), Ok(at(1500.0 * MIB)));
        assert_eq!((SOFTWARE.whole(known), SOFTWARE.whole(absolute)), (1000, u32::MAX));
    }

    proptest! {
        #[test]
        fn nobody_gets_less_than_it_asked_and_what_is_read_is_written_again(
            bytes in 0.0f64..1e13, domains in 1u32..9, peak in 1e6f64..1e13, which in 0usize..3,
        ) {
            let (scale, machine) = ([INTEL, AMD, SOFTWARE][which], Machine { domains, ..machine(peak) });
            let value = scale.value(at(bytes), machine).unwrap();
            prop_assert!(value >= scale.minimum && value <= scale.full);
            if let Limit::At(limit) = scale.limit(value, machine).unwrap() {
                prop_assert!(limit.get() >= bytes * (1.0 - 1e-9), "{} for {}", limit, bytes);
                prop_assert_eq!(scale.value(Limit::At(limit), machine).unwrap(), value);
            }
        }
    }
}
