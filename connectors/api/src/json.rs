//! The CloudEvents JSON event format.
