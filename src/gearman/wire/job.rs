//! What is submitted: a function, a unique id, a workload, and how to run it.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use uuid::{Builder, Uuid};

use crate::error::Error;
use crate::gearman::wire::packet::{self, Command, MAX_DATA_BYTES, Magic};

/// Longest function name, in bytes: the limit of the C plugin; gearmand's own is 512
/// (`GEARMAN_FUNCTION_MAX_SIZE` of libgearman's `limits.h`).
pub const MAX_FUNCTION_BYTES: usize = 255;

/// Longest unique id, in bytes: gearmand keeps 64 with the final NUL
/// (`GEARMAN_MAX_UNIQUE_SIZE` of libgearman's `limits.h`).
pub const MAX_UNIQUE_BYTES: usize = 63;

/// Longest request without its workload, in bytes: the header, and the names and the time with a NUL behind each.
pub(crate) const MAX_HEAD_BYTES: usize =
    packet::HEADER_BYTES + MAX_FUNCTION_BYTES + MAX_UNIQUE_BYTES + MAX_EPOCH_DIGITS + 3;

/// Digits of the largest time.
const MAX_EPOCH_DIGITS: usize = 20;

/// A UUID, in bytes: RFC 9562.
const UUID_BYTES: usize = 16;

/// How many bytes of a fresh id, the last ones, count how often its job was sent again; the others say
/// which job it is.
const ATTEMPT_BYTES: usize = 2;

/// The digits of that count.
const ATTEMPT_DIGITS: usize = 2 * ATTEMPT_BYTES;

/// Where the version is in the text of a UUID.
const VERSION_DIGIT: usize = 14;

/// RFC 9562 leaves what is in a UUID of this version to those who make it: so ours are told from others.
const OWN_VERSION: u8 = b'8';

/// How many UUIDs a thread asks the system for at once.
const STORED_UUIDS: usize = 64;

thread_local! {
    /// Random bytes that nobody has used, and how many UUIDs of them are left.
    static RANDOM: RefCell<([[u8; UUID_BYTES]; STORED_UUIDS], usize)> =
        const { RefCell::new(([[0; UUID_BYTES]; STORED_UUIDS], 0)) };
}

/// Which of a function's queues a job waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Before all others.
    High,
    /// The usual.
    #[default]
    Normal,
    /// After all others.
    Low,
}

/// Who waits for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The caller waits for the result.
    Foreground(Priority),
    /// Nobody waits; the job server answers with a handle.
    Background(Priority),
    /// As background, not before this Unix time, in seconds.
    Epoch(u64),
}

impl Mode {
    fn command(self) -> Command {
        match self {
            Self::Foreground(Priority::High) => Command::SubmitJobHigh,
            Self::Foreground(Priority::Normal) => Command::SubmitJob,
            Self::Foreground(Priority::Low) => Command::SubmitJobLow,
            Self::Background(Priority::High) => Command::SubmitJobHighBg,
            Self::Background(Priority::Normal) => Command::SubmitJobBg,
            Self::Background(Priority::Low) => Command::SubmitJobLowBg,
            Self::Epoch(_) => Command::SubmitJobEpoch,
        }
    }
}

/// A job that can be submitted: its names have been checked.
#[derive(Clone)]
pub struct Job<'a> {
    function: &'a [u8],
    unique: Unique<'a>,
    workload: &'a [u8],
    mode: Mode,
}

/// A caller's own id, or a fresh one. It belongs to the job, so that a retry after a lost reply
/// says the same id and the job server can tell that it knows the job; [`renew_unique`] is for those who
/// repeat several jobs.
#[derive(Clone)]
enum Unique<'a> {
    Given(&'a [u8]),
    Fresh([u8; uuid::fmt::Hyphenated::LENGTH]),
}

impl<'a> Job<'a> {
    /// A job with a fresh unique id, or with the caller's own where `unique` is neither `None`
    /// nor empty.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] for an empty or too long name, a NUL in one (names end there on the wire),
    /// or a workload over [`MAX_DATA_BYTES`].
    pub fn new(
        mode: Mode,
        function: &'a [u8],
        workload: &'a [u8],
        unique: Option<&'a [u8]>,
    ) -> Result<Self, Error> {
        if workload.len() > MAX_DATA_BYTES {
            return Err(Error::Input(format!(
                "workload is {} bytes long, expected at most {MAX_DATA_BYTES}; \
                 store it in a table and send its key",
                workload.len()
            )));
        }
        Ok(Self {
            function: checked_function(function)?,
            unique: match unique {
                Some(unique) if !unique.is_empty() => Unique::Given(checked_unique(unique)?),
                _ => Unique::fresh(),
            },
            workload,
            mode,
        })
    }

