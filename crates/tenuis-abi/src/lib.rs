//! The C structs of the Tenuis plugin ABI and nothing else
