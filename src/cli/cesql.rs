//! `meshgate cesql`

use std::{fs, io, io::Read, path::PathBuf};

use clap::Args;
use meshgate_api::{event::Event, json};
use serde_json::json;

use super::{Exit, print, say};
use crate::cesql::{Evaluation, Expression, Value};

/// Evaluates one expression of CloudEvents SQL 1.0 for one event, and prints its value and the kind of its error.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  meshgate cesql --event order.json \"type LIKE 'com.acme.%' AND amount > 100\"
  meshgate subscribe orders/eu --count 1 | meshgate cesql --event - 'EXISTS subject'
  meshgate cesql --event order.json -- '-amount'

It prints {\"value\":true,\"error\":null}. The error is null, parse, math, cast,
missingAttribute, missingFunction, functionEvaluation or generic; stderr says
more of it. The event is JSON (application/cloudevents+json).

Exit codes: 0 it has printed that, whatever the value; 64 usage or no such file, 65 no valid event")]
pub(super) struct Cesql {
    /// The event's file; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// The expression; it may begin with `-`
    #[arg(allow_hyphen_values = true)]
    expression: String,
}

impl Cesql {
    pub(super) fn run(&self) -> Exit {
        let event = match self.event() {
            Ok(event) => event,
            Err((exit, problem)) => {
                say(&format!("{}: {problem}", self.event.display()));
                return exit;
            }
        };
        let (value, error) = match Expression::compile(&self.expression) {
            Ok(expression) => {
                let Evaluation { value, error } = expression.evaluate(&event);
                (to_json(value), error.map(|error| (error.kind(), error.to_string())))
            }
            Err(error) => (json!(false), Some((error.kind, error.to_string()))),
        };
        let kind = error.as_ref().map(|(kind, _)| kind.to_string());
        if let Some((_, detail)) = error {
            say(&detail);
        }
        if print(&format!("{{\"value\":{value},\"error\":{}}}", json!(kind))) { Exit::Clean } else { Exit::Software }
    }

    fn event(&self) -> Result<Box<Event>, (Exit, String)> {
        let mut text = Vec::new();
        let read = if self.event.as_os_str() == "-" {
            io::stdin().read_to_end(&mut text).map(|_| text)
        } else {
            fs::read(&self.event)
        };
        let text = read.map_err(|problem| (Exit::Usage, problem.to_string()))?;
        json::decode(&text.into()).map_err(|problem| (Exit::Rejected, problem.to_string()))
    }
}

fn to_json(value: Value<'_>) -> serde_json::Value {
    match value {
        Value::String(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Boolean(truth) => json!(truth),
    }
}
