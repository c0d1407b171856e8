//! The statements that hand jobs over, by a function or by rows of the outbox.

use super::parcels::Parcel;
use crate::rows::source::Source;
use crate::sql;

/// What takes jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// This function, which the triggers call.
    Function(&'static str),
    /// This table, quoted if it was.
    Outbox(String),
}

/// How a statement names jobs.
struct Form {
    head: String,
    open: String,
    close: &'static str,
}

impl Target {
    /// Statements not much longer than `bytes`. Those that call the function return, for each job, whether
    /// it has failed.
    pub(super) fn statements(
        &self,
        source: &Source,
        parcels: &[Parcel<'_>],
        bytes: usize,
    ) -> Vec<String> {
        let form = self.form("VALUES ");
        let (mut statements, mut jobs) = (Vec::new(), String::new());
        for parcel in parcels {
            // What the server would not take from us, it takes from itself.
            let is_too_long = parcel.bytes() > bytes / 2;
            if !jobs.is_empty() && (is_too_long || jobs.len() > bytes / 2) {
                statements.push(format!("{}{jobs}", form.head));
                jobs.clear();
            }
            if is_too_long {
                statements.push(self.taken_from_the_table(source, parcel));
                continue;
            }
            if !jobs.is_empty() {
                jobs.push(',');
            }
            jobs.push_str(&form.open);
            sql::push_bytes(&mut jobs, parcel.function);
            jobs.push(',');
            sql::push_bytes(&mut jobs, &parcel.workload());
            jobs.push_str(form.close);
        }
        if !jobs.is_empty() {
            statements.push(format!("{}{jobs}", form.head));
        }
        statements
    }

    /// A row that is that large has a job of its own.
    fn taken_from_the_table(&self, source: &Source, parcel: &Parcel<'_>) -> String {
        let (row, at) = parcel.first;
        let hand_over = &source.hand_overs[at];
        let mut form = self.form("SELECT ");
        if let Self::Outbox(_) = self {
            (form.open, form.close) = (String::new(), "");
        }
        format!(
            "{}{}{},{}{} {}",
            form.head,
            form.open,
            hand_over.function,
            source.workload(hand_over),
            form.close,
            source.from(&source.key.is_at(&row.place))
        )
    }

    fn form(&self, rows: &str) -> Form {
        match self {
            Self::Function(function) => Form {
                head: "SELECT ".to_owned(),
                open: format!("{function}("),
                close: ") IS NULL",
            },
            Self::Outbox(table) => Form {
                head: format!("INSERT INTO {table} (`function`, `workload`) {rows}"),
                open: "(".to_owned(),
                close: ")",
            },
        }
    }
}
