//! The calls in a text, and which of them are old.

use std::collections::TryReserveError;

use super::argument::{self, Argument};
use super::blocks::Blocks;
use super::names::can_call_after;
use super::tokens::{Kind, Token, Tokens};

/// Calls inside calls: more than a server's parser takes. What is deeper is left alone.
const MAX_DEPTH: usize = 4_096;

/// Tokens that are looked back at: `index name using btree on json_object`.
const LOOKBACK: usize = 6;

/// A function that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Object,
    Array,
    /// A function of the C plugin whose name is free everywhere. Its result is JSON to the other
    /// functions of the plugin, and a string to the native ones.
    List,
    /// The same for the names that the old ones get.
    Renamed,
}

impl Function {
    fn of(token: Token<'_>) -> Option<Self> {
        const FUNCTIONS: [(&[u8], Function); 6] = [
            (b"json_object", Function::Object),
            (b"json_array", Function::Array),
            (b"json_members", Function::List),
            (b"json_values", Function::List),
            (b"json_object_udf", Function::Renamed),
            (b"json_array_udf", Function::Renamed),
        ];
        let name = token.name()?;
        let mut functions = FUNCTIONS.iter();
        functions
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map(|(_, function)| *function)
    }

    fn has_old_name(self) -> bool {
        matches!(self, Self::Object | Self::Array)
    }
}

/// A call, or a name in a definition.
#[derive(Debug)]
struct Call {
    function: Function,
    end_of_name: usize,
    is_old: bool,
    /// The call that it is a whole argument of.
    parent: Option<usize>,
}

/// A call whose closing bracket has not come yet.
#[derive(Debug)]
struct Open {
    /// Its place in the list of calls.
    call: usize,
    /// Brackets that are open in the argument.
    brackets: usize,
    /// Arguments before this one.
    arguments: usize,
    argument: Argument,
    begins_with_a_column: bool,
    has_alias: bool,
}

impl Open {
    fn new(call: usize) -> Self {
        Self {
            call,
            brackets: 0,
            arguments: 0,
            argument: Argument::default(),
            begins_with_a_column: false,
            has_alias: false,
        }
    }

    fn end_argument(&mut self) {
        self.begins_with_a_column |= self.arguments == 0 && self.argument.is_column();
        self.has_alias |= self.argument.has_alias();
        self.arguments += 1;
        self.argument = Argument::default();
    }

    /// Whether the native function cannot mean the call, or means something else.
    fn is_old(&mut self, function: Function) -> bool {
        if self.arguments > 0 || !self.argument.is_empty() {
            self.end_argument();
        }
        match function {
            Function::List | Function::Renamed => true,
            Function::Array => self.has_alias,
            Function::Object => {
                self.has_alias || self.begins_with_a_column || !self.arguments.is_multiple_of(2)
            }
        }
    }
}

/// Reads a text token by token.
#[derive(Debug, Default)]
pub(super) struct Reader<'a> {
    /// The last tokens, the latest one first.
    before: [Option<Token<'a>>; LOOKBACK],
    calls: Vec<Call>,
    open: Vec<Open>,
    blocks: Blocks<'a>,
    /// Where nothing is left but what the servers cut off.
    end: usize,
    /// There is something that must not be changed, or is not worth it.
    is_left_alone: bool,
}

impl<'a> Reader<'a> {
    /// For a statement that ends at `end`.
    pub(super) fn new(end: usize) -> Self {
        Self {
            end,
            ..Self::default()
        }
    }

    /// Reads `token`, which `following` come after.
    pub(super) fn read(
        &mut self,
        token: Token<'a>,
        following: &Tokens<'a>,
    ) -> Result<(), TryReserveError> {
        if self.blocks.read(token) && token.place < self.end {
            self.is_left_alone = true;
        }
        if token.is("(") {
            self.open_bracket()?;
        } else if token.is(")") {
            self.close_bracket(following);
        } else if token.is(";") {
            self.open.clear();
        } else {
            self.read_other(token, following)?;
        }
        self.before.rotate_right(1);
        self.before[0] = Some(token);
        Ok(())
    }

    /// The ends of the names that have to be changed.
    pub(super) fn finish(mut self) -> Result<Vec<usize>, TryReserveError> {
        let mut places = Vec::new();
        if self.is_left_alone {
            return Ok(places);
        }
        for index in 0..self.calls.len() {
            // A parent comes before its arguments.
            let parent = self.calls[index].parent.map(|parent| &self.calls[parent]);
            if parent.is_some_and(|parent| parent.is_old && parent.function != Function::Renamed) {
                self.calls[index].is_old = true;
            }
            let call = &self.calls[index];
            if call.is_old && call.function.has_old_name() {
                places.try_reserve(1)?;
                places.push(call.end_of_name);
            }
        }
        Ok(places)
    }

