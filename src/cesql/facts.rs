//! What an expression says of single attributes wherever it is true, so that an index can leave out those that are not.

use super::{
    Expression, Value,
    node::{Node, Step},
    operator::Operator,
};

/// Holds of an attribute's canonical text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    /// It is this.
    Is(&'a str),
    /// It begins with this.
    BeginsWith(&'a str),
}

impl Expression {
    /// What holds of attributes, by name, whenever the expression is true. It is what can be seen without thinking: comparisons with
    /// texts, alone or joined by nothing but `AND`; in the order in which they are asked.
    #[must_use]
    pub fn facts(&self) -> Vec<(&str, Fact<'_>)> {
        let mut facts = Vec::new();
        let mut nodes = vec![&self.root];
        while let Some(node) = nodes.pop() {
            let Node::Row(first, steps) = node else { continue };
            if let (Node::Attribute(attribute), [step]) = (&**first, &steps[..])
                && let Some(fact) = step.fact()
            {
                facts.push((attribute.name(), fact));
            } else if let Some(others) = steps.iter().map(Step::and).collect::<Option<Vec<_>>>() {
                nodes.push(first);
                nodes.extend(others);
            }
        }
        facts.reverse();
        facts
    }
}

impl Step {
    /// What is joined by `AND`.
    fn and(&self) -> Option<&Node> {
        match self {
            Self::Binary(Operator::And, right) => Some(right),
            _ => None,
        }
    }

    /// What it says of its left operand. A comparison casts that to the type of the right one, so that a text is compared with texts.
    fn fact(&self) -> Option<Fact<'_>> {
        match self {
            Self::Binary(Operator::Equal, Node::Literal(Value::String(text))) => Some(Fact::Is(text)),
            Self::Like { pattern, negated: false } => pattern.beginning().map(Fact::BeginsWith),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_true_expression_says() {
        use Fact::{BeginsWith, Is};
        let cases: [(&str, &[(&str, Fact<'_>)]); 14] = [
            ("type = 'a'", &[("type", Is("a"))]),
            ("Type = 'a' AND subject LIKE 'x%y'", &[("type", Is("a")), ("subject", BeginsWith("x"))]),
            ("(type = 'a' AND n = 1) AND (source = 'b')", &[("type", Is("a")), ("source", Is("b"))]),
            ("type LIKE 'a'", &[("type", BeginsWith("a"))]),
            ("type LIKE 'a\\%_b'", &[]),
            ("type LIKE '%a'", &[]),
            ("type NOT LIKE 'a%'", &[]),
            ("type != 'a'", &[]),
            ("type = 'a' OR subject = 'b'", &[]),
            ("type = 'a' AND subject = 'b' OR TRUE", &[]),
            ("n = 1", &[]),
            ("type = 'a' = 'false'", &[]),
            ("NOT (type = 'a')", &[]),
            ("TRUE", &[]),
        ];
        for (text, expected) in cases {
            let expression = Expression::compile(text).expect(text);
            assert_eq!(expression.facts(), expected, "{text}");
        }
    }
}
