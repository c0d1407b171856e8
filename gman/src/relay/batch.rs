//! Deals the rows that a search has found to the lanes. Does no I/O.

use std::collections::{BTreeSet, HashMap};

use super::flight::{Function, Snapshot};
use super::rows::Row;

/// Rows of one Gearman function, in the order of their ids.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) function: Function,
    pub(super) rows: Vec<Row>,
    /// Of the lane, when the rows were searched for.
    pub(super) generation: u64,
}

impl Batch {
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().map(|row| row.id)
    }

    /// Bytes that count towards the limit of large rows.
    pub(super) fn large_bytes(&self) -> u64 {
        let large = self.rows.iter().filter(|row| row.is_large());
        large.map(|row| row.bytes).sum()
    }
}

/// One batch for each lane that takes one. A row of which there is more than fits is left for the next
/// search, with all that are behind it. One large row is under way at a time.
pub(super) fn deal(rows: Vec<Row>, under_way: &Snapshot, most: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut place_of: HashMap<Function, usize> = HashMap::new();
    let mut ended: BTreeSet<Function> = under_way.full.clone();
    let mut has_large = under_way.has_large;
    for row in rows {
        if ended.contains(&row.function) {
            continue;
        }
        let place = place_of.get(&row.function).copied();
        let taken = place.map_or(0, |place| batches[place].rows.len());
        let fits = match row.is_large() {
            true => taken == 0 && !has_large,
            false => taken < under_way.span(&row.function, most),
        };
        if !fits || row.is_large() {
            ended.insert(row.function.clone());
        }
        if !fits {
            continue;
        }
        has_large |= row.is_large();
        match place {
            Some(place) => batches[place].rows.push(row),
            None => {
                place_of.insert(row.function.clone(), batches.len());
                batches.push(Batch {
                    generation: under_way.generation(&row.function),
                    function: row.function.clone(),
                    rows: vec![row],
                });
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::super::flight::Flight;
    use super::*;

    fn row(id: u64, function: &str, bytes: u64) -> Row {
        Row {
            id,
            function: function.into(),
            workload: None,
            bytes,
        }
    }

    fn dealt(rows: Vec<Row>, under_way: &Snapshot, most: usize) -> Vec<Vec<u64>> {
        let batches = deal(rows, under_way, most);
        batches.iter().map(|batch| batch.ids().collect()).collect()
    }

    #[test]
    fn each_function_gets_its_rows_in_their_order() {
        let rows = vec![
            row(1, "f", 1),
            row(2, "g", 1),
            row(4, "f", 1),
            row(5, "f", 1),
        ];
        let dealt = dealt(rows, &Snapshot::default(), 2);
        assert_eq!(dealt, [vec![1, 4], vec![2]]);
    }

    #[test]
    fn a_large_row_goes_by_itself_and_nothing_passes_it() {
        let rows = vec![
            row(1, "f", 1),
            row(2, "f", 1 << 20),
            row(3, "f", 1),
            row(4, "g", 1 << 20),
            row(5, "g", 1),
            row(6, "h", 1 << 20),
        ];
        let dealt = dealt(rows, &Snapshot::default(), 10);
        assert_eq!(dealt, [vec![1], vec![4]]);
    }

    #[test]
    fn a_lane_that_takes_no_more_gets_none() {
        let mut under_way = Snapshot::default();
        under_way.full.insert(b"f".to_vec());
        let rows = vec![row(1, "f", 1), row(2, "g", 1)];
        assert_eq!(dealt(rows, &under_way, 10), [vec![2]]);
    }

    #[test]
    fn a_lane_that_fails_gets_one_row_and_each_batch_knows_what_it_must_not_overtake() {
        let flight = Flight::default();
        flight.depart(b"f", [1].into_iter(), 0);
        flight.arrive(b"f", &[1], 0, true);
        let under_way = flight.snapshot();
        let rows = vec![row(1, "f", 1), row(2, "f", 1), row(3, "g", 1)];
        let batches = deal(rows, &under_way, 10);
        let generations: Vec<u64> = batches.iter().map(|batch| batch.generation).collect();
        assert_eq!(generations, [1, 0]);
        let ids: Vec<u64> = batches.iter().flat_map(Batch::ids).collect();
        assert_eq!(ids, [1, 3]);
    }

    #[test]
    fn only_what_goes_by_itself_counts_as_large() {
        let mut batches = deal(vec![row(1, "f", 1 << 20)], &Snapshot::default(), 10);
        assert_eq!(batches[0].large_bytes(), 1 << 20);
        batches[0].rows.push(row(2, "f", 16 << 10));
        assert_eq!(batches[0].large_bytes(), 1 << 20);
        let mut under_way = Snapshot::default();
        under_way.has_large = true;
        let rows = vec![row(1, "f", 1 << 20), row(2, "f", 1), row(3, "g", 1)];
        assert_eq!(dealt(rows, &under_way, 10), [vec![3]]);
    }
}
