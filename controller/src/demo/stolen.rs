//! CPU time that a virtual machine was refused because its host ran others: it makes every latency worse.
//!
//! Must not know what was measured meanwhile.

use std::{fs, path::Path};

/// The kernel's count of CPU time, in clock ticks summed over processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTicks {
    all: u64,
    stolen: u64,
}

impl CpuTicks {
    /// Reads `/proc/stat`, or a file like it. Absent where it tells nothing.
    #[must_use]
    pub fn read(proc_stat: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(proc_stat).ok()?)
    }

    /// `cpu user nice system idle iowait irq softirq steal ...` (proc_stat(5)); guest time is part of user time.
    fn parse(text: &str) -> Option<Self> {
        let counts = text.lines().find_map(|line| line.strip_prefix("cpu "))?.split_whitespace().take(8);
        let counts: Vec<u64> = counts.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self {
            all: counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)),
            stolen: *counts.get(7)?,
        })
    }

    /// The share of all CPU time since `earlier` that was stolen, in [0, 1].
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "ticks are far below 2^53")]
    pub fn stolen_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all);
        let stolen = self.stolen.saturating_sub(earlier.stolen);
        if all == 0 { 0.0 } else { (stolen as f64 / all as f64).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  100 0 50 800 0 0 0 50 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";

    #[test]
    fn the_share_is_of_all_processors_and_all_states() {
        let before = CpuTicks::parse(BEFORE).unwrap();
        let after = CpuTicks::parse("cpu  150 0 60 820 0 0 0 70 0 0\n").unwrap();
        assert_eq!(after.stolen_since(before), 0.2);
        assert_eq!(before.stolen_since(before), 0.0);
        assert_eq!(before.stolen_since(after), 0.0);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(cpu )?[ 0-9a-z\n-]{0,80}") {
            CpuTicks::parse(&text);
        }
    }
}