    /// The name that workers registered.
    pub fn function(&self) -> &'a [u8] {
        self.function
    }

    /// The unique id: the caller's or the fresh one.
    pub fn unique(&self) -> &[u8] {
        match &self.unique {
            Unique::Given(unique) => unique,
            Unique::Fresh(unique) => unique,
        }
    }

    /// Whether its caller knows nothing else of it: a background job with a fresh id.
    pub(crate) fn has_a_fresh_id_in_background(&self) -> bool {
        matches!(
            (&self.unique, self.mode),
            (Unique::Fresh(_), Mode::Background(_))
        )
    }

    /// Who waits for it.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What the worker gets.
    pub fn workload(&self) -> &'a [u8] {
        self.workload
    }

    /// Appends the request to `out`, all but the workload, which is to follow it.
    pub(crate) fn encode_head(&self, out: &mut Vec<u8>) {
        let epoch;
        let names: &[&[u8]] = match self.mode {
            Mode::Foreground(_) | Mode::Background(_) => &[self.function, self.unique()],
            Mode::Epoch(seconds) => {
                epoch = seconds.to_string();
                &[self.function, self.unique(), epoch.as_bytes()]
            }
        };
        packet::encode_head(
            out,
            Magic::Request,
            self.mode.command(),
            names,
            self.workload.len(),
        );
    }
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("mode", &self.mode)
            .field("function", &self.function.escape_ascii().to_string())
            .field("unique", &self.unique().escape_ascii().to_string())
            .field("workload_bytes", &self.workload.len())
            .finish()
    }
}

impl Unique<'_> {
    fn fresh() -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let mut bytes = random_bytes();
        bytes[UUID_BYTES - ATTEMPT_BYTES..].fill(0);
        let uuid = Builder::from_custom_bytes(bytes).into_uuid();
        uuid.hyphenated().encode_lower(&mut text);
        Self::Fresh(text)
    }
}

/// Gives the request that `head` begins with another unique id, unless the id is the caller's; returns what
/// of `head` has changed.
///
/// Several jobs that are repeated after a lost connection need that. Of two that a job server knows it drops
/// the second and keeps the place of the first: the repetition of an older job, which was done meanwhile, would
/// come after a newer one whose repetition was dropped. A caller's id asks for just that dropping.
pub(crate) fn renew_unique(head: &mut [u8]) -> Option<Range<usize>> {
    let mut names = head.get(packet::HEADER_BYTES..)?.split(|&byte| byte == 0);
    let begin = packet::HEADER_BYTES + names.next()?.len() + 1;
    let end = begin + names.next()?.len();
    let unique = &head[begin..end];
    let is_ours =
        unique.len() == uuid::fmt::Hyphenated::LENGTH && unique[VERSION_DIGIT] == OWN_VERSION;
    let digits = end.checked_sub(ATTEMPT_DIGITS).filter(|_| is_ours)?..end;
    let attempt = std::str::from_utf8(&head[digits.clone()]).ok()?;
    let attempt = u16::from_str_radix(attempt, 16).ok()?.wrapping_add(1);
    head[digits.clone()].copy_from_slice(format!("{attempt:04x}").as_bytes());
    Some(digits)
}

/// Random bytes from the system, which is asked for many at once: asking costs as much as the rest of
/// a pipelined submission.
fn random_bytes() -> [u8; UUID_BYTES] {
    RANDOM.with_borrow_mut(|(store, left)| {
        if *left == 0 {
            match getrandom::fill(store.as_flattened_mut()) {
                Ok(()) => *left = store.len(),
                // The crate's own way fails loudly.
                Err(_) => return *Uuid::new_v4().as_bytes(),
            }
        }
        *left -= 1;
        store[*left]
    })
}

