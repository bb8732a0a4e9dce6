//! Which partition an event goes to: the one that Java clients choose for its key; without a key, for its channel.

use meshgate_api::connector::{Order, Outbound};

/// The partition's number. `spread` counts the events that may go anywhere.
pub(crate) fn choose(outbound: &Outbound, partitions: u32, spread: impl FnOnce() -> u32) -> u32 {
    if outbound.order == Order::Free {
        return spread() % partitions;
    }
    let channel = outbound.message.channel.as_deref().unwrap_or_default();
    java_string_hash(outbound.key.as_deref().unwrap_or(channel)) % partitions
}

/// `String.hashCode` without its sign, as Pulsar's `JavaStringHash` has it.
fn java_string_hash(text: &str) -> u32 {
    let hash = text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    hash & (u32::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        // From Java: `text.hashCode() & Integer.MAX_VALUE`.
        let table =
            [("", 0), ("a", 97), ("orders", 1_138_713_317), ("\u{1f600}", 1_772_899), ("polygenelubricants", 0)];
        for (text, hash) in table {
            assert_eq!(java_string_hash(text), hash, "{text}");
        }
    }
}
