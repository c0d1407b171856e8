//! System variables of the plugin, made from the tables of [`crate::settings`].
//!
//! A variable's value lives in the setting's atomic. The server writes it when it reads its
//! configuration and through the `update_*` functions afterwards; everybody else may read it at any time.

use std::ffi::{c_char, c_int, c_longlong, c_ulong, c_ulonglong, c_void};
use std::ptr;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::functions::{callers, commit_wait, transaction};
use crate::host::plugin_abi::{
    BoolVariable, Check, EnumVariable, NumberVariable, Typelib, VALUE_STRING, VARIABLE_BOOL,
    VARIABLE_ENUM, VARIABLE_OPTIONAL_ARGUMENT, VARIABLE_READ_ONLY, VARIABLE_ULONGLONG, Value,
};
use crate::plugin::variable_parts::{address, forever, header, refused, text};
use crate::plugin::{legacy, texts};
use crate::settings::{self, Callers, Choice, Delivery, Number, Switch};

/// Room for the name of a choice; a longer text is none.
const LONGEST_CHOICE: usize = 64;

/// The list of a MariaDB server, which lives for ever, as the library does.
pub(super) fn for_maria() -> *const *const c_void {
    build(|setting| {
        let is_wait = setting.name == settings::COMMIT_WAIT.name;
        let check = is_wait.then_some(check_commit_wait as Check);
        switch(setting, check, setting.at_start_only_on_mariadb)
    })
}

/// The list of a MySQL server, which lives for ever, as the library does.
pub(super) fn for_mysql() -> *const *const c_void {
    build(|setting| {
        let check = match setting.name {
            name if name == settings::COMMIT_WAIT.name => Some(check_commit_wait as Check),
            name if name == settings::LEGACY_JSON_NAMES.name => Some(check_legacy as Check),
            _ => None,
        };
        switch(setting, check, false)
    })
}

