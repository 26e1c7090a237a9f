//! RTN and GPTQ quantization of a matrix
