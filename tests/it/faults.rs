//! What breaks around a pager, done to the real program: it goes on, says so, loses nothing, and closes what it opened.

mod damage;
mod disk;
mod files;
mod flood;
mod large;
mod people;
mod scripts;
mod stall;
