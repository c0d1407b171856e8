//! The library's files: where it comes from, and what stands in the server's plugin directory.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::whole_file::{self, WRITABLE_BY_OTHERS, with_suffix};

/// The library's file.
pub(super) const LIBRARY: &str = "libgearman_mysql_udf.so";

/// Behind the name of a C plugin's file that ours took the place of.
pub(super) const KEPT: &str = ".c-plugin";

/// A function that none of the C plugins has, and each version of ours.
const ONLY_OURS: &[u8] = b"gman_check";

/// Everybody reads a library; servers run under accounts of their own.
const MODE: u32 = 0o644;

/// Where the packages have the library, seen from the folder of this program: beside it in the
/// tarball, and in the plugin directory of Debian's servers.
const PLACES: [&str; 2] = [".", "../lib/mysql/plugin"];

/// The library as it came.
pub(super) fn source(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(file) = named {
        return match file.is_file() {
            true => Ok(file.to_owned()),
            false => {
                let file = file.display();
                Err(Error::usage(format!("--library: there is no file {file}")))
            }
        };
    }
    let program = env::current_exe().and_then(fs::canonicalize);
    let folder = program
        .ok()
        .and_then(|file| Some(file.parent()?.to_owned()));
    let folder = folder.unwrap_or_default();
    let mut places = PLACES.iter().map(|place| folder.join(place).join(LIBRARY));
    places.find(|file| file.is_file()).ok_or_else(|| {
        let folder = folder.display();
        Error::usage(format!(
            "there is no {LIBRARY} in {folder}; name it with --library"
        ))
    })
}

/// Whether both names are of the same file.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

pub(super) fn is_equal(one: &Path, other: &Path) -> bool {
    matches!((whole_file::read(one), whole_file::read(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether nobody can change a file who may not change what stands in its folder.
pub(super) fn is_safe(file: &Path) -> bool {
    let folder = file.parent().and_then(|folder| fs::metadata(folder).ok());
    whole_file::is_safe(file, folder.map(|folder| folder.uid()))
}

/// Whether accounts that have nothing to do with a folder can put files into it.
pub(super) fn is_open_to_all(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & WRITABLE_BY_OTHERS != 0)
}

/// Whether a file can be loaded: it is one of the linker's.
pub(super) fn is_library(file: &Path) -> bool {
    whole_file::read(file).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"))
}

/// Whether a library is a version of ours.
pub(super) fn is_ours(file: &Path) -> bool {
    whole_file::read(file).is_ok_and(|bytes| find(&bytes, ONLY_OURS).next().is_some())
}

/// Whether a library has a function of this name.
pub(super) fn has_symbol(file: &Path, name: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    whole_file::read(file).is_ok_and(|bytes| {
        find(&bytes, name.as_bytes()).any(|at| {
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            !is_part(before) && !is_part(bytes.get(at + name.len()))
        })
    })
}

fn find<'a>(bytes: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = bytes.windows(part.len()).enumerate();
    windows
        .filter(move |(_, window)| *window == part)
        .map(|(at, _)| at)
}

/// Whether the name leads to our library beside it.
pub(super) fn is_link_to_ours(file: &Path) -> bool {
    fs::read_link(file).is_ok_and(|target| target == Path::new(LIBRARY))
}

/// Keeps a file under a second name, so that the first one never points to nothing.
pub(super) fn keep(file: &Path) -> Result<String> {
    let kept = with_suffix(file, KEPT);
    if kept.exists() {
        return Err(Error::failed(format!(
            "{} is there already; move it out of the way if {} is to be kept",
            kept.display(),
            file.display()
        )));
    }
    fs::hard_link(file, &kept).map_err(|error| cannot("keep", file, &error))?;
    Ok(format!("kept {} as {}", name(file), name(&kept)))
}

/// Writes a file so that nobody ever sees half of it.
pub(super) fn replace(file: &Path, content: &[u8]) -> Result {
    whole_file::replace(file, content, Some(MODE)).map_err(|error| cannot("write", file, &error))
}

/// Makes the name lead to our library, from one moment to the next.
pub(super) fn link_to_ours(file: &Path) -> Result {
    let new = with_suffix(file, ".new");
    let _ = fs::remove_file(&new);
    symlink(LIBRARY, &new)
        .and_then(|()| fs::rename(&new, file))
        .map_err(|error| cannot("replace", file, &error))
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>> {
    whole_file::read(file).map_err(|error| cannot("read", file, &error))
}

pub(super) fn rename(file: &Path, to: &Path) -> Result {
    fs::rename(file, to).map_err(|error| cannot("rename", file, &error))
}

pub(super) fn remove(file: &Path) -> Result {
    fs::remove_file(file).map_err(|error| cannot("remove", file, &error))
}

/// The files in a folder, by their names.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| cannot("read", folder, &error))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

/// The name that a C plugin's file had before it was kept.
pub(super) fn before_kept(file: &Path) -> Option<PathBuf> {
    // Byte by byte: a name may be no UTF-8.
    let name = file.file_name()?.as_bytes().strip_suffix(KEPT.as_bytes())?;
    (!name.is_empty()).then(|| file.with_file_name(OsStr::from_bytes(name)))
}

/// The last part of a path, for people.
pub(super) fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}

fn cannot(what: &str, file: &Path, error: &io::Error) -> Error {
    let file = file.display();
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "; run this as an account that may, such as root",
        _ => "",
    };
    Error::failed(format!("cannot {what} {file}: {error}{remedy}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_symbol_is_a_whole_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lib.so");
        fs::write(&file, b"\0gman_do_init\0gman_do\0x_json_values").expect("room for a file");
        assert!(has_symbol(&file, "gman_do"));
        assert!(!has_symbol(&file, "gman"));
        assert!(!has_symbol(&file, "json_values"));
    }

    #[test]
    fn the_name_before_is_the_same_bytes() {
        let kept = Path::new("/p").join(OsStr::from_bytes(b"\xff\x1b.so.c-plugin"));
        let before = Path::new("/p").join(OsStr::from_bytes(b"\xff\x1b.so"));
        assert_eq!(before_kept(&kept), Some(before));
        for name in ["/p/.c-plugin", "/p/a.so", "/"] {
            assert_eq!(before_kept(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn a_folder_that_everybody_may_write_to_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_open_to_all(folder.path()));
        let open = fs::Permissions::from_mode(0o757);
        fs::set_permissions(folder.path(), open).expect("a mode");
        assert!(is_open_to_all(folder.path()));
    }
}
