//! Machines on disk: `NAME.safetensors` holds the numbers, `NAME.json` beside it says how they were made.
//!
//! Trusts no file: a shape that is not the card's, or a number that is not finite, is refused.

use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{Fourier, Hyperplane, Scale, Svm, SvmConfig};
use crate::checkpoint::{CheckpointError, Score, card, card_path, file};

/// Of the card's file. Another number means another layout, which this version refuses.
const FORMAT: u32 = 1;

/// What a machine is and how it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SvmCard {
    /// What it decides, in a sentence.
    pub description: String,
    /// What each input means, in order.
    pub input_names: Vec<String>,
    /// What the examples came from.
    pub trained_on: String,
    /// When it was made, such as `2026-11-21`.
    pub created: String,
    /// The version of the program that made it.
    pub software_version: String,
    /// Measured results by name, such as `held-out AUC`.
    pub scores: Vec<Score>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sidecar {
    format: u32,
    /// Of the whole numbers file.
    weights_fnv1a_64: String,
    config: SvmConfig,
    /// Examples learned from: further learning goes on from here.
    updates: u64,
    svm: SvmCard,
}

impl Svm {
    /// Writes the numbers to `path`, which must end in `.safetensors`, and the card beside it. Each file is replaced in
    /// one move, and [`Svm::load`] refuses two that do not belong together.
    ///
    /// # Errors
    /// When the path has another ending, the card names another number of inputs, or a file cannot be written.
    pub fn save(&self, path: &Path, card: &SvmCard) -> Result<(), CheckpointError> {
        let card_path = card_path(path)?;
        let invalid = |detail| CheckpointError::Invalid { origin: path.display().to_string(), detail };
        let (weights, sidecar) = self.encode(card).map_err(invalid)?;
        file::write(path, &weights)?;
        file::write(&card_path, &sidecar)
    }

    /// Reads what [`Svm::save`] wrote.
    ///
    /// # Errors
    /// When a file is missing or too large, the two do not belong together, or a number makes no sense.
    pub fn load(path: &Path) -> Result<(Self, SvmCard), CheckpointError> {
        let card_path = card_path(path)?;
        Self::decode(&path.display().to_string(), &file::read(path)?, &file::read(&card_path)?)
    }

    /// A machine from the bytes of its two files, for one that is built into a program. `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Svm::load`].
    pub fn decode(origin: &str, weights: &[u8], card: &[u8]) -> Result<(Self, SvmCard), CheckpointError> {
        let invalid = |detail| CheckpointError::Invalid { origin: origin.to_owned(), detail };
        let sidecar = read_sidecar(card, weights).map_err(invalid)?;
        let svm = read_numbers(weights, &sidecar).map_err(invalid)?;
        Ok((svm, sidecar.svm))
    }

    fn encode(&self, card: &SvmCard) -> Result<(Vec<u8>, Vec<u8>), String> {
        if card.input_names.len() != self.width() {
            return Err(format!(
                "the card names {} inputs, the machine has {}",
                card.input_names.len(),
                self.width()
            ));
        }
        let weights = self.encode_numbers()?;
        let sidecar = Sidecar {
            format: FORMAT,
            weights_fnv1a_64: card::checksum(&weights),
            config: self.config,
            updates: self.updates,
            svm: card.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&sidecar).map_err(|error| error.to_string())?;
        text.push(b'\n');
        Ok((weights, text))
    }

    fn encode_numbers(&self) -> Result<Vec<u8>, String> {
        let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> = self
            .numbers()
            .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .into();
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F64, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        views.and_then(|views| safetensors::serialize(views, None)).map_err(|error| error.to_string())
    }

