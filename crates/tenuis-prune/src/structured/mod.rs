//! Structured pruning: which channels, heads and blocks to keep, and how what reads them makes up for the rest.
//!
//! A *unit* is what is removed as a whole: an inner channel of a feed-forward part, or a key head with its value head and
//! query heads. What else moves with it is a matter of the network (`tenuis-spec`); here a unit is a range of rows or
//! columns of a matrix. The steps are
//!
//! 1. a score for each unit: [`UnitNorms`] by weights, [`channel_scores`] by activations;
//! 2. [`select_units`]: the units to keep, in each layer as many or by one ranking of all;
//! 3. [`compensate`]: new weights for the Linear that reads the units, so that its output changes least.
//!
//! Experts are units too, without a third step. Whole blocks are scored by [`block_influence`] and chosen by [`select_blocks`].

mod blocks;
mod compensate;
mod config;
mod error;
mod score;
mod select;

pub use blocks::{block_influence, select_blocks};
pub use compensate::{ChannelMeans, Compensated, compensate};
pub use config::{
    BlockConfig, BlockCriterion, ExpertConfig, ExpertCriterion, UnitCriterion, UnitScope, WidthConfig,
};
pub use error::StructuredError;
pub use score::{ChannelMoments, UnitNorms, channel_scores, column_squares};
pub use select::select_units;
