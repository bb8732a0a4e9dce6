//! Which partition an event goes to: the one that Java clients choose, so that several writers of one topic agree.

use meshgate_api::connector::{Order, Outbound};

/// The partition of `outbound` in a topic of `partitions` (at least one): by the key, without one by the channel, so that each keeps
/// its order. `None` leaves the choice to librdkafka.
pub(crate) fn choose(outbound: &Outbound, partitions: u32) -> Option<u32> {
    let text = match (outbound.order, &outbound.key) {
        (Order::Free, _) => return None,
        (Order::Kept, Some(key)) => key,
        (Order::Kept, None) => outbound.message.channel.as_ref()?,
    };
    Some((murmur2(text.as_bytes()) & 0x7fff_ffff) % partitions)
}

/// MurmurHash 2 with the seed of `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests;
