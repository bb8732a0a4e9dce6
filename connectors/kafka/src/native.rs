//! What librdkafka tells and rdkafka does not, or only by a panic: the only unsafe code of the workspace.
#![expect(unsafe_code, reason = "calls into librdkafka for which rdkafka has no sound wrapper")]

use std::{ffi::CStr, ptr, slice};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    bindings::{
        rd_kafka_brokers_add, rd_kafka_header_get_all, rd_kafka_message_headers, rd_kafka_message_status,
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED, rd_kafka_position,
        rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
    },
    client::Client,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    message::BorrowedMessage,
};

/// Whether librdkafka is certain that no broker has stored the message of a delivery report.
pub(crate) fn never_left(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the pointer is that of a delivery report, which lives at least as long as `message`; the function only reads it.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status == RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// Gives a client bootstrap addresses, `host:port` by commas, to which it connects if it has no others. librdkafka keeps each list that it
/// was ever given.
pub(crate) fn add_brokers(client: &Client<impl ClientContext>, addresses: &CStr) {
    // SAFETY: both pointers live until the end of this function; librdkafka copies the text.
    unsafe { rd_kafka_brokers_add(client.native_ptr(), addresses.as_ptr()) };
}

/// The offset after the last record or marker that was taken out of a partition's queue, if one was. rdkafka's own `position` waits for
/// another thread, and asks for all partitions at once.
pub(crate) fn position(consumer: &BaseConsumer<impl ConsumerContext>, topic: &str, partition: u32) -> Option<u64> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition as i32);
    // SAFETY: both pointers live until the end of this function; librdkafka looks up the list's partition and writes its offset there.
    let answer = unsafe { rd_kafka_position(consumer.client().native_ptr(), list.ptr()) };
    let offset = (answer == RD_KAFKA_RESP_ERR_NO_ERROR).then(|| list.elements().first().map(|at| at.offset()));
    match offset.flatten() {
        Some(Offset::Offset(offset)) => u64::try_from(offset).ok(),
        _ => None,
    }
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
