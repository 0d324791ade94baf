//! A share of the packets lost, each by itself.
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

/// Options of the kind `net-loss`.
#[derive(Debug, Clone, Args)]
pub struct NetLoss {
    /// Which share of the packets is lost, each way: more than 0% and at most 100%
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = share)]
    pub intensity: f64,
    /// To which packets, and by whom
    #[command(flatten)]
    pub how: How,
}

fn share(text: &str) -> Result<f64, String> {
    Unit::Share
        .parse(text)
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| format!("{text:?} is out of range: write {}, at most 100%", Unit::Share.example()))
}

impl Kind for NetLoss {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        let netem = Netem { delay: Duration::ZERO, jitter: Duration::ZERO, loss: self.intensity };
        let asked = impairment::Asked {
            kind: "net-loss",
            unit: Unit::Share,
            requested: self.intensity,
            more: ("loss_is", "of each packet by itself".into()),
        };
        impairment::prepare(situation, asked, netem, self.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_bounds() {
        assert_eq!(share("100%"), Ok(1.0));
        for bad in ["0%", "-1%", "100.1%", "0.05", "5 ms", "NaN%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
