//! What the containers of the collector's bench run: one static binary that does as it is told.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

const PORT: u16 = 7000;
const MESSAGE_BYTES: usize = 512;
const FILE_BYTES: usize = 64 * 1024;
/// A turn of work, and how much of it is spent computing: 2 % of a core.
const TURN: Duration = Duration::from_millis(100);
const SPIN: Duration = Duration::from_millis(2);
const TURNS_PER_FILE: u64 = 10;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| args.get(index).and_then(|it| it.parse().ok()).unwrap_or(0_u64);
    match args.first().map(String::as_str) {
        Some("idle") => idle(),
        Some("work") => work(args.get(1).map(String::as_str)),
        Some("lines") => {
            lines(number(1), usize::try_from(number(2)).expect("a line fits into memory"));
            idle();
        }
        Some("nap") => {
            println!("napping {} ms", number(1));
            sleep(Duration::from_millis(number(1)));
        }
        other => panic!("unknown order {other:?}"),
    }
}

/// Until it is stopped.
fn idle() {
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// A little of everything: computing, files, and connections from others and to `peer`.
fn work(peer: Option<&str>) {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).expect("the port is free in a container");
    spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || echo(stream));
        }
    });
    let mut kept = peer.map(connect);
    for turn in 0_u64.. {
        let until = Instant::now() + SPIN;
        let mut sum = turn;
        while Instant::now() < until {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
        }
        if let Some(stream) = &mut kept {
            talk(stream);
        }
        if turn % TURNS_PER_FILE == 0 {
            write_and_read();
            if let Some(peer) = peer {
                talk(&mut connect(peer));
            }
        }
        sleep(TURN);
    }
}

fn connect(peer: &str) -> TcpStream {
    TcpStream::connect((peer, PORT)).expect("the peer listens")
}

fn echo(mut stream: TcpStream) {
    let mut message = [0; MESSAGE_BYTES];
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
}

fn talk(stream: &mut TcpStream) {
    let mut message = [7; MESSAGE_BYTES];
    stream.write_all(&message).expect("the peer is there");
    stream.read_exact(&mut message).expect("the peer answers");
}

fn write_and_read() {
    let mut file = File::create("/work.dat").expect("the container's root is writable");
    file.write_all(&[1; FILE_BYTES]).expect("there is room");
    file.sync_all().expect("the disk takes it");
    let read = std::fs::read("/work.dat").expect("it was just written");
    assert_eq!(read.len(), FILE_BYTES);
}

/// Numbered lines of a fixed length, as an access log has them, then one that says the end.
fn lines(count: u64, line_bytes: usize) {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut line = String::new();
    for number in 0..count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        line.clear();
        line.push_str(&format!(
            "{number:010} INFO  GET /api/orders/{} status={} took_ms={} bytes={} session={:x}",
            random % 1_000_000,
            if random % 50 == 0 { 404 } else { 200 },
            random >> 20 & 0x3ff,
            random >> 30 & 0xffff,
            random >> 8,
        ));
        while line.len() + 1 < line_bytes {
            line.push('.');
        }
        line.truncate(line_bytes - 1);
        line.push('\n');
        out.write_all(line.as_bytes()).expect("standard output is open");
    }
    writeln!(out, "end").expect("standard output is open");
    out.flush().expect("standard output is open");
}
