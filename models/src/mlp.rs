//! Small dense networks: ReLU in the hidden layers, tanh or nothing at the output.
//!
//! Knows matrices, not what they mean. Everything is `f32`, rows are the members of a batch.

mod adam;
mod tape;

use ndarray::{Array1, Array2, ArrayView1, ShapeBuilder};
use rand::{Rng, RngExt};

pub(crate) use adam::Adam;
pub(crate) use tape::Tape;

/// Bound of the uniform distribution that the last layer starts from: near zero, so that first actions and first values
/// are near zero whatever the state (Lillicrap et al. 2015, section 7).
const LAST_LAYER_BOUND: f32 = 3e-3;

/// What is applied to the last layer's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Into [-1, 1]: actors.
    Tanh,
    /// Nothing: critics.
    Linear,
}

/// One layer: `y = W x + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// `[outputs, inputs]`, as in torch. Inside an [`Mlp`] it lies in memory column by column, which forward passes want.
    pub weight: Array2<f32>,
    /// `[outputs]`.
    pub bias: Array1<f32>,
}

impl Dense {
    /// The same layer, its weight column by column in memory.
    fn by_columns(self) -> Self {
        let mut weight = Array2::zeros(self.weight.raw_dim().f());
        weight.assign(&self.weight);
        Self { weight, bias: self.bias }
    }

    fn zeros(inputs: usize, outputs: usize) -> Self {
        Self { weight: Array2::zeros((outputs, inputs).f()), bias: Array1::zeros(outputs) }
    }

    fn uniform(inputs: usize, outputs: usize, bound: f32, rng: &mut impl Rng) -> Self {
        let mut draw = || rng.random_range(-bound..=bound);
        Self {
            weight: Array2::from_shape_simple_fn((outputs, inputs).f(), &mut draw),
            bias: Array1::from_shape_simple_fn(outputs, &mut draw),
        }
    }
}

/// A network. Also the shape of its gradients and of Adam's moments.
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    /// From the input to the output; never empty.
    layers: Vec<Dense>,
    output: Output,
}

impl Mlp {
    /// A network of `inputs`, then `hidden`, then `outputs` units. Hidden layers start uniform within
    /// 1/sqrt(fan-in), the last one within 0.003 (Lillicrap et al. 2015, section 7).
    pub fn random(
        inputs: usize,
        hidden: &[usize],
        outputs: usize,
        output: Output,
        rng: &mut impl Rng,
    ) -> Self {
        let last = hidden.len();
        let layers = layer_shapes(inputs, hidden, outputs)
            .enumerate()
            .map(|(index, (fan_in, units))| {
                #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
                let bound = if index == last { LAST_LAYER_BOUND } else { 1.0 / (fan_in as f32).sqrt() };
                Dense::uniform(fan_in, units, bound, rng)
            })
            .collect();
        Self { layers, output }
    }

    /// The same shape, all zero: where gradients and moments start.
    #[must_use]
    pub(crate) fn zeros_like(&self) -> Self {
        let zeros = |layer: &Dense| Dense::zeros(layer.weight.ncols(), layer.weight.nrows());
        Self { layers: self.layers.iter().map(zeros).collect(), output: self.output }
    }

    /// A network of these layers; `None` when there is none or one's outputs are not the next one's inputs.
    #[must_use]
    pub fn from_layers(layers: Vec<Dense>, output: Output) -> Option<Self> {
        let chained = layers.windows(2).all(|pair| pair[0].weight.nrows() == pair[1].weight.ncols());
        let biased = layers.iter().all(|layer| layer.bias.len() == layer.weight.nrows());
        if layers.is_empty() || !chained || !biased {
            return None;
        }
        Some(Self { layers: layers.into_iter().map(Dense::by_columns).collect(), output })
    }

    /// The layers, from the input to the output.
    #[must_use]
    pub fn layers(&self) -> &[Dense] {
        &self.layers
    }

    /// What is applied to the last layer's sums.
    #[must_use]
    pub fn output(&self) -> Output {
        self.output
    }

