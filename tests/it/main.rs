//! Everything that is tested from outside, in one binary so that it is linked once.

mod examples;
mod exec;
mod tell;
