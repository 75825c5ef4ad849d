//! The tests that need the whole program, in one binary so that it is linked once.

mod exec;

//! Everything that is tested from outside, in one binary.
mod tell;
