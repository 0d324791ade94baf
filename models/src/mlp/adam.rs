//! Adam (Kingma and Ba 2014, algorithm 1), with its usual constants.
//!
//! Knows no network's purpose.

use ndarray::{Array, Dimension, Zip};

use super::Mlp;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// The optimiser of one network.
#[derive(Debug, Clone)]
pub(crate) struct Adam {
    learning_rate: f32,
    steps: i32,
    /// Running mean of the gradients.
    first: Mlp,
    /// Running mean of their squares.
    second: Mlp,
}

impl Adam {
    pub(crate) fn new(network: &Mlp, learning_rate: f32) -> Self {
        Self { learning_rate, steps: 0, first: network.zeros_like(), second: network.zeros_like() }
    }

    /// Moves `network` one step down `gradients`.
    pub(crate) fn step(&mut self, network: &mut Mlp, gradients: &Mlp) {
        self.steps = self.steps.saturating_add(1);
        // In f64: 1 - beta^t loses all digits in f32 while t is small.
        let correction_1 = 1.0 - f64::from(BETA_1).powi(self.steps);
        let correction_2 = 1.0 - f64::from(BETA_2).powi(self.steps);
        #[expect(clippy::cast_possible_truncation, reason = "small numbers, rounded to the nearest f32")]
        let (size, root) =
            ((f64::from(self.learning_rate) / correction_1) as f32, correction_2.sqrt().recip() as f32);
        let moments = self.first.layers.iter_mut().zip(&mut self.second.layers);
        for ((layer, gradient), (first, second)) in
            network.layers.iter_mut().zip(&gradients.layers).zip(moments)
        {
            step(&mut layer.weight, &gradient.weight, &mut first.weight, &mut second.weight, size, root);
            step(&mut layer.bias, &gradient.bias, &mut first.bias, &mut second.bias, size, root);
        }
    }
}

fn step<D: Dimension>(
    parameters: &mut Array<f32, D>,
    gradients: &Array<f32, D>,
    first: &mut Array<f32, D>,
    second: &mut Array<f32, D>,
    size: f32,
    root: f32,
) {
    Zip::from(parameters).and(gradients).and(first).and(second).for_each(|parameter, gradient, m, v| {
        *m = BETA_1 * *m + (1.0 - BETA_1) * gradient;
        *v = BETA_2 * *v + (1.0 - BETA_2) * gradient * gradient;
        *parameter -= size * *m / (v.sqrt() * root + EPSILON);
    });
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};

    use super::*;
    use crate::mlp::{Dense, Output};

    fn single(weight: f32) -> Mlp {
        let layer = Dense { weight: Array2::from_elem((1, 1), weight), bias: Array1::zeros(1) };
        Mlp::from_layers(vec![layer], Output::Linear).unwrap()
    }

    /// The paper's algorithm 1 on one number, in f64.
    fn textbook(start: f64, gradients: &[f64], learning_rate: f64) -> f64 {
        let (mut x, mut m, mut v) = (start, 0.0, 0.0);
        for (index, g) in gradients.iter().enumerate() {
            let t = i32::try_from(index).unwrap() + 1;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
            x -= learning_rate * m_hat / (v_hat.sqrt() + 1e-8);
        }
        x
    }

    #[test]
    fn follows_the_textbook() {
        let gradients = [0.3f32, -0.1, 2.0, 0.0, 1e-3];
        let mut network = single(1.0);
        let mut adam = Adam::new(&network, 0.01);
        for gradient in gradients {
            adam.step(&mut network, &single(gradient));
        }
        let expected = textbook(1.0, &gradients.map(f64::from), 0.01);
        assert!((f64::from(network.layers()[0].weight[(0, 0)]) - expected).abs() < 1e-6);
    }

    #[test]
    fn the_first_step_has_the_size_of_the_learning_rate() {
        for gradient in [1e-3, 1.0, -1e3] {
            let mut network = single(0.0);
            Adam::new(&network, 0.05).step(&mut network, &single(gradient));
            let moved = network.layers()[0].weight[(0, 0)];
            assert!((moved + 0.05 * gradient.signum()).abs() < 1e-6, "{gradient}: {moved}");
        }
    }
}
