//! Files beside the weights: tokenizer, generation config, licence.

use super::root::{Root, is_plain_name};
use super::{CONFIG_NAME, MANIFEST_NAME};
use std::path::Path;

/// Formats that hold weights, or that run code when they are read.
const WEIGHT_EXTENSIONS: [&str; 17] = [
    "safetensors",
    "bin",
    "pt",
    "pth",
    "ckpt",
    "pkl",
    "pickle",
    "h5",
    "msgpack",
    "ot",
    "onnx",
    "onnx_data",
    "gguf",
    "npz",
    "npy",
    "tflite",
    "mlmodel",
];

/// Files that describe how the weights beside them are compressed, and would be wrong beside others.
const WEIGHT_SETTINGS: [&str; 2] = ["quantize_config.json", "quant_config.json"];

/// Extensions of PyTorch's pickled weights.
const PICKLE_EXTENSIONS: [&str; 4] = ["bin", "pt", "pth", "ckpt"];

fn extension(name: &str) -> String {
    Path::new(name).extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// Whether the name is that of pickled weights.
pub(super) fn is_pickle(name: &str) -> bool {
    PICKLE_EXTENSIONS.contains(&extension(name).as_str())
}

/// Whether a file of this name is carried along with the weights.
pub(super) fn is_side_name(name: &str) -> bool {
    is_plain_name(name)
        && !name.starts_with('.')
        && name != CONFIG_NAME
        && name != MANIFEST_NAME
        && !name.ends_with(".index.json")
        && !WEIGHT_EXTENSIONS.contains(&extension(name).as_str())
}

/// The side files among the directory's entries. What cannot be followed safely is left out with a warning.
pub(super) fn collect(root: &Root, names: &[String], warnings: &mut Vec<String>) -> Vec<String> {
    let mut files = Vec::new();
    for name in names.iter().filter(|n| is_side_name(n) && !WEIGHT_SETTINGS.contains(&n.as_str())) {
        if root.path(name).is_dir() {
            continue;
        }
        match root.resolve(name) {
            Ok(_) => files.push(name.clone()),
            Err(error) => warnings.push(format!("side file left out: {error}")),
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_travel() {
        for name in [
            "tokenizer.json",
            "tokenizer.model",
            "merges.txt",
            "LICENSE",
            "chat_template.jinja",
            "modeling.py",
        ] {
            assert!(is_side_name(name), "{name}");
        }
        for name in [
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "TRAINING_ARGS.BIN",
            "model.safetensors.index.json",
            "tenuis-manifest.json",
            ".gitattributes",
            "a/b.json",
            "..",
        ] {
            assert!(!is_side_name(name), "{name}");
        }
    }
}
