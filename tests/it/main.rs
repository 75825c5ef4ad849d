//! Everything that is tested from outside, in one binary so that it is linked once.

mod clock;
mod conformance;
mod corpus;
mod crash;
mod differential;
mod examples;
mod exec;
mod expr;
mod faults;
mod house;
mod ingest;
mod lab;
mod peer;
mod promql;
mod promqltest;
mod query;
mod rules;
mod ruletest;
mod serve;
mod strangers;
mod strict;
mod tell;
mod template;
