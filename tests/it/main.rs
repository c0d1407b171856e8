//! Integration tests: the shipped library in real servers.

mod support;

mod bad_input;
mod demo;
mod json;
mod lifetime;
mod redis;
mod servers;
mod submission;
mod symbols;
mod trigger;
mod tutorial;
