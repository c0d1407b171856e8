//! The entry points of a function, which the server looks up by its name: one frame for all.
//!
//! A function says what it does in [`Function`] and either [`PerRow`] or [`Aggregate`], all of it safe;
//! [`entry_points!`] gives it to the server. Here a panic is stopped, an error is raised into the
//! statement, and what CREATE FUNCTION said is compared with what the function is.
//!
//! # Calls
//!
//! The server calls the one symbol by one of two signatures, as CREATE FUNCTION has it (`sql_udf.h` of
//! both servers):
//!
//! | RETURNS | arguments after the first two | result |
//! |---|---|---|
//! | `STRING`, `DECIMAL` | buffer, its length, is_null, error | pointer to text |
//! | `INTEGER`, `REAL` | is_null, error | integer, or double |
//!
//! Nothing says which one it is, but the first two tell: no buffer can begin within the eight bytes
//! that hold its length, while `is_null` and `error` are neighbours in every server. So the entry
//! point takes what both signatures pass in the same registers, and looks.

use std::ffi::{c_char, c_uchar, c_uint, c_ulong, c_void};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

use udf::udf_sys::{UDF_ARGS, UDF_INIT};
use udf::{ArgList, Init, Process, UdfCfg};

use crate::error::Error;
use crate::host::aggregate::{Aggregate, Groups};
use crate::host::{args, charset, diagnostics, guard};

/// The library, as CREATE FUNCTION names it.
const LIBRARY: &str = "libgearman_mysql_udf.so";

/// Room for the message of a refusal, with its final NUL: `MYSQL_ERRMSG_SIZE` of `mysql_com.h`.
const MESSAGE_BYTES: usize = 512;

/// How long the buffer for the result of RETURNS DECIMAL is: `DECIMAL_MAX_STR_LENGTH` of `my_decimal.h`.
/// That of RETURNS STRING has what a `String` of the servers has, a multiple of 8, even 0 on MySQL 9.
const DECIMAL_BUFFER: c_ulong = 83;

/// What an integer's width is before the first row, `MY_INT64_NUM_DECIMAL_DIGITS`; and it has no
/// decimals. A double has 17 characters and its decimals, or 23.
const INTEGER_WIDTH: c_ulong = 21;

/// What `DECIMAL_NOT_SPECIFIED` is in MySQL 8 and later: the decimals of what is text.
const TEXT_DECIMALS: c_uint = 31;

/// The width of a double whose decimals are not known, `float_length` of MySQL's `item.cc`.
const REAL_WIDTH: c_ulong = 23;

/// What the server expects of the result before the first row, which it makes up from RETURNS and
/// from the arguments.
struct Declared {
    width: c_ulong,
    decimals: c_uint,
}

impl Declared {
    /// False only if it is certain. Other types can look like this one.
    fn may_be_integer(&self) -> bool {
        (self.width, self.decimals) == (INTEGER_WIDTH, 0)
    }

    /// Whether it is RETURNS STRING, on MySQL 8 and later. There a character set for another type is an
    /// error, which would hide ours.
    fn may_be_text(&self, args: &ArgList<Init>) -> bool {
        // A string is as wide as its widest argument.
        let is_widest = || (0..args.len()).any(|i| args::width(args, i) as c_ulong == self.width);
        self.decimals == TEXT_DECIMALS && (self.width != REAL_WIDTH || is_widest())
    }
}

/// What a function is, and how a use of it in a statement begins.
pub(crate) trait Function: Sized {
    /// What goes before its errors.
    const NAME: &'static str;

    /// `&[u8]` for RETURNS STRING, `i64` for RETURNS INTEGER.
    type Output<'a>: Output
    where
        Self: 'a;

    /// Whether a result that is text is UTF-8, and not somebody else's bytes.
    const IS_UTF8: bool = true;

    /// Checks the arguments before the first row; what it refuses is shown by the server as
    /// `Can't initialize function '...'; <message>`.
    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error>;
}

/// A function that is called for each row.
pub(crate) trait PerRow: Function {
    /// The result for one row; an error fails the statement.
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<Self::Output<'_>>, Error>;
}

/// What a function returns.
pub(crate) trait Output {
    /// The word after RETURNS.
    const RETURNS: &'static str;

    fn into_value(self) -> Value;
}

impl Output for &[u8] {
    const RETURNS: &'static str = "STRING";

    fn into_value(self) -> Value {
        Value::Text(self)
    }
}

impl Output for i64 {
    const RETURNS: &'static str = "INTEGER";

    fn into_value(self) -> Value {
        Value::Integer(self)
    }
}

