//! The tests that need the whole program, in one binary so that it is linked once.

mod exec;
