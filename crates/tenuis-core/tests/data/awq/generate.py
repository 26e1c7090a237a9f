"""Packs a random weight as AutoAWQ's `gemm` does, by its published layout: nibble i of word c is output 8c + ORDER[i].

usage: generate.py        (numpy, safetensors; seeded)
"""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
OUT, IN, GROUP = 48, 96, 32

rng = np.random.default_rng(7)
codes = rng.integers(0, 16, (IN, OUT), dtype=np.uint32)
zeros = rng.integers(0, 16, (IN // GROUP, OUT), dtype=np.uint32)
scales = rng.uniform(0.001, 0.02, (IN // GROUP, OUT)).astype(np.float16)


def pack(values):
    words = np.zeros((values.shape[0], values.shape[1] // 8), np.uint32)
    for nibble, output in enumerate(ORDER):
        words |= values[:, output::8] << (4 * nibble)
    return words.view(np.int32)


group = np.arange(IN) // GROUP
weight = scales[group].astype(np.float64) * (codes.astype(np.float64) - zeros[group])
save_file(
    {"m.qweight": pack(codes), "m.qzeros": pack(zeros), "m.scales": scales},
    HERE / "model.safetensors",
    metadata={"format": "pt"},
)
save_file({"m": np.ascontiguousarray(weight.T.astype(np.float32))}, HERE / "expected.safetensors")
quantization = {
    "bits": 4,
    "group_size": GROUP,
    "modules_to_not_convert": None,
    "quant_method": "awq",
    "version": "gemm",
    "zero_point": True,
}
(HERE / "config.json").write_text(json.dumps({"quantization_config": quantization}, indent=1) + "\n")
