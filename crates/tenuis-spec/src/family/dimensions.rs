//! How many heads and channels each layer has.

use super::Context;
use crate::error::SpecError;
use serde_json::Value;

/// What a family has where the configuration does not say.
#[derive(Clone, Copy)]
pub(super) struct Usual {
    /// Key heads; as many as query heads where absent.
    pub(super) n_kv: Option<usize>,
    /// The width of a head; `d_model / heads` where absent.
    pub(super) head_dim: Option<usize>,
}

/// The sizes of a network whose layers may differ in them, as pruning leaves them.
pub(super) struct Dimensions {
    pub(super) layers: usize,
    pub(super) d_model: usize,
    pub(super) head_dim: usize,
    n_q: Vec<usize>,
    n_kv: Vec<usize>,
    d_ff: Vec<usize>,
}

impl Dimensions {
    /// Reads the fields that the family has for them.
    pub(super) fn read(cx: &Context<'_>, usual: Usual) -> Result<Self, SpecError> {
        let (config, fields) = (cx.config, cx.fields);
        let layers = config.layers("num_hidden_layers")?;
        let d_model = config.usize("hidden_size")?;
        let required = |field: &str| config.per_layer(field, layers)?.ok_or_else(|| config.missing(field));
        let n_q = required(fields.heads)?;
        let d_ff = required(fields.channels)?;
        let n_kv = match fields.kv_heads {
            None => n_q.clone(),
            Some(field) => match (config.per_layer(field, layers)?, usual.n_kv) {
                (Some(given), _) => given,
                (None, Some(usual)) if !config.has(field) => vec![usual; layers],
                (None, _) => n_q.clone(),
            },
        };
        if let Some((n_q, n_kv)) = n_q.iter().zip(&n_kv).find(|(n_q, n_kv)| !n_q.is_multiple_of(**n_kv)) {
            let field = fields.kv_heads.unwrap_or(fields.heads);
            return Err(config.wrong(field, &Value::from(*n_kv), format!("a divisor of {n_q} query heads")));
        }
        let stated = match config.opt_usize(fields.head_dim)? {
            Some(given) => Some(given),
            None => usual.head_dim.filter(|_| !config.has(fields.head_dim)),
        };
        let head_dim = match stated {
            Some(given) => given,
            None if n_q.iter().any(|&heads| heads != n_q[0]) => return Err(config.missing(fields.head_dim)),
            None if d_model.is_multiple_of(n_q[0]) => d_model / n_q[0],
            None => {
                let expected =
                    format!("a divisor of hidden_size {d_model}, or {} to be given", fields.head_dim);
                return Err(config.wrong(fields.heads, &Value::from(n_q[0]), expected));
            }
        };
        Ok(Self { layers, d_model, head_dim, n_q, n_kv, d_ff })
    }

    /// Query heads, key heads and inner channels of a layer.
    pub(super) fn of_layer(&self, index: usize) -> (usize, usize, usize) {
        (self.n_q[index], self.n_kv[index], self.d_ff[index])
    }
}
