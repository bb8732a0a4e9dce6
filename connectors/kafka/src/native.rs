//! What librdkafka tells and rdkafka does not, or only by a panic: the only unsafe code of the workspace.
#![expect(unsafe_code, reason = "calls into librdkafka for which rdkafka has no sound wrapper")]

use std::{ffi::CStr, ptr, slice};

use rdkafka::{
    bindings::{
        rd_kafka_header_get_all, rd_kafka_message_headers, rd_kafka_message_status,
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
    },
    message::BorrowedMessage,
};

/// Whether librdkafka is certain that no broker has stored the message of a delivery report.
pub(crate) fn never_left(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the pointer is that of a delivery report, which lives at least as long as `message`; the function only reads it.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status == RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// Calls `each` with name and value of every header. A name ends at its first zero byte and need not be UTF-8: rdkafka panics over that.
pub(crate) fn for_each_header(message: &BorrowedMessage<'_>, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
    let mut headers = ptr::null_mut();
    // SAFETY: the message is alive; the function parses its headers and keeps them with it.
    if unsafe { rd_kafka_message_headers(message.ptr(), &mut headers) } != RD_KAFKA_RESP_ERR_NO_ERROR {
        return;
    }
    for index in 0.. {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `headers` was set above and lives as long as the message; the others are places to write to.
        let found = unsafe { rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut length) };
        if found != RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        // SAFETY: librdkafka ends names with a zero byte, and a value that is not null has `length` bytes; both live as long as the message.
        let (name, value) = unsafe {
            let value = (!value.is_null()).then(|| slice::from_raw_parts(value.cast::<u8>(), length));
            (CStr::from_ptr(name), value)
        };
        each(name.to_bytes(), value);
    }
}
