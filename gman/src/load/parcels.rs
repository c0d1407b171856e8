//! Jobs that carry several rows: the workloads that the triggers would send for them, as a list.

use std::collections::BTreeMap;

use crate::rows::source::RowJobs;

/// How long the workload of a job with several rows may become, in bytes.
const JOB_BYTES: usize = 256 << 10;

/// One job: a row's own, or that of several rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parcel<'a> {
    pub(super) function: &'a [u8],
    /// Their workloads, one at least.
    texts: Vec<&'a [u8]>,
    bytes: usize,
    /// Its first row, and which of that row's jobs.
    pub(super) first: (&'a RowJobs, usize),
}

impl<'a> Parcel<'a> {
    fn new(function: &'a [u8], text: &'a [u8], first: (&'a RowJobs, usize)) -> Self {
        Self {
            function,
            texts: vec![text],
            bytes: text.len(),
            first,
        }
    }

    /// A list is read as one of objects: other texts are sent alone.
    fn has_room_for(&self, text: &[u8]) -> bool {
        let are_objects = [self.texts[0], text]
            .iter()
            .all(|text| text.starts_with(b"{"));
        are_objects && self.bytes + text.len() <= JOB_BYTES
    }

    /// The length of its workload, or a little less.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A row alone is sent as it is, so that every worker can read it.
    pub(super) fn workload(&self) -> Vec<u8> {
        match self.texts[..] {
            [only] => only.to_vec(),
            _ => {
                let mut list = Vec::with_capacity(self.bytes + self.texts.len() + 1);
                for text in &self.texts {
                    list.push(if list.is_empty() { b'[' } else { b',' });
                    list.extend_from_slice(text);
                }
                list.push(b']');
                list
            }
        }
    }
}

/// The jobs of rows, `rows_per_job` in each at most. Those of one Gearman function are in the order of
/// their rows.
///
/// # Errors
///
/// The first row that the triggers refuse.
pub(super) fn parcels(rows: &[RowJobs], rows_per_job: usize) -> Result<Vec<Parcel<'_>>, &RowJobs> {
    let mut parcels = Vec::new();
    let mut open: BTreeMap<&[u8], Parcel<'_>> = BTreeMap::new();
    for row in rows {
        for (at, job) in row.jobs.iter().enumerate() {
            let (function, text) = (&*job.function, job.workload.as_deref().ok_or(row)?);
            let parcel = match open.remove(function) {
                Some(mut parcel) if parcel.has_room_for(text) => {
                    parcel.texts.push(text);
                    parcel.bytes += text.len();
                    parcel
                }
                before => {
                    parcels.extend(before);
                    Parcel::new(function, text, (row, at))
                }
            };
            match parcel.texts.len() < rows_per_job {
                true => drop(open.insert(function, parcel)),
                false => parcels.push(parcel),
            }
        }
    }
    parcels.extend(open.into_values());
    Ok(parcels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::source::Job;

    fn row(jobs: &[(&str, Option<&str>)]) -> RowJobs {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let job = |&(function, workload): &(&str, Option<&str>)| Job {
            function: bytes(function),
            workload: workload.map(bytes),
        };
        RowJobs {
            place: Vec::new(),
            jobs: jobs.iter().map(job).collect(),
        }
    }

    fn sent(rows: &[RowJobs], rows_per_job: usize) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let parcels = parcels(rows, rows_per_job).expect("parcels");
        parcels
            .iter()
            .map(|parcel| format!("{} {}", text(parcel.function), text(&parcel.workload())))
            .collect()
    }

    #[test]
    fn rows_of_one_function_share_jobs_in_their_order() {
        let rows: Vec<RowJobs> = ["{1}", "{2}", "{3}", "{4}", "{5}"]
            .iter()
            .enumerate()
            .map(|(at, text)| row(&[(["f", "g"][at / 3], Some(text))]))
            .collect();
        assert_eq!(sent(&rows, 2), ["f [{1},{2}]", "g [{4},{5}]", "f {3}"]);
        assert_eq!(sent(&rows, 9), ["f [{1},{2},{3}]", "g [{4},{5}]"]);
        assert_eq!(
            sent(&rows, 1),
            ["f {1}", "f {2}", "f {3}", "g {4}", "g {5}"]
        );
    }

    #[test]
    fn what_is_no_object_or_too_large_is_sent_alone() {
        let large = format!("{{{}}}", "x".repeat(JOB_BYTES));
        let texts = ["{1}", "[2]", "{3}", "{4}", &large, "{5}"];
        let rows = texts.map(|text| row(&[("f", Some(text))]));
        let expected = [
            "f {1}",
            "f [2]",
            "f [{3},{4}]",
            &format!("f {large}"),
            "f {5}",
        ];
        assert_eq!(sent(&rows, 9), expected);
    }

    #[test]
    fn a_row_that_the_triggers_refuse_is_named() {
        let rows = [row(&[("f", Some("{1}"))]), row(&[("f", None)])];
        assert_eq!(parcels(&rows, 9), Err(&rows[1]));
    }
}
