//! What a network is, as data: config.json to DecoderSpec
