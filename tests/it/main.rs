//! The binary from outside: started as a user starts it, in front of real brokers.

mod harness;

mod publish;
mod serve;
mod subscribe;
