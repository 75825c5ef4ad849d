//! Logs in real files, cut and damaged at every place.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::journal::segment::HEADER_BYTES;
use crate::shell::store::replay::ReplayReport;
use crate::shell::store::replay::replay;
use crate::shell::store::replay::segment_start;
use crate::shell::store::scratch::Scratch;

const SMALL: Options = Options {
    segment_bytes_max: 4 << 10,
    preallocate: false,
};
const AHEAD: Options = Options {
    preallocate: true,
    ..SMALL
};

fn open(dir: &Path, options: Options) -> (SegLog, OpenReport) {
    SegLog::open(dir, options).unwrap()
}

fn put(log: &mut SegLog, texts: &[&str]) {
    for text in texts {
        log.append(1, text.as_bytes()).unwrap();
    }
    log.commit().unwrap();
}

fn all(dir: &Path) -> (Vec<(u64, String)>, ReplayReport) {
    let mut records = Vec::new();
    let report = replay(dir, Pos::START, &mut |r| {
        let text = String::from_utf8(r.payload.to_vec()).unwrap();
        records.push((r.pos.number(), text));
    });
    (records, report.unwrap())
}

fn texts(dir: &Path) -> Vec<String> {
    all(dir).0.into_iter().map(|(_, t)| t).collect()
}

fn only_segment(dir: &Path) -> PathBuf {
    let mut all = segments::list(dir).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0).path
}

#[test]
fn committed_records_are_there_again_and_others_are_not() {
    for options in [SMALL, AHEAD] {
        let scratch = Scratch::new();
        let dir = &scratch.path().join("made/here");
        let (mut log, report) = open(dir, options);
        assert_eq!((report, log.tail()), (OpenReport::default(), Pos::START));
        put(&mut log, &["a", "b"]);
        log.append(1, b"never committed").unwrap();
        assert_eq!((log.tail(), log.durable()), (Pos::new(3), Pos::new(2)));
        drop(log);
        let (mut log, report) = open(dir, options);
        assert_eq!((report, log.tail()), (OpenReport::default(), Pos::new(2)));
        put(&mut log, &["c"]);
        assert_eq!(texts(dir), ["a", "b", "c"]);
    }
}

#[test]
fn a_log_has_one_writer() {
    let scratch = Scratch::new();
    let (log, _) = open(scratch.path(), SMALL);
    let second = SegLog::open(scratch.path(), SMALL);
    assert!(matches!(second, Err(StoreError::Locked(_))));
    drop(log);
    open(scratch.path(), SMALL);
}

#[test]
fn append_if_refuses_when_the_log_has_grown() {
    let scratch = Scratch::new();
    let (mut log, _) = open(scratch.path(), SMALL);
    let first = log.append_if(Pos::START, 1, b"mine").unwrap();
    let error = log.append_if(Pos::START, 1, b"late").unwrap_err();
    assert!(matches!(error, StoreError::Conflict { tail } if tail == first));
    log.append_if(first, 1, b"next").unwrap();
    log.commit().unwrap();
    assert_eq!(texts(scratch.path()), ["mine", "next"]);
}

#[test]
fn a_write_torn_at_any_byte_is_cut_and_the_log_goes_on() {
    for options in [SMALL, AHEAD] {
        let scratch = Scratch::new();
        let (mut log, _) = open(scratch.path(), options);
        put(&mut log, &["one", "two"]);
        let good = usize::try_from(log.active.good_bytes).unwrap();
        put(&mut log, &["the last one"]);
        let whole = usize::try_from(log.active.good_bytes).unwrap();
        drop(log);
        let path = only_segment(scratch.path());
        let bytes = fs::read(&path).unwrap();
        for end in good..whole {
            let mut torn = bytes[..end].to_vec();
            if options.preallocate {
                torn.resize(bytes.len(), 0);
            }
            fs::write(&path, &torn).unwrap();
            let (mut log, report) = open(scratch.path(), options);
            let left = torn[good..].iter().rposition(|b| *b != 0);
            assert_eq!(report.torn_bytes, left.map_or(0, |n| n as u64 + 1));
            assert!(report.damaged.is_empty());
            put(&mut log, &["x"]);
            let (records, report) = all(scratch.path());
            assert_eq!(records[2], (3, "x".to_owned()), "cut at {end}");
            assert_eq!((records.len(), report.lost, report.torn_bytes), (3, 0, 0));
        }
    }
}

