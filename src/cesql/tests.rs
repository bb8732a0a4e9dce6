use bytes::Bytes;
use meshgate_api::event;
use proptest::prelude::*;

use super::*;

const CASES: &str = include_str!("tests/cases.txt");

/// The event of the cases.
fn event() -> Event {
    let mut event = Event {
        id: "myId".into(),
        source: "/shop".into(),
        kind: "com.acme.order.created".into(),
        subject: Some("Francesco".into()),
        time: Some("2018-04-26T14:48:09+02:00".into()),
        datacontenttype: Some("application/json".into()),
        ..Event::default()
    };
    let texts = [("firstname", "Zoë"), ("lastname", "Guardiani"), ("hop", "5"), ("ttl", "10"), ("00a", "zeros")];
    for (name, text) in texts {
        event.set(name, text.into());
    }
    event.extensions.extend([
        ("amount".into(), event::Value::Integer(120)),
        ("flag".into(), event::Value::Boolean(true)),
        ("blob".into(), event::Value::Binary(Bytes::from_static(b"\x00\x01"))),
        ("site".into(), event::Value::Uri("https://example.com/".into())),
    ]);
    event
}

/// `value ! error`, the value as JSON.
fn shown(text: &str, event: &Event) -> String {
    let (value, error) = match Expression::compile(text) {
        Ok(expression) => {
            let Evaluation { value, error } = expression.evaluate(event);
            let value = match value {
                Value::String(text) => serde_json::json!(text),
                Value::Integer(number) => number.into(),
                Value::Boolean(truth) => truth.into(),
            };
            (value, error.map(|error| error.kind()))
        }
        Err(error) => (false.into(), Some(error.kind)),
    };
    error.map_or(value.to_string(), |error| format!("{value} ! {error}"))
}

