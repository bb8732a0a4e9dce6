//! Binary operators (section 3.4.2).

use std::fmt;

use meshgate_api::event::Event;

use super::{Error, Type, Value, node::Node};

const TOO_LARGE: &str = "the result does not fit in 32 bits";
const BY_ZERO: &str = "division by zero";

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

/// How tightly an operator binds (section 3.6), the loosest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precedence {
    Logic,
    Comparison,
    Sum,
    Product,
}

impl Precedence {
    pub(super) const LOOSEST: Self = Self::Logic;

    pub(super) fn tighter(self) -> Option<Self> {
        match self {
            Self::Logic => Some(Self::Comparison),
            Self::Comparison => Some(Self::Sum),
            Self::Sum => Some(Self::Product),
            Self::Product => None,
        }
    }
}

impl Operator {
    pub(super) fn precedence(self) -> Precedence {
        match self {
            Self::Multiply | Self::Divide | Self::Remainder => Precedence::Product,
            Self::Add | Self::Subtract => Precedence::Sum,
            Self::And | Self::Or | Self::Xor => Precedence::Logic,
            _ => Precedence::Comparison,
        }
    }

    pub(super) fn returns(self) -> Type {
        match self.precedence() {
            Precedence::Product | Precedence::Sum => Type::Integer,
            Precedence::Comparison | Precedence::Logic => Type::Boolean,
        }
    }

    pub(super) fn apply<'a>(self, left: Value<'a>, right: &'a Node, event: &'a Event) -> Result<Value<'a>, Error<'a>> {
        Ok(match self {
            Self::And | Self::Or | Self::Xor => Value::Boolean(self.logic(left, right, event)?),
            Self::Equal => Value::Boolean(left.equals(&right.evaluate(event)?)?),
            Self::NotEqual => Value::Boolean(!left.equals(&right.evaluate(event)?)?),
            _ => {
                let right = right.evaluate(event)?;
                let (left, right) = (left.into_integer()?, right.into_integer()?);
                match self.precedence() {
                    Precedence::Comparison => Value::Boolean(self.compare(left, right)),
                    _ => Value::Integer(self.calculate(left, right)?),
                }
            }
        })
    }

    /// The right operand is looked at only where it matters.
    fn logic<'a>(self, left: Value<'a>, right: &'a Node, event: &'a Event) -> Result<bool, Error<'a>> {
        let left = left.into_boolean()?;
        match (self, left) {
            (Self::And, false) => Ok(false),
            (Self::Or, true) => Ok(true),
            _ => {
                let right = right.evaluate(event)?.into_boolean()?;
                Ok(if self == Self::Xor { left != right } else { right })
            }
        }
    }

    fn compare(self, left: i32, right: i32) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            _ => left >= right,
        }
    }

    fn calculate(self, left: i32, right: i32) -> Result<i32, Error<'static>> {
        let result = match self {
            Self::Divide | Self::Remainder if right == 0 => return Err(Error::Math(BY_ZERO)),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => left.checked_div(right),
            // The one that overflows, of the least integer by -1, is 0.
            Self::Remainder => Some(left.wrapping_rem(right)),
            Self::Add => left.checked_add(right),
            _ => left.checked_sub(right),
        };
        result.ok_or(Error::Math(TOO_LARGE))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::And => "AND",
            Self::Or => "OR",
            Self::Xor => "XOR",
        })
    }
}

/// The unary `-`.
pub(super) fn negate(number: i32) -> Result<i32, Error<'static>> {
    number.checked_neg().ok_or(Error::Math(TOO_LARGE))
}