    /// Width of the input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layers[0].weight.ncols()
    }

    /// Width of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].weight.nrows()
    }

    /// The output for one input. The caller has checked its length.
    pub(crate) fn forward_one(&self, input: &ArrayView1<'_, f32>) -> Array1<f32> {
        let last = self.layers.len() - 1;
        let mut signal = input.to_owned();
        for (index, layer) in self.layers.iter().enumerate() {
            signal = layer.weight.dot(&signal) + &layer.bias;
            if index < last {
                signal.mapv_inplace(relu);
            }
        }
        if self.output == Output::Tanh {
            signal.mapv_inplace(f32::tanh);
        }
        signal
    }

    /// Moves every parameter the share `rate` of the way to `source`'s: Polyak averaging of target networks.
    pub(crate) fn move_towards(&mut self, source: &Self, rate: f32) {
        for (own, other) in self.layers.iter_mut().zip(&source.layers) {
            own.weight.zip_mut_with(&other.weight, |own, other| *own += rate * (other - *own));
            own.bias.zip_mut_with(&other.bias, |own, other| *own += rate * (other - *own));
        }
    }
}

#[cfg(test)]
impl Mlp {
    /// The network with a last layer as large as the others: at its start a network answers nearly nothing, and would
    /// hide what a test looks for.
    pub(crate) fn awake(mut self, rng: &mut impl Rng) -> Self {
        let last = self.layers.len() - 1;
        let (inputs, outputs) = (self.layers[last].weight.ncols(), self.outputs());
        self.layers[last].weight = Dense::uniform(inputs, outputs, 1.0, rng).weight;
        self
    }

    /// Over all parameters.
    pub(crate) fn largest_difference(&self, other: &Self) -> f32 {
        let pairs = self.layers.iter().zip(&other.layers);
        pairs
            .flat_map(|(one, other)| (&one.weight - &other.weight).into_iter().chain(&one.bias - &other.bias))
            .fold(
                0.0,
                |most, difference| {
                    if difference.is_nan() { f32::INFINITY } else { most.max(difference.abs()) }
                },
            )
    }
}

/// `(inputs, outputs)` of each layer of a network, from the input to the output.
pub(crate) fn layer_shapes(
    inputs: usize,
    hidden: &[usize],
    outputs: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let fan_ins = std::iter::once(inputs).chain(hidden.iter().copied());
    let units = hidden.iter().copied().chain(std::iter::once(outputs));
    fan_ins.zip(units)
}

/// Written so that NaN passes through: `f32::max` would turn it into zero and hide a diverged network.
fn relu(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn starts_within_the_bounds_of_the_paper() {
        let network = Mlp::random(16, &[25, 9], 3, Output::Tanh, &mut Pcg64::seed_from_u64(1));
        for (layer, bound) in network.layers().iter().zip([1.0 / 4.0, 1.0 / 5.0, 3e-3]) {
            let largest = layer.weight.iter().chain(&layer.bias).fold(0.0f32, |most, w| most.max(w.abs()));
            assert!(largest <= bound && largest > 0.7 * bound, "{largest} of {bound}");
        }
        assert_eq!((network.inputs(), network.outputs()), (16, 3));
    }

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        let fits = |layers| Mlp::from_layers(layers, Output::Linear).is_some();
        assert!(fits(vec![Dense::zeros(2, 3), Dense::zeros(3, 1)]));
        assert!(!fits(vec![Dense::zeros(2, 3), Dense::zeros(4, 1)]));
        assert!(!fits(vec![Dense { weight: Array2::zeros((3, 2)), bias: Array1::zeros(2) }]));
        assert!(!fits(Vec::new()));
    }

    #[test]
    fn moving_towards_a_source_is_a_weighted_mean() {
        let rng = &mut Pcg64::seed_from_u64(2);
        let mut target = Mlp::random(2, &[3], 1, Output::Linear, rng).awake(rng);
        let source = Mlp::random(2, &[3], 1, Output::Linear, rng).awake(rng);
        let mut mean = target.clone();
        for (mean, new) in mean.layers.iter_mut().zip(&source.layers) {
            mean.weight = &mean.weight * 0.75 + &new.weight * 0.25;
            mean.bias = &mean.bias * 0.75 + &new.bias * 0.25;
        }
        target.move_towards(&source, 0.25);
        assert!(target.largest_difference(&mean) < 1e-6);
    }

    #[test]
    fn nan_is_not_hidden_by_relu() {
        assert!(relu(f32::NAN).is_nan());
        assert_eq!((relu(-1.0), relu(2.0)), (0.0, 2.0));
    }
}
