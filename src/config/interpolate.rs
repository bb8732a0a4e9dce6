//! `${NAME}`, `${NAME:-default}` and `${file:/path}` inside values (specification section 11).
//!
//! Filling in works on the tree, so that no value can bring YAML of its own. As in a shell, the default also stands in for an empty
//! variable. A file loses one line break at its end. `$${` is a literal `${`. Keys stay as they are.

use std::{ffi::OsString, path::Path};

use meshgate_api::settings::{Node, Problems, Scalar, Value};

use super::Files;

/// Looks an environment variable up.
pub type Environment<'e> = dyn Fn(&str) -> Option<OsString> + 'e;

/// Fills in every value of `tree`; relative files start in `folder`.
pub(super) fn fill(
    tree: &mut Node,
    folder: &Path,
    environment: &Environment<'_>,
    files: &mut Files,
    problems: &Problems,
) {
    Filling { folder, environment, files, problems }.fill(tree, &mut String::new());
}

struct Filling<'f> {
    folder: &'f Path,
    environment: &'f Environment<'f>,
    files: &'f mut Files,
    problems: &'f Problems,
}

impl Filling<'_> {
    /// `path` is that of `node`, and again so afterwards.
    fn fill(&mut self, node: &mut Node, path: &mut String) {
        let length = path.len();
        match &mut node.value {
            Value::Scalar(scalar) => {
                if let Err(message) = self.fill_scalar(scalar) {
                    self.problems.add(&**path, node.mark, message);
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    *path += &format!("[{index}]");
                    self.fill(item, path);
                    path.truncate(length);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let dot = if path.is_empty() { "" } else { "." };
                    *path += &format!("{dot}{}", entry.key);
                    self.fill(&mut entry.node, path);
                    path.truncate(length);
                }
            }
        }
    }

    fn fill_scalar(&mut self, scalar: &mut Scalar) -> Result<(), String> {
        let mut filled = String::new();
        let mut rest = &*scalar.text;
        let mut literal = true;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                filled.extend([before, "${"]);
                rest = after;
                continue;
            }
            let (placeholder, after) =
                after.split_once('}').ok_or("`${` has no `}`: a literal `${` is written `$${`")?;
            filled.extend([before, &self.value(placeholder)?]);
            literal = false;
            rest = after;
        }
        filled += rest;
        let written = std::mem::replace(&mut scalar.text, filled);
        scalar.template = (!literal).then_some(written);
        Ok(())
    }

    fn value(&mut self, placeholder: &str) -> Result<String, String> {
        if let Some(path) = placeholder.strip_prefix("file:") {
            return self.file(path);
        }
        let (name, default) = match placeholder.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (placeholder, None),
        };
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name_part) {
            return Err(format!(
                "`${{{placeholder}}}` names no variable: expected `${{NAME}}`, `${{NAME:-default}}` or `${{file:/path}}`"
            ));
        }
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!("the default of `${{{name}:-…}}` cannot hold another `${{`"));
        }
        match ((self.environment)(name), default) {
            (Some(value), Some(default)) if value.is_empty() => Ok(default.into()),
            (Some(value), _) => {
                value.into_string().map_err(|_| format!("the environment variable `{name}` is no UTF-8 text"))
            }
            (None, Some(default)) => Ok(default.into()),
            (None, None) => {
                Err(format!("the environment variable `{name}` is not set: set it, or write `${{{name}:-default}}`"))
            }
        }
    }

    fn file(&mut self, path: &str) -> Result<String, String> {
        let bytes = self.files.bytes(&self.folder.join(path));
        let bytes = bytes.map_err(|error| format!("cannot read the file `{path}`: {error}"))?;
        let mut text = String::from_utf8(bytes).map_err(|_| format!("the file `{path}` is no UTF-8 text"))?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
