//! Tensors, weight representations and checkpoints of Tenuis
