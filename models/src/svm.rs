//! A support vector machine for yes-or-no questions: hinge loss and L2, trained by stochastic gradient descent over
//! random Fourier features, which approximate an RBF kernel.
//!
//! Knows numbers, not what they measure. An input that is NaN is absent: it is judged as the average of its kind.
//!
//! Deviations from Pegasos (Shalev-Shwartz et al. 2007): (1) the step size starts at `FIRST_STEP` instead of 1/l2,
//! which is too large for small l2; (2) there is a bias, which is not regularised; (3) decisions use a running average
//! of the weights that forgets the first ones (Shamir and Zhang 2013), since single steps are noisy.

mod auc;
mod fourier;
mod scale;
mod storage;

use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

pub use auc::roc_auc;
use fourier::Fourier;
pub use scale::Scale;
pub use storage::SvmCard;

/// Size of the first step of gradient descent.
const FIRST_STEP: f64 = 1.0;

/// How strongly the average prefers late weights: the exponent of polynomial-decay averaging.
const AVERAGE_DECAY: f64 = 3.0;

/// The constants of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SvmConfig {
    /// Random Fourier features: the error of the kernel falls with their square root.
    pub fourier_features: usize,
    /// Of the kernel exp(-gamma |x - y|^2), x and y scaled to unit variance.
    pub gamma: f64,
    /// Weight of |w|^2 / 2 against the mean hinge loss.
    pub l2: f64,
    /// How many times a positive example counts: about negatives / positives when positives are rare.
    pub positive_weight: f64,
    /// Of the random features and of the order of examples.
    pub seed: u64,
}

impl Default for SvmConfig {
    fn default() -> Self {
        Self { fourier_features: 256, gamma: 0.15, l2: 1e-4, positive_weight: 1.0, seed: 0 }
    }
}

/// Why a machine refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SvmError {
    /// A constant that cannot work.
    #[error("{name} must be {rule}, not {value}")]
    Config {
        /// Which constant.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
        /// What it was.
        value: f64,
    },
    /// An example has another number of inputs than the machine.
    #[error("an example has {got} inputs, the machine has {expected}")]
    Width {
        /// Inputs of the machine.
        expected: usize,
        /// Inputs of the example.
        got: usize,
    },
    /// Examples and labels differ in number.
    #[error("{rows} examples have {labels} labels")]
    Labels {
        /// Examples.
        rows: usize,
        /// Labels.
        labels: usize,
    },
}

/// A machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Svm {
    config: SvmConfig,
    scale: Scale,
    fourier: Fourier,
    /// Where gradient descent stands.
    current: Hyperplane,
    /// What decides.
    average: Hyperplane,
    updates: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Hyperplane {
    weights: Vec<f64>,
    bias: f64,
}

impl Hyperplane {
    fn zeros(width: usize) -> Self {
        Self { weights: vec![0.0; width], bias: 0.0 }
    }

