//! Memory whose size a row, a peer or a caller decides: asked for, and refused with an error.
//!
//! An allocation that fails where Rust takes it for granted ends the process, which is the database
//! server. So what can be large goes through here, and the statement fails instead.

use std::collections::VecDeque;

use crate::error::Error;

/// Appends `bytes` to `out`.
///
/// # Errors
///
/// There is no memory; `out` is as it was.
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Error> {
    reserve(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends one item.
///
/// # Errors
///
/// As [`append`].
pub(crate) fn push<T>(out: &mut Vec<T>, item: T) -> Result<(), Error> {
    reserve(out, 1)?;
    out.push(item);
    Ok(())
}

/// As [`push`], to a queue.
pub(crate) fn push_back<T>(out: &mut VecDeque<T>, item: T) -> Result<(), Error> {
    out.try_reserve(1).map_err(|_| Error::no_memory())?;
    out.push_back(item);
    Ok(())
}

/// Makes `out` as long as `length`, if it is shorter; what is new is zero.
///
/// # Errors
///
/// As [`append`].
pub(crate) fn lengthen(out: &mut Vec<u8>, length: usize) -> Result<(), Error> {
    if out.len() < length {
        reserve(out, length - out.len())?;
        out.resize(length, 0);
    }
    Ok(())
}

/// Room for `more` items: for twice as many as there were, so that appending stays cheap, or for
/// just as many where that is all there is.
///
/// # Errors
///
/// There is no memory.
pub(crate) fn reserve<T>(out: &mut Vec<T>, more: usize) -> Result<(), Error> {
    out.try_reserve(more)
        .or_else(|_| out.try_reserve_exact(more))
        .map_err(|_| Error::no_memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused_and_nothing_is_lost() {
        let mut bytes = b"ab".to_vec();
        assert!(reserve(&mut bytes, 1 << 50).is_err());
        assert!(lengthen(&mut bytes, 1 << 50).is_err());
        assert_eq!(bytes, b"ab");
        append(&mut bytes, b"cd").unwrap();
        lengthen(&mut bytes, 5).unwrap();
        lengthen(&mut bytes, 1).unwrap();
        assert_eq!(bytes, b"abcd\0");
        push(&mut bytes, b'e').unwrap();
        assert_eq!(bytes, b"abcd\0e");
    }
}
