//! The patterns of `LIKE` (section 3.4.3): `%` any characters, `_` one, each itself behind a backslash; anything else is itself.
//!
//! A pattern is cut at its `%`s into pieces of fixed numbers of characters. The first and the last stand at the ends of the text; those
//! between are searched from the left, each behind the one before, where the first place is always good enough: so the text is read
//! once, and nothing is ever tried anew.

use memchr::memmem::Finder;
use smallvec::SmallVec;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    head: Piece,
    /// What follows the first `%`.
    rest: Option<Rest>,
}

#[derive(Clone, Debug)]
struct Rest {
    middle: Vec<Search>,
    tail: Piece,
}

/// Characters that stand one behind the other.
#[derive(Clone, Debug)]
enum Piece {
    /// Set apart for speed: an empty text points nowhere, and to compare no bytes there takes some processors very long.
    Nothing,
    Text(Box<str>),
    Mixed(Box<[Item]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    One(char),
    Any,
}

/// A piece that may begin anywhere.
#[derive(Clone, Debug)]
enum Search {
    Text(Box<Finder<'static>>),
    Mixed(Scan),
}

impl Pattern {
    pub(super) fn compile(pattern: &str) -> Self {
        // `None` is a `%`.
        let mut items = Vec::new();
        let mut characters = pattern.chars().peekable();
        while let Some(character) = characters.next() {
            let escaped = characters.next_if(|next| character == '\\' && matches!(next, '%' | '_'));
            items.push(match (character, escaped) {
                (_, Some(wildcard)) => Some(Item::One(wildcard)),
                ('%', None) => None,
                ('_', None) => Some(Item::Any),
                (other, None) => Some(Item::One(other)),
            });
        }
        let mut pieces = items.split(Option::is_none).map(|piece| piece.iter().flatten().copied().collect::<Vec<_>>());
        let head = Piece::new(pieces.next().unwrap_or_default());
        let tail = pieces.next_back();
        let rest = tail.map(|tail| Rest {
            middle: pieces.filter_map(|piece| Search::new(Piece::new(piece))).collect(),
            tail: Piece::new(tail),
        });
        Self { head, rest }
    }

    /// The text that all it describes begins with, where it is easily seen.
    pub(super) fn beginning(&self) -> Option<&str> {
        match &self.head {
            Piece::Text(text) => Some(text),
            Piece::Nothing | Piece::Mixed(_) => None,
        }
    }

    /// Whether it describes the whole text.
    pub(super) fn fits(&self, text: &str) -> bool {
        let Some(behind) = self.head.strip_prefix(text) else { return false };
        let Some(Rest { middle, tail }) = &self.rest else { return behind.is_empty() };
        let Some(between) = tail.strip_suffix(behind) else { return false };
        middle.iter().try_fold(between, |text, search| search.skip(text)).is_some()
    }
}

impl Piece {
    fn new(items: Vec<Item>) -> Self {
        if items.is_empty() {
            return Self::Nothing;
        }
        let only: Option<String> = items.iter().map(|item| item.character()).collect();
        only.map_or(Self::Mixed(items.into()), |text| Self::Text(text.into()))
    }

    fn strip_prefix<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Nothing => Some(text),
            Self::Text(start) => text.strip_prefix(&**start),
            Self::Mixed(items) => {
                let mut characters = text.chars();
                let fits = items.iter().all(|item| characters.next().is_some_and(|next| item.fits(next)));
                fits.then_some(characters.as_str())
            }
        }
    }

    fn strip_suffix<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Nothing => Some(text),
            Self::Text(end) => text.strip_suffix(&**end),
            Self::Mixed(items) => {
                let mut characters = text.chars();
                let fits = items.iter().rev().all(|item| characters.next_back().is_some_and(|next| item.fits(next)));
                fits.then_some(characters.as_str())
            }
        }
    }
}

impl Item {
    fn character(self) -> Option<char> {
        match self {
            Self::One(character) => Some(character),
            Self::Any => None,
        }
    }

    fn fits(self, character: char) -> bool {
        self.character().is_none_or(|own| own == character)
    }
}

impl Search {
    /// `None` for a piece that is everywhere.
    fn new(piece: Piece) -> Option<Self> {
        match piece {
            Piece::Nothing => None,
            Piece::Text(text) => Some(Self::Text(Box::new(Finder::new(text.as_bytes()).into_owned()))),
            Piece::Mixed(items) => Some(Self::Mixed(Scan::new(&items))),
        }
    }

    /// The text behind the first place.
    fn skip<'t>(&self, text: &'t str) -> Option<&'t str> {
        let end = match self {
            Self::Text(finder) => finder.find(text.as_bytes())? + finder.needle().len(),
            Self::Mixed(scan) => scan.end(&mut text.char_indices())?,
        };
        Some(&text[end..])
    }
}

/// Finds items in a row by reading each character once: a bit for each item says whether all up to it fit the last characters read
/// (the shift-and algorithm of Baeza-Yates and Gonnet).
#[derive(Clone, Debug)]
struct Scan {
    /// The items that any character fits.
    any: Bits,
    /// Those that this character fits, in its order.
    fitting: Vec<(char, Bits)>,
    /// Of the last item.
    last: Bit,
}

/// 64 items a word.
type Bits = SmallVec<[u64; 2]>;

#[derive(Clone, Copy, Debug)]
struct Bit {
    word: usize,
    mask: u64,
}

impl Bit {
    fn of(number: usize) -> Self {
        Self { word: number / 64, mask: 1 << (number % 64) }
    }
}

impl Scan {
    fn new(items: &[Item]) -> Self {
        let bits = |fits: &dyn Fn(Item) -> bool| {
            let mut bits = Bits::from_elem(0, items.len().div_ceil(64));
            for (number, _) in items.iter().enumerate().filter(|(_, item)| fits(**item)) {
                let Bit { word, mask } = Bit::of(number);
                bits[word] |= mask;
            }
            bits
        };
        let mut characters: Vec<char> = items.iter().filter_map(|item| item.character()).collect();
        characters.sort_unstable();
        characters.dedup();
        let fitting = characters.into_iter().map(|next| (next, bits(&|item| item.fits(next)))).collect();
        Self { any: bits(&|item| item == Item::Any), fitting, last: Bit::of(items.len() - 1) }
    }

    /// Where the first place ends.
    fn end(&self, characters: &mut impl Iterator<Item = (usize, char)>) -> Option<usize> {
        let mut state = Bits::from_elem(0, self.any.len());
        for (at, character) in characters {
            let known = self.fitting.binary_search_by_key(&character, |(known, _)| *known);
            let fitting = known.map_or(&self.any, |place| &self.fitting[place].1);
            let mut carry = 1;
            for (word, fitting) in state.iter_mut().zip(fitting) {
                let shifted = *word << 1 | carry;
                carry = *word >> 63;
                *word = shifted & fitting;
            }
            if state[self.last.word] & self.last.mask != 0 {
                return Some(at + character.len_utf8());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
