//! How far a load is: on the terminal, and in the file of `--resume`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rows::place::{Key, Part, Place};
use crate::sql::TableName;
use crate::terminal::printable;
use crate::whole_file;

/// How often the file is written at most. What was sent since then is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// How far one table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The last row that was sent.
    after: Option<Place>,
    /// The last row of the table when the load began.
    end: Option<Place>,
    pub(super) rows: u64,
    pub(super) is_done: bool,
}

impl State {
    /// The beginning of a table with this last row.
    pub(super) fn new(end: Option<Place>) -> Self {
        Self {
            after: None,
            end,
            rows: 0,
            is_done: false,
        }
    }

    /// What has not been sent.
    pub(super) fn rest(&self) -> Option<Part> {
        if self.is_done || self.end.is_none() || self.after == self.end {
            return None;
        }
        Some(Part {
            after: self.after.clone(),
            up_to: self.end.clone(),
        })
    }

    /// All rows up to this one have been sent.
    pub(super) fn reached(&mut self, place: Place) {
        self.after = Some(place);
    }
}

/// What is in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    /// That of `--where`.
    filter: Option<String>,
    /// By the quoted names of the tables.
    tables: BTreeMap<String, State>,
}

/// The file of `--resume`, if there is one.
#[derive(Debug)]
pub(super) struct Progress {
    path: Option<PathBuf>,
    file: File,
    written: Instant,
}

impl Progress {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    ///
    /// If it is of something else.
    pub(super) fn open(path: Option<&Path>, filter: Option<&str>) -> Result<Self> {
        let mut file = File {
            filter: filter.map(str::to_owned),
            ..File::default()
        };
        if let Some(path) = path {
            match whole_file::read(path) {
                Ok(_) if !whole_file::is_safe(path, None) => return Err(foreign(path)),
                Ok(text) => file = read(path, &text, filter)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(problem(path, &error)),
            }
        }
        Ok(Self {
            path: path.map(Path::to_owned),
            file,
            written: Instant::now(),
        })
    }

    /// How far a table with this key is, if the load had begun with it.
    ///
    /// # Errors
    ///
    /// If what the file says cannot be of this table.
    pub(super) fn state(&self, table: &TableName, key: &Key) -> Result<Option<State>> {
        let Some(state) = self.file.tables.get(&table.quoted()) else {
            return Ok(None);
        };
        let mut places = state.after.iter().chain(&state.end);
        match places.all(|place| key.can_be(place)) {
            true => Ok(Some(state.clone())),
            false => Err(Error::usage(format!(
                "--resume: the file is of a table {} with another primary key; name another file",
                table.quoted()
            ))),
        }
    }

    /// Notes how far a table is; writes that down now and then.
    pub(super) fn note(&mut self, table: &TableName, state: &State) -> Result {
        if self.path.is_none() {
            return Ok(());
        }
        self.file.tables.insert(table.quoted(), state.clone());
        match self.written.elapsed() < PAUSE {
            true => Ok(()),
            false => self.write(),
        }
    }

    /// Writes down that a table is done.
    pub(super) fn finish(&mut self, table: &TableName, state: &State) -> Result {
        self.file.tables.insert(table.quoted(), state.clone());
        self.write()
    }

    /// Whoever ends us in the middle leaves the old file.
    fn write(&mut self) -> Result {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let text = serde_json::to_vec_pretty(&self.file).map_err(io::Error::from);
        text.and_then(|text| whole_file::replace(path, &text, None))
            .map_err(|error| problem(path, &error))?;
        self.written = Instant::now();
        Ok(())
    }
}

fn read(path: &Path, text: &[u8], filter: Option<&str>) -> Result<File> {
    let file: File = serde_json::from_slice(text).map_err(|error| {
        let path = path.display();
        Error::usage(format!(
            "--resume: {path} is no file of a load: {error}; name another one"
        ))
    })?;
    if file.filter.as_deref() != filter {
        let path = path.display();
        return Err(Error::usage(format!(
            "--resume: {path} is of a load with another --where; name another file, or the same condition"
        )));
    }
    Ok(file)
}

fn foreign(path: &Path) -> Error {
    let path = path.display();
    Error::usage(format!(
        "--resume: {path} is a link, or another account can write to it and choose what is loaded; name a file of \
         your own"
    ))
}

fn problem(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    Error::failed(format!(
        "--resume: {path}: {error}; name a file that you can write to"
    ))
}

/// A bar on stderr, if that is a terminal.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(table: &TableName, estimate: u64, rows: u64) -> Self {
        let bar = ProgressBar::new(estimate.max(rows)).with_position(rows);
        let template = "{msg} [{wide_bar}] {human_pos} rows, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(printable(&table.quoted()).into_owned());
        Self(bar)
    }

    /// The size of a table is an estimate, which its rows may exceed.
    pub(super) fn set(&self, rows: u64) {
        if self.0.length().is_some_and(|length| length < rows) {
            self.0.set_length(rows);
        }
        self.0.set_position(rows);
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::triggers::table::Column;

    fn table() -> TableName {
        TableName::parse("a.b").expect("a name")
    }

    /// Of one whole number.
    fn key() -> Key {
        Key::new(&[Column {
            name: "id".to_owned(),
            kind: "int".to_owned(),
            charset: None,
            precision: 0,
        }])
    }

    fn state(progress: &Progress) -> Option<State> {
        progress.state(&table(), &key()).expect("a state of it")
    }

    #[test]
    fn a_load_goes_on_from_where_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let mut progress = Progress::open(Some(&path), None).expect("no file");
        assert_eq!(state(&progress), None);
        let mut reached = State::new(Some(vec!["9".to_owned()]));
        reached.reached(vec!["4".to_owned()]);
        progress
            .finish(&table(), &reached)
            .expect("room for a file");

        let again = Progress::open(Some(&path), None).expect("the file");
        let found = state(&again).expect("a state");
        assert_eq!(found, reached);
        let rest = Part {
            after: Some(vec!["4".to_owned()]),
            up_to: Some(vec!["9".to_owned()]),
        };
        assert_eq!(found.rest(), Some(rest));
        reached.reached(vec!["9".to_owned()]);
        assert_eq!(reached.rest(), None);
        let other = Progress::open(Some(&path), Some("a > 1")).expect_err("a refusal");
        assert!(other.text().contains("another --where"), "{}", other.text());
    }

    #[test]
    fn a_file_that_somebody_else_wrote_is_no_sql_and_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let text = r#"{"filter":null,"tables":{"`a`.`b`":
            {"after":null,"end":["1 OR SLEEP(9)"],"rows":0,"is_done":false}}}"#;
        fs::write(&path, text).expect("room for a file");
        let progress = Progress::open(Some(&path), None).expect("the file");
        let error = progress.state(&table(), &key()).expect_err("a refusal");
        assert!(
            error.text().contains("another primary key"),
            "{}",
            error.text()
        );

        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
        let error = Progress::open(Some(&path), None).expect_err("a refusal");
        assert!(error.text().contains("another account"), "{}", error.text());
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        fs::write(&path, "[client]").expect("room for a file");
        let error = Progress::open(Some(&path), None).expect_err("a refusal");
        assert!(
            error.text().contains("is no file of a load"),
            "{}",
            error.text()
        );
    }
}
