//! The files that a configuration is read from, each of bounded length, and whether they still hold what they held.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use meshgate_api::settings::{Mark, Problem};

/// Bytes of the longest file that is read: 100,000 routes take some twenty MiB.
const LONGEST: u64 = 64 << 20;

/// The files that were read, or could not be read, and what was found there.
#[derive(Debug, Default)]
pub struct Files(HashMap<PathBuf, Found>);

#[derive(Debug)]
struct Found {
    /// Not the bytes, which may be secret, but their hash.
    hash: u64,
    /// Taken before the bytes were read.
    stamp: Option<Stamp>,
}

/// What the system says of a file without reading it: device and number, size, and when it was changed.
type Stamp = (u64, u64, u64, i64, i64);

impl Files {
    /// Whether any of them is not the same any more, by what the system says of it: that is cheap to ask.
    #[must_use]
    pub fn were_touched(&self) -> bool {
        self.0.iter().any(|(path, found)| stamp(path) != found.stamp)
    }

    /// Whether any of them holds something else by now. One that was touched and still holds the same is as good as never touched.
    pub fn have_changed(&mut self) -> bool {
        self.0.iter_mut().any(|(path, found)| {
            let (stamp, is_same) = (stamp(path), hash(&read(path)) == found.hash);
            if is_same {
                found.stamp = stamp;
            }
            !is_same
        })
    }

    /// The folders in which a change of these files is seen: where they are, and where symbolic links lead.
    #[must_use]
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let real = self.0.keys().filter_map(|path| fs::canonicalize(path).ok());
        let all = self.0.keys().cloned().chain(real);
        all.filter_map(|path| Some(whole(path.parent()?))).collect()
    }

    /// The text of a configuration file.
    pub(super) fn text(&mut self, path: &Path) -> Result<String, Problem> {
        let problem = |mark, message| Problem { path: ".".into(), mark, message };
        let bytes = self.bytes(path).map_err(|error| problem(Mark::NOWHERE, format!("cannot be read: {error}")))?;
        String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            problem(end(&valid), "expected UTF-8 text, found other bytes".into())
        })
    }

    /// All bytes of a file.
    pub(super) fn bytes(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let stamp = stamp(path);
        let found = read(path);
        self.0.insert(path.to_owned(), Found { hash: hash(&found), stamp });
        found
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 64MiB"));
    }
    Ok(bytes)
}

fn hash(found: &io::Result<Vec<u8>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    found.as_ref().map_err(io::Error::kind).hash(&mut hasher);
    hasher.finish()
}

/// A folder that may be empty is the one that the program runs in.
fn whole(folder: &Path) -> PathBuf {
    if folder.as_os_str().is_empty() { ".".into() } else { folder.into() }
}

/// Where the character after `text` would stand.
fn end(text: &str) -> Mark {
    let line_start = text.rfind('\n').map_or(0, |at| at + 1);
    Mark { line: text.matches('\n').count() + 1, column: text[line_start..].chars().count() + 1 }
}

#[cfg(test)]
mod tests;
