//! Structured pruning of a whole model: `prune-channels`, `prune-heads`, `prune-query-heads`, `prune-experts` and `prune-blocks`.
//!
//! Which rows and columns belong together comes from `tenuis-spec`, scores, choice and compensation from
//! `tenuis-prune`; what is here reads weights and statistics of the host and hands back what is left of them.

mod blocks;
mod experts;
mod network;
mod width;

pub(crate) use blocks::PruneBlocks;
pub(crate) use experts::PruneExperts;
pub(crate) use width::{PruneChannels, PruneHeads, PruneQueryHeads};