    fn distance(&self, features: &[f64]) -> f64 {
        dot(&self.weights, features) + self.bias
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Svm {
    /// A machine that knows nothing yet: every decision is 0. Its inputs are scaled by `scale`, for good.
    ///
    /// # Errors
    /// When a constant cannot work.
    pub fn new(config: SvmConfig, scale: Scale) -> Result<Self, SvmError> {
        config.check()?;
        let mut rng = Pcg64::seed_from_u64(config.seed);
        let fourier = Fourier::draw(scale.width(), config.fourier_features, config.gamma, &mut rng);
        let nothing = Hyperplane::zeros(config.fourier_features);
        Ok(Self { config, scale, fourier, current: nothing.clone(), average: nothing, updates: 0 })
    }

    /// How sure the machine is that the answer is yes: positive for yes, and 0 on the border.
    ///
    /// # Errors
    /// When the number of inputs is not the machine's.
    pub fn decision(&self, inputs: &[f64]) -> Result<f64, SvmError> {
        Ok(self.average.distance(&self.features(inputs)?))
    }

    /// Learns from more examples, one step for each, in their order. Examples of one kind in a row make it forget the
    /// other: shuffle them, or use [`Svm::fit`].
    ///
    /// # Errors
    /// When labels or inputs are not as many as they must be; then nothing is learned.
    pub fn partial_fit<R: AsRef<[f64]>>(&mut self, rows: &[R], labels: &[bool]) -> Result<(), SvmError> {
        for (features, label) in self.examples(rows, labels)? {
            self.step(&features, label);
        }
        Ok(())
    }

    /// Learns from all examples `epochs` times, each time in another order that the machine's seed decides.
    ///
    /// # Errors
    /// As [`Svm::partial_fit`].
    pub fn fit<R: AsRef<[f64]>>(
        &mut self,
        rows: &[R],
        labels: &[bool],
        epochs: usize,
    ) -> Result<(), SvmError> {
        let mut examples = self.examples(rows, labels)?;
        let mut rng = Pcg64::seed_from_u64(self.config.seed.wrapping_add(1));
        for _ in 0..epochs {
            examples.shuffle(&mut rng);
            for (features, label) in &examples {
                self.step(features, *label);
            }
        }
        Ok(())
    }

    /// The number of inputs.
    #[must_use]
    pub fn width(&self) -> usize {
        self.scale.width()
    }

    /// Examples learned from so far, repetitions included.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    fn features(&self, inputs: &[f64]) -> Result<Vec<f64>, SvmError> {
        if inputs.len() != self.width() {
            return Err(SvmError::Width { expected: self.width(), got: inputs.len() });
        }
        Ok(self.fourier.of(&self.scale.of(inputs)))
    }

    fn examples<R: AsRef<[f64]>>(
        &self,
        rows: &[R],
        labels: &[bool],
    ) -> Result<Vec<(Vec<f64>, bool)>, SvmError> {
        if rows.len() != labels.len() {
            return Err(SvmError::Labels { rows: rows.len(), labels: labels.len() });
        }
        rows.iter().zip(labels).map(|(row, label)| Ok((self.features(row.as_ref())?, *label))).collect()
    }

    /// One step down the gradient of l2 |w|^2 / 2 + c max(0, 1 - y (w . x + b)), where c is the weight of the class.
    fn step(&mut self, features: &[f64], label: bool) {
        let (sign, class_weight) = if label { (1.0, self.config.positive_weight) } else { (-1.0, 1.0) };
        let step = self.step_size();
        let slope = class_weight * sign * hinge_slope(sign * self.current.distance(features));
        for (weight, feature) in self.current.weights.iter_mut().zip(features) {
            *weight -= step * (self.config.l2 * *weight + slope * feature);
        }
        self.current.bias -= step * slope;
        self.updates += 1;
        self.join_average();
    }

    #[expect(clippy::cast_precision_loss, reason = "no machine takes 2^53 steps")]
    fn step_size(&self) -> f64 {
        FIRST_STEP / (1.0 + FIRST_STEP * self.config.l2 * self.updates as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "no machine takes 2^53 steps")]
    fn join_average(&mut self) {
        let share = ((AVERAGE_DECAY + 1.0) / (self.updates as f64 + AVERAGE_DECAY)).min(1.0);
        for (average, current) in self.average.weights.iter_mut().zip(&self.current.weights) {
            *average += share * (current - *average);
        }
        self.average.bias += share * (self.current.bias - self.average.bias);
    }
}

/// Derivative of the hinge loss max(0, 1 - margin) at `margin`; 0 at the kink.
fn hinge_slope(margin: f64) -> f64 {
    if margin < 1.0 { -1.0 } else { 0.0 }
}

impl SvmConfig {
    fn check(&self) -> Result<(), SvmError> {
        /// A million features of eight bytes is what a loaded card may ask for, and far more than any use.
        const MOST_FEATURES: usize = 1 << 20;
        if !(1..=MOST_FEATURES).contains(&self.fourier_features) {
            #[expect(clippy::cast_precision_loss, reason = "for the message")]
            let value = self.fourier_features as f64;
            return Err(SvmError::Config { name: "fourier_features", rule: "from 1 to 1048576", value });
        }
        for (name, value) in
            [("gamma", self.gamma), ("l2", self.l2), ("positive_weight", self.positive_weight)]
        {
            if !(value.is_finite() && value > 0.0) {
                return Err(SvmError::Config { name, rule: "finite and positive", value });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
