//! Gram accumulation and factorisations for layer statistics