    /// Every tensor: name, shape, values.
    fn numbers(&self) -> [(&'static str, Vec<usize>, Vec<f64>); 8] {
        let (features, inputs) = (self.config.fourier_features, self.width());
        [
            ("scale.means", vec![inputs], self.scale.means.clone()),
            ("scale.deviations", vec![inputs], self.scale.deviations.clone()),
            ("fourier.frequencies", vec![features, inputs], self.fourier.frequencies.clone()),
            ("fourier.phases", vec![features], self.fourier.phases.clone()),
            ("current.weights", vec![features], self.current.weights.clone()),
            ("current.bias", vec![1], vec![self.current.bias]),
            ("average.weights", vec![features], self.average.weights.clone()),
            ("average.bias", vec![1], vec![self.average.bias]),
        ]
    }
}

fn read_sidecar(text: &[u8], weights: &[u8]) -> Result<Sidecar, String> {
    let sidecar: Sidecar =
        serde_json::from_slice(text).map_err(|error| format!("its card cannot be read: {error}"))?;
    if sidecar.format != FORMAT {
        return Err(format!("its card has format {}, this program reads {FORMAT}", sidecar.format));
    }
    if card::checksum(weights) != sidecar.weights_fnv1a_64 {
        return Err("weights and card do not belong together, or one is damaged".to_owned());
    }
    sidecar.config.check().map_err(|error| error.to_string())?;
    Ok(sidecar)
}

fn read_numbers(bytes: &[u8], sidecar: &Sidecar) -> Result<Svm, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let (features, inputs) = (sidecar.config.fourier_features, sidecar.svm.input_names.len());
    let values = |name: &str, shape: &[usize]| read_tensor(&tensors, name, shape);
    let deviations = values("scale.deviations", &[inputs])?;
    if deviations.iter().any(|deviation| *deviation <= 0.0) {
        return Err("a deviation is not positive".to_owned());
    }
    let plane = |name: &str| -> Result<Hyperplane, String> {
        let bias = values(&format!("{name}.bias"), &[1])?;
        Ok(Hyperplane { weights: values(&format!("{name}.weights"), &[features])?, bias: bias[0] })
    };
    Ok(Svm {
        config: sidecar.config,
        scale: Scale { means: values("scale.means", &[inputs])?, deviations },
        fourier: Fourier {
            inputs,
            frequencies: values("fourier.frequencies", &[features, inputs])?,
            phases: values("fourier.phases", &[features])?,
        },
        current: plane("current")?,
        average: plane("average")?,
        updates: sidecar.updates,
    })
}

fn read_tensor(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f64>, String> {
    let tensor = tensors.tensor(name).map_err(|error| error.to_string())?;
    if tensor.dtype() != Dtype::F64 || tensor.shape() != shape {
        let (dtype, shape_there) = (tensor.dtype(), tensor.shape());
        return Err(format!("tensor {name} is {dtype:?} {shape_there:?}, the card describes F64 {shape:?}"));
    }
    let (words, _) = tensor.data().as_chunks();
    let values: Vec<f64> = words.iter().map(|word| f64::from_le_bytes(*word)).collect();
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("tensor {name} holds {value}")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> SvmCard {
        SvmCard {
            description: "a test".to_owned(),
            input_names: vec!["a".to_owned(), "b".to_owned()],
            trained_on: "three points".to_owned(),
            created: "2026-11-21".to_owned(),
            software_version: "0.1.0".to_owned(),
            scores: vec![],
        }
    }

    fn trained() -> Svm {
        let (rows, labels) = ([[0.0, 1.0], [1.0, 0.5], [3.0, 2.0]], [true, false, true]);
        let config = SvmConfig { fourier_features: 16, ..SvmConfig::default() };
        let mut svm = Svm::new(config, Scale::of_rows(2, &rows)).unwrap();
        svm.fit(&rows, &labels, 3).unwrap();
        svm
    }

    #[test]
    fn what_was_saved_is_loaded_and_learns_on_alike() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("localizer.safetensors");
        let mut saved = trained();
        saved.save(&path, &card()).unwrap();
        let (mut loaded, loaded_card) = Svm::load(&path).unwrap();
        assert_eq!((&loaded, loaded_card), (&saved, card()));
        saved.partial_fit(&[[2.0, 2.0]], &[false]).unwrap();
        loaded.partial_fit(&[[2.0, 2.0]], &[false]).unwrap();
        assert_eq!(loaded, saved);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_refused() {
        let (weights, text) = trained().encode(&card()).unwrap();
        let refused = |weights: &[u8], text: &[u8]| Svm::decode("x", weights, text).unwrap_err().to_string();
        let mut damaged = weights.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(refused(&damaged, &text).contains("belong together"));
        assert!(refused(&weights, b"{}").contains("card"));
        let other = String::from_utf8(text).unwrap().replace("\"format\": 1", "\"format\": 9");
        assert!(refused(&weights, other.as_bytes()).contains("format 9"));
        assert!(trained().save(Path::new("x.bin"), &card()).is_err());
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let refused = |change: &dyn Fn(&mut Svm)| {
            let mut svm = trained();
            change(&mut svm);
            let (weights, text) = svm.encode(&card()).unwrap();
            Svm::decode("x", &weights, &text).unwrap_err().to_string()
        };
        assert!(refused(&|svm| svm.average.bias = f64::NAN).contains("average.bias holds NaN"));
        assert!(refused(&|svm| svm.scale.deviations[0] = 0.0).contains("not positive"));
        assert!(refused(&|svm| svm.config.gamma = -1.0).contains("gamma must be"));
    }

    #[test]
    fn a_card_that_names_other_inputs_is_refused() {
        let other = SvmCard { input_names: vec!["a".to_owned()], ..card() };
        assert!(trained().encode(&other).unwrap_err().contains("names 1 inputs"));
    }
}
