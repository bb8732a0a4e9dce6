//! Sizes (`64KiB`) and times (`30s`) as texts.

use std::time::Duration;

const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];
const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes: a whole number with `KiB`, `MiB`, `GiB`, `TiB` or nothing after it.
pub(super) fn size(text: &str) -> Option<usize> {
    usize::try_from(amount(text, &SIZES)?).ok()
}

/// A whole number with `ms`, `s`, `m` or `h` after it.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    amount(text, &TIMES).map(Duration::from_millis)
}

/// As [`size`] reads it, in the largest unit that gives a whole number.
pub(super) fn show_size(size: &usize) -> String {
    shown(*size as u64, &SIZES)
}

/// As [`duration`] reads it, in the largest unit that gives a whole number.
pub(super) fn show_duration(duration: &Duration) -> String {
    match u64::try_from(duration.as_millis()) {
        Ok(0) => "0s".into(),
        Ok(millis) => shown(millis, &TIMES),
        Err(_) => format!("{duration:?}"),
    }
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

fn shown(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| amount >= *factor && amount.is_multiple_of(*factor);
    let (unit, factor) = units.iter().find(fits).unwrap_or(&("", 1));
    format!("{}{unit}", amount / factor)
}
