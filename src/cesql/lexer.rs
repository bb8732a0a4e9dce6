//! From text to tokens (section 2).

use std::{borrow::Cow, fmt};

use super::{CompileError, ErrorKind, operator::Operator};

/// A token and the bytes of the text that it stands on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) symbol: Symbol<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Symbol<'a> {
    /// Digits without a sign.
    Number(&'a str),
    /// Between quotes, without its escapes.
    Text(Cow<'a, str>),
    Boolean(bool),
    /// The name of an attribute or of a function.
    Word(&'a str),
    Operator(Operator),
    Not,
    Like,
    In,
    Exists,
    Open,
    Close,
    Comma,
    End,
}

/// All tokens, the last [`Symbol::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, CompileError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        let (symbol, length) = token(&text[at..]).map_err(|message| parse_error(text, at, message))?;
        let last = symbol == Symbol::End;
        tokens.push(Token { symbol, start: at, end: at + length });
        if last {
            return Ok(tokens);
        }
        at += length;
    }
}

/// What is wrong with `text` at the byte `at`.
pub(super) fn parse_error(text: &str, at: usize, message: String) -> CompileError {
    CompileError { kind: ErrorKind::Parse, column: column(text, at), message }
}

/// The number of the character at a byte, from 1.
pub(super) fn column(text: &str, at: usize) -> usize {
    text[..at].chars().count() + 1
}

/// The token that a text begins with, and its bytes.
fn token(text: &str) -> Result<(Symbol<'_>, usize), String> {
    let Some(first) = text.chars().next() else { return Ok((Symbol::End, 0)) };
    if first == '\'' || first == '"' {
        return quoted(text, first);
    }
    if is_word(first) {
        let word = &text[..text.find(|next| !is_word(next)).unwrap_or(text.len())];
        return Ok((self::word(word), word.len()));
    }
    operator(text).ok_or_else(|| format!("`{}` means nothing outside of quotes", first.escape_debug()))
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn word(word: &str) -> Symbol<'_> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Symbol::Number(word);
    }
    let keywords = [
        ("AND", Symbol::Operator(Operator::And)),
        ("OR", Symbol::Operator(Operator::Or)),
        ("XOR", Symbol::Operator(Operator::Xor)),
        ("NOT", Symbol::Not),
        ("LIKE", Symbol::Like),
        ("IN", Symbol::In),
        ("EXISTS", Symbol::Exists),
        ("TRUE", Symbol::Boolean(true)),
        ("FALSE", Symbol::Boolean(false)),
    ];
    let keyword = keywords.into_iter().find(|(keyword, _)| word.eq_ignore_ascii_case(keyword));
    keyword.map_or(Symbol::Word(word), |(_, symbol)| symbol)
}

/// The longer operators come first.
fn operator(text: &str) -> Option<(Symbol<'_>, usize)> {
    let operators = [
        ("!=", Symbol::Operator(Operator::NotEqual)),
        ("<>", Symbol::Operator(Operator::NotEqual)),
        ("<=", Symbol::Operator(Operator::LessOrEqual)),
        (">=", Symbol::Operator(Operator::GreaterOrEqual)),
        ("=", Symbol::Operator(Operator::Equal)),
        ("<", Symbol::Operator(Operator::Less)),
        (">", Symbol::Operator(Operator::Greater)),
        ("*", Symbol::Operator(Operator::Multiply)),
        ("/", Symbol::Operator(Operator::Divide)),
        ("%", Symbol::Operator(Operator::Remainder)),
        ("+", Symbol::Operator(Operator::Add)),
        ("-", Symbol::Operator(Operator::Subtract)),
        ("(", Symbol::Open),
        (")", Symbol::Close),
        (",", Symbol::Comma),
    ];
    let found = operators.into_iter().find(|(operator, _)| text.starts_with(operator));
    found.map(|(operator, symbol)| (symbol, operator.len()))
}

/// A literal that begins and ends with `quote`. A backslash keeps the character behind it from ending the literal; it goes where that
/// is the quote, and stays elsewhere.
fn quoted(text: &str, quote: char) -> Result<(Symbol<'_>, usize), String> {
    let mut content = Cow::Borrowed("");
    let mut from = 1;
    let mut at = 1;
    while let Some(next) = text[at..].chars().next() {
        if next == quote {
            content += &text[from..at];
            return Ok((Symbol::Text(content), at + 1));
        }
        let escaped = text[at + next.len_utf8()..].chars().next().filter(|_| next == '\\');
        if escaped == Some(quote) {
            content += &text[from..at];
            from = at + 1;
        }
        at += next.len_utf8() + escaped.map_or(0, char::len_utf8);
    }
    Err(format!("the text that begins here has no `{quote}` at its end"))
}

impl fmt::Display for Symbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "the number {number}"),
            Self::Text(_) => f.write_str("a text in quotes"),
            Self::Boolean(truth) => write!(f, "`{truth}`"),
            Self::Word(word) => write!(f, "`{word}`"),
            Self::Operator(operator) => write!(f, "`{operator}`"),
            Self::Not => f.write_str("`NOT`"),
            Self::Like => f.write_str("`LIKE`"),
            Self::In => f.write_str("`IN`"),
            Self::Exists => f.write_str("`EXISTS`"),
            Self::Open => f.write_str("`(`"),
            Self::Close => f.write_str("`)`"),
            Self::Comma => f.write_str("`,`"),
            Self::End => f.write_str("the end"),
        }
    }
}
