//! Policies come back as they were saved, and nothing else is loaded.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::ddpg::{Agent, DdpgConfig, LearnerKind};

fn policy_and_card() -> (Policy, PolicyCard) {
    let config = DdpgConfig { hidden: vec![6, 4], ..DdpgConfig::default() };
    let policy = Agent::new(config.clone(), 3, 2, LearnerKind::Native, 51).unwrap().policy().unwrap();
    let card = PolicyCard {
        description: "for a test".to_owned(),
        state_names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        action_names: ["d", "e"].map(str::to_owned).to_vec(),
        environment: "none".to_owned(),
        learner: LearnerKind::Native,
        seed: 51,
        steps: 0,
        config,
        created: "2026-11-21".to_owned(),
        software_version: "0.1.0".to_owned(),
        score: Some(Score { name: "mean return".to_owned(), value: -0.5 }),
    };
    (policy, card)
}

/// The bytes of both files.
fn encoded() -> (Vec<u8>, Vec<u8>) {
    let (policy, card) = policy_and_card();
    let weights = weights::encode(policy.actor()).unwrap();
    let sidecar = Sidecar::new(&weights, &card).encode().unwrap();
    (weights, sidecar)
}

/// What is told about these weights when the card was written for them, so that not the checksum finds the fault.
fn refusal(weights: &[u8], card: &PolicyCard) -> String {
    let sidecar = Sidecar::new(weights, card).encode().unwrap();
    Policy::decode("test", weights, &sidecar).unwrap_err().to_string()
}

#[test]
fn a_policy_comes_back_as_it_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.safetensors");
    let (policy, card) = policy_and_card();
    policy.save(&path, &card).unwrap();
    assert_eq!(Policy::load(&path).unwrap(), (policy, card));
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["p.json", "p.safetensors"], "nothing temporary is left");
}

#[test]
fn a_failed_save_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.safetensors");
    let (policy, card) = policy_and_card();
    policy.save(&path, &card).unwrap();
    let wrong = PolicyCard { state_names: Vec::new(), ..card.clone() };
    assert!(policy.save(&path, &wrong).unwrap_err().to_string().contains("0 state numbers"));
    assert_eq!(Policy::load(&path).unwrap().1, card);
    assert!(matches!(policy.save(&folder.path().join("p.bin"), &card), Err(CheckpointError::Path { .. })));
    let nowhere = folder.path().join("gone/p.safetensors");
    assert!(matches!(policy.save(&nowhere, &card), Err(CheckpointError::Io { operation: "write", .. })));
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.safetensors");
    let (policy, card) = policy_and_card();
    policy.save(&path, &card).unwrap();
    fs::remove_file(path.with_extension("json")).unwrap();
    let told = Policy::load(&path).unwrap_err().to_string();
    assert!(told.contains("cannot read") && told.contains("p.json"), "{told}");
}

#[test]
fn files_of_two_policies_do_not_mix() {
    let (weights, _) = encoded();
    let (policy, card) = policy_and_card();
    let other = Agent::new(card.config.clone(), 3, 2, LearnerKind::Native, 52).unwrap().policy().unwrap();
    let others = weights::encode(other.actor()).unwrap();
    let sidecar = Sidecar::new(&others, &card).encode().unwrap();
    assert_ne!(policy, other);
    let told = Policy::decode("test", &weights, &sidecar).unwrap_err().to_string();
    assert!(told.contains("do not belong together"), "{told}");
}

#[test]
fn shapes_that_are_not_the_cards_are_refused() {
    let (weights, _) = encoded();
    let (_, card) = policy_and_card();
    let wider =
        PolicyCard { config: DdpgConfig { hidden: vec![7, 4], ..DdpgConfig::default() }, ..card.clone() };
    let told = refusal(&weights, &wider);
    assert!(told.contains("actor.0.weight") && told.contains("[6, 3]") && told.contains("[7, 3]"), "{told}");
    let deeper = PolicyCard { config: DdpgConfig { hidden: vec![6, 4, 4], ..DdpgConfig::default() }, ..card };
    assert!(refusal(&weights, &deeper).contains("6 tensors, the card describes 8"));
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let (mut weights, _) = encoded();
    let (policy, card) = policy_and_card();
    let end = weights.len();
    weights[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(refusal(&weights, &card).contains("NaN"));
    let mut layers = policy.actor().layers().to_vec();
    layers[0].bias[0] = f32::INFINITY;
    let actor = crate::mlp::Mlp::from_layers(layers, crate::mlp::Output::Tanh).unwrap();
    assert!(weights::encode(&actor).unwrap_err().contains("not finite"));
}

#[test]
fn a_card_of_another_format_or_with_unknown_keys_is_refused() {
    let (weights, sidecar) = encoded();
    let text = String::from_utf8(sidecar).unwrap();
    for (from, to, told) in [
        ("\"format\": 1", "\"format\": 2", "format 2"),
        ("\"seed\"", "\"sede\"", "sede"),
        ("\"discount\": 0.9", "\"discount\": 1.9", "discount must be in"),
    ] {
        assert!(text.contains(from), "{text}");
        let error =
            Policy::decode("test", &weights, text.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn what_has_no_end_is_not_read_to_the_end() {
    let told = file::read(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(told.contains("larger than"), "{told}");
}

fn damage(bytes: &mut Vec<u8>, cut: usize, flips: &[(prop::sample::Index, u8)]) {
    bytes.truncate(cut);
    for (place, mask) in flips.iter().filter(|_| cut > 0) {
        let place = place.index(bytes.len());
        bytes[place] ^= mask;
    }
}

proptest! {
    /// Whatever bytes are there, loading answers. With the card's checksum made to fit, the decoder itself is reached.
    #[test]
    fn damaged_files_never_panic(
        cut in 0usize..2000,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let (mut weights, mut sidecar) = encoded();
        let (_, card) = policy_and_card();
        let whole = weights.clone();
        damage(&mut weights, cut, &flips);
        let fitting = Sidecar::new(&weights, &card).encode().unwrap();
        if let Ok((policy, _)) = Policy::decode("test", &weights, &fitting) {
            prop_assert!(policy.act(&[0.1, 0.2, 0.3]).is_ok_and(|action| action.len() == 2));
        }
        prop_assert_eq!(Policy::decode("test", &weights, &sidecar).is_ok(), weights == whole);

        damage(&mut sidecar, cut, &flips);
        let _ = Policy::decode("test", &whole, &sidecar);
        let _ = Policy::decode("test", &sidecar, &whole);
    }
}
