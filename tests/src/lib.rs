//! End-to-end and parity tests of the whole workspace