#[test]
fn a_flipped_bit_costs_one_record() {
    let scratch = Scratch::new();
    let (mut log, _) = open(scratch.path(), AHEAD);
    let mut starts = Vec::new();
    for text in ["one", "two", "three", "four"] {
        starts.push(usize::try_from(log.active.good_bytes).unwrap());
        put(&mut log, &[text]);
    }
    drop(log);
    let path = only_segment(scratch.path());
    let bytes = fs::read(&path).unwrap();
    for hit in 0..3 {
        for at in starts[hit]..starts[hit + 1] {
            let mut bad = bytes.clone();
            bad[at] ^= 8;
            fs::write(&path, &bad).unwrap();
            let (log, report) = open(scratch.path(), AHEAD);
            let damage = Damage {
                file: path.clone(),
                from: starts[hit] as u64,
                to: starts[hit + 1] as u64,
                lost: 1,
            };
            assert_eq!((report.torn_bytes, report.damaged), (0, vec![damage]));
            assert_eq!(log.tail(), Pos::new(4));
            let (records, report) = all(scratch.path());
            assert_eq!((records.len(), report.lost, report.records), (3, 1, 3));
            assert!(records.iter().all(|(pos, _)| *pos != hit as u64 + 1));
            assert_eq!(fs::read(&path).unwrap(), bad, "damage is left as it is");
        }
    }
}

#[test]
fn a_damaged_or_missing_head_costs_no_record() {
    let scratch = Scratch::new();
    let (mut log, _) = open(scratch.path(), SMALL);
    put(&mut log, &["one"]);
    log.roll().unwrap();
    let second = log.active.segment.path.clone();
    drop(log);
    fs::write(&second, vec![0; 4_096]).unwrap();
    let (log, report) = open(scratch.path(), AHEAD);
    assert_eq!((log.segment_no(), log.tail()), (2, Pos::new(1)));
    assert!(
        report.damaged.is_empty(),
        "a reserved file that was not begun"
    );
    drop(log);
    for len in 0..HEADER_BYTES {
        fs::write(&second, vec![7; len]).unwrap();
        let (mut log, _) = open(scratch.path(), SMALL);
        assert_eq!((log.segment_no(), log.tail()), (2, Pos::new(1)));
        if len + 1 == HEADER_BYTES {
            put(&mut log, &["two"]);
        }
    }
    let mut bytes = fs::read(&second).unwrap();
    bytes[9] ^= 1;
    fs::write(&second, bytes).unwrap();
    let (mut log, report) = open(scratch.path(), SMALL);
    assert_eq!((report.damaged.len(), log.segment_no()), (1, 2));
    put(&mut log, &["three"]);
    assert_eq!(texts(scratch.path()), ["one", "two", "three"]);
}

#[test]
fn segments_roll_replay_from_anywhere_and_retire_whole() {
    for options in [SMALL, AHEAD] {
        let scratch = Scratch::new();
        let dir = scratch.path();
        let (mut log, _) = open(dir, options);
        let text = "x".repeat(1_000);
        for _ in 0..20 {
            assert_eq!(
                log.would_roll(1_000),
                log.append(1, text.as_bytes()).unwrap().number() % 3 == 1
                    && log.tail() > Pos::new(1)
            );
        }
        log.commit().unwrap();
        assert_eq!(
            (log.segment_no(), segments::list(dir).unwrap().len()),
            (7, 7)
        );
        for from in 1..=21 {
            let mut seen = Vec::new();
            let report = replay(dir, Pos::new(from), &mut |r| {
                seen.push((r.pos.number(), r.segment_no))
            });
            assert_eq!(report.unwrap().lost, 0);
            assert!(seen.iter().all(|(p, no)| (p - 1) / 3 + 1 == u64::from(*no)));
            assert_eq!(seen.len() as u64, 21 - from);
        }
        assert_eq!(segment_start(dir, Pos::new(9)).unwrap(), Pos::new(7));
        assert_eq!(log.retain(Keep::From(Pos::new(9))).unwrap().segments, 2);
        assert_eq!(
            log.retain(Keep::From(Pos::new(9))).unwrap(),
            Retained::default()
        );
        let (records, report) = all(dir);
        assert_eq!((records[0].0, records.len(), report.lost), (7, 14, 6));
        assert_eq!(
            log.retain(Keep::Since(Timestamp::from_ms(1)))
                .unwrap()
                .segments,
            0
        );
        assert_eq!(
            log.retain(Keep::Since(Timestamp::from_ms(i64::MAX)))
                .unwrap()
                .segments,
            4
        );
        drop(log);
        assert_eq!(open(dir, options).0.tail(), Pos::new(20));
    }
}

#[test]
fn a_bad_end_of_a_sealed_segment_is_damage() {
    let scratch = Scratch::new();
    let (mut log, _) = open(scratch.path(), SMALL);
    put(&mut log, &["one", "two"]);
    log.roll().unwrap();
    put(&mut log, &["three"]);
    let path = segments::list(scratch.path()).unwrap().remove(0).path;
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let (records, report) = all(scratch.path());
    assert_eq!((records.len(), report.lost, report.torn_bytes), (2, 1, 0));
    assert_eq!(report.damaged.len(), 1);
}

