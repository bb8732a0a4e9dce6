//! Asking the processor for what the log will let go of soon.
//!
//! The oldest record has mostly not been looked at since it was stored. No cache holds it by then, and to let go of it means to wait for
//! memory three times: for the record, for its event, and then for the event's texts and data. Once the log is full this happens with each append, and was a tenth of a
//! publish. So each append asks for a piece of some that will follow, which is there when their turn comes.

use super::{Entry, Inner};

/// So many records before a record's own turn its pieces are asked for: first itself, then what it refers to.
const RECORD: usize = 24;
const EVENT: usize = 16;
const BYTES: usize = 8;

/// Bytes of a line of memory, as caches hold them.
const LINE: usize = 64;

impl Inner {
    /// To be called when an entry has made room.
    pub(super) fn look_ahead(&self) {
        let coming = |distance: usize| self.entries.get(distance).map(|Entry { record, .. }| &**record);
        if let Some(record) = coming(RECORD) {
            ask_for(record);
        }
        if let Some(record) = coming(EVENT) {
            ask_for(&*record.message.event);
        }
        if let Some(record) = coming(BYTES) {
            let event = &record.message.event;
            ask_for_start(event.id.as_bytes());
            ask_for_start(event.data.as_deref().unwrap_or_default());
        }
    }
}

/// The allocator writes where a block begins when it gets that back; the rest of it is not needed.
fn ask_for_start(bytes: &[u8]) {
    ask_for(&bytes[..bytes.len().min(1)]);
}

/// Has all lines of the value fetched into the cache, without waiting.
fn ask_for<T: ?Sized>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<i8>();
    for line in (0..size_of_val(value)).step_by(LINE) {
        prefetch(start.wrapping_add(line));
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a hint to the processor, which is given no value and writes none: any address will do")]
fn prefetch(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction accesses nothing as far as the program can tell, and ignores addresses that are not mapped.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
}

/// Rust has no stable way to say it elsewhere.
#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_: *const i8) {}
