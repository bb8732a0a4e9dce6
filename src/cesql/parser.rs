//! From tokens to nodes, by recursive descent: one function for each precedence of operators, loosest first.

use super::{
    CompileError, ErrorKind, MAX_DEPTH, MAX_LENGTH, Value,
    attribute::Attribute,
    function::Call,
    lexer::{Symbol, Token, column, parse_error, tokens},
    like::Pattern,
    node::{Node, Step},
    operator::{Operator, Precedence},
};

const VALUE: &str = "an attribute, a literal, a call, `EXISTS`, `NOT`, `-` or `(`";

/// Reads a whole expression.
pub(super) fn parse(text: &str) -> Result<Node, CompileError> {
    if text.len() > MAX_LENGTH {
        let message = format!("an expression has at most {MAX_LENGTH} bytes, found {}", text.len());
        return Err(parse_error(text, 0, message));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, unknown: None };
    let root = parser.binary(Precedence::LOOSEST)?;
    match parser.symbol() {
        Symbol::End => parser.unknown.map_or(Ok(root), Err),
        _ => Err(parser.expected("an operator or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
    /// The first call of a function that does not exist: whatever is no syntax comes before it.
    unknown: Option<CompileError>,
}

impl<'a> Parser<'a> {
    /// An expression within another.
    fn inner(&mut self) -> Result<Node, CompileError> {
        self.deeper(|parser| parser.binary(Precedence::LOOSEST))
    }

    /// Every function that comes back to itself does so through here.
    fn deeper(&mut self, read: fn(&mut Self) -> Result<Node, CompileError>) -> Result<Node, CompileError> {
        if self.depth == MAX_DEPTH {
            let message =
                format!("parentheses, calls and unary operators stand at most {MAX_DEPTH} deep in each other");
            return Err(parse_error(self.text, self.token().start, message));
        }
        self.depth += 1;
        let node = read(self)?;
        self.depth -= 1;
        Ok(node)
    }

    /// Operands of one precedence and the operators between them.
    fn binary(&mut self, precedence: Precedence) -> Result<Node, CompileError> {
        let first = self.operand(precedence)?;
        let mut steps = Vec::new();
        while let Symbol::Operator(operator) = *self.symbol()
            && operator.precedence() == precedence
        {
            self.at += 1;
            steps.push(Step::Binary(operator, self.operand(precedence)?));
        }
        Ok(row(first, steps))
    }

    fn operand(&mut self, precedence: Precedence) -> Result<Node, CompileError> {
        match precedence.tighter() {
            Some(tighter) => self.binary(tighter),
            None => self.tested(),
        }
    }

    /// An operand and any number of `LIKE` and `IN` behind it.
    fn tested(&mut self) -> Result<Node, CompileError> {
        let first = self.unary()?;
        let mut steps = Vec::new();
        loop {
            let negated = self.take(&Symbol::Not);
            let step = if self.take(&Symbol::Like) {
                Step::Like { pattern: self.pattern()?, negated }
            } else if self.take(&Symbol::In) {
                Step::In { set: self.set()?, negated }
            } else if negated {
                return Err(self.expected("`LIKE` or `IN`"));
            } else {
                return Ok(row(first, steps));
            };
            steps.push(step);
        }
    }

    fn pattern(&mut self) -> Result<Pattern, CompileError> {
        match self.symbol() {
            Symbol::Text(text) => {
                let pattern = Pattern::compile(text);
                self.at += 1;
                Ok(pattern)
            }
            _ => Err(self.expected("a pattern in quotes")),
        }
    }

    fn set(&mut self) -> Result<Vec<Node>, CompileError> {
        self.require(&Symbol::Open, "`(`")?;
        self.list()
    }

    /// One expression or more, with commas between them, and the parenthesis behind.
    fn list(&mut self) -> Result<Vec<Node>, CompileError> {
        let mut list = vec![self.inner()?];
        while self.take(&Symbol::Comma) {
            list.push(self.inner()?);
        }
        self.require(&Symbol::Close, "an operator, `,` or `)`")?;
        Ok(list)
    }

    fn unary(&mut self) -> Result<Node, CompileError> {
        if self.take(&Symbol::Not) {
            Ok(Node::Not(Box::new(self.deeper(Self::unary)?)))
        } else if let Some(number) = self.number()? {
            Ok(Node::Literal(Value::Integer(number)))
        } else if self.take(&Symbol::Operator(Operator::Subtract)) {
            Ok(Node::Negate(Box::new(self.deeper(Self::unary)?)))
        } else {
            self.primary()
        }
    }

    /// Digits, and the sign that stands directly before them.
    fn number(&mut self) -> Result<Option<i32>, CompileError> {
        let Token { symbol, start, end } = self.token();
        let (start, end) = (*start, *end);
        let signed = matches!(symbol, Symbol::Operator(Operator::Add | Operator::Subtract));
        let digits = if signed { &self.tokens[self.at + 1] } else { self.token() };
        if !matches!(digits.symbol, Symbol::Number(_)) || signed && digits.start != end {
            return Ok(None);
        }
        let number = &self.text[start..digits.end];
        let message = || format!("a number has 32 bits: {number} is not from {} to {}", i32::MIN, i32::MAX);
        let number = number.parse().map_err(|_| parse_error(self.text, start, message()))?;
        self.at += 1 + usize::from(signed);
        Ok(Some(number))
    }

    fn primary(&mut self) -> Result<Node, CompileError> {
        match self.symbol().clone() {
            Symbol::Text(text) => {
                self.at += 1;
                Ok(Node::Literal(Value::String(text.into_owned().into())))
            }
            Symbol::Boolean(truth) => {
                self.at += 1;
                Ok(Node::Literal(Value::Boolean(truth)))
            }
            Symbol::Exists => {
                self.at += 1;
                Ok(Node::Exists(self.attribute()?))
            }
            Symbol::Open => {
                self.at += 1;
                let inner = self.inner()?;
                self.require(&Symbol::Close, "an operator or `)`")?;
                Ok(inner)
            }
            Symbol::Word(name) if is_function(name) && self.tokens[self.at + 1].symbol == Symbol::Open => {
                self.call(name)
            }
            Symbol::Word(_) => Ok(Node::Attribute(self.attribute()?)),
            _ => Err(self.expected(VALUE)),
        }
    }

    fn attribute(&mut self) -> Result<Attribute, CompileError> {
        match *self.symbol() {
            Symbol::Word(name) | Symbol::Number(name) if !name.contains('_') => {
                self.at += 1;
                Ok(Attribute::new(name.to_ascii_lowercase()))
            }
            _ => Err(self.expected("an attribute: letters and digits")),
        }
    }

    fn call(&mut self, name: &'a str) -> Result<Node, CompileError> {
        let start = self.token().start;
        self.at += 2;
        let arguments = if self.take(&Symbol::Close) { Vec::new() } else { self.list()? };
        Ok(match Call::new(name, arguments) {
            Ok(call) => Node::Call(call),
            Err(message) => {
                let (kind, column) = (ErrorKind::MissingFunction, column(self.text, start));
                self.unknown.get_or_insert(CompileError { kind, column, message });
                Node::Literal(Value::Boolean(false))
            }
        })
    }

    /// The last token is the end, and nothing goes beyond it.
    fn token(&self) -> &Token<'a> {
        &self.tokens[self.at]
    }

    fn symbol(&self) -> &Symbol<'a> {
        &self.token().symbol
    }

    fn take(&mut self, symbol: &Symbol<'_>) -> bool {
        let found = self.symbol() == symbol;
        self.at += usize::from(found);
        found
    }

    fn require(&mut self, symbol: &Symbol<'_>, what: &str) -> Result<(), CompileError> {
        if self.take(symbol) { Ok(()) } else { Err(self.expected(what)) }
    }

    fn expected(&self, what: &str) -> CompileError {
        parse_error(self.text, self.token().start, format!("expected {what}, found {}", self.symbol()))
    }
}

fn is_function(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && !name.contains(|next: char| next.is_ascii_digit())
}

fn row(first: Node, steps: Vec<Step>) -> Node {
    if steps.is_empty() { first } else { Node::Row(Box::new(first), steps) }
}
