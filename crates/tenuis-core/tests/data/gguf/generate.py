"""Writes a tiny Llama with one block as the `gguf` package does, and the numbers that it decodes from it.

usage: generate.py        (numpy, safetensors, gguf 0.19; seeded)

`expected.safetensors` has the names and the row order of the Hugging Face checkpoint.
"""

import pathlib

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
VOCAB, WIDTH, HEADS, KV, FF = 24, 64, 2, 1, 96
HEAD = WIDTH // HEADS
T = gguf.GGMLQuantizationType

rng = np.random.default_rng(11)
TENSORS = [
    ("model.embed_tokens", "token_embd", (VOCAB, WIDTH), T.F16),
    ("model.norm", "output_norm", (WIDTH,), T.F32),
    ("lm_head", "output", (VOCAB, WIDTH), T.Q8_0),
    ("model.layers.0.input_layernorm", "blk.0.attn_norm", (WIDTH,), T.F32),
    ("model.layers.0.self_attn.q_proj", "blk.0.attn_q", (HEADS * HEAD, WIDTH), T.Q4_0),
    ("model.layers.0.self_attn.k_proj", "blk.0.attn_k", (KV * HEAD, WIDTH), T.F16),
    ("model.layers.0.self_attn.v_proj", "blk.0.attn_v", (KV * HEAD, WIDTH), T.Q4_1),
    ("model.layers.0.self_attn.o_proj", "blk.0.attn_output", (WIDTH, HEADS * HEAD), T.Q8_0),
    ("model.layers.0.post_attention_layernorm", "blk.0.ffn_norm", (WIDTH,), T.F32),
    ("model.layers.0.mlp.gate_proj", "blk.0.ffn_gate", (FF, WIDTH), T.Q4_0),
    ("model.layers.0.mlp.up_proj", "blk.0.ffn_up", (FF, WIDTH), T.Q4_1),
    ("model.layers.0.mlp.down_proj", "blk.0.ffn_down", (WIDTH, FF), T.Q8_0),
]


def permute(weights, heads):
    """The order of rows that llama.cpp's converter makes."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


writer = gguf.GGUFWriter(HERE / "model.gguf", "llama")
writer.add_context_length(64)
writer.add_embedding_length(WIDTH)
writer.add_block_count(1)
writer.add_feed_forward_length(FF)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KV)
writer.add_layer_norm_rms_eps(1e-6)
writer.add_rope_freq_base(10000.0)
writer.add_rope_dimension_count(HEAD)
pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(16)] + ["\u2581", "a", "b", "ab", "\u2581a"]
writer.add_tokenizer_model("llama")
writer.add_token_list(pieces)
writer.add_token_scores([0.0] * 19 + [-3.0, -4.0, -5.0, -1.0, -2.0])
writer.add_token_types([2, 3, 3] + [6] * 16 + [1] * 5)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
expected = {}
for name, short, shape, kind in TENSORS:
    values = rng.normal(0, 0.05, shape).astype(np.float32)
    rows = values
    heads = {"blk.0.attn_q": HEADS, "blk.0.attn_k": KV}.get(short)
    if heads:
        rows = permute(values, heads)
    data = quantize(rows, kind)
    writer.add_tensor(f"{short}.weight", data, raw_dtype=kind)
    decoded = dequantize(data, kind).reshape(shape)
    if heads:
        decoded = decoded.reshape(heads, HEAD // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
    expected[f"{name}.weight"] = np.ascontiguousarray(decoded.astype(np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, HERE / "expected.safetensors")
