//! Logs of containers of a real engine: nothing is lost that is not counted, and nothing comes twice under two numbers.

use std::collections::BTreeMap;

use crate::rig::{Containers, Running, lines_until, log};
use units::{LogLine, LogStream};

/// The number the probe gave a line.
fn number(line: &LogLine) -> u64 {
    line.text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lines_of_both_streams_are_whole() {
    const LINES: usize = 12;
    const BYTES: usize = 40_000;
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let collector = Running::start(&bus, state.path());
    collector.ready().await;
    let id = containers.run(
        "long",
        &[],
        &["long", &LINES.to_string(), &BYTES.to_string()],
    );
    let lines = lines_until(&bus, &id, "last of the long lines", |lines| {
        lines.len() == 2 * LINES
    })
    .await;
    for (stream, fill) in [(LogStream::Stdout, "o"), (LogStream::Stderr, "e")] {
        let texts: Vec<_> = lines
            .iter()
            .filter(|line| line.stream == stream)
            .map(|line| &line.text)
            .collect();
        for (index, text) in texts.iter().enumerate() {
            assert_eq!(**text, format!("{index}:{}", fill.repeat(BYTES)));
        }
        assert_eq!(texts.len(), LINES);
        let of_stream = lines.iter().filter(|line| line.stream == stream);
        let sequences: Vec<_> = of_stream.map(|line| line.sequence).collect();
        assert_eq!(sequences, (0..LINES as u64).collect::<Vec<_>>());
    }
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_writer_over_rotating_files_loses_nothing_uncounted() {
    const LINES: u64 = 150_000;
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let collector = Running::start(&bus, state.path());
    collector.ready().await;
    let options = ["--log-opt", "max-size=1m", "--log-opt", "max-file=3"];
    let id = containers.run("fast", &options, &["lines", &LINES.to_string(), "100"]);
    let lines = lines_until(&bus, &id, "last of the lines", |lines| {
        lines.last().is_some_and(|line| number(line) == LINES - 1)
    })
    .await;
    // The engine writes these files in 10 ms each. On a machine that stands still for longer than three take, one may go unseen;
    // it is then said that lines are missing, and none comes twice.
    let mut expected = 0;
    for line in &lines {
        let found = number(line);
        assert!(found >= expected, "{found} after {expected}");
        assert!(
            found == expected || line.lost_before > 0,
            "{expected} to {found} are missing and nobody says so"
        );
        expected = found + 1;
    }
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_driver_is_read_through_its_compressed_files() {
    const LINES: u64 = 30_000;
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let first = Running::start(&bus, state.path());
    first.ready().await;
    let driver = ["--log-driver", "local", "--log-opt", "max-size=200k"];
    let options = [&driver[..], &["--log-opt", "max-file=100"]].concat();
    let order = ["lines", &LINES.to_string(), "100"];
    let id = containers.run("local", &options, &order);
    lines_until(&bus, &id, "first lines", |lines| lines.len() >= 20).await;
    // It rotates and compresses meanwhile.
    first.stop().await;
    let second = Running::start(&bus, state.path());
    let lines = lines_until(&bus, &id, "last of the lines", |lines| {
        lines.last().is_some_and(|line| number(line) == LINES - 1)
    })
    .await;
    let numbers: Vec<_> = lines.iter().map(number).collect();
    assert!(
        numbers.iter().copied().eq(0..LINES),
        "{} lines of {LINES}",
        numbers.len()
    );
    assert!(lines.iter().all(|line| line.lost_before == 0));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_elsewhere_is_read_from_the_copy_the_engine_keeps() {
    const LINES: u64 = 100;
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let collector = Running::start(&bus, state.path());
    collector.ready().await;
    // The engine copies what its driver could send.
    let elsewhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("gelf-address=udp://{}", elsewhere.local_addr().unwrap());
    let options = ["--log-driver", "gelf", "--log-opt", &address];
    let id = containers.run("copied", &options, &["lines", &LINES.to_string(), "50"]);
    let lines = lines_until(&bus, &id, "last line", |lines| {
        lines.last().is_some_and(|line| number(line) == LINES - 1)
    })
    .await;
    assert!(lines.iter().map(number).eq(0..LINES));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_no_file_is_read_over_the_api_through_a_restart() {
    const LINES: u64 = 300;
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let first = Running::start_by_api(&bus, state.path());
    first.ready().await;
    let id = containers.run("api", &[], &["lines", &LINES.to_string(), "50", "10"]);
    lines_until(&bus, &id, "first lines", |lines| lines.len() >= 20).await;
    first.stop().await;
    // It goes on writing meanwhile.
    let second = Running::start_by_api(&bus, state.path());
    let lines = lines_until(&bus, &id, "last line", |lines| {
        lines.last().is_some_and(|line| number(line) == LINES - 1)
    })
    .await;
    let by_sequence: BTreeMap<u64, u64> = lines
        .iter()
        .map(|line| (line.sequence, number(line)))
        .collect();
    assert!(by_sequence.into_iter().eq((0..LINES).map(|it| (it, it))));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_collector_loses_no_line_and_renumbers_none() {
    const LINES: u64 = 300;
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let first = Running::start(&bus, state.path());
    first.ready().await;
    let id = containers.run("steady", &[], &["lines", &LINES.to_string(), "50", "10"]);
    lines_until(&bus, &id, "first lines", |lines| lines.len() >= 20).await;
    first.stop().await;
    // It goes on writing meanwhile.
    let second = Running::start(&bus, state.path());
    let lines = lines_until(&bus, &id, "last line", |lines| {
        lines.last().is_some_and(|line| number(line) == LINES - 1)
    })
    .await;
    let mut by_number: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for line in &lines {
        by_number
            .entry(number(line))
            .or_default()
            .push(line.sequence);
    }
    let numbers: Vec<_> = by_number.keys().copied().collect();
    assert_eq!(numbers, (0..LINES).collect::<Vec<_>>());
    for (number, sequences) in &by_number {
        assert!(
            sequences.iter().all(|sequence| sequence == number),
            "line {number}: {sequences:?}"
        );
    }
    assert_eq!(
        lines.len() as u64,
        LINES,
        "an orderly stop confirms its lines: none comes twice"
    );
    assert!(lines.iter().all(|line| line.lost_before == 0));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_of_a_container_that_removes_itself_are_heard() {
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let collector = Running::start(&bus, state.path());
    collector.ready().await;
    for round in 0..5 {
        let id = containers.run(&format!("brief-{round}"), &["--rm"], &["lines", "3", "10"]);
        let lines = lines_until(&bus, &id, "last words", |lines| lines.len() == 3).await;
        assert_eq!(number(&lines[2]), 2);
    }
    collector.stop().await;
}