/// A function name that a job server can keep.
///
/// # Errors
///
/// [`Error::Input`] that says what is wrong with it.
pub fn checked_function(function: &[u8]) -> Result<&[u8], Error> {
    if function.is_empty() {
        return Err(Error::Input(
            "function is empty, expected the name that a worker registered".to_owned(),
        ));
    }
    if function.len() > MAX_FUNCTION_BYTES {
        return Err(Error::Input(format!(
            "function is {} bytes long, expected at most {MAX_FUNCTION_BYTES}",
            function.len()
        )));
    }
    without_nul("function", function)
}

fn checked_unique(unique: &[u8]) -> Result<&[u8], Error> {
    if unique.len() > MAX_UNIQUE_BYTES {
        return Err(Error::Input(format!(
            "unique is {} bytes long, expected at most {MAX_UNIQUE_BYTES}, which is what job \
             servers keep; shorten it, for example with SHA1()",
            unique.len()
        )));
    }
    without_nul("unique", unique)
}

fn without_nul<'a>(argument: &str, name: &'a [u8]) -> Result<&'a [u8], Error> {
    match name.iter().position(|&byte| byte == 0) {
        None => Ok(name),
        Some(index) => Err(Error::Input(format!(
            "{argument} has a NUL byte at position {}, where job servers would cut it; \
             remove it, for example with HEX() or REPLACE()",
            index + 1
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: Mode = Mode::Background(Priority::Normal);

    fn refusal(function: &[u8], unique: &[u8]) -> String {
        match Job::new(MODE, function, b"", Some(unique)) {
            Err(Error::Input(problem)) => problem,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn a_name_with_nul_is_refused_and_named() {
        assert!(refusal(b"f\0g", b"").starts_with("function has a NUL byte at position 2"));
        assert!(refusal(b"f", b"a\0").starts_with("unique has a NUL byte at position 2"));
    }

    #[test]
    fn a_unique_id_is_never_cut() {
        assert!(Job::new(MODE, b"f", b"", Some(&[b'x'; 63])).is_ok());
        assert!(refusal(b"f", &[b'x'; 64]).starts_with("unique is 64 bytes long"));
    }

    #[test]
    fn a_function_has_a_name_of_at_most_255_bytes() {
        assert!(refusal(b"", b"").starts_with("function is empty"));
        assert!(Job::new(MODE, &[b'f'; 255], b"", None).is_ok());
        assert!(refusal(&[b'f'; 256], b"").starts_with("function is 256 bytes long"));
    }

    #[test]
    fn a_job_without_an_id_gets_its_own_and_keeps_it() {
        let job = Job::new(MODE, b"f", b"", None).unwrap();
        let other = Job::new(MODE, b"f", b"", Some(b"")).unwrap();
        assert_eq!(job.unique().len(), 36);
        assert_ne!(job.unique(), other.unique());
        let (mut first, mut again) = (Vec::new(), Vec::new());
        job.encode_head(&mut first);
        job.encode_head(&mut again);
        assert_eq!(first, again);
    }

    #[test]
    fn a_fresh_id_is_renewed_and_a_callers_is_not() {
        for mode in [MODE, Mode::Epoch(1)] {
            let job = Job::new(mode, b"f", b"workload", None).unwrap();
            let mut head = Vec::new();
            job.encode_head(&mut head);
            let first = head.clone();
            for attempt in ["0001", "0002"] {
                let changed = renew_unique(&mut head).expect("an id of ours");
                assert_eq!(&head[changed], attempt.as_bytes());
            }
            let differences = first.iter().zip(&head).filter(|(a, b)| a != b).count();
            assert_eq!(differences, 1);
        }
        for own in ["mine", "0b5b0e4c-9d3c-4a6b-8f7e-2d1c0b9a8f7e", ""] {
            let mut head = [
                &[0; packet::HEADER_BYTES],
                b"f\0".as_slice(),
                own.as_bytes(),
                b"\0",
            ]
            .concat();
            assert_eq!(renew_unique(&mut head), None, "{own}");
        }
        assert_eq!(renew_unique(&mut [0; 5]), None);
    }

    #[test]
    fn the_head_and_the_workload_make_the_packet() {
        let job = Job::new(Mode::Epoch(1_234), b"f", b"w\0w", Some(b"u")).unwrap();
        let mut bytes = Vec::new();
        job.encode_head(&mut bytes);
        bytes.extend_from_slice(job.workload());
        assert_eq!(bytes, b"\0REQ\0\0\0\x24\0\0\0\x0cf\0u\x001234\0w\0w");
    }
}
