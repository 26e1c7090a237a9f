//! Runs a decoder spec: hookable Linear slots, block streaming, KV cache, generation
