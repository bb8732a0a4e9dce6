//! CloudEvents SQL 1.0: expressions over the context attributes of an event.
//!
//! An [`Expression`] is compiled once and evaluated for any number of events. It is total: evaluation ends, panics never, and gives a
//! value even where it meets an error. Its cost is bounded by the length of the expression times that of the attributes; it allocates
//! only where a function or a cast makes a new text.
//!
//! Where the specification leaves a choice:
//!
//! - errors are handled in its *fail fast mode* (section 4.1): an operator or a function whose operand errs is not carried out;
//! - what can be known without an event is an error of compilation: syntax, and functions that do not exist;
//! - names of attributes are taken in lower case, as keywords and functions are in any;
//! - a sum, difference, product, quotient or negation outside the 32 bits is a math error with the value 0;
//! - `IN` looks at its elements from the left and stops at the first that is equal;
//! - an attribute of type Binary is the String of its Base64 form.
//!
//! Note what the specification's order of precedence (section 3.6) means: `NOT` binds tighter than anything but a call, so
//! `NOT type = 'a'` is `(NOT type) = 'a'`; and `AND`, `OR` and `XOR` bind alike, so `a OR b AND c` is `(a OR b) AND c`.

use std::fmt;

use meshgate_api::event::Event;

mod attribute;
mod error;
mod facts;
mod function;
mod lexer;
mod like;
mod node;
mod operator;
mod parser;
mod value;

pub use error::{CompileError, Error, ErrorKind};
pub use facts::Fact;
pub use value::{Type, Value};

use node::Node;

/// Bytes of the longest expression.
pub const MAX_LENGTH: usize = 8 * 1024;
/// How deep parentheses, calls and unary operators may stand in each other.
pub const MAX_DEPTH: usize = 64;
/// Bytes of the longest text that `CONCAT` and `CONCAT_WS` make; beyond it they err.
pub const MAX_TEXT: usize = 1024 * 1024;

/// A compiled expression. `Display` shows it as it was written.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Box<str>,
    root: Node,
}

/// What an expression makes of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation<'a> {
    /// The value; where an error was met, what the specification says for it, mostly the zero value of the expression's type.
    pub value: Value<'a>,
    /// The first error that was met.
    pub error: Option<Error<'a>>,
}

impl Expression {
    /// Compiles a text of at most [`MAX_LENGTH`] bytes.
    ///
    /// # Errors
    ///
    /// The first thing that is no syntax ([`ErrorKind::Parse`]), else the first call of a function that does not exist with so many
    /// arguments ([`ErrorKind::MissingFunction`]).
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        Ok(Self { root: parser::parse(text)?, text: text.into() })
    }

    /// The expression's value for an event, and the first error on the way.
    #[must_use]
    pub fn evaluate<'a>(&'a self, event: &'a Event) -> Evaluation<'a> {
        let outcome = match &self.root {
            Node::Call(call) => call.evaluate(event),
            root => root.evaluate(event).map_err(Into::into),
        };
        match outcome {
            Ok(value) => Evaluation { value, error: None },
            Err(failure) => {
                let zero = || Value::zero(self.returns().unwrap_or(Type::Boolean));
                Evaluation { value: failure.value.unwrap_or_else(zero), error: Some(failure.error) }
            }
        }
    }

    /// Whether the expression, used as a filter, lets an event through.
    ///
    /// # Errors
    ///
    /// What evaluation meets; and [`Error::NotBoolean`] where the value is no Boolean (section 1.2). Then the event does not pass.
    pub fn holds<'a>(&'a self, event: &'a Event) -> Result<bool, Error<'a>> {
        match self.root.evaluate(event)? {
            Value::Boolean(holds) => Ok(holds),
            other => Err(Error::NotBoolean(other.kind())),
        }
    }

    /// The type of the value, where it does not depend on the event.
    #[must_use]
    pub fn returns(&self) -> Option<Type> {
        self.root.returns()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
