//! Everything that is tested from outside, in one binary so that it is linked once.

mod clock;
mod crash;
mod examples;
mod exec;
mod house;
mod ingest;
mod promql;
mod promqltest;
mod tell;
