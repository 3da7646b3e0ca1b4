//! Reading ahead of a scan through a table that does not fit into memory.
//!
//! There a missing page is read alone, so a scan has to say what comes next. Where it starts it asks
//! for one block, as many scans end there; each time that it gets to what it asked for last it asks
//! for twice as much.
//!
//! # Invariants
//!
//! - What was asked for is one piece, with the block in it.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::ops::Range;

use super::Direction;

/// A scan asks for so much at a time at last: some milliseconds of a disk, and of a scan.
const MOST: u64 = 2 << 20;

/// What a scan has asked for, in bytes of the data region.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead {
    asked: Range<u64>,
    window: u64,
}

impl Ahead {
    /// What to ask for when a scan that goes this way enters the block.
    pub(super) fn enter(&mut self, block: Range<u64>, way: Direction) -> Option<Range<u64>> {
        let Range { start, end } = self.asked;
        let has_it = start <= block.start && block.end <= end;
        let follows = match way {
            Direction::Forward => block.start == end,
            Direction::Backward => block.end == start,
        };
        if start >= end || !has_it && !follows {
            // A seek, or the start of a scan.
            self.window = block.end.saturating_sub(block.start);
            self.asked = block.clone();
            return Some(block);
        }
        let left = match way {
            Direction::Forward => end.saturating_sub(block.end),
            Direction::Backward => block.start.saturating_sub(start),
        };
        if has_it && left > self.window / 2 {
            return None;
        }
        self.window = (self.window * 2).min(MOST);
        let more = match way {
            Direction::Forward => end..end.saturating_add(self.window).max(block.end),
            Direction::Backward => start.saturating_sub(self.window).min(block.start)..start,
        };
        self.asked = match way {
            Direction::Forward => block.start..more.end,
            Direction::Backward => more.start..block.end,
        };
        (more.start < more.end).then_some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 8 << 10;

    fn block(index: u64) -> Range<u64> {
        index * BLOCK..(index + 1) * BLOCK
    }

    /// Walks blocks and gives how many each step asks for.
    fn walk(ahead: &mut Ahead, blocks: impl Iterator<Item = u64>, way: Direction) -> Vec<u64> {
        let step = |index| {
            let asked = ahead.enter(block(index), way);
            asked.map_or(0, |part| (part.end - part.start) / BLOCK)
        };
        blocks.map(step).collect()
    }

    #[test]
    fn a_scan_asks_for_twice_as_much_each_time() {
        let mut ahead = Ahead::default();
        assert_eq!(walk(&mut ahead, 5..12, Direction::Forward), [1, 2, 4, 0, 8, 0, 0]);
        let mut back = Ahead::default();
        assert_eq!(walk(&mut back, (994..1001).rev(), Direction::Backward), [1, 2, 4, 0, 8, 0, 0]);
    }

    #[test]
    fn a_scan_asks_for_all_that_it_enters_and_before() {
        for way in [Direction::Forward, Direction::Backward] {
            let (mut ahead, mut asked) = (Ahead::default(), Vec::new());
            for step in 0..2_000 {
                let index = if way == Direction::Forward { step } else { 1_999 - step };
                let part = ahead.enter(block(index), way);
                assert!(part.as_ref().is_none_or(|part| part.end - part.start <= MOST));
                asked.extend(part);
                let own = block(index);
                let has = |part: &Range<u64>| part.start <= own.start && own.end <= part.end;
                assert!(asked.iter().any(has), "block {index}, {way:?}");
            }
            assert!(asked.len() < 30, "{} requests for 2,000 blocks", asked.len());
        }
    }

    #[test]
    fn a_seek_asks_for_one_block_again() {
        let mut ahead = Ahead::default();
        walk(&mut ahead, 0..100, Direction::Forward);
        assert_eq!(walk(&mut ahead, 5_000..5_002, Direction::Forward), [1, 2]);
        assert_eq!(ahead.enter(block(7), Direction::Backward), Some(block(7)));
        assert_eq!(ahead.enter(block(0), Direction::Backward), Some(block(0)));
    }
}
