//! Where prefill and decoding spend their time.

use super::{SpeedProtocol, likeliest, prompt};
use crate::error::EvalError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenuis_model::{Model, ModelError, Profile, Session};

/// Time, bytes and operations of one generation, by operation. Taken apart from what is timed, as looking takes time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpeedProfile {
    /// One prefill.
    pub prefill: Profile,
    /// All decoding steps after it.
    pub decode: Profile,
}

pub(super) fn profile(model: &Model, protocol: &SpeedProtocol) -> Result<SpeedProfile, EvalError> {
    let tokens = prompt(model, 1, protocol.prompt_tokens);
    let mut session = Session::new(model, 1, protocol.prompt_tokens + protocol.decode_tokens)?;
    let (first, prefill) = Profile::of(|| session.forward(&tokens));
    let mut next = likeliest(&first?, 1)?;
    let (done, decode) = Profile::of(|| -> Result<(), ModelError> {
        for _ in 0..protocol.decode_tokens {
            next = likeliest(&session.forward(&next)?, 1)?;
        }
        Ok(())
    });
    done?;
    Ok(SpeedProfile { prefill, decode })
}