/// A result on its way to the server. Text is borrowed from the function's state, which stays as
/// it is until the next call.
pub(crate) enum Value {
    Text(*const [u8]),
    Integer(i64),
}

/// What the server keeps for one use of a function in a statement.
pub(crate) struct State<F> {
    /// What `init` made.
    function: F,
    /// An aggregate's groups: none has begun if it was created as a function of rows.
    groups: Groups<F>,
}

/// The form in which a call came.
enum Form {
    Number {
        is_null: *mut c_uchar,
    },
    Text {
        buffer: *mut c_char,
        length: *mut c_ulong,
        is_null: *mut c_uchar,
    },
    Decimal {
        is_null: *mut c_uchar,
    },
}

/// What the server passes after the state and the arguments; of `third` only RETURNS STRING and
/// DECIMAL say what it is.
pub(crate) struct Rest {
    pub(crate) first: *mut c_void,
    pub(crate) second: *mut c_void,
    pub(crate) third: *mut c_void,
}

impl Rest {
    /// # Safety
    ///
    /// They are what a server passed.
    unsafe fn form(&self) -> Form {
        let Self {
            first,
            second,
            third,
        } = *self;
        if first.addr().abs_diff(second.addr()) < size_of::<c_ulong>() {
            return Form::Number {
                is_null: first.cast(),
            };
        }
        let length: *mut c_ulong = second.cast();
        let is_null = third.cast();
        // SAFETY: the two are not neighbours, so they are a buffer and the length of it.
        if unsafe { *length } == DECIMAL_BUFFER {
            return Form::Decimal { is_null };
        }
        Form::Text {
            buffer: first.cast(),
            length,
            is_null,
        }
    }
}

/// `<function>_init`.
///
/// # Safety
///
/// Called by the server, with what the interface says.
pub(crate) unsafe fn init<F: Function>(
    name: &str,
    is_aggregate: bool,
    initid: *mut UDF_INIT,
    args: *mut UDF_ARGS,
    message: *mut c_char,
) -> bool {
    // SAFETY: `UdfCfg` and `ArgList` are transparent wrappers, with interior mutability, around the
    // server's structures, which are valid during the call.
    let (cfg, args, declared) = unsafe {
        (*initid).ptr = ptr::null_mut();
        let declared = Declared {
            width: (*initid).max_length,
            decimals: (*initid).decimals,
        };
        (
            &*initid.cast::<UdfCfg<Init>>(),
            &*args.cast::<ArgList<Init>>(),
            declared,
        )
    };
    let begun = guard::caught(|| {
        let returns_text = F::Output::RETURNS == <&[u8]>::RETURNS;
        if !returns_text && !declared.may_be_integer() {
            let error = wrong_returns::<F>(name, is_aggregate);
            // The server would cut it after 80 characters.
            diagnostics::raise(F::NAME, &error);
            return Err(error);
        }
        let is_utf8 = returns_text && F::IS_UTF8 && declared.may_be_text(args);
        let begun = F::init(cfg, args);
        args.flush_all_coercions();
        if is_utf8 {
            charset::declare_result(cfg);
        }
        begun
    });
    match begun {
        Ok(function) => {
            let state = Box::new(State {
                function,
                groups: Groups::new(),
            });
            // SAFETY: as above; `deinit` takes the state back.
            unsafe { (*initid).ptr = Box::into_raw(state).cast() };
            false
        }
        Err(error) => {
            let text = error.to_string();
            let text = &text.as_bytes()[..text.floor_char_boundary(MESSAGE_BYTES - 1)];
            // SAFETY: the server's buffer has `MESSAGE_BYTES`.
            unsafe {
                ptr::copy_nonoverlapping(text.as_ptr(), message.cast(), text.len());
                *message.add(text.len()) = 0;
            }
            true
        }
    }
}

/// `<function>_deinit`.
///
/// # Safety
///
/// Called by the server, after `init` for the same function.
pub(crate) unsafe fn deinit<F: Function>(initid: *mut UDF_INIT) {
    // SAFETY: what `init` left there, or NULL where it refused.
    let state = unsafe { std::mem::replace(&mut (*initid).ptr, ptr::null_mut()) };
    if !state.is_null() {
        // SAFETY: as above, and nobody else has it any more.
        let state = unsafe { Box::from_raw(state.cast::<State<F>>()) };
        // There is nobody to tell of a panic.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(state)));
    }
}

/// `<function>` of a function that is called for each row.
///
/// # Safety
///
/// Called by the server, between `init` and `deinit`.
pub(crate) unsafe fn row<F: PerRow>(
    name: &str,
    initid: *mut UDF_INIT,
    args: *mut UDF_ARGS,
    rest: &Rest,
) -> i64 {
    // SAFETY: the caller's promise.
    let (state, args) = unsafe { (state::<F>(initid), &*args.cast::<ArgList<Process>>()) };
    // SAFETY: the caller's promise.
    unsafe {
        answer::<F>(name, false, rest, || {
            Ok(state.function.row(args)?.map(Output::into_value))
        })
    }
}

