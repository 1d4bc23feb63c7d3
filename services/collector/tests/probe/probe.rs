//! What the containers of the engine tests run: one static binary that does as it is told.

use std::io::{Read, Write, stderr, stdout};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const SICK: &str = "/sick";

fn answer(mut stream: TcpStream) {
    let mut said = [0; 1024];
    while let Ok(len @ 1..) = stream.read(&mut said) {
        if said[..len].starts_with(b"GET /metrics ") {
            let page = "# TYPE requests counter\nrequests_total{code=\"200\"} 7\n";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
            let _ = stream.write_all((head + page).as_bytes());
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| args.get(index).and_then(|it| it.parse().ok()).unwrap_or(0_u64);
    match args.first().map(String::as_str) {
        // Until it is stopped.
        Some("idle") => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        // Uses so many milliseconds of one core, then idles.
        Some("spin") => {
            let until = Instant::now() + Duration::from_millis(number(1));
            let mut sum = 0_u64;
            while Instant::now() < until {
                sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
            }
            println!("spun {sum}");
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        // Lines numbered from 0, so many, each filled up to so many bytes, with so many milliseconds between.
        Some("lines") => {
            let mut out = stdout().lock();
            for line in 0..number(1) {
                let text = format!("line {line} ");
                let fill = (number(2) as usize).saturating_sub(text.len());
                writeln!(out, "{text}{}", "x".repeat(fill)).expect("standard output is open");
                if number(3) > 0 {
                    out.flush().expect("standard output is open");
                    std::thread::sleep(Duration::from_millis(number(3)));
                }
            }
        }
        // Long lines on both streams, in turns and at once.
        Some("long") => {
            let writers = [0, 1].map(|stream| {
                let (count, bytes) = (number(1), number(2) as usize);
                std::thread::spawn(move || {
                    for line in 0..count {
                        let fill = if stream == 0 { "o" } else { "e" };
                        let text = format!("{line}:{}\n", fill.repeat(bytes));
                        let written = match stream {
                            0 => stdout().write_all(text.as_bytes()),
                            _ => stderr().write_all(text.as_bytes()),
                        };
                        written.expect("the streams are open");
                    }
                })
            });
            for writer in writers {
                writer.join().expect("writers do not panic");
            }
        }
        // A page of metrics on port 9100, and connections that are kept for those who ask for nothing.
        Some("serve") => {
            let listener = TcpListener::bind("0.0.0.0:9100").expect("the port is free");
            for stream in listener.incoming() {
                std::thread::spawn(move || answer(stream.expect("connections are taken")));
            }
        }
        // A connection to an address, on which something is said ten times a second.
        Some("talk") => {
            let mut stream = TcpStream::connect(&args[1]).expect("somebody listens there");
            loop {
                stream.write_all(b"more\n").expect("the other side keeps it");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Some("exit") => std::process::exit(number(1) as i32),
        Some("check") => std::process::exit(i32::from(std::path::Path::new(SICK).exists())),
        Some("sicken") => std::fs::write(SICK, "").expect("the container's root is writable"),
        other => panic!("unknown order {other:?}"),
    }
}
