//! Every packet later.
//!
//! Must not know by what means.

use std::time::Duration;

use ballast_kernel::network::Netem;
use clap::Args;

use super::impairment::{self, How};
use crate::{
    error::InjectorError,
    kinds::{Kind, Prepared, Situation},
    unit::Unit,
};

/// The longest delay: TCP gives up on what is answered later.
const LONGEST: Duration = Duration::from_secs(60);

/// Options of the kind `net-delay`.
#[derive(Debug, Clone, Args)]
pub struct NetDelay {
    /// How much later each packet is, each way: 20ms, 500us, 1s; at most 60s
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = delay)]
    pub intensity: Duration,
    /// Give or take so much, evenly; no more than the delay itself
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = time)]
    pub jitter: Duration,
    /// To which packets, and by whom
    #[command(flatten)]
    pub how: How,
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = Unit::Seconds.parse(text).filter(|seconds| (0.0..=LONGEST.as_secs_f64()).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        format!(
            "{text:?} is out of range: write {}, at most {} s",
            Unit::Seconds.example(),
            LONGEST.as_secs()
        )
    })
}

fn delay(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be more than 0".to_owned()),
        delay => Ok(delay),
    }
}

impl Kind for NetDelay {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        if self.jitter > self.intensity {
            return Err(InjectorError::Impossible {
                what: "delay packets",
                reason: "with more jitter than delay some would have to come before they were sent"
                    .to_owned(),
            });
        }
        let netem = Netem { delay: self.intensity, jitter: self.jitter, loss: 0.0 };
        let asked = impairment::Asked {
            kind: "net-delay",
            unit: Unit::Seconds,
            requested: self.intensity.as_secs_f64(),
            more: ("jitter_seconds", self.jitter.as_secs_f64().into()),
        };
        impairment::prepare(situation, asked, netem, self.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_have_bounds() {
        assert_eq!(delay("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        for bad in ["0ms", "-1ms", "61s", "20", "soon", "inf"] {
            assert!(delay(bad).is_err(), "{bad}");
        }
    }
}