/// `<function>` of an aggregate.
///
/// # Safety
///
/// Called by the server, between `init` and `deinit`.
pub(crate) unsafe fn finish<F: Function + Aggregate>(
    name: &str,
    initid: *mut UDF_INIT,
    rest: &Rest,
) -> i64 {
    // SAFETY: the caller's promise.
    let state = unsafe { state::<F>(initid) };
    // SAFETY: the caller's promise.
    unsafe {
        answer::<F>(name, true, rest, || {
            let result = state.groups.finish(initid.addr()).unwrap_or_else(|| {
                Err(Error::Input(format!(
                    "it was created without AGGREGATE; {}",
                    create_again::<F>(name, true)
                )))
            });
            Ok(result?.map(Value::Integer))
        })
    }
}

/// `<function>_clear`.
///
/// # Safety
///
/// Called by the server, between `init` and `deinit`.
pub(crate) unsafe fn clear<F: Aggregate>(initid: *mut UDF_INIT) {
    // SAFETY: the caller's promise.
    let state = unsafe { state::<F>(initid) };
    state.groups.begin(initid.addr());
}

/// `<function>_add`.
///
/// # Safety
///
/// Called by the server, between `init` and `deinit`.
pub(crate) unsafe fn add<F: Aggregate>(initid: *mut UDF_INIT, args: *mut UDF_ARGS) {
    // SAFETY: the caller's promise.
    let (state, args) = unsafe { (state::<F>(initid), &*args.cast::<ArgList<Process>>()) };
    state.groups.add(initid.addr(), args);
}

/// # Safety
///
/// `init` has begun this use of `F`, and `deinit` has not ended it; the server makes one call at a time.
unsafe fn state<'a, F>(initid: *mut UDF_INIT) -> &'a mut State<F> {
    // SAFETY: what `init` left there.
    unsafe { &mut *(*initid).ptr.cast::<State<F>>() }
}

/// Runs `body`, and passes its result on in the form in which the call came. An error is raised into
/// the statement and the result is NULL. The `error` flag of the interface stays untouched: once set
/// it silences every later row of the statement.
///
/// # Safety
///
/// `rest` is what a server passed; what `body` lends lives until the next call.
unsafe fn answer<F: Function>(
    name: &str,
    is_aggregate: bool,
    rest: &Rest,
    body: impl FnOnce() -> Result<Option<Value>, Error>,
) -> i64 {
    // SAFETY: the caller's promise.
    let form = unsafe { rest.form() };
    let returns = F::Output::RETURNS;
    let is_right = match form {
        Form::Text { .. } => returns == <&[u8]>::RETURNS,
        Form::Number { .. } => returns == i64::RETURNS,
        Form::Decimal { .. } => false,
    };
    let outcome = guard::caught(|| match is_right {
        true => body(),
        false => Err(wrong_returns::<F>(name, is_aggregate)),
    });
    let value = outcome.unwrap_or_else(|error| {
        diagnostics::raise(F::NAME, &error);
        None
    });
    // SAFETY: the caller's promise; a text is copied only if the buffer holds it.
    unsafe { form.pass_on(value) }
}

impl Form {
    /// Returns what the server expects in the register of an integer or a pointer. A double would be in
    /// another one, but then the value is NULL.
    ///
    /// # Safety
    ///
    /// It is the form of the call that we are in.
    unsafe fn pass_on(self, value: Option<Value>) -> i64 {
        let (Self::Number { is_null } | Self::Text { is_null, .. } | Self::Decimal { is_null }) =
            self;
        // SAFETY: the flag that the server looks at after the call.
        unsafe { *is_null = c_uchar::from(value.is_none()) };
        match (self, value) {
            (_, None) => 0,
            (_, Some(Value::Integer(value))) => value,
            (Self::Text { buffer, length, .. }, Some(Value::Text(text))) => {
                // SAFETY: the text lives until the next call; `length` and `buffer` are the server's own,
                // so they do not overlap with it.
                unsafe {
                    let text = &*text;
                    let room = std::mem::replace(&mut *length, text.len() as c_ulong);
                    if text.is_empty() {
                        // Some servers look at the byte behind a text.
                        return address(c"".as_ptr());
                    }
                    if text.len() as c_ulong > room {
                        return address(text.as_ptr());
                    }
                    ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len());
                    address(buffer)
                }
            }
            // Refused before there was a value.
            (_, Some(Value::Text(_))) => 0,
        }
    }
}

