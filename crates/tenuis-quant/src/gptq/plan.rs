//! Which columns are quantised when, and with which group's grid.

use crate::config::GptqConfig;
use std::ops::Range;
use tenuis_core::GroupSize;

/// Columns are counted in the order in which they are quantised.
#[derive(Debug)]
pub(super) struct Plan {
    /// The column of the weight at each place, where they are not the same.
    order: Option<Vec<u32>>,
    /// The columns of the weight whose input channel was never active.
    dead: Vec<u32>,
    /// Whether that is so at each place; empty where no channel is dead.
    dead_at: Vec<bool>,
    pub(super) groups: usize,
    group_columns: usize,
    /// The group at each place.
    group_of: Vec<u32>,
    /// The group of every column of the weight, where that is not `column div group_size`.
    group_index: Option<Vec<u32>>,
    /// Whether grids are fitted to the original weight before the first column.
    pub(super) grids_first: bool,
    /// Whether a grid is fitted when its first column comes up, and not when its block does.
    refresh: bool,
    block_size: usize,
}

/// Grids to fit, then columns to quantise.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Groups that begin here.
    pub(super) fit: Range<usize>,
    /// Columns, a part of the block.
    pub(super) columns: Range<usize>,
}

impl Plan {
    pub(super) fn new(
        config: &GptqConfig,
        group_size: GroupSize,
        features: usize,
        order: Option<&[u32]>,
        dead: &[u32],
    ) -> Self {
        let group_columns = group_size.columns(features).max(1);
        let by_place = !config.static_groups;
        let column = |place: usize| order.map_or(place, |o| o[place] as usize);
        let group_of = (0..features)
            .map(|place| (if by_place { place } else { column(place) } / group_columns) as u32)
            .collect::<Vec<u32>>();
        let grids_first = config.static_groups || matches!(group_size, GroupSize::Channel);
        let group_index = order.filter(|_| !grids_first).map(|order| {
            let mut index = vec![0; features];
            for (&column, &group) in order.iter().zip(&group_of) {
                index[column as usize] = group;
            }
            index
        });
        let dead_at = if dead.is_empty() {
            Vec::new()
        } else {
            let mut columns = vec![false; features];
            for &column in dead {
                columns[column as usize] = true;
            }
            (0..features).map(|place| columns[column(place)]).collect()
        };
        Self {
            order: order.map(<[u32]>::to_vec),
            dead: dead.to_vec(),
            dead_at,
            groups: features.div_ceil(group_columns),
            group_columns,
            group_of,
            group_index,
            grids_first,
            refresh: config.refresh_grids,
            block_size: config.block_size,
        }
    }

    pub(super) fn features(&self) -> usize {
        self.group_of.len()
    }

    /// The weight's column at each place, where they are not the same.
    pub(super) fn order(&self) -> Option<&[u32]> {
        self.order.as_deref()
    }

    /// The weight's columns whose input channel was never active.
    pub(super) fn dead(&self) -> &[u32] {
        &self.dead
    }

    pub(super) fn is_dead(&self, place: usize) -> bool {
        self.dead_at.get(place).copied().unwrap_or(false)
    }

    pub(super) fn group_of(&self, place: usize) -> usize {
        self.group_of[place] as usize
    }

    /// The places of a group's columns, where groups are consecutive in the order.
    pub(super) fn places(&self, group: usize) -> Range<usize> {
        group * self.group_columns..((group + 1) * self.group_columns).min(self.features())
    }

    /// The group of every column of the weight, where that is not `column div group_columns`.
    pub(super) fn group_index(&self) -> Option<&[u32]> {
        self.group_index.as_deref()
    }

    /// Columns of a group.
    pub(super) const fn group_columns(&self) -> usize {
        self.group_columns
    }

    /// The blocks, in order.
    pub(super) fn blocks(&self) -> Vec<Range<usize>> {
        let mut blocks = Vec::new();
        let mut start = 0;
        while start < self.features() {
            let mut end = self.features().min(start + self.block_size);
            if self.refresh && !self.grids_first {
                // A group that reaches beyond the block begins a block of its own, so that all of it is up to date
                // when its grid is fitted.
                let last = end.div_ceil(self.group_columns) - 1;
                let places = self.places(last);
                if places.end > end && places.start > start {
                    end = places.start;
                }
            }
            blocks.push(start..end);
            start = end;
        }
        blocks
    }

    /// The parts of a block between which grids are fitted.
    pub(super) fn segments(&self, block: Range<usize>) -> Vec<Segment> {
        let size = self.group_columns;
        let begins = block.start.div_ceil(size)..block.end.div_ceil(size);
        if self.grids_first {
            return vec![Segment { fit: 0..0, columns: block }];
        }
        if !self.refresh || begins.is_empty() {
            return vec![Segment { fit: begins, columns: block }];
        }
        let mut segments = Vec::new();
        if begins.start * size > block.start {
            segments.push(Segment { fit: 0..0, columns: block.start..begins.start * size });
        }
        segments.extend(begins.map(|group| Segment {
            fit: group..group + 1,
            columns: group * size..block.end.min((group + 1) * size),
        }));
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(block_size: usize, refresh: bool, group: usize, features: usize) -> Plan {
        let config = GptqConfig { block_size, refresh_grids: refresh, ..GptqConfig::default() };
        Plan::new(&config, GroupSize::Columns(group), features, None, &[])
    }

    /// Every column is quantised once and every grid fitted once, before its first column, in every combination.
    #[test]
    fn covers_everything_once() {
        for (block, group) in [(1, 4), (3, 4), (4, 4), (5, 4), (8, 4), (100, 4), (5, 12), (7, 6), (12, 24)] {
            for refresh in [false, true] {
                let plan = plan(block, refresh, group, 24);
                let (mut next, mut fitted) = (0, 0);
                for segment in plan.blocks().into_iter().flat_map(|b| plan.segments(b)) {
                    assert_eq!(segment.columns.start, next);
                    next = segment.columns.end;
                    if !segment.fit.is_empty() {
                        assert_eq!(segment.fit.start, fitted);
                        fitted = segment.fit.end;
                    }
                    assert!(segment.columns.clone().all(|c| plan.group_of(c) < fitted));
                }
                assert_eq!(
                    (next, fitted),
                    (24, plan.groups),
                    "block {block}, group {group}, refresh {refresh}"
                );
            }
        }
    }

    #[test]
    fn the_reference_fits_grids_when_their_block_begins() {
        let segments = plan(8, false, 4, 16).segments(8..16);
        assert_eq!(segments, [Segment { fit: 2..4, columns: 8..16 }]);
        let segments = plan(8, true, 4, 16).segments(8..16);
        assert_eq!(segments, [Segment { fit: 2..3, columns: 8..12 }, Segment { fit: 3..4, columns: 12..16 }]);
    }

    #[test]
    fn an_index_is_needed_only_where_groups_move() {
        let order = [2u32, 0, 3, 1];
        let with = |static_groups, size| {
            let config = GptqConfig { act_order: true, static_groups, ..GptqConfig::default() };
            Plan::new(&config, size, 4, Some(&order), &[])
        };
        assert_eq!(with(false, GroupSize::Columns(2)).group_index().unwrap(), [0, 1, 0, 1]);
        assert!(with(true, GroupSize::Columns(2)).group_index().is_none());
        assert!(with(false, GroupSize::Channel).group_index().is_none());
        let fixed = with(true, GroupSize::Columns(2));
        assert_eq!((0..4).map(|p| fixed.group_of(p)).collect::<Vec<_>>(), [1, 0, 1, 0]);
    }
}