#[test]
fn cases() {
    let event = event();
    let lines = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    let mut wrong = Vec::new();
    for line in lines {
        let (text, expected) = line.rsplit_once(" => ").expect("an expression and its value");
        let found = shown(text, &event);
        if found != expected.trim_end() {
            wrong.push(format!("{text} => {found}, not {expected}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 300, "{count} cases were read");
}

#[test]
fn line_breaks_are_spaces() {
    assert_eq!(shown("1 +\r\n\t1", &event()), "2");
}

#[test]
fn mistakes_have_a_column_and_say_what_would_be_right() {
    let cases = [
        ("", "column 1: expected an attribute, a literal, a call, `EXISTS`, `NOT`, `-` or `(`, found the end"),
        ("type = 'a' type", "column 12: expected an operator or the end, found `type`"),
        ("type = 'a", "column 8: the text that begins here has no `'` at its end"),
        ("'ü' = 'a", "column 7: the text that begins here has no `'` at its end"),
        ("type ~ 'a'", "column 6: `~` means nothing outside of quotes"),
        ("type LIKE amount", "column 11: expected a pattern in quotes, found `amount`"),
        ("type NOT 'a'", "column 10: expected `LIKE` or `IN`, found a text in quotes"),
        ("1 IN 2", "column 6: expected `(`, found the number 2"),
        ("1 IN (2", "column 8: expected an operator, `,` or `)`, found the end"),
        ("(1 OR", "column 6: expected an attribute, a literal, a call, `EXISTS`, `NOT`, `-` or `(`, found the end"),
        ("(1 , 2)", "column 4: expected an operator or `)`, found `,`"),
        ("1 + a_b", "column 5: expected an attribute: letters and digits, found `a_b`"),
        ("EXISTS NOT", "column 8: expected an attribute: letters and digits, found `NOT`"),
        ("99999999999", "column 1: a number has 32 bits: 99999999999 is not from -2147483648 to 2147483647"),
        ("1 = ABS()", "column 5: `ABS` takes 1 argument, found 0"),
        ("left('a')", "column 1: `LEFT` takes 2 arguments, found 1"),
        ("SUBSTRING('a')", "column 1: `SUBSTRING` takes 2 or 3 arguments, found 1"),
        ("CONCAT_WS()", "column 1: `CONCAT_WS` takes at least 1 argument, found 0"),
        (
            "len('a')",
            "column 1: no function is called `len`: there are LENGTH, CONCAT, CONCAT_WS, LOWER, UPPER, TRIM, LEFT, RIGHT, SUBSTRING, ABS, INT, BOOL, STRING, IS_INT, IS_BOOL",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(
            Expression::compile(text).map(|_| ()).map_err(|error| error.to_string()),
            Err(expected.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn errors_say_what_was_met() {
    let event = event();
    let cases = [
        ("missing = 1", "the event has no attribute `missing`"),
        ("type > 1", "`com.acme.order.created` is no Integer"),
        ("NOT hop", "`5` is no Boolean"),
        ("1 / 0 = 1", "division by zero"),
        ("2147483647 + 1 = 1", "the result does not fit in 32 bits"),
        ("LEFT(id, -1) = 'a'", "the number of characters is negative"),
        ("amount", "the value is of type Integer: that of a filter is true or false"),
        ("'true'", "the value is of type String: that of a filter is true or false"),
    ];
    for (text, expected) in cases {
        let expression = Expression::compile(text).expect(text);
        assert_eq!(expression.holds(&event).map_err(|error| error.to_string()), Err(expected.to_owned()), "{text}");
    }
    let flag = Expression::compile("flag").expect("an expression");
    assert_eq!(flag.holds(&event), Ok(true));
}

#[test]
fn types_are_known_where_they_can_be() {
    let cases = [
        ("flag", None),
        ("(flag)", None),
        ("'a'", Some(Type::String)),
        ("1 + 1", Some(Type::Integer)),
        ("-flag", Some(Type::Integer)),
        ("1 + 1 = 2", Some(Type::Boolean)),
        ("flag AND flag", Some(Type::Boolean)),
        ("id LIKE 'a'", Some(Type::Boolean)),
        ("id NOT IN (1)", Some(Type::Boolean)),
        ("NOT flag", Some(Type::Boolean)),
        ("EXISTS id", Some(Type::Boolean)),
        ("UPPER(id)", Some(Type::String)),
    ];
    for (text, expected) in cases {
        assert_eq!(Expression::compile(text).expect(text).returns(), expected, "{text}");
    }
}

#[test]
fn only_functions_and_casts_make_texts() {
    let event = event();
    for text in ["type", "'it\\'s'", "TRIM(' a ')", "SUBSTRING(type, 2, 3)", "STRING(flag)", "LEFT(id, 1)"] {
        let expression = Expression::compile(text).expect(text);
        let value = expression.evaluate(&event).value;
        assert!(matches!(value, Value::String(std::borrow::Cow::Borrowed(_))), "{text}");
    }
}

#[test]
fn an_expression_has_a_depth_and_a_length() {
    let event = event();
    let nested = |before: &str, middle: &str, behind: &str, times: usize| {
        format!("{}{middle}{}", before.repeat(times), behind.repeat(times))
    };
    let deep = [
        ("(", "1", ")"),
        ("ABS(", "1", ")"),
        ("-", "hop", ""),
        ("NOT ", "flag", ""),
        ("1 IN (", "1", ")"),
        ("1 + (", "1", ")"),
    ];
    for (before, middle, behind) in deep {
        let text = nested(before, middle, behind, MAX_DEPTH);
        assert_eq!(Expression::compile(&text).expect(&text).evaluate(&event).error, None);
        for times in [MAX_DEPTH + 1, MAX_LENGTH / 10] {
            let text = nested(before, middle, behind, times);
            let error = Expression::compile(&text).map(|_| ()).expect_err(&text);
            assert_eq!(error.kind, ErrorKind::Parse);
            assert!(error.message.contains("at most 64"), "{error}");
        }
    }
    // What stands in a row is not deep.
    let row = |part: &str| part.repeat((MAX_LENGTH - 1) / part.len());
    for text in [format!("1{}", row("+1")), format!("1{}", row(" AND 1")), format!("1{}", row(" LIKE '1'"))] {
        assert_eq!(Expression::compile(&text).expect(&text).evaluate(&event).error, None);
    }
    let error = Expression::compile(&" ".repeat(MAX_LENGTH + 1)).expect_err("too long");
    assert_eq!(error.to_string(), "column 1: an expression has at most 8192 bytes, found 8193");
}

#[test]
fn a_joined_text_has_a_bound() {
    let mut event = event();
    event.set("big", "x".repeat(MAX_TEXT / 2).into());
    let holds = |text: &str| Expression::compile(text).expect(text).holds(&event).map_err(|error| error.kind());
    assert_eq!(holds("LENGTH(CONCAT(big, big)) = 1048576"), Ok(true));
    assert_eq!(holds("LENGTH(CONCAT(big, big, 1)) = 0"), Err(ErrorKind::FunctionEvaluation));
    assert_eq!(holds("LENGTH(CONCAT_WS(',', big, big)) = 0"), Err(ErrorKind::FunctionEvaluation));
}

/// Texts that are expressions more often than not.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("missing".to_owned()),
        prop::sample::select(vec![
            "id",
            "hop",
            "amount",
            "flag",
            "blob",
            "firstname",
            "TRUE",
            "'true'",
            "'%'",
            "'-7'",
            "''"
        ])
        .prop_map(str::to_owned),
        any::<i32>().prop_map(|number| number.to_string()),
    ];
    leaf.prop_recursive(6, 48, 3, |inner| {
        let operators = vec!["+", "-", "*", "/", "%", "=", "!=", "<>", "<", "<=", ">", ">=", "AND", "OR", "XOR"];
        let functions = vec![
            "LENGTH",
            "CONCAT",
            "CONCAT_WS",
            "LOWER",
            "UPPER",
            "TRIM",
            "LEFT",
            "RIGHT",
            "SUBSTRING",
            "ABS",
            "INT",
            "BOOL",
            "STRING",
            "IS_INT",
            "IS_BOOL",
        ];
        let list = prop::collection::vec(inner.clone(), 1..4).prop_map(|list| list.join(", "));
        prop_oneof![
            (inner.clone(), prop::sample::select(operators), inner.clone())
                .prop_map(|(a, by, b)| format!("{a} {by} {b}")),
            (prop::sample::select(functions), list.clone()).prop_map(|(name, list)| format!("{name}({list})")),
            (inner.clone(), list).prop_map(|(left, list)| format!("{left} IN ({list})")),
            (inner.clone(), "[a%_\\\\]{0,9}").prop_map(|(left, pattern)| format!("{left} NOT LIKE '{pattern}\\'%'")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!("NOT {inner}")),
            inner.prop_map(|inner| format!("-{inner}")),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_compiled_or_refused(text in "\\PC*") {
        if let Err(error) = Expression::compile(&text) {
            prop_assert!(error.column <= text.chars().count() + 1);
        }
    }

    #[test]
    fn any_row_of_tokens_is_compiled_or_refused(tokens in prop::collection::vec(
        prop::sample::select(vec!["(", ")", ",", "+", "-", "=", "NOT", "LIKE", "IN", "EXISTS", "AND", "id", "1", "'a'", "ABS", " "]), 0..20
    )) {
        if let Ok(expression) = Expression::compile(&tokens.join(" ")) {
            let event = event();
            let kind = expression.evaluate(&event).value.kind();
            prop_assert!(expression.returns().is_none_or(|known| known == kind));
        }
    }

    #[test]
    fn any_expression_has_a_value(text in expressions(), attribute in "\\PC{0,12}") {
        let mut event = event();
        event.set("hop", attribute.into());
        if let Ok(expression) = Expression::compile(&text) {
            let Evaluation { value, error } = expression.evaluate(&event);
            if let Some(kind) = expression.returns() {
                prop_assert_eq!(value.kind(), kind);
            }
            let holds = expression.holds(&event);
            match (value, error) {
                (Value::Boolean(truth), None) => prop_assert_eq!(holds, Ok(truth)),
                (_, None) => prop_assert!(holds.is_err()),
                (_, Some(error)) => prop_assert_eq!(holds, Err(error)),
            }
        }
    }

    #[test]
    fn parentheses_around_the_whole_change_nothing(text in expressions()) {
        let event = event();
        prop_assume!(Expression::compile(&text).is_ok());
        let inside = format!("({text})");
        // One deeper may be too deep.
        if Expression::compile(&inside).is_ok() {
            prop_assert_eq!(shown(&inside, &event), shown(&text, &event));
        }
    }
}
