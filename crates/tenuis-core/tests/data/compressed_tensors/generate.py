"""Writes the checkpoints beside this file with compressed-tensors 0.20, torch 2.15 and transformers 5.23.

expected.safetensors holds every quantized weight as the library itself decompresses it, in f16.
"""
import os
import shutil
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from compressed_tensors.quantization import QuantizationConfig, QuantizationArgs, QuantizationScheme, QuantizationStatus, apply_quantization_config
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file
out = sys.argv[1]
def model():
    torch.manual_seed(7)
    cfg = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, vocab_size=32, max_position_embeddings=64, tie_word_embeddings=False)
    return LlamaForCausalLM(cfg).to(torch.float16)
def args(bits, sym, group): 
    return QuantizationArgs(num_bits=bits, symmetric=sym, strategy="group" if group else "channel", group_size=group)
def attn(a, b):
    return {"group_0": QuantizationScheme(targets=["re:.*self_attn.*"], weights=a), "group_1": QuantizationScheme(targets=["re:.*mlp.*"], weights=b)}
one = lambda a: {"group_0": QuantizationScheme(targets=["Linear"], weights=a)}
variants = {
  "w4_g32_asym": one(args(4, False, 32)),
  "w8_channel": one(args(8, True, None)),
  "w3_g16_asym": one(args(3, False, 16)),
  "mixed_w2_w5": attn(args(2, False, 8), args(5, True, None)),
}
for name, groups in variants.items():
    m = model()
    qc = QuantizationConfig(config_groups=groups, ignore=["lm_head"], quantization_status="initialized")
    apply_quantization_config(m, qc)
    for n, mod in m.named_modules():
        s = getattr(mod, "quantization_scheme", None)
        if s is None: continue
        a = s.weights; w = mod.weight.detach().float()
        g = w.reshape(w.shape[0], -1, a.group_size) if a.strategy == "group" else w.unsqueeze(1)
        sc, zp = calculate_qparams(g.amin(-1), g.amax(-1), a)
        mod.weight_scale.data.copy_(sc.to(torch.float16))
        if hasattr(mod, "weight_zero_point"): mod.weight_zero_point.data.copy_(zp)
        mod.quantization_status = QuantizationStatus.FROZEN
    c = ModelCompressor.from_pretrained_model(m)
    c.compress_model(m)
    d = os.path.join(out, name); shutil.rmtree(d, ignore_errors=True)
    m.save_pretrained(d); c.update_config(d)
    c.decompress_model(m)
    exp = {n + ".weight": mod.weight.detach().half().contiguous() for n, mod in m.named_modules() if getattr(mod, "quantization_scheme", None) is not None}
    save_file(exp, os.path.join(d, "expected.safetensors"))
    gc = os.path.join(d, "generation_config.json")
    if os.path.exists(gc): os.remove(gc)
