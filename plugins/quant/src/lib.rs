//! The cast, rtn and gptq techniques as a Tenuis plugin
