//! One network on libtorch, copied from an [`Mlp`] and back.
//!
//! Knows no update rule.

use ndarray::{Array1, Array2};
use tch::{COptimizer, Device, TchError, Tensor};

use crate::mlp::{Dense, Mlp, Output};

/// Layers of weight `[outputs, inputs]` and bias `[outputs]`, and what moves them.
#[derive(Debug)]
pub(super) struct Network {
    layers: Vec<(Tensor, Tensor)>,
    output: Output,
    /// Absent in targets, whose parameters have no gradients.
    adam: Option<COptimizer>,
}

impl Network {
    /// A network that follows another.
    pub(super) fn target(mlp: &Mlp, device: Device) -> Result<Self, TchError> {
        let copy = |layer: &Dense| {
            let bias = Tensor::f_from_slice(&to_vec(&layer.bias))?.f_to(device)?;
            Ok((tensor(&layer.weight, device)?, bias))
        };
        let layers = mlp.layers().iter().map(copy).collect::<Result<_, TchError>>()?;
        Ok(Self { layers, output: mlp.output(), adam: None })
    }

    /// A network that learns, by Adam with its usual constants.
    pub(super) fn learned(mlp: &Mlp, learning_rate: f64, device: Device) -> Result<Self, TchError> {
        let mut network = Self::target(mlp, device)?;
        let mut adam = COptimizer::adam(learning_rate, 0.9, 0.999, 0.0, 1e-8, false)?;
        for (weight, bias) in &mut network.layers {
            for parameter in [weight, bias] {
                *parameter = parameter.f_set_requires_grad(true)?;
                adam.add_parameters(parameter, 0)?;
            }
        }
        network.adam = Some(adam);
        Ok(network)
    }

    /// `[batch, inputs] -> [batch, outputs]`, or without the batch.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let mut signal = input.shallow_clone();
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            signal = signal.f_linear(weight, Some(bias))?;
            if index + 1 < self.layers.len() {
                signal = signal.f_relu()?;
            }
        }
        match self.output {
            Output::Tanh => signal.f_tanh(),
            Output::Linear => Ok(signal),
        }
    }

    /// One step down the loss; a target stays where it is.
    pub(super) fn descend(&mut self, loss: &Tensor) -> Result<(), TchError> {
        let Some(adam) = &mut self.adam else { return Ok(()) };
        adam.zero_grad()?;
        loss.f_backward()?;
        adam.step()
    }

    /// Moves every parameter the share `rate` of the way to `source`'s.
    pub(super) fn move_towards(&mut self, source: &Self, rate: f64) -> Result<(), TchError> {
        tch::no_grad(|| {
            for (own, other) in self.layers.iter_mut().zip(&source.layers) {
                let _ = own.0.f_lerp_(&other.0, rate)?;
                let _ = own.1.f_lerp_(&other.1, rate)?;
            }
            Ok(())
        })
    }

    /// A copy on ndarray.
    pub(super) fn to_mlp(&self) -> Result<Mlp, TchError> {
        let layers = self.layers.iter().map(|(weight, bias)| {
            let bias = Array1::from_vec(values(bias)?);
            let inputs = weight.size2()?.1;
            let shape = (bias.len(), usize::try_from(inputs).unwrap_or_default());
            let weight = Array2::from_shape_vec(shape, values(weight)?)
                .map_err(|error| TchError::Shape(error.to_string()))?;
            Ok(Dense { weight, bias })
        });
        let layers = layers.collect::<Result<_, TchError>>()?;
        Mlp::from_layers(layers, self.output)
            .ok_or_else(|| TchError::Shape("layers do not fit together".to_owned()))
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::try_from(&tensor.f_detach()?.f_flatten(0, -1)?.f_to(Device::Cpu)?)
}

fn to_vec<D: ndarray::Dimension>(array: &ndarray::Array<f32, D>) -> Vec<f32> {
    array.iter().copied().collect()
}

/// `[rows, columns]`.
pub(super) fn tensor(matrix: &Array2<f32>, device: Device) -> Result<Tensor, TchError> {
    let [rows, columns] =
        [matrix.nrows(), matrix.ncols()].map(|length| i64::try_from(length).unwrap_or(i64::MAX));
    Tensor::f_from_slice(&to_vec(matrix))?.f_reshape([rows, columns])?.f_to(device)
}

/// `[rows, 1]`.
pub(super) fn column(vector: &Array1<f32>, device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(&to_vec(vector))?.f_unsqueeze(1)?.f_to(device)
}