/// Builds a NULL-terminated list, whose switches `switch` makes.
fn build(switch: impl Fn(&'static Switch) -> *const c_void) -> *const *const c_void {
    let mut list: Vec<*const c_void> = texts::all().collect();
    list.extend(settings::NUMBERS.iter().map(|setting| number(setting)));
    list.extend(settings::CHOICES.iter().map(|setting| choice(setting)));
    list.extend(settings::SWITCHES.into_iter().map(switch));
    list.push(ptr::null());
    forever(list).as_ptr()
}

fn number(setting: &'static Number) -> *const c_void {
    address(NumberVariable {
        header: header(
            VARIABLE_ULONGLONG,
            setting.name,
            setting.description,
            Some(check_number),
            Some(update_number),
        ),
        value: setting.storage(),
        default: setting.default,
        min: setting.min,
        max: setting.max,
        block_size: 0,
    })
}

fn choice(setting: &'static Choice) -> *const c_void {
    let check: Option<Check> = match setting.name {
        name if name == settings::DELIVERY.name => Some(check_delivery),
        name if name == settings::CALLERS.name => Some(check_callers),
        _ => None,
    };
    let mut names: Vec<*const c_char> = setting.choices.iter().map(|name| text(name)).collect();
    let mut lengths: Vec<_> = setting
        .choices
        .iter()
        .map(|name| name.len() as u32)
        .collect();
    names.push(ptr::null());
    lengths.push(0);
    address(EnumVariable {
        header: header(
            VARIABLE_ENUM,
            setting.name,
            setting.description,
            check,
            Some(update_number),
        ),
        value: setting.storage(),
        default: setting.default as c_ulong,
        names: Box::leak(Box::new(Typelib {
            count: setting.choices.len(),
            title: c"".as_ptr(),
            names: forever(names).as_ptr(),
            lengths: forever(lengths).as_ptr(),
            hidden: ptr::null(),
        })),
    })
}

fn switch(setting: &'static Switch, check: Option<Check>, at_start_only: bool) -> *const c_void {
    let when = if at_start_only { VARIABLE_READ_ONLY } else { 0 };
    address(BoolVariable {
        header: header(
            VARIABLE_BOOL | VARIABLE_OPTIONAL_ARGUMENT | when,
            setting.name,
            setting.description,
            check,
            Some(update_switch),
        ),
        value: setting.storage(),
        default: setting.default,
    })
}

/// Numbers and choices: both are 64 bits wide, an `unsigned long` on these machines.
unsafe extern "C" fn update_number(
    _session: *mut c_void,
    _variable: *mut c_void,
    target: *mut c_void,
    save: *const c_void,
) {
    // SAFETY: the server passes the address of the value that the variable was declared with, an
    // `AtomicU64` of `settings`, and of the value that it checked, of the declared type.
    unsafe {
        let value = *save.cast::<c_ulonglong>();
        std::sync::atomic::AtomicU64::from_ptr(target.cast()).store(value, Ordering::Relaxed);
    }
}

unsafe extern "C" fn update_switch(
    _session: *mut c_void,
    _variable: *mut c_void,
    target: *mut c_void,
    save: *const c_void,
) {
    // SAFETY: as in `update_number`; the value is one byte, 0 or 1.
    unsafe {
        let value = *save.cast::<u8>() != 0;
        std::sync::atomic::AtomicBool::from_ptr(target.cast()).store(value, Ordering::Relaxed);
    }
}

/// Refuses a number that the server would move to the nearest end of the range.
unsafe extern "C" fn check_number(
    _session: *mut c_void,
    variable: *mut c_void,
    save: *mut c_void,
    value: *mut Value,
) -> c_int {
    // SAFETY: the server passes the variable that was declared with this function.
    let storage = unsafe { (*variable.cast::<NumberVariable>()).value };
    let mut number: c_longlong = 0;
    // SAFETY: the server passes a valid value, and has checked that it is a whole number or NULL.
    let (is_null, is_unsigned) = unsafe {
        (
            ((*value).val_int)(value, &raw mut number) != 0,
            ((*value).is_unsigned)(value) != 0,
        )
    };
    let number = match is_unsigned {
        true => i128::from(number.cast_unsigned()),
        false => i128::from(number),
    };
    let setting = settings::NUMBERS
        .iter()
        .find(|setting| setting.storage() == storage);
    let checked = setting.map_or(Ok(0), |setting| {
        in_range(setting, (!is_null).then_some(number))
    });
    // SAFETY: `save` has room for a number, as the variable is one.
    unsafe { *save.cast::<c_ulonglong>() = *checked.as_ref().unwrap_or(&0) };
    let name = setting.map_or("", |setting| setting.name);
    refused(name, || checked.map(drop))
}

/// `value`, which is NULL for `None`, if the setting takes it.
fn in_range(setting: &Number, value: Option<i128>) -> Result<u64, Error> {
    let (min, max) = (setting.min, setting.max);
    let shown = value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
    value
        .and_then(|value| u64::try_from(value).ok())
        .filter(|value| (min..=max).contains(value))
        .ok_or_else(|| {
            Error::Input(format!(
                "it cannot be {shown}, expected a number from {min} to {max}"
            ))
        })
}

/// A check that the server calls with a statement's value, by one of the functions below.
macro_rules! check {
    ($(#[$doc:meta])* $name:ident, $check:ident($($argument:expr),+)) => {
        $(#[$doc])*
        unsafe extern "C" fn $name(
            _session: *mut c_void,
            _variable: *mut c_void,
            save: *mut c_void,
            value: *mut Value,
        ) -> c_int {
            // SAFETY: the server passes those of a SET statement for the setting named here.
            unsafe { $check($($argument),+, save, value) }
        }
    };
}

check! {
    /// The server's own check of a name or its number, and whether jobs can wait for a commit here.
    check_delivery,
    check_choice(&settings::DELIVERY, Delivery::Committed as usize, transaction::check_possible)
}

check! {
    /// The same, and whether it can be known here where a call comes from.
    check_callers,
    check_choice(&settings::CALLERS, Callers::Programs as usize, callers::check_possible)
}

check! {
    /// The server's own check of a switch, and whether statements can be rewritten here.
    check_legacy,
    check_switch(&settings::LEGACY_JSON_NAMES, legacy::check_possible)
}

check! {
    /// The same, and whether a commit can wait here.
    check_commit_wait,
    check_switch(&settings::COMMIT_WAIT, commit_wait::check_possible)
}

/// Checks a choice, of which the one at `place` has to be `possible`.
///
/// # Safety
///
/// `save` and `value` are those of a SET statement for `setting`.
unsafe fn check_choice(
    setting: &Choice,
    place: usize,
    possible: fn() -> Result<(), Error>,
    save: *mut c_void,
    value: *mut Value,
) -> c_int {
    // SAFETY: the caller's promise.
    let chosen = unsafe { choice_of(setting.choices, value) };
    let Some(chosen) = chosen else {
        // The server says which value is wrong.
        return 1;
    };
    if chosen == place && refused(setting.name, possible) != 0 {
        return 1;
    }
    // SAFETY: `save` has room for an `unsigned long`, as the variable is a choice.
    unsafe { *save.cast::<c_ulong>() = chosen as c_ulong };
    0
}

/// Checks a switch, which has to be `possible` to be turned on.
///
/// # Safety
///
/// `save` and `value` are those of a SET statement for `setting`.
unsafe fn check_switch(
    setting: &Switch,
    possible: impl FnOnce() -> Result<(), Error>,
    save: *mut c_void,
    value: *mut Value,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(place) = (unsafe { choice_of(&["OFF", "ON"], value) }) else {
        // The server says which value is wrong.
        return 1;
    };
    let is_on = place == 1;
    if is_on && refused(setting.name, possible) != 0 {
        return 1;
    }
    // SAFETY: `save` has room for one byte, as the variable is a switch.
    unsafe { *save.cast::<bool>() = is_on };
    0
}

/// The place of a choice that is given by its name or by its number.
///
/// # Safety
///
/// `value` is the value of a SET statement.
unsafe fn choice_of(choices: &[&str], value: *mut Value) -> Option<usize> {
    // SAFETY: the caller's promise, here and below.
    if unsafe { ((*value).value_type)(value) } == VALUE_STRING {
        let mut buffer = [0; LONGEST_CHOICE];
        let mut length = buffer.len() as c_int;
        // SAFETY: as above; `length` is the size of `buffer`.
        let text = unsafe {
            let text = ((*value).val_str)(value, buffer.as_mut_ptr(), &raw mut length);
            if text.is_null() {
                return None;
            }
            std::slice::from_raw_parts(text.cast::<u8>(), usize::try_from(length).ok()?)
        };
        let mut choices = choices.iter();
        return choices.position(|choice| choice.as_bytes().eq_ignore_ascii_case(text));
    }
    let mut number: c_longlong = 0;
    // SAFETY: as above. Not 0 is NULL.
    if unsafe { ((*value).val_int)(value, &raw mut number) } != 0 {
        return None;
    }
    let place = usize::try_from(number).ok()?;
    (place < choices.len()).then_some(place)
}
