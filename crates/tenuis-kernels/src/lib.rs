//! CPU kernels that compute on compressed weights
