//! An actor's weights as safetensors: `actor.0.weight` `[outputs, inputs]`, `actor.0.bias` `[outputs]`, and so on.
//!
//! Knows no files.

use ndarray::{Array1, Array2};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::PolicyCard;
use crate::mlp::{Dense, Mlp, Output, layer_shapes};

/// The bytes of a weights file.
pub(super) fn encode(actor: &Mlp) -> Result<Vec<u8>, String> {
    let bytes = |values: &mut dyn Iterator<Item = &f32>| -> Vec<u8> {
        values.flat_map(|value| value.to_le_bytes()).collect()
    };
    let mut tensors = Vec::new();
    for (index, Dense { weight, bias }) in actor.layers().iter().enumerate() {
        if weight.iter().chain(bias).any(|value| !value.is_finite()) {
            return Err(format!("layer {index} holds a weight that is not finite"));
        }
        tensors.push((format!("actor.{index}.weight"), weight.shape().to_vec(), bytes(&mut weight.iter())));
        tensors.push((format!("actor.{index}.bias"), bias.shape().to_vec(), bytes(&mut bias.iter())));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    views.and_then(|views| safetensors::serialize(views, None)).map_err(|error| error.to_string())
}

/// The actor that the card describes, and nothing else.
pub(super) fn decode(bytes: &[u8], card: &PolicyCard) -> Result<Mlp, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let shapes: Vec<_> =
        layer_shapes(card.state_names.len(), &card.config.hidden, card.action_names.len()).collect();
    if tensors.len() != 2 * shapes.len() {
        return Err(format!("it holds {} tensors, the card describes {}", tensors.len(), 2 * shapes.len()));
    }
    let layers = shapes.iter().enumerate().map(|(index, &(inputs, outputs))| {
        let weight = values(&tensors, &format!("actor.{index}.weight"), &[outputs, inputs])?;
        let bias = values(&tensors, &format!("actor.{index}.bias"), &[outputs])?;
        let weight = Array2::from_shape_vec((outputs, inputs), weight).map_err(|error| error.to_string())?;
        Ok(Dense { weight, bias: Array1::from_vec(bias) })
    });
    let layers = layers.collect::<Result<_, String>>()?;
    Mlp::from_layers(layers, Output::Tanh).ok_or_else(|| "its layers do not fit together".to_owned())
}

fn values(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let tensor = tensors.tensor(name).map_err(|error| error.to_string())?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
        return Err(format!(
            "tensor {name} is {:?} {:?}, the card describes F32 {shape:?}",
            tensor.dtype(),
            tensor.shape()
        ));
    }
    let (words, _) = tensor.data().as_chunks();
    let values: Vec<_> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(format!("tensor {name} holds {} at place {index}", values[index])),
        None => Ok(values),
    }
}
