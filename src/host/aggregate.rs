//! A function that is called for groups of rows, and the groups that the server fills at a time.
//!
//! A server asks for the result of one group more than once, for HAVING and again for the row that it
//! sends. With ROLLUP it fills the groups of all levels at the same time: it copies the structure that
//! `init` has seen, so that all copies share one state and only their addresses tell them apart.

use udf::{ArgList, Process};

use crate::error::Error;
use crate::host::guard;
use crate::memory;

/// A function that is called for a group of rows, and is the state of one group.
pub(crate) trait Aggregate: Sized {
    /// Begins a group.
    fn begin() -> Self;

    /// Takes a row; after an error no more of them come until the next group.
    fn add(&mut self, args: &ArgList<Process>) -> Result<(), Error>;

    /// The result for the rows so far, of which one failed with `failure`; an error fails the
    /// statement. Called once for them, however often the server asks; more rows may follow.
    fn finish(&mut self, failure: Option<Error>) -> Result<Option<i64>, Error>;
}

/// The groups of one use of the aggregate `F` in a statement, one at a time for each copy of it.
pub(super) struct Groups<F> {
    groups: Vec<Group<F>>,
    /// Why a group could not begin.
    failure: Option<Error>,
}

struct Group<F> {
    /// The address of the server's structure.
    owner: usize,
    function: F,
    /// Why no more rows are taken.
    failure: Option<Error>,
    has_failed: bool,
    /// The result for the rows so far, once the server has asked for it.
    result: Option<Option<i64>>,
}

impl<F> Groups<F> {
    pub(super) const fn new() -> Self {
        Self {
            groups: Vec::new(),
            failure: None,
        }
    }

    fn of(&mut self, owner: usize) -> Option<&mut Group<F>> {
        self.groups.iter_mut().find(|group| group.owner == owner)
    }
}

impl<F: Aggregate> Groups<F> {
    /// `owner` begins a group, and its last one is over.
    pub(super) fn begin(&mut self, owner: usize) {
        let begun = guard::caught(|| {
            self.groups.retain(|group| group.owner != owner);
            memory::push(&mut self.groups, Group::begin(owner))
        });
        if let Err(error) = begun {
            self.failure = Some(error);
        }
    }

    /// `owner` adds a row.
    pub(super) fn add(&mut self, owner: usize, args: &ArgList<Process>) {
        if let Some(group) = self.of(owner)
            && !group.has_failed
        {
            group.result = None;
            group.failure = guard::caught(|| group.function.add(args)).err();
            group.has_failed = group.failure.is_some();
        }
    }

    /// The result for the rows that `owner` has added so far; `None` if it has begun no group.
    pub(super) fn finish(&mut self, owner: usize) -> Option<Result<Option<i64>, Error>> {
        if let Some(error) = self.failure.take() {
            return Some(Err(error));
        }
        self.of(owner).map(Group::finish)
    }
}

impl<F: Aggregate> Group<F> {
    fn begin(owner: usize) -> Self {
        Self {
            owner,
            function: F::begin(),
            failure: None,
            has_failed: false,
            result: None,
        }
    }

    fn finish(&mut self) -> Result<Option<i64>, Error> {
        if let Some(result) = self.result {
            return Ok(result);
        }
        // Of a failure that the statement has heard of, NULL is left.
        self.result = Some(None);
        let result = self.function.finish(self.failure.take())?;
        self.result = Some(result);
        Ok(result)
    }
}
