//! Computing for a drawn amount of CPU time. Must not know what the work is for.

use std::{hint::black_box, io, time::Duration};

use nix::time::{ClockId, clock_gettime};
use rand::Rng;
use rand_distr::{Distribution, Gamma};

/// Rounds between two looks at the clock: about 2 us, so that the look (a system call) costs little beside them.
const ROUNDS: u64 = 2_000;

/// An amount of CPU time with that mean: Erlang of 4 stages, which is Gamma with shape 4 and a quarter of the mean as
/// scale, so a coefficient of variation of one half. Zero for a mean that is not positive.
pub fn draw<R: Rng + ?Sized>(mean_us: f64, dice: &mut R) -> Duration {
    let amount_us = Gamma::new(4.0, mean_us / 4.0).map_or(0.0, |erlang| erlang.sample(dice));
    Duration::try_from_secs_f64(amount_us / 1e6).unwrap_or_default()
}

/// Computes until the calling thread has used `amount` of CPU time: throttling stretches the wall-clock time only.
///
/// # Errors
/// When the kernel does not tell the thread's CPU time.
pub fn spin(amount: Duration) -> io::Result<()> {
    let until = thread_cpu_time()? + amount;
    let mut state = 1_u64;
    while thread_cpu_time()? < until {
        for round in 0..ROUNDS {
            state = black_box(state.rotate_left(5) ^ round);
        }
    }
    Ok(())
}

fn thread_cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn the_draw_has_the_mean_and_spread_of_an_erlang_of_four_stages() {
        for seed in 0..5 {
            let mut dice = Pcg64::seed_from_u64(seed);
            let drawn: Vec<f64> = (0..20_000).map(|_| draw(3000.0, &mut dice).as_secs_f64() * 1e6).collect();
            let mean = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            assert!((mean - 3000.0).abs() < 50.0, "{mean}");
            assert!((variance.sqrt() / mean - 0.5).abs() < 0.02, "{}", variance.sqrt() / mean);
        }
    }

    #[test]
    fn what_is_no_mean_is_no_work() {
        let mut dice = Pcg64::seed_from_u64(1);
        for mean in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(draw(mean, &mut dice), Duration::ZERO, "{mean}");
        }
    }

    #[test]
    fn spinning_uses_the_time_asked_for_and_hardly_more() {
        let before = thread_cpu_time().unwrap();
        spin(Duration::from_millis(20)).unwrap();
        let used = thread_cpu_time().unwrap() - before;
        assert!(used >= Duration::from_millis(20) && used < Duration::from_millis(22), "{used:?}");
    }
}
