//! A bounded log that many readers follow.
