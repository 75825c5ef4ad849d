//! Everything that is tested from outside, in one binary so that it is linked once.

mod clock;
mod crash;
mod examples;
mod exec;
mod expr;
mod house;
mod promql;
mod promqltest;
mod rules;
mod tell;
