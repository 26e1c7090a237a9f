"""Cuts two weights out of checkpoints that GPTQModel 7.7.0 wrote (4 bits, groups of 32, micro Llama).

usage: extract.py DIR_WITH_CHECKPOINTS

`expected.safetensors` holds their values as the formula `scale[g_idx] * (q - z)` gives them in f64, which f32 holds exactly.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
MODULES = ["model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"]

for name in ["sym", "sym_act", "asym"]:
    source = pathlib.Path(sys.argv[1]) / f"micro_llama_gptq_{name}"
    target = HERE / name
    target.mkdir(exist_ok=True)
    tensors = load_file(source / "model.safetensors")
    values = load_file(source / "golden.safetensors")
    kept = {k: v for k, v in tensors.items() if k.rsplit(".", 1)[0] in MODULES}
    save_file(kept, target / "model.safetensors", metadata={"format": "pt"})
    first = MODULES[:1]
    save_file({m: values[f"{m}.dequant"].float().contiguous() for m in first}, target / "expected.safetensors")
    config = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (target / "quantize_config.json").write_text((source / "quantize_config.json").read_text())
