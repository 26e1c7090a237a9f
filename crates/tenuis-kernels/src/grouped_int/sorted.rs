//! Undoing act-order: columns sorted by group, so that groups are runs again.

use rayon::prelude::*;
use tenuis_core::{
    Components, DType, GroupedInt, GroupedIntSpec, Representation, Tensor, WeightError, pack_codes,
};

const PACKED: &str = "weight_packed";
const G_IDX: &str = "weight_g_idx";

/// Repacks a weight whose columns name their groups, once: a product does not mind in which order its terms come, if
/// `x` is put into the same order. Gives the weight without index and the column at every new place, or `None` where
/// groups differ in size and thus are no runs in any order.
///
/// The copy is as packed as the original and takes its place; scales and zero points are shared.
pub(super) fn sorted(
    weight: &GroupedInt,
    index: &[u32],
) -> Result<Option<(GroupedInt, Vec<u32>)>, WeightError> {
    let [outs, ins] = weight.shape();
    let GroupedIntSpec { bits, group_size, .. } = weight.spec();
    let mut order: Vec<u32> = (0..ins as u32).collect();
    order.sort_by_key(|&column| index[column as usize]);
    let columns = group_size.columns(ins).max(1);
    if order.iter().enumerate().any(|(place, &column)| place / columns != index[column as usize] as usize) {
        return Ok(None);
    }

    let words = bits.words(ins);
    let mut packed = vec![0i32; outs * words];
    packed.par_chunks_mut(words.max(1)).enumerate().for_each_init(
        || (vec![0; ins], vec![0; ins]),
        |(codes, moved), (row, packed)| {
            weight.codes_row(row, codes);
            for (code, &column) in moved.iter_mut().zip(&order) {
                *code = codes[column as usize];
            }
            packed.copy_from_slice(&pack_codes(bits, moved));
        },
    );
    let mut components: Components =
        weight.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect();
    components.remove(G_IDX);
    components.insert(PACKED.to_owned(), Tensor::from_vec(DType::I32, vec![outs, words], packed)?);
    let spec = GroupedIntSpec { group_index: false, ..weight.spec() };
    Ok(Some((GroupedInt::from_components(spec, weight.shape(), components)?, order)))
}
