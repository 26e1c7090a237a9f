//! Which tensor of a GGUF file is which of a Hugging Face checkpoint, and in which order its rows lie.
//!
//! llama.cpp turns neighbouring pairs of a head's elements where Hugging Face turns the two halves, so that files of
//! architecture `llama` have the rows of the query and key projections in another order: row `2j + t` of a head is row
//! `t·d/2 + j` of the checkpoint's, `t = 0, 1`, `d` the width of a head.

/// A part of the names, here and there. The first part of a block's names is `blk.N` and `model.layers.N`.
const BLOCK: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
const WHOLE: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// The name of a tensor in a Hugging Face checkpoint.
///
/// ```
/// use tenuis_core::gguf::names::{to_gguf, to_hugging_face};
/// assert_eq!(to_hugging_face("blk.3.attn_q.weight").as_deref(), Some("model.layers.3.self_attn.q_proj.weight"));
/// assert_eq!(to_gguf("lm_head.weight").as_deref(), Some("output.weight"));
/// assert_eq!(to_hugging_face("blk.3.attn_qkv.weight"), None);
/// ```
pub fn to_hugging_face(name: &str) -> Option<String> {
    let (module, suffix) = name.rsplit_once('.')?;
    if let Some(rest) = module.strip_prefix("blk.") {
        let (block, part) = rest.split_once('.')?;
        let (_, there) = BLOCK.iter().find(|(here, _)| *here == part)?;
        return Some(format!("model.layers.{}.{there}.{suffix}", block.parse::<usize>().ok()?));
    }
    let (_, there) = WHOLE.iter().find(|(here, _)| *here == module)?;
    Some(format!("{there}.{suffix}"))
}

/// The name of a tensor in a GGUF file.
pub fn to_gguf(name: &str) -> Option<String> {
    let (module, suffix) = name.rsplit_once('.')?;
    if let Some(rest) = module.strip_prefix("model.layers.") {
        let (block, part) = rest.split_once('.')?;
        let (here, _) = BLOCK.iter().find(|(_, there)| *there == part)?;
        return Some(format!("blk.{}.{here}.{suffix}", block.parse::<usize>().ok()?));
    }
    let (here, _) = WHOLE.iter().find(|(_, there)| *there == module)?;
    Some(format!("{here}.{suffix}"))
}

/// The order of the rows of a query or key projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadRows {
    /// Rows of a head, an even number.
    pub head_dim: usize,
}

impl HeadRows {
    /// The row of a GGUF file that holds row `row` of the checkpoint.
    pub const fn in_gguf(self, row: usize) -> usize {
        let (head, within, half) = (row / self.head_dim, row % self.head_dim, self.head_dim / 2);
        head * self.head_dim + 2 * (within % half) + within / half
    }

    /// The row of the checkpoint that row `row` of a GGUF file holds.
    ///
    /// ```
    /// use tenuis_core::gguf::names::HeadRows;
    /// let rows = HeadRows { head_dim: 6 };
    /// let order: Vec<usize> = (0..6).map(|row| rows.in_checkpoint(row)).collect();
    /// assert_eq!(order, [0, 3, 1, 4, 2, 5]);
    /// assert!((0..12).all(|row| rows.in_gguf(rows.in_checkpoint(row)) == row));
    /// ```
    pub const fn in_checkpoint(self, row: usize) -> usize {
        let (head, within, half) = (row / self.head_dim, row % self.head_dim, self.head_dim / 2);
        head * self.head_dim + within % 2 * half + within / 2
    }
}

/// Whether a tensor of a Hugging Face checkpoint is (part of) a query or key projection, and of which: true for keys.
pub fn rotated(name: &str) -> Option<bool> {
    let (module, _) = name.rsplit_once('.')?;
    if module.ends_with(".self_attn.q_proj") {
        return Some(false);
    }
    module.ends_with(".self_attn.k_proj").then_some(true)
}
