//! Forward and backward passes over a batch, in buffers made once.
//!
//! Knows no loss: the caller writes the loss's gradient at the output.

use ndarray::{Array1, Array2, ArrayView2, linalg::general_mat_mul, s};

use super::{Mlp, Output, relu};

/// What one network keeps between its forward and its backward pass over one batch.
///
/// A member of the batch is a column here, and weights lie column by column: of the two factors of a matrix product, the
/// library then copies the left one by columns and the right one by rows, each as it lies. Measured at 2 x 40 and 64
/// members, most of an update's time went into such copies when members were rows.
#[derive(Debug, Clone)]
pub(crate) struct Tape {
    /// Each layer's output after its activation, `[units, batch]`.
    outputs: Vec<Array2<f32>>,
    /// Gradient of the loss at each layer's sums (before the activation), `[units, batch]`.
    deltas: Vec<Array2<f32>>,
}

impl Tape {
    /// Buffers for `network` and batches of `batch_size`.
    pub(crate) fn new(network: &Mlp, batch_size: usize) -> Self {
        let buffers: Vec<_> =
            network.layers.iter().map(|layer| Array2::zeros((layer.weight.nrows(), batch_size))).collect();
        Self { outputs: buffers.clone(), deltas: buffers }
    }

    /// The network's output, `[outputs, batch]`.
    pub(crate) fn output(&self) -> &Array2<f32> {
        &self.outputs[self.outputs.len() - 1]
    }

    /// Where the gradient of the loss at the network's output goes before [`Mlp::backward`], `[outputs, batch]`.
    pub(crate) fn output_gradient_mut(&mut self) -> &mut Array2<f32> {
        self.output_and_gradient_mut().1
    }

    /// [`Tape::output`] and [`Tape::output_gradient_mut`] at once.
    pub(crate) fn output_and_gradient_mut(&mut self) -> (&Array2<f32>, &mut Array2<f32>) {
        let last = self.deltas.len() - 1;
        (&self.outputs[last], &mut self.deltas[last])
    }
}

impl Mlp {
    /// Fills the tape's outputs for `input`, `[inputs, batch]`.
    pub(crate) fn forward(&self, input: &ArrayView2<'_, f32>, tape: &mut Tape) {
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, rest) = tape.outputs.split_at_mut(index);
            let output = &mut rest[0];
            let input = before.last().map_or(input.view(), |before| before.view());
            general_mat_mul(1.0, &layer.weight, &input, 0.0, output);
            match self.output {
                _ if index < last => activate(output, &layer.bias, relu),
                Output::Tanh => activate(output, &layer.bias, f32::tanh),
                Output::Linear => activate(output, &layer.bias, |sum| sum),
            }
        }
    }

    /// Turns the gradient at the output into the gradient at every layer's sums, after [`Mlp::forward`].
    pub(crate) fn backward(&self, tape: &mut Tape) {
        if self.output == Output::Tanh {
            let last = self.layers.len() - 1;
            tape.deltas[last].zip_mut_with(&tape.outputs[last], |delta, y| *delta *= 1.0 - y * y);
        }
        for index in (1..self.layers.len()).rev() {
            let (before, after) = tape.deltas.split_at_mut(index);
            let delta = &mut before[index - 1];
            general_mat_mul(1.0, &self.layers[index].weight.t(), &after[0], 0.0, delta);
            delta.zip_mut_with(&tape.outputs[index - 1], |delta, output| {
                *delta = if *output > 0.0 { *delta } else { 0.0 };
            });
        }
    }

    /// Writes the gradient at the parameters, after [`Mlp::backward`]. `input` is what [`Mlp::forward`] was given.
    pub(crate) fn parameter_gradients(&self, input: &ArrayView2<'_, f32>, tape: &Tape, gradients: &mut Self) {
        for (index, gradient) in gradients.layers.iter_mut().enumerate() {
            let input = if index == 0 { input.view() } else { tape.outputs[index - 1].view() };
            let delta = &tape.deltas[index];
            general_mat_mul(1.0, delta, &input.t(), 0.0, &mut gradient.weight);
            for (bias, unit) in gradient.bias.iter_mut().zip(delta.rows()) {
                *bias = unit.sum();
            }
        }
    }

    /// Writes the gradient at the inputs from number `first` on, `[inputs - first, batch]`, after [`Mlp::backward`].
    pub(crate) fn input_gradient(&self, first: usize, tape: &Tape, gradient: &mut Array2<f32>) {
        let weight = self.layers[0].weight.slice(s![.., first..]);
        general_mat_mul(1.0, &weight.t(), &tape.deltas[0], 0.0, gradient);
    }
}