/// A pointer as the server finds it in the register.
fn address<T>(pointer: *const T) -> i64 {
    pointer.expose_provenance().cast_signed() as i64
}

fn wrong_returns<F: Function>(name: &str, is_aggregate: bool) -> Error {
    Error::Input(format!(
        "CREATE FUNCTION gave it another type than it returns; {}",
        create_again::<F>(name, is_aggregate)
    ))
}

/// The statements that put a wrong CREATE FUNCTION right.
fn create_again<F: Function>(name: &str, is_aggregate: bool) -> String {
    let aggregate = if is_aggregate { "AGGREGATE " } else { "" };
    let returns = F::Output::RETURNS;
    format!(
        "DROP FUNCTION {name}; CREATE {aggregate}FUNCTION {name} RETURNS {returns} SONAME '{LIBRARY}'"
    )
}

/// Exports the entry points of a function under each of its names: `entry_points!(JsonArray: PerRow,
/// "json_array", "json_array_udf")`.
macro_rules! entry_points {
    ($type:ty: PerRow, $($name:literal),+) => {
        $(const _: () = {
            $crate::host::function::entry_points!(@init $type, $name, false);

            #[allow(unsafe_code)]
            // SAFETY: exported under a name that nobody else has, as the server's own has no such symbol.
            #[unsafe(export_name = $name)]
            unsafe extern "C" fn row(
                initid: *mut udf::udf_sys::UDF_INIT,
                args: *mut udf::udf_sys::UDF_ARGS,
                first: *mut std::ffi::c_void,
                second: *mut std::ffi::c_void,
                third: *mut std::ffi::c_void,
                _fourth: *mut std::ffi::c_void,
            ) -> i64 {
                let rest = $crate::host::function::Rest { first, second, third };
                // SAFETY: called by the server.
                unsafe { $crate::host::function::row::<$type>($name, initid, args, &rest) }
            }
        };)+
    };
    ($type:ty: Aggregate, $name:literal) => {
        const _: () = {
            $crate::host::function::entry_points!(@init $type, $name, true);

            #[allow(unsafe_code)]
            // SAFETY: as above.
            #[unsafe(export_name = $name)]
            unsafe extern "C" fn finish(
                initid: *mut udf::udf_sys::UDF_INIT,
                _args: *mut udf::udf_sys::UDF_ARGS,
                first: *mut std::ffi::c_void,
                second: *mut std::ffi::c_void,
                third: *mut std::ffi::c_void,
                _fourth: *mut std::ffi::c_void,
            ) -> i64 {
                let rest = $crate::host::function::Rest { first, second, third };
                // SAFETY: called by the server.
                unsafe { $crate::host::function::finish::<$type>($name, initid, &rest) }
            }

            #[allow(unsafe_code)]
            // SAFETY: as above.
            #[unsafe(export_name = concat!($name, "_clear"))]
            unsafe extern "C" fn clear(
                initid: *mut udf::udf_sys::UDF_INIT,
                _is_null: *mut u8,
                _error: *mut u8,
            ) {
                // SAFETY: called by the server.
                unsafe { $crate::host::function::clear::<$type>(initid) }
            }

            #[allow(unsafe_code)]
            // SAFETY: as above.
            #[unsafe(export_name = concat!($name, "_add"))]
            unsafe extern "C" fn add(
                initid: *mut udf::udf_sys::UDF_INIT,
                args: *mut udf::udf_sys::UDF_ARGS,
                _is_null: *mut u8,
                _error: *mut u8,
            ) {
                // SAFETY: called by the server.
                unsafe { $crate::host::function::add::<$type>(initid, args) }
            }
        };
    };
    (@init $type:ty, $name:literal, $is_aggregate:literal) => {
        #[allow(unsafe_code)]
        // SAFETY: as above.
        #[unsafe(export_name = concat!($name, "_init"))]
        unsafe extern "C" fn init(
            initid: *mut udf::udf_sys::UDF_INIT,
            args: *mut udf::udf_sys::UDF_ARGS,
            message: *mut std::ffi::c_char,
        ) -> bool {
            // SAFETY: called by the server.
            unsafe { $crate::host::function::init::<$type>($name, $is_aggregate, initid, args, message) }
        }

        #[allow(unsafe_code)]
        // SAFETY: as above.
        #[unsafe(export_name = concat!($name, "_deinit"))]
        unsafe extern "C" fn deinit(initid: *mut udf::udf_sys::UDF_INIT) {
            // SAFETY: called by the server.
            unsafe { $crate::host::function::deinit::<$type>(initid) }
        }
    };
}

pub(crate) use entry_points;
