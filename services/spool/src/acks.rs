//! Which entries are done: a mark below which all are, and ranges beyond it.

use std::collections::BTreeMap;

/// Ids that need not be given again. Ranges are apart from each other and above the mark; how many there can be is bounded
/// by the entries under way and the damaged segments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acks {
    mark: u64,
    /// First id of a range, to the id after its last.
    ahead: BTreeMap<u64, u64>,
}

impl Acks {
    pub(crate) const fn new(mark: u64) -> Self {
        Self {
            mark,
            ahead: BTreeMap::new(),
        }
    }

    /// The oldest id that is not done.
    pub(crate) const fn mark(&self) -> u64 {
        self.mark
    }

    /// How many ids above the mark are done.
    pub(crate) fn ahead(&self) -> u64 {
        self.ahead.iter().map(|(first, end)| end - first).sum()
    }

    /// How many ids of a range are not done.
    pub(crate) fn pending(&self, first: u64, end: u64) -> u64 {
        let first = first.max(self.mark);
        if first >= end {
            return 0;
        }
        let done: u64 = (self.ahead.range(..end))
            .map(|(from, to)| (*to).min(end).saturating_sub((*from).max(first)))
            .sum();
        end - first - done
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.next_pending(id) != id
    }

    /// The first id at or after this one that is not done.
    pub(crate) fn next_pending(&self, id: u64) -> u64 {
        let id = id.max(self.mark);
        match self.ahead.range(..=id).next_back() {
            Some((_, end)) if *end > id => *end,
            _ => id,
        }
    }

    /// Marks the ids from `first` to before `end` as done.
    pub(crate) fn add(&mut self, first: u64, end: u64) {
        let (mut first, mut end) = (first.max(self.mark), end);
        if first >= end {
            return;
        }
        // Joins with what overlaps or touches: each turn takes one range out.
        while let Some((from, to)) = self
            .ahead
            .range(..=end)
            .next_back()
            .map(|(from, to)| (*from, *to))
        {
            if to < first {
                break;
            }
            self.ahead.remove(&from);
            first = first.min(from);
            end = end.max(to);
        }
        if first <= self.mark {
            self.mark = end;
        } else {
            self.ahead.insert(first, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_ids(ranges in prop::collection::vec((0_u64..60, 0_u64..6), 0..40), start in 0_u64..10) {
            let mut acks = Acks::new(start);
            let mut model: BTreeSet<u64> = (0..start).collect();
            for (first, length) in ranges {
                acks.add(first, first + length);
                model.extend(first..first + length);
                let mark = (0..).find(|id| !model.contains(id)).unwrap();
                prop_assert_eq!(acks.mark(), mark);
                prop_assert_eq!(acks.ahead(), model.iter().filter(|id| **id > mark).count() as u64);
                for id in 0..70 {
                    prop_assert_eq!(acks.contains(id), model.contains(&id));
                    prop_assert_eq!(acks.next_pending(id), (id.max(mark)..).find(|next| !model.contains(next)).unwrap());
                    let pending = (id..id + 9).filter(|id| !model.contains(id)).count() as u64;
                    prop_assert_eq!(acks.pending(id, id + 9), pending);
                }
            }
        }
    }
}
