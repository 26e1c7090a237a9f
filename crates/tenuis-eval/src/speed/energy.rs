//! Energy of a model at work.

use super::{SpeedProtocol, generate};
use crate::error::EvalError;
use tenuis_measure::{Clock, Energy, EnergyMeter, SystemRoot};
use tenuis_model::Model;

/// Seconds that generations go on for: counters are renewed some thousand times in it.
const SECONDS: f64 = 2.0;

/// The energy of generations one after the other, and joules per generated token. Where the system shows no counters nothing is
/// run.
pub(super) fn energy(
    model: &Model,
    protocol: &SpeedProtocol,
    root: &SystemRoot,
    clock: &impl Clock,
) -> Result<(Energy, Option<f64>), EvalError> {
    let probe = EnergyMeter::start(root).stop();
    if matches!(probe, Energy::Unavailable { .. }) {
        return Ok((probe, None));
    }
    let mut meter = EnergyMeter::start(root);
    let (started, mut tokens) = (clock.now(), 0);
    while clock.now() - started < SECONDS {
        generate(model, clock, 1, protocol.prompt_tokens, protocol.decode_tokens)?;
        tokens += 1 + protocol.decode_tokens;
        meter.poll();
    }
    let energy = meter.stop();
    let per_token = energy.joules_per(tokens as f64);
    Ok((energy, per_token))
}
