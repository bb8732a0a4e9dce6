use std::sync::Arc;

use meshgate_api::{
    Str,
    connector::{ContentMode, Order, Outbound},
    message::Message,
    outcome::{Outcome, Rejection, Unavailability},
};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{Refusals, Report};

fn outbound() -> Outbound {
    Outbound {
        message: Arc::new(Message::default()),
        topic: Str::from_static("orders"),
        key: None,
        order: Order::Kept,
        mode: ContentMode::Binary,
        options: None,
    }
}

type Expected<'a> = &'a dyn Fn(&Outcome) -> bool;

#[test]
fn only_what_certainly_was_not_stored_is_unavailable_or_rejected() {
    let too_large = |outcome: &Outcome| matches!(outcome, Outcome::Rejected { reason: Rejection::TooLarge, .. });
    let bad = |outcome: &Outcome| matches!(outcome, Outcome::Rejected { reason: Rejection::BadEvent, .. });
    let down = |outcome: &Outcome| matches!(outcome, Outcome::Unavailable { reason: Unavailability::Down, .. });
    let missing = |outcome: &Outcome| matches!(outcome, Outcome::Unavailable { reason: Unavailability::Missing, .. });
    let table: [(Code, Expected<'_>); 11] = [
        (Code::MessageSizeTooLarge, &too_large),
        (Code::MessageBatchTooLarge, &too_large),
        (Code::InvalidRecord, &bad),
        (Code::InvalidTimestamp, &bad),
        (Code::UnknownTopicOrPartition, &missing),
        (Code::UnknownTopic, &missing),
        (Code::MessageTimedOut, &down),
        (Code::NotEnoughReplicas, &down),
        (Code::TopicAuthorizationFailed, &down),
        (Code::PurgeQueue, &down),
        (Code::Unknown, &down),
    ];
    for (code, expected) in table {
        let outcome = Report::Failed { code, never_stored: true }.outcome(&outbound());
        assert!(expected(&outcome), "{code}: {outcome:?}");
        assert!(outcome.detail().contains("orders"), "{outcome:?}");
        let perhaps = Report::Failed { code, never_stored: false };
        assert!(matches!(perhaps.outcome(&outbound()), Outcome::Unknown { .. }), "{code}");
        assert!(!perhaps.blames_the_batch(), "{code}: sending again could store it twice");
    }
}

#[test]
fn a_batch_is_blamed_only_for_its_content() {
    for code in [Code::MessageSizeTooLarge, Code::MessageBatchTooLarge, Code::InvalidRecord, Code::InvalidTimestamp] {
        assert!(Report::Failed { code, never_stored: true }.blames_the_batch(), "{code}");
    }
    for code in [Code::MessageTimedOut, Code::UnknownTopicOrPartition, Code::NotEnoughReplicas] {
        assert!(!Report::Failed { code, never_stored: true }.blames_the_batch(), "{code}");
    }
}

#[test]
fn stored_tells_where() {
    let stored = Report::Stored { partition: 3, offset: 41 };
    let Outcome::Stored(position) = stored.outcome(&outbound()) else { panic!("stored") };
    assert_eq!((&*position.topic, position.partition, position.place.offset), ("orders", 3, 41));
}

#[test]
fn refusals_are_heard() {
    let line =
        |code: Code| format!("[thrd:b/1]: b/1: ProduceRequest failed: {}: actions Refresh,MsgNotPersisted", text(code));
    let text_of_local = line(Code::BrokerTransportFailure);
    let table = [
        ("REQERR", line(Code::NotLeaderForPartition), 1),
        ("REQERR", line(Code::KafkaStorageError), 1),
        ("REQERR", line(Code::NotEnoughReplicas), 0),
        ("REQERR", text_of_local, 0),
        ("REQERR", line(Code::NotLeaderForPartition).replace("Produce", "Metadata"), 0),
        ("BROKER", line(Code::NotLeaderForPartition), 0),
    ];
    for (facility, line, expected) in table {
        let refusals = Refusals::default();
        refusals.overhear(facility, &line);
        assert_eq!(refusals.count(), expected, "{facility} {line}");
    }
}

/// librdkafka's words for an error.
fn text(code: Code) -> String {
    let all = code.to_string();
    let (_, text) = all.split_once('(').expect("in brackets");
    text.trim_end_matches(')').to_owned()
}
