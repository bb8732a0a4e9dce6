//! The binary from outside: started as a user starts it, in front of real brokers.

#![allow(unreachable_pub, reason = "one binary: `pub` here means to the other modules")]

mod harness;

mod bad_input;
mod bridges;
mod command_line;
mod description;
mod devices;
mod durability;
mod explain;
mod federation;
mod hostile;
mod kafka;
mod matrix;
mod mqtt;
mod mqtt_wire;
mod origins;
mod pages;
mod publish;
mod pulsar;
mod quickstart;
mod readme;
mod reload;
mod replicas;
mod serve;
mod subscribe;
mod traces;
mod websocket;
