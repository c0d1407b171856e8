//! A limit to the threads of one process, which the kernel keeps: a control group of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the controller of threads is: in the first version of control groups, and in the second.
const HIERARCHIES: [&str; 2] = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];

/// A process that can be kept from starting threads. Lifted when dropped.
#[derive(Debug)]
pub(crate) struct TaskLimit {
    group: PathBuf,
    pid: u32,
}

impl TaskLimit {
    /// Moves the process into a group without a limit.
    ///
    /// # Errors
    ///
    /// Why that cannot be done here.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let mut problem = "no control groups".to_owned();
        for hierarchy in HIERARCHIES {
            let group = Path::new(hierarchy).join(format!("gman-test-{pid}"));
            let moved = fs::create_dir(&group)
                .and_then(|()| fs::metadata(group.join("pids.max")))
                .and_then(|_| write(&group.join("cgroup.procs"), pid));
            match moved {
                Ok(()) => return Ok(Self { group, pid }),
                Err(error) => problem = format!("{}: {error}", group.display()),
            }
            // It may not be there at all.
            let _ = fs::remove_dir(&group);
        }
        Err(problem)
    }

    /// From now on the process starts no thread, beyond those that it has.
    pub(crate) fn set(&self) {
        self.leave(0);
    }

    /// From now on the process starts so many threads more, and no others.
    pub(crate) fn leave(&self, more: u32) {
        let current = fs::read_to_string(self.group.join("pids.current")).expect("its threads");
        let current: u32 = current.trim().parse().expect("a number of threads");
        self.limit(&(current + more).to_string());
    }

    /// The process starts as many as it likes.
    pub(crate) fn lift(&self) {
        self.limit("max");
    }

    fn limit(&self, most: &str) {
        let file = self.group.join("pids.max");
        fs::write(&file, most).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

impl Drop for TaskLimit {
    fn drop(&mut self) {
        // The process may have ended; a group that is left behind limits nobody.
        let root = self.group.parent().map(|root| root.join("cgroup.procs"));
        let _ = root.map(|root| write(&root, self.pid));
        let _ = fs::remove_dir(&self.group);
    }
}

fn write(file: &Path, pid: u32) -> io::Result<()> {
    fs::write(file, pid.to_string())
}
