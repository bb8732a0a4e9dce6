//! Topics that insist on a schema (`schemaValidationEnforced`): events are written with the one that the topic has.
//!
//! It is asked for only where the broker refuses a producer without one. Whoever made it has to see to it that events fit: the gateway
//! looks only whether data for a JSON schema is JSON, and for a text schema text.

use pulsar::{
    Consumer, ConsumerOptions, Error, SubType, TokioExecutor,
    consumer::InitialPosition,
    message::proto::{Schema, ServerError, schema::Type},
};

use crate::{
    client::{Broker, server_error},
    decode::Raw,
};

/// What the data of a topic's messages must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As far as the gateway is concerned.
    Any,
    Text,
    Json,
}

impl Form {
    /// What a schema asks for; the name of its type if events cannot be written with it.
    pub(crate) fn of(schema: &Schema) -> Result<Self, &'static str> {
        match schema.r#type() {
            Type::None => Ok(Self::Any),
            Type::String => Ok(Self::Text),
            Type::Json => Ok(Self::Json),
            other => Err(other.as_str_name()),
        }
    }

    /// What is wrong with the data, for a person.
    pub(crate) fn check(self, data: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Json if serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err() => {
                Err("has a JSON schema: the event's data must be JSON")
            }
            Self::Text if std::str::from_utf8(data).is_err() => {
                Err("has a text schema: the event's data must be UTF-8")
            }
            _ => Ok(()),
        }
    }
}

/// Whether the broker refuses a producer for its schema, or for having none.
pub(crate) fn is_missed(problem: &Error) -> bool {
    matches!(server_error(problem), Some((ServerError::IncompatibleSchema, _)))
}

/// The topic's schema. The crate asks for it only in the name of a consumer.
pub(crate) async fn of_topic(broker: &Broker, topic: &str) -> Result<Option<Schema>, Error> {
    let options = ConsumerOptions {
        durable: Some(false),
        initial_position: InitialPosition::Latest,
        receiver_queue_size: Some(1),
        ..ConsumerOptions::default()
    };
    let builder = broker.consumer().with_topic(topic).with_subscription_type(SubType::Exclusive).with_options(options);
    let mut consumer: Consumer<Raw, TokioExecutor> = Box::pin(builder.build()).await?;
    Box::pin(consumer.get_schema(topic, None)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_checked_as_far_as_the_gateway_can() {
        let table = [
            (Form::Json, &b"{\"a\": 1}"[..], true),
            (Form::Json, b"{\"a\": 1", false),
            (Form::Json, b"", false),
            (Form::Text, b"a", true),
            (Form::Text, b"\xff", false),
            (Form::Any, b"\xff", true),
        ];
        for (form, data, is_sound) in table {
            assert_eq!(form.check(data).is_ok(), is_sound, "{form:?} {data:?}");
        }
        let of = |kind: Type| Form::of(&Schema { r#type: kind.into(), ..Schema::default() });
        assert_eq!((of(Type::Json), of(Type::Avro)), (Ok(Form::Json), Err("Avro")));
    }
}