#[test]
fn reserved_records_stay_in_the_segment_they_were_encoded_for_until_they_are_written() {
    let scratch = Scratch::new();
    let (mut log, _) = open(scratch.path(), SMALL);
    put(&mut log, &["one"]);
    assert_eq!(log.reserve(100).unwrap(), 1);
    log.append(1, &[b'x'; 5_000]).unwrap();
    log.append(1, &[b'x'; 5_000]).unwrap();
    assert_eq!((log.segment_no(), log.durable()), (1, Pos::new(1)));
    log.commit().unwrap();
    assert_eq!(log.durable(), Pos::new(3));
    assert_eq!((log.segment_no(), log.reserve(100).unwrap()), (1, 2));
    log.append(1, &[b'y'; 6_000]).unwrap();
    log.commit().unwrap();
    assert_eq!((log.segment_no(), texts(scratch.path()).len()), (2, 4));
}

/// A file system of 1 MiB of our own.
struct Disk(Scratch);

impl Disk {
    fn new() -> Option<Disk> {
        let scratch = Scratch::new();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(scratch.path())
            .status();
        let mounted = done.is_ok_and(|s| s.success());
        if !mounted {
            let what = "a full disk: mounting a small one needs root";
            assert!(std::env::var_os("CI").is_none(), "{what}");
            // Past libtest, which keeps what a passing test prints to itself.
            let line = format!("\n*** SKIPPED, NOT TESTED: {what} ***\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        }
        mounted.then_some(Disk(scratch))
    }
    /// Leaves no more than `free` bytes.
    fn fill(&self, free: usize) {
        let path = self.0.path().join("filler");
        let mut file = File::create(path).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4_096]).is_ok() {}
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(free as u64)).unwrap();
    }
    fn free(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn what_is_written_but_not_synced_outlives_the_process_and_counts_later() {
    for options in [SMALL, AHEAD] {
        let scratch = Scratch::new();
        let (mut log, _) = open(scratch.path(), options);
        log.append(1, b"a").unwrap();
        log.append(1, b"b").unwrap();
        assert_eq!(log.write().unwrap(), Pos::new(2));
        assert_eq!(log.durable(), Pos::START);
        assert_eq!(texts(scratch.path()), ["a", "b"]);
        log.append(1, b"c").unwrap();
        assert_eq!(log.commit().unwrap(), Pos::new(3));
        log.append(1, b"d").unwrap();
        log.write().unwrap();
        assert_eq!(log.commit().unwrap(), Pos::new(4));
        assert_eq!((log.durable(), log.tail()), (Pos::new(4), Pos::new(4)));
        drop(log);
        assert_eq!(open(scratch.path(), options).0.durable(), Pos::new(4));
    }
}

/// Appends records until one fails; how many went in before it.
fn fill_log(log: &mut SegLog) -> u64 {
    let before = log.durable().number();
    let error = loop {
        let text = format!("{:0>3000}", log.tail().number() + 1);
        let done = log.append(1, text.as_bytes());
        if let Err(e) = done.and_then(|_| log.commit()) {
            break e;
        }
    };
    assert!(error.is_full(), "{error:?}");
    assert_eq!(log.tail(), log.durable());
    log.durable().number() - before
}

fn counts_up(dir: &Path) -> u64 {
    let (records, report) = all(dir);
    assert_eq!(
        (report.lost, report.torn_bytes, report.damaged.len()),
        (0, 0, 0)
    );
    for (pos, text) in &records {
        assert_eq!(text.parse(), Ok(*pos));
    }
    records.len() as u64
}

#[test]
fn a_full_disk_refuses_records_and_takes_them_again_later() {
    let Some(disk) = Disk::new() else { return };
    let dir = &disk.0.path().join("log");
    let options = Options {
        segment_bytes_max: 128 << 10,
        preallocate: false,
    };
    let (mut log, _) = open(dir, options);
    disk.fill(10 << 10);
    let written = fill_log(&mut log);
    assert!(written < 10);
    assert_eq!(fill_log(&mut log), 0);
    assert_eq!(counts_up(dir), written);
    disk.free();
    assert!(fill_log(&mut log) > 100, "over several segments");
    let tail = log.tail();
    assert_eq!(counts_up(dir), tail.number());
    log.retain(Keep::From(tail)).unwrap();
    assert!(fill_log(&mut log) > 0);
    drop(log);
    assert!(open(dir, options).0.tail() > tail);
}

#[test]
fn with_space_reserved_records_go_on_for_a_while_on_a_full_disk() {
    let Some(disk) = Disk::new() else { return };
    let dir = &disk.0.path().join("log");
    let options = Options {
        segment_bytes_max: 128 << 10,
        preallocate: true,
    };
    let (mut log, _) = open(dir, options);
    assert!(log.has_reserve());
    disk.fill(0);
    let written = fill_log(&mut log);
    assert!(written > 80, "two segments of 43 records, not {written}");
    assert!(!log.has_reserve());
    drop(log);
    let (mut log, report) = open(dir, options);
    assert_eq!(report, OpenReport::default());
    assert_eq!(fill_log(&mut log), 0);
    assert_eq!(counts_up(dir), written);
    disk.free();
    assert!(fill_log(&mut log) > 100);
    assert_eq!(counts_up(dir), log.tail().number());
}
