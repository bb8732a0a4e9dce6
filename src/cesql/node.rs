//! The compiled form of an expression, and its evaluation.

use meshgate_api::event::Event;

use super::{
    Error, Type, Value,
    attribute::Attribute,
    function::Call,
    like::Pattern,
    operator::{Operator, negate},
};

/// A part of an expression that has a value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Literal(Value<'static>),
    Attribute(Attribute),
    Exists(Attribute),
    Not(Box<Node>),
    Negate(Box<Node>),
    Call(Call),
    /// Operators that bind alike, in a row: however long it is, evaluation goes no deeper.
    Row(Box<Node>, Vec<Step>),
}

/// One operator of a row, with all but its left operand.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Binary(Operator, Node),
    Like { pattern: Pattern, negated: bool },
    In { set: Vec<Node>, negated: bool },
}

impl Node {
    /// The type of its value, where it does not depend on the event.
    pub(super) fn returns(&self) -> Option<Type> {
        match self {
            Self::Literal(value) => Some(value.kind()),
            Self::Attribute(_) => None,
            Self::Exists(_) | Self::Not(_) => Some(Type::Boolean),
            Self::Negate(_) => Some(Type::Integer),
            Self::Call(call) => Some(call.returns()),
            Self::Row(first, steps) => match steps.last() {
                Some(Step::Binary(operator, _)) => Some(operator.returns()),
                Some(Step::Like { .. } | Step::In { .. }) => Some(Type::Boolean),
                None => first.returns(),
            },
        }
    }

    /// Its value, or the first error on the way there.
    pub(super) fn evaluate<'a>(&'a self, event: &'a Event) -> Result<Value<'a>, Error<'a>> {
        match self {
            Self::Literal(value) => Ok(value.borrowed()),
            Self::Attribute(attribute) => attribute.of(event).ok_or_else(|| Error::MissingAttribute(attribute.name())),
            Self::Exists(attribute) => Ok(Value::Boolean(attribute.is_in(event))),
            Self::Not(operand) => Ok(Value::Boolean(!operand.evaluate(event)?.into_boolean()?)),
            Self::Negate(operand) => Ok(Value::Integer(negate(operand.evaluate(event)?.into_integer()?)?)),
            Self::Call(call) => call.evaluate(event).map_err(|failure| failure.error),
            Self::Row(first, steps) => {
                steps.iter().try_fold(first.evaluate(event)?, |left, step| step.apply(left, event))
            }
        }
    }
}

impl Step {
    fn apply<'a>(&'a self, left: Value<'a>, event: &'a Event) -> Result<Value<'a>, Error<'a>> {
        match self {
            Self::Binary(operator, right) => operator.apply(left, right, event),
            Self::Like { pattern, negated } => Ok(Value::Boolean(pattern.fits(&left.into_string()) != *negated)),
            Self::In { set, negated } => Ok(Value::Boolean(is_in(&left, set, event)? != *negated)),
        }
    }
}

/// Elements are cast to the type of `left`.
fn is_in<'a>(left: &Value<'a>, set: &'a [Node], event: &'a Event) -> Result<bool, Error<'a>> {
    for element in set {
        if element.evaluate(event)?.equals(left)? {
            return Ok(true);
        }
    }
    Ok(false)
}
