//! Conversions from and to `cloudevents-sdk`.
