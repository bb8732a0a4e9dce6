//! Texts from files, of bounded length.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use meshgate_api::settings::{Mark, Problem};

const MIB: u64 = 1 << 20;
/// MiB of the longest configuration: that of 100,000 routes has some twenty.
const LONGEST: u64 = 64;
/// MiB of the longest file that stands for one value.
pub(super) const LONGEST_VALUE: u64 = 1;

/// The text of a configuration file.
pub(super) fn text(path: &Path) -> Result<String, Problem> {
    let problem = |mark, message| Problem { path: ".".into(), mark, message };
    let bytes = bytes(path, LONGEST).map_err(|error| problem(Mark::START, format!("cannot read the file: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        problem(end(&valid), "expected UTF-8 text, found other bytes".into())
    })
}

/// All bytes of a file that has at most `longest` MiB.
pub(super) fn bytes(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(longest * MIB + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest * MIB {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {longest}MiB")));
    }
    Ok(bytes)
}

/// Where the character after `text` would stand.
fn end(text: &str) -> Mark {
    let line_start = text.rfind('\n').map_or(0, |at| at + 1);
    Mark { line: text.matches('\n').count() + 1, column: text[line_start..].chars().count() + 1 }
}
