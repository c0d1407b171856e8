//! Files that others see as they were, or whole, and never in between.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::Uid;

/// Behind the name of a file that is not whole yet.
const UNFINISHED: &str = ".new";

/// Somebody may write who is neither the owner nor in the group.
pub(crate) const WRITABLE_BY_OTHERS: u32 = 0o002;

/// Puts `content` in the place of a file, with this mode or the usual one.
///
/// The folder may be one where others may write, such as /tmp: whatever stands at the name of the unfinished
/// file, a link to somewhere else among it, is removed and not written to.
///
/// # Errors
///
/// As `std::fs`.
pub(crate) fn replace(file: &Path, content: &[u8], mode: Option<u32>) -> io::Result<()> {
    let unfinished = with_suffix(file, UNFINISHED);
    remove_if_there(&unfinished)?;
    let mut new = OpenOptions::new()
        .write(true)
        // Fails if somebody has put something there meanwhile, even a link.
        .create_new(true)
        .open(&unfinished)?;
    new.write_all(content)?;
    if let Some(mode) = mode {
        new.set_permissions(Permissions::from_mode(mode))?;
    }
    fs::rename(&unfinished, file)
}

/// What is in a file, if it is one: a pipe would never end, and neither would a device.
///
/// # Errors
///
/// As `std::fs`, and for what is no file.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        // Opening a pipe would wait for somebody who writes.
        .custom_flags(OFlag::O_NONBLOCK.bits());
    let mut open: File = options.open(file)?;
    if !open.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    let mut content = Vec::new();
    open.read_to_end(&mut content)?;
    Ok(content)
}

/// Whether nobody but root, us and `another` can change a file: it is no link, and no other account has it or
/// may write to it.
pub(crate) fn is_safe(file: &Path, another: Option<u32>) -> bool {
    let trusted = [Some(0), Some(Uid::effective().as_raw()), another];
    fs::symlink_metadata(file).is_ok_and(|metadata| {
        metadata.is_file()
            && trusted.contains(&Some(metadata.uid()))
            && metadata.mode() & WRITABLE_BY_OTHERS == 0
    })
}

/// The same path with something behind its name.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_link_at_the_name_of_the_unfinished_file_leads_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, victim) = (folder.path().join("file"), folder.path().join("victim"));
        fs::write(&victim, "precious").expect("room for a file");
        symlink(&victim, folder.path().join("file.new")).expect("a link");
        replace(&file, b"content", Some(0o640)).expect("a file");
        assert_eq!(fs::read(&victim).expect("the victim"), b"precious");
        assert_eq!(fs::read(&file).expect("the file"), b"content");
        let metadata = fs::symlink_metadata(&file).expect("the file");
        assert_eq!((metadata.is_file(), metadata.mode() & 0o777), (true, 0o640));
    }

    #[test]
    fn a_link_at_the_name_of_the_file_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, victim) = (folder.path().join("file"), folder.path().join("victim"));
        fs::write(&victim, "precious").expect("room for a file");
        symlink(&victim, &file).expect("a link");
        replace(&file, b"content", None).expect("a file");
        assert_eq!(fs::read(&victim).expect("the victim"), b"precious");
        assert!(fs::symlink_metadata(&file).expect("the file").is_file());
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (pipe, endless) = (folder.path().join("pipe"), folder.path().join("endless"));
        mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        symlink("/dev/zero", &endless).expect("a link");
        for path in [pipe, endless, folder.path().to_owned()] {
            assert!(read(&path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_file_is_safe_if_no_stranger_can_change_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "x").expect("room for a file");
        symlink(&file, &link).expect("a link");
        assert!(is_safe(&file, None));
        assert!(!is_safe(&link, None));
        fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("a mode");
        assert!(!is_safe(&file, None));
    }
}