/// Generic over the activation, so that each becomes a loop of its own that the compiler can vectorise.
fn activate(sums: &mut Array2<f32>, bias: &Array1<f32>, activation: impl Fn(f32) -> f32) {
    for (mut unit, bias) in sums.rows_mut().into_iter().zip(bias) {
        unit.mapv_inplace(|sum| activation(sum + bias));
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    const BATCH: usize = 7;
    /// Of the central difference. In f64 its error is about 1e-8, far below the f32 rounding that is allowed for.
    const STEP: f64 = 1e-5;

    /// The network again, written naively in f64: an oracle without shared code.
    #[derive(Clone)]
    struct Oracle {
        layers: Vec<(Array2<f64>, Array1<f64>)>,
        output: Output,
    }

    impl Oracle {
        fn of(network: &Mlp) -> Self {
            let layers = network
                .layers
                .iter()
                .map(|layer| (layer.weight.mapv(f64::from), layer.bias.mapv(f64::from)))
                .collect();
            Self { layers, output: network.output }
        }

        fn forward(&self, input: &Array2<f64>) -> Array2<f64> {
            let mut signal = input.clone();
            for (index, (weight, bias)) in self.layers.iter().enumerate() {
                signal = signal.dot(&weight.t()) + bias;
                if index + 1 < self.layers.len() {
                    signal.mapv_inplace(|sum| sum.max(0.0));
                } else if self.output == Output::Tanh {
                    signal.mapv_inplace(f64::tanh);
                }
            }
            signal
        }

        /// A loss that depends on every output: their sum, weighted by `weights`.
        fn loss(&self, input: &Array2<f64>, weights: &Array2<f64>) -> f64 {
            (self.forward(input) * weights).sum()
        }
    }

    fn random(rows: usize, columns: usize, rng: &mut Pcg64) -> Array2<f32> {
        Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0..1.0))
    }

    fn network(output: Output, rng: &mut Pcg64) -> Mlp {
        Mlp::random(5, &[6, 4], 3, output, rng).awake(rng)
    }

    fn slope(loss: impl Fn(f64) -> f64) -> f64 {
        (loss(STEP) - loss(-STEP)) / (2.0 * STEP)
    }

    fn assert_close(ours: f32, theirs: f64, what: &str) {
        assert!((f64::from(ours) - theirs).abs() < 1e-5 * theirs.abs().max(1.0), "{what}: {ours} {theirs}");
    }

    #[test]
    fn outputs_are_the_oracles_in_batches_and_alone() {
        for output in [Output::Tanh, Output::Linear] {
            let rng = &mut Pcg64::seed_from_u64(3);
            let (network, input) = (network(output, rng), random(BATCH, 5, rng));
            let mut tape = Tape::new(&network, BATCH);
            network.forward(&input.t(), &mut tape);
            let expected = Oracle::of(&network).forward(&input.mapv(f64::from));
            for (row, (ours, theirs)) in tape.output().columns().into_iter().zip(expected.rows()).enumerate()
            {
                let alone = network.forward_one(&input.row(row));
                for column in 0..3 {
                    assert_close(ours[column], theirs[column], "batch");
                    assert_close(alone[column], theirs[column], "alone");
                }
            }
        }
    }

    #[test]
    fn gradients_are_finite_differences() {
        for output in [Output::Tanh, Output::Linear] {
            let rng = &mut Pcg64::seed_from_u64(4);
            let (network, input) = (network(output, rng), random(BATCH, 5, rng));
            let weights = random(BATCH, 3, rng);
            let mut tape = Tape::new(&network, BATCH);
            network.forward(&input.t(), &mut tape);
            tape.output_gradient_mut().assign(&weights.t());
            network.backward(&mut tape);
            let mut gradients = network.zeros_like();
            network.parameter_gradients(&input.t(), &tape, &mut gradients);
            let mut at_input = Array2::zeros((3, BATCH));
            network.input_gradient(2, &tape, &mut at_input);

            let (oracle, input, weights) =
                (Oracle::of(&network), input.mapv(f64::from), weights.mapv(f64::from));
            for (index, gradient) in gradients.layers.iter().enumerate() {
                for (at, ours) in gradient.weight.indexed_iter() {
                    let theirs = slope(|step| {
                        let mut moved = oracle.clone();
                        moved.layers[index].0[at] += step;
                        moved.loss(&input, &weights)
                    });
                    assert_close(*ours, theirs, "weight");
                }
                for (at, ours) in gradient.bias.indexed_iter() {
                    let theirs = slope(|step| {
                        let mut moved = oracle.clone();
                        moved.layers[index].1[at] += step;
                        moved.loss(&input, &weights)
                    });
                    assert_close(*ours, theirs, "bias");
                }
            }
            for ((column, row), ours) in at_input.indexed_iter() {
                let theirs = slope(|step| {
                    let mut moved = input.clone();
                    moved[(row, column + 2)] += step;
                    oracle.loss(&moved, &weights)
                });
                assert_close(*ours, theirs, "input");
            }
        }
    }
}