    fn read_other(
        &mut self,
        token: Token<'a>,
        following: &Tokens<'a>,
    ) -> Result<(), TryReserveError> {
        if let Some(function) = Function::of(token)
            && function.has_old_name()
            && self.is_defined(following)
        {
            self.add(function, token, true)?;
        }
        if let Some(open) = self.open.last_mut().filter(|open| open.brackets == 0) {
            if token.is(",") {
                open.end_argument();
            } else {
                open.argument.read(token);
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        function: Function,
        name: Token<'_>,
        is_old: bool,
    ) -> Result<(), TryReserveError> {
        self.calls.try_reserve(1)?;
        self.calls.push(Call {
            function,
            end_of_name: name.end_of_name(),
            is_old,
            parent: None,
        });
        Ok(())
    }

    fn open_bracket(&mut self) -> Result<(), TryReserveError> {
        let called = self.before[0].and_then(|name| Some((name, Function::of(name)?)));
        let Some((name, function)) = called.filter(|_| self.can_be_a_call()) else {
            if let Some(open) = self.open.last_mut() {
                open.brackets += 1;
            }
            return Ok(());
        };
        if self.open.len() == MAX_DEPTH {
            self.is_left_alone = true;
            self.open.clear();
        }
        let around = self.open.last().filter(|open| open.brackets == 0);
        // So far the argument is the name alone.
        let parent = around.filter(|open| open.argument.is_column());
        let parent = parent.map(|open| open.call);
        self.add(function, name, false)?;
        let call = self.calls.len() - 1;
        self.calls[call].parent = parent;
        self.open.try_reserve(1)?;
        self.open.push(Open::new(call));
        Ok(())
    }

    fn close_bracket(&mut self, following: &Tokens<'_>) {
        if let Some(open) = self.open.last_mut().filter(|open| open.brackets > 0) {
            open.brackets -= 1;
            if open.brackets == 0 {
                open.argument.read_group();
            }
            return;
        }
        let Some(mut open) = self.open.pop() else {
            return;
        };
        let call = &mut self.calls[open.call];
        call.is_old |= open.is_old(call.function);
        call.is_old &= !is_a_table_expression(following);
        call.parent = call.parent.filter(|_| is_whole(following));
        if let (true, Some(parent)) = (call.is_old, call.parent) {
            self.calls[parent].is_old = true;
        }
        if let Some(around) = self.open.last_mut().filter(|open| open.brackets == 0) {
            around.argument.read_group();
        }
    }

    /// Whether the last token is a name that its bracket calls.
    fn can_be_a_call(&self) -> bool {
        let is = |index: usize, word| self.before[index].is_some_and(|token| token.is(word));
        let is_index = is(1, "on") && !is(2, ")") && (2..LOOKBACK).any(|index| is(index, "index"));
        can_call_after(self.before[1]) && !is_index
    }

    /// Whether the name that comes now is that of a loadable function which is created or dropped.
    fn is_defined(&self, following: &Tokens<'_>) -> bool {
        let is = |index: usize, word| self.before[index].is_some_and(|token| token.is(word));
        let function = match (is(0, "exists"), is(1, "not")) {
            (false, _) => 0,
            (true, false) => 2,
            (true, true) => 3,
        };
        if !is(function, "function") || function > 0 && !is(function - 1, "if") {
            return false;
        }
        let mut following = following.clone();
        let mut next_is = |word| {
            let next = following.next_that_counts();
            next.is_some_and(|token| token.is(word))
        };
        if is(function + 1, "drop") {
            return !next_is(".");
        }
        (is(function + 1, "create") || is(function + 1, "aggregate")) && next_is("returns") && {
            next_is("");
            next_is("soname")
        }
    }
}

/// Whether a call that ends here is all of its argument, but for an alias.
fn is_whole(following: &Tokens<'_>) -> bool {
    let next = following.clone().next_that_counts();
    next.is_some_and(|next| match next.kind {
        Kind::Other => next.is(",") || next.is(")"),
        _ => !argument::continues(next),
    })
}

/// Whether what looks like a call is a table of a WITH clause and its columns: `name (a, b) AS (`.
fn is_a_table_expression(following: &Tokens<'_>) -> bool {
    let mut following = following.clone();
    let mut next_is = |word| {
        let next = following.next_that_counts();
        next.is_some_and(|token| token.is(word))
    };
    next_is("as") && next_is("(")
}
