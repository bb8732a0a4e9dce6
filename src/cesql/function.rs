//! The functions of the specification (section 3.5), and those that cast.

use std::borrow::Cow;

use meshgate_api::event::Event;

use super::{Error, MAX_TEXT, Type, Value, error::Failure, node::Node};

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Length,
    Concat,
    ConcatWs,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    Substring,
    Abs,
    Cast(Type),
    /// Whether a cast has a result.
    Is(Type),
}

/// What a function is called with, and what comes of it.
struct Signature {
    name: &'static str,
    function: Function,
    least: usize,
    most: usize,
    returns: Type,
}

const ANY_NUMBER: usize = usize::MAX;

const SIGNATURES: [Signature; 15] = [
    signature("LENGTH", Function::Length, 1, 1, Type::Integer),
    signature("CONCAT", Function::Concat, 0, ANY_NUMBER, Type::String),
    signature("CONCAT_WS", Function::ConcatWs, 1, ANY_NUMBER, Type::String),
    signature("LOWER", Function::Lower, 1, 1, Type::String),
    signature("UPPER", Function::Upper, 1, 1, Type::String),
    signature("TRIM", Function::Trim, 1, 1, Type::String),
    signature("LEFT", Function::Left, 2, 2, Type::String),
    signature("RIGHT", Function::Right, 2, 2, Type::String),
    signature("SUBSTRING", Function::Substring, 2, 3, Type::String),
    signature("ABS", Function::Abs, 1, 1, Type::Integer),
    signature("INT", Function::Cast(Type::Integer), 1, 1, Type::Integer),
    signature("BOOL", Function::Cast(Type::Boolean), 1, 1, Type::Boolean),
    signature("STRING", Function::Cast(Type::String), 1, 1, Type::String),
    signature("IS_INT", Function::Is(Type::Integer), 1, 1, Type::Boolean),
    signature("IS_BOOL", Function::Is(Type::Boolean), 1, 1, Type::Boolean),
];

const fn signature(name: &'static str, function: Function, least: usize, most: usize, returns: Type) -> Signature {
    Signature { name, function, least, most, returns }
}

/// A function with its arguments, as many as it takes.
#[derive(Clone, Debug)]
pub(super) struct Call {
    function: Function,
    arguments: Vec<Node>,
    returns: Type,
}

impl Call {
    /// A call of the function `name`, in any case; or why there is none.
    pub(super) fn new(name: &str, arguments: Vec<Node>) -> Result<Self, String> {
        let count = arguments.len();
        let Some(known) = SIGNATURES.iter().find(|known| known.name.eq_ignore_ascii_case(name)) else {
            let names: Vec<_> = SIGNATURES.iter().map(|known| known.name).collect();
            return Err(format!("no function is called `{name}`: there are {}", names.join(", ")));
        };
        if (known.least..=known.most).contains(&count) {
            return Ok(Self { function: known.function, arguments, returns: known.returns });
        }
        let takes = match (known.least, known.most) {
            (least, ANY_NUMBER) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} or {most}"),
        };
        let plural = if takes.ends_with('1') { "" } else { "s" };
        Err(format!("`{}` takes {takes} argument{plural}, found {count}", known.name))
    }

    pub(super) fn returns(&self) -> Type {
        self.returns
    }

    /// The function's value. An error of its own may come with one, an argument's never.
    pub(super) fn evaluate<'a>(&'a self, event: &'a Event) -> Result<Value<'a>, Failure<'a>> {
        let value = |at: usize| self.arguments[at].evaluate(event);
        let text = |at| value(at).map(Value::into_string);
        let integer = |at| value(at)?.into_integer();
        Ok(match self.function {
            Function::Length => Value::Integer(length(&text(0)?)),
            Function::Concat => Value::String(join("", &self.arguments, event)?),
            Function::ConcatWs => Value::String(join(&text(0)?, &self.arguments[1..], event)?),
            Function::Lower => Value::String(text(0)?.to_lowercase().into()),
            Function::Upper => Value::String(text(0)?.to_uppercase().into()),
            Function::Trim => Value::String(cut(text(0)?, str::trim)),
            Function::Left => left(text(0)?, integer(1)?)?,
            Function::Right => right(text(0)?, integer(1)?)?,
            Function::Substring => {
                let (text, position) = (text(0)?, integer(1)?);
                let most = if self.arguments.len() > 2 { integer(2)? } else { i32::MAX };
                Value::String(substring(text, position, most)?)
            }
            Function::Abs => absolute(integer(0)?)?,
            Function::Cast(to) => value(0)?.cast(to)?,
            Function::Is(kind) => Value::Boolean(value(0)?.cast(kind).is_ok()),
        })
    }
}

/// Characters. No text has more of them than an Integer counts: an event is far smaller.
fn length(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX)
}

/// What `cut` leaves of a text, which is a slice of it.
fn cut<'a>(text: Cow<'a, str>, cut: impl Fn(&str) -> &str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text)),
        Cow::Owned(text) => Cow::Owned(cut(&text).to_owned()),
    }
}

/// Where the character number `index`, from 0, begins; the end of the text if it has no so many.
fn offset(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

fn join<'a>(delimiter: &str, parts: &'a [Node], event: &'a Event) -> Result<Cow<'a, str>, Error<'a>> {
    let mut joined = String::new();
    for (number, part) in parts.iter().enumerate() {
        let part = part.evaluate(event)?.into_string();
        let delimiter = if number == 0 { "" } else { delimiter };
        if joined.len() + delimiter.len() + part.len() > MAX_TEXT {
            return Err(Error::Function("the text would be longer than 1 MiB"));
        }
        joined.push_str(delimiter);
        joined.push_str(&part);
    }
    Ok(joined.into())
}

/// A count of characters below zero leaves the text as it is.
fn count(count: i32, text: &str) -> Result<usize, Failure<'static>> {
    usize::try_from(count).map_err(|_| Failure {
        error: Error::Function("the number of characters is negative"),
        value: Some(Value::String(Cow::Owned(text.to_owned()))),
    })
}

fn left(text: Cow<'_, str>, most: i32) -> Result<Value<'_>, Failure<'_>> {
    let most = count(most, &text)?;
    Ok(Value::String(cut(text, |text| &text[..offset(text, most)])))
}

fn right(text: Cow<'_, str>, most: i32) -> Result<Value<'_>, Failure<'_>> {
    let most = count(most, &text)?;
    let skipped = text.chars().count().saturating_sub(most);
    Ok(Value::String(cut(text, |text| &text[offset(text, skipped)..])))
}

/// At most so many characters from a position, which counts from 1, or from the end if it is negative; position 0 is nowhere.
fn substring(text: Cow<'_, str>, position: i32, most: i32) -> Result<Cow<'_, str>, Error<'_>> {
    let most = usize::try_from(most).map_err(|_| Error::Function("the length of a substring is negative"))?;
    let all = text.chars().count();
    let distance = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
    if distance > all {
        return Err(Error::Function("the position is outside the text"));
    }
    let skipped = match position {
        0 => return Ok(Cow::Borrowed("")),
        1.. => distance - 1,
        _ => all - distance,
    };
    Ok(cut(text, |text| {
        let rest = &text[offset(text, skipped)..];
        &rest[..offset(rest, most)]
    }))
}

fn absolute(number: i32) -> Result<Value<'static>, Failure<'static>> {
    number.checked_abs().map(Value::Integer).ok_or(Failure {
        error: Error::Math("the absolute value does not fit in 32 bits"),
        value: Some(Value::Integer(i32::MAX)),
    })
}
